"""Risks of all live entities at a moment, with reasons, in the shape of the warehouse's `risk` table."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data import contracts
from data.contracts import HORIZON_DAYS
from data.errors import UsageError
from features import build
from models.examples import Floats
from models.predictor import OK, UNKNOWN, Predictor

if TYPE_CHECKING:
    import duckdb

    ArrowArray = pa.Array[Any]

AT_ONCE: Final = 200_000
"""Entities whose features are held in memory at the same time: some kilobytes each."""
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
    rows = build.spine(con, component, [asked_day(asof)])
    judged = []
    for first in range(0, max(1, rows.num_rows), AT_ONCE):
        frame = build.frame(con, component, rows.slice(first, AT_ONCE))
        judged.append(risks(frame, predictor, hosts(con, frame), top_reasons))
    return judged[0] if len(judged) == 1 else _told_of_the_riskiest(pa.concat_tables(judged), top_reasons)


def _told_of_the_riskiest(table: pa.Table, top_reasons: int) -> pa.Table:
    """The same risks, with the reasons of the riskiest rows of all alone."""
    keep = np.zeros(table.num_rows, dtype=np.bool_)
    keep[_riskiest(table[f"risk_{HORIZON_DAYS[-1]}d"].to_numpy(), top_reasons)] = True
    factors = pc.if_else(pa.array(keep), table["factors"], pa.scalar(None, pa.string()))
    return table.set_column(table.column_names.index("factors"), table.schema.field("factors"), factors)


def _riskiest(longest: Floats, count: int) -> "npt.NDArray[np.int64]":
    """Rows with the highest risks, as many; rows without one are never among them."""
    known = np.where(np.isnan(longest), -1.0, longest)
    rows = np.argsort(-known, kind="stable")[:count]
    return rows[known[rows] >= 0]


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
    why = predictor.unjudged(frame)
    columns: dict[str, ArrowArray | pa.ChunkedArray[Any]] = {
        "asof_at": pc.cast(frame["asof_at"], contracts.UTC),
        "entity_key": pc.cast(frame["entity_key"], pa.int32()),
        "entity_id": frame["entity_id"],
        "host_id": host_id,
        "component": pa.array([predictor.component] * frame.num_rows, pa.string()),
        "model_version": pa.array([predictor.version] * frame.num_rows, pa.string()),
        "status": pa.array([OK if one is None else UNKNOWN for one in why], pa.string()),
        "reason": pa.array(why, pa.string()),
        "factors": _factors(frame, predictor, values, top_reasons),
    }
    for position, days in enumerate(HORIZON_DAYS):
        columns[f"risk_{days}d"] = pa.array(values[:, position], mask=np.isnan(values[:, position]))
    return pa.table([columns[name] for name in SCHEMA.names], names=SCHEMA.names).cast(SCHEMA)


def _factors(frame: pa.Table, predictor: Predictor, values: Floats, top_reasons: int) -> "ArrowArray":
    """The reasons of the riskiest rows as JSON, null for the rest."""
    riskiest = _riskiest(values[:, -1], top_reasons)
    texts: list[str | None] = [None] * frame.num_rows
    for row, factors in zip(riskiest.tolist(), predictor.reasons(frame.take(riskiest)), strict=True):
        texts[row] = json.dumps([vars(one) for one in factors])
    return pa.array(texts, pa.string())


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
