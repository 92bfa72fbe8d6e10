"""One night of a million drives on 100,000 hosts with a million VMs: `foreshock run`, stage by stage.

The fleet is simulated and made of copies (`benchmarks.copies`), so that making it takes minutes. The night is the
product's own cycle: a new day's Parquet, the champion that was trained on the template, the simulated executor. It runs
in a process of its own, once: it changes its home, and a home of that size is not copied for another round.
"""

import json
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import duckdb

from benchmarks import copies
from benchmarks.bench import Finding, Places, scaled
from benchmarks.contest import Answer, Contestant, Job, Spent, alone, spread
from pipelines.clock import end_of

HOSTS: Final = 5_060
"""Of the template, with ten drives on most and ten VMs on each."""
COPIES: Final = 20
HISTORY: Final = 120
"""Days that the template is simulated for, and learnt from."""
DAYS: Final = 60
"""Days of which the copies hold daily gauges; their changes they hold since the beginning."""
SMALL: Final = "1GB"
"""A memory limit at which sorts and joins of the day no longer fit."""
TITLE: Final = "A night of a million drives"
COLUMNS: Final = ("stage", "wall s", "CPU s", "share of CPU", "most memory so far")
TEXT: Final = """\
`foreshock bench night` runs one `foreshock run` on {entities:,} drives in {hosts:,} hosts with {vms:,} VMs: the day's
Parquet of {rows:,} rows is ingested, and {days} days of daily readings and 30 days of risks are held already. The
fleet is simulated: a template of {template:,} hosts goes through the product itself, and is copied {copies} times. The
default settings hold, `warehouse.memory_limit = "4GB"` among them. `publish` and `incidents` are parts of other stages,
told besides. {orders:,} orders were handed to the simulated executor. The night took {minutes:.1f} minutes of the wall
clock and {cpu:.1f} of CPU and held {peak:.1f} GiB at most; a plain scan of the day's columns takes {scan:.2f} CPU
seconds. The decision alone (`foreshock decide --dry-run`), asked once more, takes {decide:.0f} CPU seconds and
{decide_peak:.1f} GiB. {small}
"""
BESIDES: Final = {"publish": "publish", "found": "incidents"}


def run(places: Places) -> Finding:
    """What a night costs, stage by stage, and what memory it holds."""
    made, home = prepared(places)
    on = str(made.night)
    file = home / "simulated" / "telemetry" / "disk" / f"{on}.parquet"
    scan = alone(Contestant("a scan", "benchmarks.night:scan", (str(file),)))
    night = alone(Contestant("the night", "benchmarks.night:night", (str(home), on)))
    decision = alone(Contestant("a decision", "benchmarks.night:decision", (str(home), on)))
    scored = [
        alone(Contestant(f"scoring, {limit}", "benchmarks.night:scoring", (str(home), on, limit)))
        for limit in ("4GB", SMALL)
    ]
    answer = night.answer
    told = {name: int(answer[name]) for name in ("entities", "hosts", "vms", "rows", "orders")}
    text = TEXT.format(
        **told, days=DAYS, template=made.spec.hosts, copies=_copies(), minutes=night.wall_seconds / 60,
        cpu=night.cpu_seconds / 60, peak=night.peak_bytes / 2**30, scan=scan.cpu_seconds,
        decide=decision.cpu_seconds, decide_peak=decision.peak_bytes / 2**30, small=_small(scored),
    )  # fmt: skip
    ratios = {
        "night_minutes": night.wall_seconds / 60,
        "night_cpu_minutes": night.cpu_seconds / 60,
        "night_vs_scan": night.cpu_seconds / max(scan.cpu_seconds, 1e-9),
    }
    peaks = {"the night": night.peak_bytes, "a decision": decision.peak_bytes, "a scan": scan.peak_bytes}
    shutil.rmtree(home)
    rows = _rows(json.loads(str(answer["stages"])), night)
    return Finding(TITLE, text, COLUMNS, rows, {name: spread([value]) for name, value in ratios.items()}, peaks)


def prepared(places: Places) -> tuple[copies.Template, Path]:
    """The template, and a fresh home with its copies."""
    folder = places.scratch("night")
    made = copies.template(folder, scaled(HOSTS, 40), HISTORY)
    home = folder / f"home-{made.spec.hosts}x{_copies()}"
    arguments = (str(folder), str(made.spec.hosts), str(home), str(_copies()))
    alone(Contestant("the copies", "benchmarks.night:copied", arguments))
    return made, home


def _copies() -> int:
    return scaled(COPIES, 2)


