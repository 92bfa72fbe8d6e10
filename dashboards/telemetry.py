"""What parts told over time, and where one stands among its peers of the same make; read from one snapshot.

A gauge is what a piece of evidence counts: an attribute of a drive (`smart_197`), or how many events a part had.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt

from dashboards.fleet_view import FleetReader
from data.catalog import catalog, has_readings
from data.warehouse import arrow
from features.build import RULE
from features.wording import counted
from pipelines.clock import end_of

EVENTS: Final = "events"
WARNING: Final = "warnings"
"""The counters that the features of the rule look at, added up."""
EVENT_DAYS: Final = 30
"""Peers are compared by how many events each had in so many days."""
ALWAYS: Final = {"disk": ("smart_5", "smart_187", "smart_197")}
"""What is shown of a part whose risk came without reasons."""

Points = tuple[tuple[datetime, float | None], ...]


@dataclass(frozen=True)
class Part:
    """Something in a host that may fail; `entity_key` is the warehouse's own."""

    entity_key: int
    component: str
    entity_id: str
    model: str | None


@dataclass(frozen=True)
class Peers:
    """Where a value stands among those of live parts of the same make."""

    value: float
    count: int
    """Peers, the part itself included."""
    below: float
    """Share of them that have less."""
    equal: float
    """Share of them that have the same, the part itself included."""
    middle: float
    """The median."""
    highest: float


def part(con: duckdb.DuckDBPyConnection, component: str, entity_id: str) -> Part | None:
    """The part of that name, or None when the snapshot does not know it."""
    return next(iter(parts(con, [(component, entity_id)])), None)


def parts(con: duckdb.DuckDBPyConnection, named: Sequence[tuple[str, str]]) -> tuple[Part, ...]:
    """The parts of those components and names that the snapshot knows, in their order."""
    query = """
        select entity_key, component, entity_id, model
        from entity join (select unnest($components) as component, unnest($ids) as entity_id)
        using (component, entity_id)"""
    asked = {"components": [component for component, _ in named], "ids": [name for _, name in named]}
    found = {(row[1], row[2]): Part(*row) for row in con.execute(query, asked).fetchall()}
    return tuple(found[name] for name in named if name in found)


def gauge_of(component: str, piece: str) -> str | None:
    """The gauge that shows a piece of evidence: an attribute, the warning counters, events; None: none does."""
    if not has_readings(component):
        return EVENTS
    if f"{piece}_raw" in catalog(component).columns:
        return piece
    return WARNING if "rule" in piece.split("_") else None


def named(component: str, gauge: str) -> str:
    """What the gauge counts, as a heading."""
    if gauge == WARNING:
        return "warning counters added up"
    if gauge != EVENTS:
        return counted(gauge)
    return "corrected errors a day" if component == "memory" else "events a day"


def steps(component: str, gauge: str) -> bool:
    """Whether values hold until the next one, as those of counters do."""
    return gauge == WARNING or (gauge != EVENTS and gauge in catalog(component).counters)


def history(con: duckdb.DuckDBPyConnection, one: Part, gauge: str, since: date, until: date) -> Points:
    """What the part told from one day to another, both included, the oldest first; days without a reading are null."""
    if gauge == EVENTS:
        return _events(con, one, since, until)
    query = _COUNTER if steps(one.component, gauge) else _GAUGE
    asked = query.format(column=_column(one.component, gauge))
    values = {"key": one.entity_key, "since": since, "until": until}
    return tuple((end_of(day), _float(value)) for day, value in con.execute(asked, values).fetchall())


def peers(fleet: FleetReader, one: Part, gauge: str, day: date) -> Peers | None:
    """Where the part stands on that day by the gauge; None when it told nothing of it."""
    values: dict[str, object] = {"component": one.component, "model": one.model, "day": day}
    if gauge == EVENTS:
        query = _MEMORY_PEERS if one.component == "memory" else _EVENT_PEERS
        return _standing(fleet, one, query, values | {"days": EVENT_DAYS})
    query = _COUNTER_PEERS if steps(one.component, gauge) else _GAUGE_PEERS
    return _standing(fleet, one, query.format(column=_column(one.component, gauge)), values)


def risk_peers(fleet: FleetReader, one: Part, asof_at: datetime, version: str) -> Peers | None:
    """Where the part's risk within 14 days stands among those told of its peers at the same moment."""
    asked: dict[str, object] = {"component": one.component, "model": one.model, "asof_at": asof_at, "version": version}
    return _standing(fleet, one, _RISK_PEERS, asked)


def risks(con: duckdb.DuckDBPyConnection, keys: Sequence[int], since: datetime, version: str) -> dict[int, Points]:
    """Each part's risk within 14 days by that model, the oldest first; null where it was unknown."""
    query = """
        select entity_key, asof_at, risk_14d from risk
        where asof_at > $since and model_version = $version and list_contains($keys, entity_key)
        order by entity_key, asof_at"""
    found: dict[int, list[tuple[datetime, float | None]]] = {}
    for row in arrow(con, query, {"since": since, "version": version, "keys": list(keys)}).to_pylist():
        found.setdefault(row["entity_key"], []).append((row["asof_at"], row["risk_14d"]))
    return {key: tuple(points) for key, points in found.items()}


