"""Who else makes the training frame from the daily rows: pandas, polars, window functions, mlforecast.

They answer as `frame_contestants` says, and were written apart from ours.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from benchmarks.contest import Answer, Job
from benchmarks.frame_contestants import EPOCH, LONG, digest, filled
from features.history import WINDOW_DAYS


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


def with_mlforecast(folder: str) -> Job:
    """mlforecast, from daily rows of drives that miss no day: lags of each counter at every row; growth alone.

    It takes no nulls, so -1 stands for them: no counter is ever below zero. Frames of polars cost it less than pandas'.
    """
    import polars as pl
    from mlforecast import MLForecast

    counters, lags = filled(Path(folder)), [f"lag{days}" for days in WINDOW_DAYS]

    def job() -> Callable[[], Answer]:
        raws = [f"{stem}_raw" for stem in counters]
        days = pl.read_parquet(Path(folder) / "daily.parquet", columns=["entity_key", "day", *raws])
        asked = pl.read_parquet(Path(folder) / "spine.parquet", columns=["entity_key", "last_day"])
        days = days.with_columns(pl.col("day").cast(pl.Int32)).with_row_index("row")
        asked = asked.select("entity_key", day=pl.col("last_day").cast(pl.Int32))
        rows = days.select("entity_key", "day", "row")
        wanted = asked.join(rows, on=["entity_key", "day"], how="left", maintain_order="left")["row"]
        columns = []
        for raw in raws:
            series = days.select("entity_key", "day", y=pl.col(raw).cast(pl.Float64).fill_null(-1))
            made = MLForecast(models=[], freq=1, lags=WINDOW_DAYS).preprocess(
                series, id_col="entity_key", time_col="day", target_col="y", static_features=[], dropna=False
            )
            told = pl.DataFrame(made).select(pl.col("y", *lags).gather(wanted).replace(-1, np.nan)).to_numpy()
            columns += [told[:, 0], *(told[:, :1] - told[:, 1:]).T]
        return digest([column.astype(np.float32) for column in columns])

    return job
