"""The training frame beside the plain scan of its rows, and beside pandas, polars, window functions and mlforecast.

foreshock bench frame
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from benchmarks.bench import Finding, Places
from benchmarks.contest import Contest, Contestant, Spread, contest, same
from benchmarks.drive_history import History, expanded, history, simulated
from data.snapshots import PUBLISHED

logger = logging.getLogger(__name__)

TITLE = "The training frame"
_OURS, _PEERS = "benchmarks.frame_contestants", "benchmarks.frame_peers"
_SCAN, _LOG, _RAW, _DENSE = "plain scan", "from the log", "from daily rows", "what moves daily"
_PANDAS, _POLARS, _WINDOWS, _MLFORECAST = "pandas", "polars", "DuckDB windows", "mlforecast"
_KEPT = {_LOG: f"{_OURS}:log", _RAW: f"{_OURS}:raw"}
_FAST = {_POLARS: f"{_PEERS}:with_polars", _PANDAS: f"{_PEERS}:with_pandas"}
_SLOW = {_WINDOWS: f"{_PEERS}:with_windows"}
_GROWTH = {_LOG: f"{_OURS}:log_growth", _RAW: f"{_OURS}:raw_growth", _MLFORECAST: f"{_PEERS}:with_mlforecast"}
_WHOLE = {_SCAN: f"{_OURS}:scan", _LOG: f"{_OURS}:whole", _RAW: f"{_OURS}:whole_raw", _DENSE: f"{_OURS}:dense"}
_NOT_BEFORE = date(2014, 1, 1)


@dataclass(frozen=True)
class Sizes:
    """How much is simulated where there is no telemetry."""

    drives: int = 2_000
    days: int = 400


SIZES = Sizes()


@dataclass(frozen=True)
class Histories:
    """Forty days as published; a hundredth of the long history, a tenth, and all of it."""

    published: History
    hundredth: History
    tenth: History
    whole: History
    real: bool


def run(places: Places, sizes: Sizes = SIZES) -> Finding:
    """What the frame costs: genuine daily rows first, then parts of the long history, then all of it."""
    held = histories(places, sizes)
    small = _beside_peers(held.published, places.rounds, _KEPT | _FAST | _SLOW)
    sample = _beside_peers(held.hundredth, 1, _KEPT | _SLOW)
    part = _beside_peers(held.tenth, places.rounds, _KEPT | _FAST)
    regular = _beside_peers(held.tenth, places.rounds, _GROWTH)
    full = contest(_of(held.whole, _WHOLE), places.rounds)
    same({name: full.answer(name) for name in (_LOG, _RAW)}, ("rows", "columns", "labelled"))
    ratios = {
        **_over_peers("published_days", small),
        "training_frame_vs_scan": full.ratio(_LOG, _SCAN),
        "training_frame_raw_vs_scan": full.ratio(_RAW, _SCAN),
        "training_frame_dense_vs_scan": full.ratio(_DENSE, _SCAN),
        **_over_peers("training_frame", part),
        **_over_peers("training_frame", sample),
        **_over_peers("training_frame_growth", regular),
    }
    parts = (
        ("forty days", held.published, small),
        ("a hundredth", held.hundredth, sample),
        ("a tenth", held.tenth, part),
        ("a tenth, growth alone", held.tenth, regular),
        ("all", held.whole, full),
    )
    return Finding(
        title=TITLE,
        text=_text(held, places.rounds),
        columns=("rows", "contestant", "CPU s", "times the first of them", "most memory, MiB"),
        rows=[row for name, one, found in parts for row in _rows(name, one, found)],
        ratios=ratios,
        peak_bytes={f"{name}, {who}": found.peak_bytes(who) for name, _, found in parts for who in found.runs},
    )


def histories(places: Places, sizes: Sizes) -> Histories:
    """The histories, prepared; simulated where there is no telemetry."""
    work, disk = places.scratch("frame"), places.telemetry / "disk"
    if not disk.exists():
        logger.warning("there is no %s: the histories are simulated", disk)
        short = history(work / "simulated-40", simulated(work / "simulated-40-files", sizes.drives, 40))
        long = history(work / "simulated", simulated(work / "simulated-files", sizes.drives, sizes.days))
        return Histories(short, long, long, long, real=False)
    whole = work / "whole"
    files = [] if (whole / "home" / PUBLISHED).exists() else expanded(places.telemetry, work / "whole-files")
    return Histories(
        history(work / "published", [disk / "data_2013_04-05.zip"]),
        history(work / "hundredth", expanded(places.telemetry, work / "hundredth-files", 0.01), _NOT_BEFORE),
        history(work / "tenth", expanded(places.telemetry, work / "tenth-files", 0.1), _NOT_BEFORE),
        history(whole, files, _NOT_BEFORE),
        real=True,
    )


def _beside_peers(one: History, rounds: int, targets: Mapping[str, str]) -> Contest:
    """Features of given pairs by everyone; who answers otherwise than ours is refused."""
    found = contest(_of(one, targets), rounds)
    same({name: found.answer(name) for name in found.runs}, ("rows", "columns", "sha256"))
    return found


def _of(one: History, targets: Mapping[str, str]) -> Sequence[Contestant]:
    return [Contestant(name, target, (str(one.folder),)) for name, target in targets.items()]


def _over_peers(name: str, found: Contest) -> dict[str, Spread]:
    """How many times cheaper ours is than each peer."""
    keys = {"polars": _POLARS, "pandas": _PANDAS, "windows": _WINDOWS, "mlforecast": _MLFORECAST}
    peers = {key: peer for key, peer in keys.items() if peer in found.runs}
    return {f"{name}_vs_{key}": found.ratio(peer, _LOG) for key, peer in peers.items()} | {
        f"{name}_raw_vs_{key}": found.ratio(peer, _RAW) for key, peer in peers.items()
    }


def _rows(name: str, one: History, found: Contest) -> list[tuple[str, ...]]:
    yard = _SCAN if _SCAN in found.runs else _LOG
    return [
        (
            f"{name}: {one.rows:,} drive-days, {one.pairs:,} pairs",
            who,
            str(found.cpu_seconds(who)),
            str(found.ratio(who, yard)),
            f"{found.peak_bytes(who) / 2**20:,.0f}",
        )
        for who in found.runs
    ]


def _text(held: Histories, rounds: int) -> str:
    published, tenth, whole = held.published, held.tenth, held.whole
    source = (
        "The forty days are genuine daily files as published; the long history is of the same drives, rebuilt from a "
        "survival-analysis data set; a tenth is of its drives."
        if held.real
        else "There was no telemetry: **the histories are simulated**, and say nothing about a real fleet."
    )
    return f"""
{source} CPU seconds of all threads, user and system: the median of {rounds} rounds, least and most. Ratios are
made within a round.

