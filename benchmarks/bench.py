"""`foreshock bench`: every job beside its peers in one run, as ratios; and the page that shows them.

A job is a module of this package with `run(places) -> Finding`. It checks that its contestants answer alike before any
time counts. Ratios are named here, so that scripts can read them.
"""

import json
import logging
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from benchmarks.contest import ROUNDS, BenchmarkError, Spread

logger = logging.getLogger(__name__)

JOBS: Final[Mapping[str, str]] = {
    "ingest": "benchmarks.ingest",
    "frame": "benchmarks.training_frame",
    "scoring": "benchmarks.scoring_day",
    "placement": "benchmarks.placement",
    "curves": "benchmarks.curves",
    "night": "benchmarks.night",
    "cluster": "benchmarks.cluster",
}
"""Each job's name and module, in the order of a night."""

SCALE: Final = "FORESHOCK_BENCH_SCALE"
"""Environment variable: by what share jobs of a size of their own are made smaller, for a look that they still run."""
TELEMETRY: Final = Path("../shared/data")
PAGE: Final = Path("docs/performance.md")
PICTURES: Final = Path("docs/pictures")


def scaled(size: int, least: int = 1) -> int:
    """The size of a job's problem, by the share that the environment asks for."""
    return max(least, round(size * float(os.environ.get(SCALE, "1"))))


@dataclass(frozen=True)
class Places:
    """Where a job finds telemetry, where it may write, and how often it runs each contestant."""

    telemetry: Path
    work: Path
    rounds: int = ROUNDS

    def scratch(self, name: str) -> Path:
        """A folder of the job's own, which is kept between runs: what is prepared there is prepared once."""
        folder = self.work / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True)
class Finding:
    """What one job found."""

    title: str
    text: str
    """What was done to what, and what to hold against it; Markdown."""
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    ratios: Mapping[str, Spread]
    """By the name that scripts read."""
    peak_bytes: Mapping[str, int]
    """Most memory held, by contestant."""
    picture: "Picture | None" = None


@dataclass(frozen=True)
class Picture:
    """Curves to draw: for each name, its points."""

    title: str
    across: str
    up: str
    curves: Mapping[str, Sequence[tuple[float, float]]]
    logarithmic: bool = field(default=True, kw_only=True)


def bench(places: Places, jobs: Sequence[str] = (), *, write: bool = False) -> dict[str, Any]:
    """Run the jobs (all of them without a name) and return what they found, ready for JSON.

    Args:
        places: where to find and put things, and how many rounds.
        jobs: names from `JOBS`.
        write: also put each table into its section of `docs/performance.md`, and its picture beside.

    Raises:
        BenchmarkError: no such job, or a contestant that failed or answered otherwise than its peers.
    """
    unknown = set(jobs) - set(JOBS)
    if unknown:
        msg = f"There is no job {min(unknown)!r}. Known: {', '.join(JOBS)}."
        raise BenchmarkError(msg)
    began, found = time.monotonic(), dict[str, Finding]()
    for name in jobs or JOBS:
        logger.info("%s", name)
        found[name] = import_module(JOBS[name]).run(places)
        if write:
            _write(name, found[name])
    return {
        "ratios": {key: one.middle for finding in found.values() for key, one in finding.ratios.items()},
        "spread": {key: [one.least, one.most] for finding in found.values() for key, one in finding.ratios.items()},
        "peak_bytes": {name: dict(finding.peak_bytes) for name, finding in found.items()},
        "rounds": places.rounds,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "seconds": round(time.monotonic() - began, 1),
    }


def section(finding: Finding, picture: str | None = None) -> str:
    """A job's part of the page."""
    lines = [
        f"## {finding.title}",
        "",
        finding.text.strip(),
        "",
        _row(finding.columns),
        "|---" * len(finding.columns) + "|",
    ]
    lines += [_row(row) for row in finding.rows]
    if picture:
        lines += ["", f"![{finding.title}]({picture})"]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _write(name: str, finding: Finding) -> None:
    """Put a job's part into the page: in its own place, or at the end."""
    picture = _draw(name, finding.picture) if finding.picture else None
    begin, end = f"<!-- bench {name} -->", f"<!-- /bench {name} -->"
    part = f"{begin}\n{section(finding, picture)}\n{end}"
    text = PAGE.read_text()
    if begin in text:
        before, rest = text.split(begin, 1)
        text = before + part + rest.split(end, 1)[1]
    else:
        text = f"{text.rstrip()}\n\n{part}\n"
    PAGE.write_text(text)


def _draw(name: str, picture: Picture) -> str:
    """Draw the curves; return where the page finds them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for label, points in picture.curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    if picture.logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set(title=picture.title, xlabel=picture.across, ylabel=picture.up)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    file = PICTURES / f"bench-{name}.png"
    figure.savefig(file, dpi=100, metadata={"Software": ""})
    return f"{PICTURES.name}/{file.name}"


def as_text(found: Mapping[str, Any]) -> str:
    """The ratios for a person."""
    lines = [f"{key}: {value:.3g} ({found['spread'][key][0]:.3g} to {found['spread'][key][1]:.3g})"
             for key, value in found["ratios"].items()]  # fmt: skip
    return "\n".join([*lines, f"{found['rounds']} rounds, {found['seconds']:.0f} s", json.dumps(found["peak_bytes"])])
