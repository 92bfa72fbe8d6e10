"""Who makes the training frame: ours in three ways, the scan that is the yardstick, and peers from the daily rows.

All answer with the digest of the same float32 columns: in the order of `compared`, rows by moment and drive.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

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
    names, con = compared(filled(Path(folder))), opened(folder)
    build.feature_names("disk")

    def job() -> Callable[[], Answer]:
        frame = build.frame(con, "disk", _pairs(folder), names=names)
        return digest([frame[name].to_numpy() for name in names])

    return job


def raw(folder: str) -> Job:
    """Ours, from daily rows: features of given pairs."""
    names, con = compared(filled(Path(folder))), _raw_connection(folder)

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


def with_pandas(folder: str) -> Job:
    """pandas, from daily rows in order of drive and day: cumulated by drive, looked up with `merge_asof`."""
    import pandas as pd

    counters = filled(Path(folder))

    def job() -> Callable[[], Answer]:
        days = pd.read_parquet(Path(folder) / "daily.parquet")
        asked = pd.read_parquet(Path(folder) / "spine.parquet", columns=["entity_key", "asof_at", "last_day"])
        drive = days["entity_key"]
        number = (pd.to_datetime(days["day"]) - pd.Timestamp(EPOCH)).dt.days
        held = pd.DataFrame({"entity_key": drive, "day": number, "row": np.arange(len(days))}).sort_values(
            "day", kind="stable"
        )
        at_day = (pd.to_datetime(asked["last_day"]) - pd.Timestamp(EPOCH)).dt.days
        asked = asked.assign(at=at_day, place=np.arange(len(asked))).sort_values("at")

        def rows(back: int) -> npt.NDArray[np.float64]:
            moved = asked[["entity_key", "place"]].assign(at=asked["at"] - back)
            found = pd.merge_asof(moved, held, left_on="at", right_on="day", by="entity_key")
            return np.asarray(found.sort_values("place")["row"].to_numpy(dtype=np.float64))

        def at(values: "pd.Series[Any]", where: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            taken = values.to_numpy(dtype=np.float64)[np.nan_to_num(where).astype(np.int64)]
            return np.where(np.isnan(where), np.nan, taken)

        now, before = rows(0), {days_back: rows(days_back) for days_back in WINDOW_DAYS}
        today = at(number, now)
        columns = [today - at(number.groupby(drive).transform("first"), now) + 1, at(days["smart_9_raw"], now) / 24.0]
        for stem in counters:
            values = days[f"{stem}_raw"].astype("float64")
            rise = values.groupby(drive).diff()
            moved = rise.fillna(0).ne(0)
            changes = moved.groupby(drive).cumsum()
            changed_on = number.where(moved).groupby(drive).ffill()
            nonzero_on = number.where(values > 0).groupby(drive).transform("cummin").groupby(drive).ffill()
            highest = rise.clip(lower=0).fillna(0).groupby(drive).cummax()
            columns.append(at(values, now))
            columns += [columns[-1] - at(values, before[back]) for back in WINDOW_DAYS]
            columns += [at(changes, now) - at(changes, before[back]) for back in LONG]
            columns += [today - at(changed_on, now), today - at(nonzero_on, now), at(highest, now)]
        return digest([column.astype(np.float32) for column in columns])

    return job


def with_polars(folder: str) -> Job:
    """polars, from daily rows in order of drive and day: cumulated over drives, looked up with `join_asof`."""
    import polars as pl

    counters = filled(Path(folder))

    def job() -> Callable[[], Answer]:
        raws = [f"{stem}_raw" for stem in counters]
        days = pl.read_parquet(Path(folder) / "daily.parquet", columns=["entity_key", "day", "smart_9_raw", *raws])
        asked = pl.read_parquet(Path(folder) / "spine.parquet", columns=["entity_key", "last_day"]).with_row_index(
            "place"
        )
        days = days.with_columns(pl.col("day").cast(pl.Int32)).with_row_index("row")
        asked = asked.with_columns(pl.col("last_day").cast(pl.Int32))
        drive = "entity_key"
        days = days.with_columns(
            pl.col("day").first().over(drive).alias("first_day"),
            *[pl.col(raw).diff().over(drive).alias(f"{stem}_step") for stem, raw in zip(counters, raws, strict=True)],
        )
        days = days.with_columns(
            *[
                (pl.col(f"{stem}_step").fill_null(0) != 0).cum_sum().over(drive).alias(f"{stem}_changes")
                for stem in counters
            ],
            *[
                pl.when(pl.col(f"{stem}_step") != 0)
                .then(pl.col("day"))
                .forward_fill()
                .over(drive)
                .alias(f"{stem}_changed_on")
                for stem in counters
            ],
            *[
                pl.when(pl.col(f"{stem}_raw") > 0).then(pl.col("day")).min().over(drive).alias(f"{stem}_ever")
                for stem in counters
            ],
            *[
                pl.col(f"{stem}_step").clip(lower_bound=0).fill_null(0).cum_max().over(drive).alias(f"{stem}_max_rise")
                for stem in counters
            ],
        )
        held = days.select(drive, "day", "row").sort("day")

        def rows(back: int) -> "pl.Series":
            moved = asked.select(drive, "place", at=pl.col("last_day") - back).sort("at")
            return moved.join_asof(held, left_on="at", right_on="day", by=drive, check_sortedness=False).sort("place")[
                "row"
            ]

        def at(name: str, where: "pl.Series") -> npt.NDArray[np.float64]:
            return np.asarray(days[name].gather(where).cast(pl.Float64).to_numpy())

        now, before = rows(0), {back: rows(back) for back in WINDOW_DAYS}
        today = at("day", now)
        columns = [today - at("first_day", now) + 1, at("smart_9_raw", now) / 24.0]
        for stem in counters:
            value, changes = at(f"{stem}_raw", now), at(f"{stem}_changes", now)
            columns.append(value)
            columns += [value - at(f"{stem}_raw", before[back]) for back in WINDOW_DAYS]
            columns += [changes - at(f"{stem}_changes", before[back]) for back in LONG]
            ever = at(f"{stem}_ever", now)
            columns += [
                today - at(f"{stem}_changed_on", now),
                np.where(ever <= today, today - ever, np.nan),
                at(f"{stem}_max_rise", now),
            ]
        return digest([column.astype(np.float32) for column in columns])

    return job


def with_windows(folder: str) -> Job:
    """DuckDB's window functions over the daily rows, kept for the pairs asked."""
    counters = filled(Path(folder))
    frames = ", ".join(
        f"w{back} as (partition by entity_key order by day "
        f"range between unbounded preceding and interval {back} days preceding)"
        for back in WINDOW_DAYS
    )
    steps = ", ".join(f"{c}_raw, {c}_raw - lag({c}_raw) over so_far as {c}_step" for c in counters)
    made = []
    for c in counters:
        made += [f"last_value({c}_raw) over w{back} as {c}_before_{back}d" for back in WINDOW_DAYS]
        made += [f"count(*) filter ({c}_step <> 0) over w{back} as {c}_counted_{back}d" for back in LONG]
        made += [
            f"{c}_raw", f"count(*) filter ({c}_step <> 0) over so_far as {c}_changes",
            f"max(day) filter ({c}_step <> 0) over so_far as {c}_changed_on",
            f"min(day) filter ({c}_raw > 0) over so_far as {c}_nonzero_on",
            f"coalesce(greatest(max({c}_step) over so_far, 0), 0) as {c}_max_rise",
        ]  # fmt: skip
    told = []
    for c in counters:
        told += [f"{c}_raw::float", *(f"({c}_raw - {c}_before_{back}d)::float" for back in WINDOW_DAYS)]
        told += [f"if(first_day <= day - {back}, {c}_changes - {c}_counted_{back}d, null)::float" for back in LONG]
        told += [f"(day - {c}_changed_on)::float", f"(day - {c}_nonzero_on)::float", f"{c}_max_rise::float"]
    query = (
        f"with stepped as (select entity_key, day, smart_9_raw, first_value(day) over so_far as first_day, {steps} "  # noqa: S608
        "from read_parquet($daily) window so_far as (partition by entity_key order by day)), "
        f"made as (select entity_key, day, first_day, smart_9_raw, {', '.join(made)} from stepped "
        f"window so_far as (partition by entity_key order by day), {frames}) "
        f"select (day - first_day + 1)::float, (smart_9_raw / 24.0)::float, {', '.join(told)} "
        "from read_parquet($spine) asked "
        "join made on made.entity_key = asked.entity_key and made.day = asked.last_day "
        "order by asked.asof_at, asked.entity_key"
    )
    con = duckdb.connect()
    con.execute("set time zone 'UTC'; set memory_limit = '6GB'").fetchall()
    con.execute(f"set temp_directory = '{Path(folder) / 'spilt'}'").fetchall()

    def job() -> Callable[[], Answer]:
        paths = {"daily": str(Path(folder) / "daily.parquet"), "spine": str(Path(folder) / "spine.parquet")}
        table = con.sql(query, params=paths).to_arrow_table()
        return digest([column.to_numpy() for column in table.columns])

    return job


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