Against the **plain scan** (the sum of every reading column of the {whole.rows:,} rows, in the order of days): all that
training asks for, from who is asked about (once a week, healthy drives sampled as `models/disk.toml` says) over the
features to labels. *From the log* reads the changes that ingesting keeps; *from daily rows* first finds them, in the
way that ingesting does, in rows that stand in order of drive and day. DuckDB may hold 1 GB and 2 GB.

Against **peers** ({published.pairs:,} pairs of drive and moment in {published.rows:,} drive-days, {tenth.pairs:,} in
{tenth.rows:,}): the features of a drive's own counters, its age and how long it was seen, for given pairs; everyone
makes these and no others. Peers read the daily rows from Parquet, in order of drive and day. All must give the same
bytes before a time counts; pandas' way is written apart from ours, as the tests' oracle is.
Window functions run on the forty days and, once, on a hundredth of the drives.

A frame has 208 features, 182 of them what a counter's changes say. Which change held on a row's last day, and which
a window before it, is found once for each row; the columns are then taken from the changes that any row needs. As
joins in SQL, one for each window, the same columns took three times as long. With less memory allowed fewer rows are
made at a time, to the same bytes: 280,836 rows took 1.1 times the CPU at 1 GB, and 1.3 times at 150 MB, as at 4 GB.

*What moves daily* is one pass over the days with the last 128 of each drive in a ring: rise and mean of each gauge over
the windows. It is **not among the features**: in the long history the one gauge filled, power-on hours, grows by
24 a day, because dates were rebuilt from it, so nothing can be learned from its rises; and forty days are too few to
train on. Whether rises of temperature or of read errors bring average precision cannot be said from this data.
mlforecast makes lags, by place and not by day, of one column at all of its rows. That is *growth alone*, and of drives
that miss no day: in the long history none does.
"""
