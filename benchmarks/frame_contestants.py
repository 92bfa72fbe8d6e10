"""Who makes the training frame: ours in three ways, and the scan that is the yardstick; peers are in `frame_peers`.

All answer with the digest of the same float32 columns, those of `compared` or `growth`; rows by moment and drive.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.contest import Answer, Job
from benchmarks.drive_history import emptied, opened, question
from data import changes
from data.catalog import catalog
from features import build
from features.history import WINDOW_DAYS

LONG = [days for days in WINDOW_DAYS if days >= 7]
EPOCH = date(1970, 1, 1)


def filled(folder: Path) -> list[str]:
    """The counters of which a history holds any value."""
    names = catalog("disk").counters
    wanted = ", ".join(f"count({stem}_raw)" for stem in names)
    with duckdb.connect(str(folder / "daily.duckdb"), read_only=True) as con:
        (counts,) = con.execute(f"select {wanted} from by_drive").fetchall()  # noqa: S608
    return [stem for stem, count in zip(names, counts, strict=True) if count]


def compared(counters: Sequence[str]) -> list[str]:
    """The features that everyone makes: all that a drive's own counters say, its age, and how long it was seen."""
    names = ["observed_days", "power_on_days"]
    for stem in counters:
        names += [stem, *(f"{stem}_rise_{days}d" for days in WINDOW_DAYS)]
        names += [f"{stem}_changes_{days}d" for days in LONG]
        names += [f"{stem}_days_since_change", f"{stem}_days_since_nonzero", f"{stem}_max_rise"]
    return names


def growth(counters: Sequence[str]) -> list[str]:
    """The features that lags make: each counter as it stands, and its growth over the windows."""
    return [name for stem in counters for name in (stem, *(f"{stem}_rise_{days}d" for days in WINDOW_DAYS))]


def digest(columns: Sequence[npt.NDArray[np.float32]]) -> Callable[[], Answer]:
    """The answer, to be worked out when the time is taken: how many cells, and their sha256."""
    return partial(_digest, columns)


def _digest(columns: Sequence[npt.NDArray[np.float32]]) -> Answer:
    found = hashlib.sha256()
    for column in columns:
        plain = np.ascontiguousarray(column, dtype=np.float32) + np.float32(0)
        plain[np.isnan(plain)] = np.nan
        found.update(plain.tobytes())
    return {"rows": len(columns[0]), "columns": len(columns), "sha256": found.hexdigest()}


def scan(folder: str) -> Job:
    """The yardstick: the sum of every reading column of a table with one row per drive and day."""
    con = duckdb.connect(str(Path(folder) / "daily.duckdb"), read_only=True)
    sums = ", ".join(f"sum({column})" for column in catalog("disk").columns)

    def job() -> Answer:
        (row,) = con.execute(f"select max(day), sum(entity_key), {sums} from daily").fetchall()  # noqa: S608
        return {"columns": len(row)}

    return job


def whole(folder: str) -> Job:
    """Ours, from the kept log: spine, features and labels."""
    asked, con = question(Path(folder)), opened(folder, "1GB")
    build.feature_names("disk")

    def job() -> Answer:
        spine = asked.spine(con)
        frame = build.frame(con, "disk", spine)
        fates = build.labels(con, "disk", spine, asked.known_until)
        return {"rows": frame.num_rows, "columns": frame.num_columns, "labelled": fates.num_rows}

    return job


def whole_raw(folder: str) -> Job:
    """Ours, from daily rows: the changes are found first, in the way that ingesting finds them."""
    con = _raw_connection(folder)
    asked = question(Path(folder))

    def job() -> Answer:
        changes.put(con, "disk")
        spine = asked.spine(con)
        frame = build.frame(con, "disk", spine)
        fates = build.labels(con, "disk", spine, asked.known_until)
        return {"rows": frame.num_rows, "columns": frame.num_columns, "labelled": fates.num_rows}

    return job


def log(folder: str) -> Job:
    """Ours, from the kept log: features of given pairs."""
    return _log(folder, compared)


def log_growth(folder: str) -> Job:
    """Ours, from the kept log: growth alone."""
    return _log(folder, growth)


def _log(folder: str, wanted: Callable[[Sequence[str]], list[str]]) -> Job:
    names, con = wanted(filled(Path(folder))), opened(folder)
    build.feature_names("disk")

    def job() -> Callable[[], Answer]:
        frame = build.frame(con, "disk", _pairs(folder), names=names)
        return digest([frame[name].to_numpy() for name in names])

    return job


def raw(folder: str) -> Job:
    """Ours, from daily rows: features of given pairs."""
    return _raw(folder, compared)


def raw_growth(folder: str) -> Job:
    """Ours, from daily rows: growth alone."""
    return _raw(folder, growth)


def _raw(folder: str, wanted: Callable[[Sequence[str]], list[str]]) -> Job:
    names, con = wanted(filled(Path(folder))), _raw_connection(folder)

    def job() -> Callable[[], Answer]:
        changes.put(con, "disk")
        frame = build.frame(con, "disk", _pairs(folder), names=names)
        return digest([frame[name].to_numpy() for name in names])

    return job


def _pairs(folder: str) -> pa.Table:
    """Who is asked about and when; no column more than the peers read."""
    return pq.read_table(Path(folder) / "spine.parquet", columns=["entity_key", "asof_at", "last_day"])