def _events(con: duckdb.DuckDBPyConnection, one: Part, since: date, until: date) -> Points:
    values = {"key": one.entity_key, "since": end_of(since) - timedelta(days=1), "until": end_of(until)}
    query = _MEMORY_DAYS if one.component == "memory" else _EVENT_DAYS
    told = dict(con.execute(query, values).fetchall())
    days = [since + timedelta(days=n) for n in range((until - since).days + 1)]
    return tuple((end_of(day), float(told.get(day, 0))) for day in days)


def _standing(fleet: FleetReader, one: Part, query: str, values: dict[str, object]) -> Peers | None:
    """Where the part stands; what its peers have is asked once for each snapshot: all of a make share it."""

    def ask() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        told = arrow(fleet.con, query, values)
        held = told["value"].to_numpy().astype(np.float64)
        return told["entity_key"].to_numpy().astype(np.int64), held, np.sort(held)

    keys, held, ranked = fleet.remembered(f"peers {query} {sorted(values.items(), key=str)}", ask)
    at = int(np.searchsorted(keys, one.entity_key))
    if at == keys.size or keys[at] != one.entity_key:
        return None
    value, count = float(held[at]), int(ranked.size)
    below, upto = (int(np.searchsorted(ranked, value, side)) for side in ("left", "right"))
    return Peers(value, count, below / count, (upto - below) / count, float(np.median(ranked)), float(ranked[-1]))


@cache
def _column(component: str, gauge: str) -> str:
    """The gauge's value in SQL: a column of our own tables, the first 16 bits of it where it holds three counters."""
    if gauge == WARNING:
        return f"({' + '.join(f'coalesce({_column(component, each)}, 0)' for each in RULE)})"
    column = f"{gauge}_raw"
    known = catalog(component)
    assert column in known.columns  # noqa: S101 - `gauge_of` gives no other
    return f"({column} & 65535)" if gauge in known.packed else column


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


# A drive's counters on a day are those of its last change up to that day, in the version that is believed now.
_COUNTER: Final = """
with believed as (
    select coalesce(max(version), 0) as version from disk_change where entity_key = $key
),
changes as (
    select from_day, {column} as value from disk_change, believed
    where entity_key = $key and disk_change.version = believed.version and from_day <= $until
),
days as (
    select unnest(generate_series($since::date, $until::date, interval 1 day))::date as day
)
select day, value from days asof left join changes on days.day >= changes.from_day order by day"""
_GAUGE: Final = """
with days as (
    select unnest(generate_series($since::date, $until::date, interval 1 day))::date as day
),
told as (
    select day, {column} as value from disk_day where entity_key = $key and day between $since and $until
)
select day, value from days left join told using (day) order by day"""
_COUNTER_PEERS: Final = """
with live as (
    select entity_key from disk_day semi join (
        select entity_key from entity where component = $component and model is not distinct from $model
    ) using (entity_key) where day = $day
),
newest as (
    select entity_key, arg_max({column}, version * 100000 + (from_day - date '2000-01-01')) as value
    from disk_change semi join live using (entity_key) where from_day <= $day group by entity_key
)
select entity_key, value from newest where value is not null order by entity_key"""
_GAUGE_PEERS: Final = """
with newest as (
    select entity_key, {column} as value from disk_day semi join (
        select entity_key from entity where component = $component and model is not distinct from $model
    ) using (entity_key) where day = $day
)
select entity_key, value from newest where value is not null order by entity_key"""
_MEMORY_DAYS: Final = """
select observed_at::date as day, sum(errors) from memory_error
where entity_key = $key and observed_at > $since and observed_at <= $until group by day"""
_EVENT_DAYS: Final = """
select observed_at::date as day, count(*) from event
where entity_key = $key and observed_at > $since and observed_at <= $until group by day"""
_MEMORY_PEERS: Final = """
with told as (
    select entity_key, sum(errors) as value from memory_error
    where observed_at > $day - to_days($days) and observed_at <= $day + 1 group by entity_key
),
newest as (
    select entity_key, coalesce(value, 0) as value from entity left join told using (entity_key)
    where component = $component and model is not distinct from $model
)
select entity_key, value from newest where value is not null order by entity_key"""
_EVENT_PEERS: Final = """
with told as (
    select entity_key, count(*) as value from event
    where observed_at > $day - to_days($days) and observed_at <= $day + 1 group by entity_key
),
newest as (
    select entity_key, coalesce(value, 0) as value from entity left join told using (entity_key)
    where component = $component and model is not distinct from $model
)
select entity_key, value from newest where value is not null order by entity_key"""
_RISK_PEERS: Final = """
with newest as (
    select entity_key, risk_14d as value from risk semi join (
        select entity_key from entity where component = $component and model is not distinct from $model
    ) using (entity_key) where asof_at = $asof_at and model_version = $version
)
select entity_key, value from newest where value is not null order by entity_key"""
