"""Risks of all live entities at a moment, with reasons, in the shape of the warehouse's `risk` table."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data import contracts
from data.catalog import has_readings
from data.contracts import HORIZON_DAYS
from data.errors import UsageError
from features import build
from models.examples import Ints, doubles
from models.predictor import OK, UNKNOWN, Predictor, unjudged

if TYPE_CHECKING:
    import duckdb

    ArrowArray = pa.Array[Any]

AT_ONCE: Final = 200_000
"""Entities whose features are held in memory at the same time: some kilobytes each."""
LONGEST: Final = f"risk_{HORIZON_DAYS[-1]}d"
"""The risk by which entities are ranked."""
_TEXTS: Final = ("entity_id", "host_id", "component", "model_version", "status", "reason")
SCHEMA: Final = pa.schema(
    [
        pa.field("asof_at", contracts.UTC),
        *[pa.field(name, pa.int32() if name == "entity_key" else pa.string()) for name in ("entity_key", *_TEXTS)],
        *[pa.field(f"risk_{days}d", pa.float64()) for days in HORIZON_DAYS],
        pa.field("factors", pa.string()),
    ]
)
"""The `risk` table's columns, and the entity's and host's names for people. Risks are probabilities, null = unknown."""


def score(
    con: "duckdb.DuckDBPyConnection",
    component: str,
    predictor: Predictor,
    asof: date | datetime,
    top_reasons: int = 1000,
) -> pa.Table:
    """Return the risks of all live entities, one row each, in order of `entity_key`, as `SCHEMA` has it.

    Args:
        con: a connection on a warehouse or its snapshot.
        component: which entities.
        predictor: must be one of that component.
        asof: a day (asked at its end) or a midnight UTC (the end of the day before).
        top_reasons: `factors` is worked out for this many riskiest rows and null elsewhere.

    Raises:
        UsageError: the predictor is for another component, or `asof` is a moment within a day.
    """
    if predictor.component != component:
        msg = f"cannot score {component} with a model for {predictor.component}; load a {component} model"
        raise UsageError(msg)
    with build.sparing(con):
        day = asked_day(asof)
        spine, counts = build.spine(con, component, [day]), fleet(con, predictor, day)
        parts, numbers, frames = [], [], []
        for first in range(0, max(1, spine.num_rows), AT_ONCE):
            frame, told = _judged(con, predictor, spine.slice(first, AT_ONCE), counts)
            best = riskiest(told, top_reasons)
            parts.append(told)
            numbers.append(first + best)
            frames.append(frame.take(best))
    told, held = pa.concat_tables(parts), np.concatenate(numbers)
    rows = riskiest(told, top_reasons)
    order = np.argsort(held)
    texts = factors(pa.concat_tables(frames), predictor, order[np.searchsorted(held[order], rows)])
    return with_factors(told, {int(held[at]): text for at, text in texts.items()})


def judge(
    con: "duckdb.DuckDBPyConnection", predictor: Predictor, day: date, counts: pa.Table | None = None
) -> tuple[pa.Table, pa.Table]:
    """Return what a predictor asks of all live entities that a connection holds, and their risks without reasons.

    Args:
        con: a connection on a warehouse or its snapshot, or on a part of one.
        predictor: who judges.
        day: asked at its end.
        counts: what `features.build.fleet_lately` says of the whole fleet; by default it is asked of `con`.
    """
    with build.sparing(con):
        spine = build.spine(con, predictor.component, [day])
        return _judged(con, predictor, spine, fleet(con, predictor, day) if counts is None else counts)


def fleet(con: "duckdb.DuckDBPyConnection", predictor: Predictor, day: date) -> pa.Table | None:
    """Return what a day's rows need to know of the whole fleet; None where nothing is counted of it."""
    if not has_readings(predictor.component):
        return None
    return build.fleet_lately(lambda days: build.fleet(con, predictor.component, days), day)


def _judged(
    con: "duckdb.DuckDBPyConnection", predictor: Predictor, spine: pa.Table, counts: pa.Table | None
) -> tuple[pa.Table, pa.Table]:
    frame = build.frame(con, predictor.component, spine, counts, predictor.asked)
    return frame, risks(frame, predictor, hosts(con, frame), 0)


