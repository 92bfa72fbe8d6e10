"""What sources that read drives' own health have in common: how one reading per drive and day becomes facts.

The first reading of a day (UTC) counts; those after it are duplicates, as nothing that a drive said is rewritten. No
failure is made of them: a drive that says it is failing is an event, and a drive that has failed is told by
`foreshock ingest failures`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final

import duckdb
import pyarrow as pa

from data.catalog import catalog
from data.contracts import ENTITIES, STAYS
from data.contracts import UTC as STAMP
from data.quarantine import Reject, mistimed
from data.readings import Absorbed, absorb, stage
from data.snapshots import arrow
from data.sources.arrival import Arrival, arrived
from data.sources.states import State, put_changes
from data.warehouse import Warehouse

COMPONENT: Final = "disk"
_BITS: Final = 63


@dataclass(frozen=True)
class Reading:
    """What a drive said of itself at a moment; `values` by the columns of the component's catalog."""

    serial: str
    observed_at: datetime
    values: Mapping[str, int]
    model: str | None = None
    capacity_bytes: int | None = None
    firmware: str | None = None
    host_id: str | None = None
    states: Mapping[str, float] = field(default_factory=dict)
    """What it said of its own health by kind of event; 0: all is well."""


def holds(value: float) -> bool:
    """Whether a column can hold the number."""
    return 0 <= value < 1 << _BITS


def dated(readings: Sequence[Reading], moment: datetime) -> tuple[list[Reading], list[Reject]]:
    """The readings whose moment can be believed when they are loaded at `moment`, and the others."""
    latest = max(moment, datetime.now(UTC))
    believed: list[Reading] = []
    rejects: list[Reject] = []
    for one in readings:
        wrong = mistimed(one.observed_at, latest, f"{one.serial} at {one.observed_at}")
        if wrong:
            rejects.append(wrong)
        else:
            believed.append(one)
    return believed, rejects


def put(
    warehouse: Warehouse,
    readings: Sequence[Reading],
    source: str,
    file: str,
    *,
    arrival: Arrival = "published",
    now: datetime | None = None,
) -> Absorbed:
    """What became of the readings of some files or of a question; what could not be read is the caller's to set aside.

    Args:
        warehouse: takes the facts.
        readings: what was read.
        source: name of the source.
        file: name of what was read, kept with quarantined rows.
        arrival: `published` counts a reading as known at its day's end, `now` as arriving now.
        now: the moment of loading; the wall clock's by default.
    """
    moment = now or datetime.now(UTC)
    latest = max(moment, datetime.now(UTC))
    firsts = _firsts(readings)
    with warehouse.transaction() as con:
        stage(con, COMPONENT)
        _fill(con, firsts, arrival, moment)
        again = len(readings) - len(firsts) + _drop_held(con)
        rows = absorb(con, COMPONENT, source, file, latest.date(), moment) + Absorbed(again, 0, again, 0)
        con.execute(
            "insert into ingest_file values (?, ?, ?, ?, ?, ?, ?)",
            [moment, source, file, rows.rows_read, rows.rows_loaded, rows.rows_duplicate, rows.rows_quarantined],
        )
    _learn(warehouse, firsts)
    _site(warehouse, firsts)
    put_changes(
        warehouse,
        [
            State(COMPONENT, one.serial, kind, one.observed_at, value)
            for one in firsts
            for kind, value in one.states.items()
        ],
        arrival,
        moment,
    )
    return rows


def _firsts(readings: Sequence[Reading]) -> list[Reading]:
    """Of each drive and day the reading that was taken first, in order of time."""
    kept: dict[tuple[str, date], Reading] = {}
    for one in sorted(readings, key=lambda one: (one.observed_at, one.serial)):
        kept.setdefault((one.serial, one.observed_at.date()), one)
    return list(kept.values())


def _fill(con: duckdb.DuckDBPyConnection, readings: Sequence[Reading], arrival: Arrival, moment: datetime) -> None:
    columns: dict[str, pa.Array[Any]] = {
        "entity_id": pa.array([one.serial for one in readings], pa.string()),
        "model": pa.array([one.model for one in readings], pa.string()),
        "capacity_bytes": pa.array([one.capacity_bytes for one in readings], pa.int64()),
        "day": pa.array([one.observed_at.date() for one in readings], pa.date32()),
        "ingested_at": pa.array([arrived(one.observed_at, arrival, moment) for one in readings], STAMP),
        "failure": pa.array([0] * len(readings), pa.int8()),
    }
    columns |= {
        name: pa.array([one.values.get(name) for one in readings], pa.int64()) for name in catalog(COMPONENT).columns
    }
    con.register("read", pa.table(columns))
    con.execute("insert into staged by name from read")
    con.unregister("read")


def _drop_held(con: duckdb.DuckDBPyConnection) -> int:
    """How many staged readings were of a day of which the drive's reading is held already; they are staged no more."""
    held = con.execute("""
        delete from staged where exists (
            select 1 from disk_day join entity using (entity_key)
            where component = 'disk' and entity_id = staged.entity_id and disk_day.day = staged.day)""").fetchall()
    return int(held[0][0])


def _learn(warehouse: Warehouse, readings: Sequence[Reading]) -> None:
    """Let the entities know the firmware that their newest reading told."""
    newest = {one.serial: one for one in readings if one.firmware}
    rows = [
        {
            "component": COMPONENT,
            "entity_id": one.serial,
            "model": one.model,
            "capacity_bytes": one.capacity_bytes,
            "firmware": one.firmware,
            "simulated": False,
        }
        for one in newest.values()
    ]
    if rows:
        warehouse.put_entities(pa.Table.from_pylist(rows, ENTITIES))


def _site(warehouse: Warehouse, readings: Sequence[Reading]) -> None:
    """Put drives that the inventory places nowhere into the known host that they were read on last."""
    hosts = set(_column(warehouse, "select host_id from host where valid_until is null"))
    read = [one for one in readings if one.host_id in hosts]
    if not read:
        return
    sits = _sits(warehouse)
    rows: list[dict[str, object]] = []
    for one in read:
        now = sits.get(one.serial)
        if now and (now.by_inventory or one.observed_at <= now.since or one.host_id == now.host_id):
            continue
        stay = {"component": COMPONENT, "entity_id": one.serial, "model": one.model}
        if now and now.host_id:
            rows.append(stay | {"host_id": now.host_id, "valid_from": now.since, "valid_until": one.observed_at})
        rows.append(stay | {"host_id": one.host_id, "valid_from": one.observed_at, "valid_until": None})
        sits[one.serial] = _Sits(one.host_id, one.observed_at, by_inventory=False)
    if rows:
        warehouse.put_stays(pa.Table.from_pylist(rows, STAYS))


@dataclass(frozen=True)
class _Sits:
    """The host that a drive sits in (null: in none any more), since when, and whether the inventory says so."""

    host_id: str | None
    since: datetime
    by_inventory: bool


def _sits(warehouse: Warehouse) -> dict[str, _Sits]:
    """Where the drives that were ever in a host were last."""
    rows = warehouse.con.execute("""
        select entity_id, if(valid_until is null, host_id, null), coalesce(valid_until, valid_from),
               by_inventory and valid_until is null
        from entity_host join entity using (entity_key) where component = 'disk'
        qualify row_number() over (partition by entity_key order by valid_until desc nulls first, valid_from desc) = 1
    """).fetchall()
    return {serial: _Sits(host, since.astimezone(UTC), by) for serial, host, since, by in rows}


def _column(warehouse: Warehouse, query: str) -> list[str]:
    return [str(value) for value in arrow(warehouse.con, query).column(0).to_pylist()]