def _small(scored: Sequence[Spent]) -> str:
    usual, small = (f"{one.cpu_seconds:.0f} CPU seconds and {one.peak_bytes / 2**30:.1f} GiB" for one in scored)
    return (
        f'Scoring the day anew takes {usual}; with `memory_limit = "{SMALL}"` it takes {small}: fewer rows '
        "are made at a time, and what does not fit is spilled to the disk."
    )


def _rows(stages: Sequence[Sequence[Any]], night: Spent) -> list[Sequence[str]]:
    rows = [
        (name, f"{wall:.1f}", f"{cpu:.1f}", f"{cpu / night.cpu_seconds:.0%}", f"{peak / 2**30:.1f} GiB")
        for name, wall, cpu, peak in stages
    ]
    whole = (f"{night.wall_seconds:.1f}", f"{night.cpu_seconds:.1f}", "100%", f"{night.peak_bytes / 2**30:.1f} GiB")
    return [*rows, ("the night", *whole)]


def copied(folder: str, hosts: str, home: str, count: str) -> Job:
    """Make the home."""
    made = copies.template(Path(folder), int(hosts), HISTORY)

    def job() -> Answer:
        copies.copied(made, Path(home), int(count), days=DAYS)
        return {}

    return job


def scan(file: str) -> Job:
    """A plain scan of the day's numbers."""
    con = duckdb.connect()
    con.execute("set threads = 2")
    described = con.execute("describe select * from read_parquet(?)", [file]).fetchall()
    asked = ", ".join(f"sum({name})" for name, kind, *_ in described if kind == "BIGINT")

    def job() -> Answer:
        con.execute(f"select {asked} from read_parquet(?)", [file]).fetchall()  # noqa: S608 - the file's own columns
        return {}

    return job


def night(home: str, on: str) -> Job:
    """`foreshock run` as of the end of that day, with what each stage took."""
    (Path(home) / copies.READY).unlink()  # from now on it is another home

    def job() -> Answer:
        from data.warehouse import Warehouse
        from pipelines import cycle
        from pipelines.steps import incidents

        watch = _Watch()
        with watch.besides(Warehouse, "publish"), watch.besides(incidents, "found"):
            settings = copies.settings_of(Path(home))
            report = cycle.run(settings, date.fromisoformat(on), call=watch, predictors=copies.believed(settings))
        return {
            "stages": json.dumps([(name, *spent) for name, spent in watch.spent.items()]),
            "rows": report.ingest.rows_loaded,
            "orders": report.dispatch.sent,
            **_size(Path(home)),
        }

    return job


def decision(home: str, on: str) -> Job:
    """The decision of that moment alone, which writes nothing."""

    def job() -> Answer:
        from pipelines.steps.decide import decide

        settings = copies.settings_of(Path(home))
        asof_at = end_of(date.fromisoformat(on))
        return {"proposals": len(decide(settings, asof_at, copies.believed(settings), dry_run=True).listed)}

    return job


def scoring(home: str, on: str, memory_limit: str) -> Job:
    """The risks of that day anew, with so much memory."""

    def job() -> Answer:
        from pipelines.steps.score import score_with

        settings = copies.settings_of(Path(home), memory_limit)
        (model,) = copies.believed(settings).values()
        return {"entities": score_with(settings, model, [end_of(date.fromisoformat(on))]).entities}

    return job


def _size(home: Path) -> Mapping[str, int]:
    """How large the fleet is."""
    from data.snapshots import read

    asked = {
        "entities": "select count(*) from entity_host where valid_until is null",
        "hosts": "select count(*) from host where valid_until is null",
        "vms": "select count(*) from vm where valid_until is null",
    }
    with read(home) as con:
        return {name: int(con.execute(query).fetchall()[0][0]) for name, query in asked.items()}


class _Watch:
    """Calls steps, and notes wall and CPU seconds of each, and the most memory held until its end."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float, int]] = {}

    def __call__(self, step: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """What the step returns."""
        name = step.__name__.removesuffix("_with")
        return self._timed(f"{name}, after" if name == "settle" and name in self.spent else name, step, *args, **kwargs)

    @contextmanager
    def besides(self, owner: Any, name: str) -> Iterator[None]:
        """While it holds, time in that function of the owner's is noted as well."""
        label, original = f"of these: {BESIDES[name]}", getattr(owner, name)
        with patch.object(owner, name, lambda *args, **kwargs: self._timed(label, original, *args, **kwargs)):
            yield

    def _timed(self, name: str, step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        began, cpu = time.monotonic(), time.process_time()
        try:
            return step(*args, **kwargs)
        finally:
            wall, spent, _ = self.spent.get(name, (0.0, 0.0, 0))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            self.spent[name] = (wall + time.monotonic() - began, spent + time.process_time() - cpu, peak)