def asked_day(asof: date | datetime) -> date:
    """Return the day whose end is meant.

    Raises:
        UsageError: `asof` is a moment within a day, or without a time zone.
    """
    if not isinstance(asof, datetime):
        return asof
    if asof.tzinfo is None:
        msg = f"cannot score as of {asof}: it has no time zone; give a day, or a moment in UTC"
        raise UsageError(msg)
    moment = asof.astimezone(UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if moment != midnight:
        msg = f"cannot score as of {asof}: readings are daily, so only the end of a day can be asked; give the day"
        raise UsageError(msg)
    return (midnight - timedelta(days=1)).date()


def risks(frame: pa.Table, predictor: Predictor, host_id: "ArrowArray", top_reasons: int = 1000) -> pa.Table:
    """Return the risk rows of a feature table, same order; unknown rows have null risks and a reason."""
    values = predictor.predict(frame)
    why = unjudged(frame, values)
    columns: dict[str, ArrowArray | pa.ChunkedArray[Any]] = {
        "asof_at": pc.cast(frame["asof_at"], contracts.UTC),
        "entity_key": pc.cast(frame["entity_key"], pa.int32()),
        "entity_id": frame["entity_id"],
        "host_id": host_id,
        "component": pa.array([predictor.component] * frame.num_rows, pa.string()),
        "model_version": pa.array([predictor.version] * frame.num_rows, pa.string()),
        "status": pa.array([OK if one is None else UNKNOWN for one in why], pa.string()),
        "reason": pa.array(why, pa.string()),
        "factors": pa.nulls(frame.num_rows, pa.string()),
    }
    for position, days in enumerate(HORIZON_DAYS):
        columns[f"risk_{days}d"] = pa.array(values[:, position], mask=np.isnan(values[:, position]))
    told = pa.table([columns[name] for name in SCHEMA.names], names=SCHEMA.names).cast(SCHEMA)
    return with_factors(told, factors(frame, predictor, riskiest(told, top_reasons)))


def riskiest(told: pa.Table, top: int) -> Ints:
    """Return the numbers of the riskiest `top` rows whose risk is known, most at risk first."""
    longest = np.nan_to_num(doubles(told, LONGEST), nan=-1.0)
    rows = np.argsort(-longest, kind="stable")[:top]
    return np.asarray(rows[longest[rows] >= 0])


def factors(frame: pa.Table, predictor: Predictor, rows: Ints) -> dict[int, str]:
    """Return the reasons of some rows of a feature table as JSON, by their numbers."""
    told = predictor.reasons(frame.take(rows))
    return {row: json.dumps([vars(one) for one in each]) for row, each in zip(rows.tolist(), told, strict=True)}


def with_factors(told: pa.Table, texts: Mapping[int, str]) -> pa.Table:
    """Return risk rows with the reasons of some of them, by their numbers."""
    column = pa.array([texts.get(row) for row in range(told.num_rows)], pa.string())
    return told.set_column(told.schema.get_field_index("factors"), SCHEMA.field("factors"), column)


def hosts(con: "duckdb.DuckDBPyConnection", frame: pa.Table) -> "ArrowArray":
    """Return the host that each row's entity sat in at `asof_at`; null where none is known."""
    con.register("scored_rows", frame.select(["entity_key", "asof_at"]))
    try:
        found = con.sql("""
            with sited as (
                select scored_rows.entity_key, scored_rows.asof_at, max_by(host_id, valid_from) as host_id
                from scored_rows
                join entity_host
                  on entity_host.entity_key = scored_rows.entity_key
                 and entity_host.valid_from <= scored_rows.asof_at
                 and (entity_host.valid_until is null or entity_host.valid_until > scored_rows.asof_at)
                group by scored_rows.entity_key, scored_rows.asof_at
            )
            select scored_rows.entity_key, sited.host_id
            from scored_rows
            left join sited using (entity_key, asof_at)
            order by scored_rows.asof_at, scored_rows.entity_key
        """).to_arrow_table()
    finally:
        con.unregister("scored_rows")
    sited: ArrowArray = found["host_id"].combine_chunks()
    return sited