def _raw_connection(folder: str) -> duckdb.DuckDBPyConnection:
    con = emptied()
    build.feature_names("disk")
    con.execute("set memory_limit = '2GB'").fetchall()
    con.execute(f"set temp_directory = '{Path(folder) / 'spilt'}'").fetchall()
    con.execute(f"attach '{Path(folder) / 'daily.duckdb'}' as plain (read_only)").fetchall()
    gauges = ", ".join(f"{stem}_raw" for stem in catalog("disk").gauges)
    counters = ", ".join(f"{stem}_raw" for stem in catalog("disk").counters)
    for table in ("disk_day", "entity", "failure"):
        con.execute(f"drop table {table}").fetchall()
    con.execute("create view entity as from plain.entity").fetchall()
    con.execute("create view failure as from plain.failure").fetchall()
    con.execute(f"create view disk_day as select day, entity_key, ingested_at, {gauges} from plain.daily").fetchall()  # noqa: S608
    con.execute(
        f"create view series as select entity_key, 0 as version, day, false as held, {counters} from plain.by_drive"  # noqa: S608
    ).fetchall()
    return con


def dense(folder: str) -> Job:
    """What moves daily, in one pass over the days: each gauge's rise and mean over the windows, for the pairs asked.

    The last 128 days of every drive stand in a ring; a mean is over those of the window's days that were read.
    """
    asked, con = question(Path(folder)), opened(folder, "1GB")

    def job() -> Callable[[], Answer]:
        spine = asked.spine(con)
        moments, gauges = (
            spine["last_day"].cast(pa.int32()).to_numpy(),
            [f"{stem}_raw" for stem in catalog("disk").gauges],
        )
        counts = con.execute(f"select {', '.join(f'count({g})' for g in gauges)} from disk_day").fetchall()[0]  # noqa: S608
        held = [gauge for gauge, count in zip(gauges, counts, strict=True) if count]
        made = _streamed(con, held, spine["entity_key"].to_numpy(), moments)
        return digest([made[:, n] for n in range(made.shape[1])])

    return job


def _streamed(
    con: duckdb.DuckDBPyConnection, gauges: Sequence[str], drive: npt.NDArray[np.int32], day: npt.NDArray[np.int32]
) -> npt.NDArray[np.float32]:
    ((last,),) = con.execute("select max(entity_key) from disk_day").fetchall()
    rings = np.full((len(gauges), last + 1, 128), np.nan, np.float32)
    stamp = np.full((last + 1, 128), -1, np.int32)
    made = np.full((len(drive), len(gauges) * 2 * len(WINDOW_DAYS)), np.nan, np.float32)
    order = np.argsort(day, kind="stable")
    starts = {int(d): (int(a), int(b)) for d, a, b in _runs(day[order])}
    reader = con.sql(f"select entity_key, day, {', '.join(gauges)} from disk_day order by day").to_arrow_reader(1 << 17)  # noqa: S608
    open_day = -1
    for batch in reader:
        keys, days = batch.column(0).to_numpy(), batch.column(1).cast(pa.int32()).to_numpy()
        values = [batch.column(2 + n).to_numpy(zero_copy_only=False).astype(np.float32) for n in range(len(gauges))]
        for today, begin, end in _runs(days):
            if today != open_day:
                _tell(rings, stamp, made, order, starts.get(open_day), drive, open_day)
                open_day = int(today)
            slot = open_day % 128
            stamp[keys[begin:end], slot] = open_day
            for ring, one in zip(rings, values, strict=True):
                ring[keys[begin:end], slot] = one[begin:end]
    _tell(rings, stamp, made, order, starts.get(open_day), drive, open_day)
    return made


def _runs(values: npt.NDArray[np.int32]) -> list[tuple[int, int, int]]:
    if not len(values):
        return []
    cuts = np.flatnonzero(np.r_[True, values[1:] != values[:-1], True])
    return [(int(values[a]), int(a), int(b)) for a, b in pairwise(cuts.tolist())]


def _tell(
    rings: npt.NDArray[np.float32], stamp: npt.NDArray[np.int32], made: npt.NDArray[np.float32],
    order: npt.NDArray[np.int64], span: tuple[int, int] | None, drive: npt.NDArray[np.int32], today: int,
) -> None:  # fmt: skip
    if span is None:
        return
    places = order[span[0] : span[1]]
    who = drive[places]
    back = today - np.arange(max(WINDOW_DAYS) + 1, dtype=np.int32)
    fresh = stamp[who][:, back % 128] == back
    for n, ring in enumerate(rings):
        last = np.where(fresh, ring[who][:, back % 128], np.nan)
        seen = ~np.isnan(last)
        total, count = np.cumsum(np.nan_to_num(last), axis=1, dtype=np.float64), np.cumsum(seen, axis=1)
        for m, window in enumerate(WINDOW_DAYS):
            at = n * 2 * len(WINDOW_DAYS) + m
            made[places, at] = last[:, 0] - last[:, window]
            with np.errstate(invalid="ignore"):
                made[places, at + len(WINDOW_DAYS)] = total[:, window - 1] / np.where(
                    count[:, window - 1], count[:, window - 1], np.nan
                )
