"""What parts told over time, and where one stands among its peers of the same make; read from one snapshot.

A gauge is what a piece of evidence counts: an attribute of a drive (`smart_197`), or how many events a part had.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dashboards.fleet_view import FleetReader
from data.catalog import catalog, has_readings
from data.snapshots import arrow
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
Values = npt.NDArray[np.float64]
"""Of one part, in order of time."""
Matrix = npt.NDArray[np.float64]
"""A row of values for each part."""
Moments = npt.NDArray[np.datetime64]


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


def part(fleet: FleetReader, component: str, entity_id: str) -> Part | None:
    """The part of that name, or None when the snapshot does not know it."""
    return next(iter(parts(fleet, [(component, entity_id)])), None)


def parts(fleet: FleetReader, named: Sequence[tuple[str, str]]) -> tuple[Part, ...]:
    """The parts of those components and names that the snapshot knows, in their order."""
    query = """
        select entity_key, component, entity_id, model
        from entity join (select unnest($components) as component, unnest($ids) as entity_id)
        using (component, entity_id)"""

    def ask(unknown: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Part]:
        asked = {"components": [component for component, _ in unknown], "ids": [name for _, name in unknown]}
        return {(row[1], row[2]): Part(*row) for row in fleet.con.execute(query, asked).fetchall()}

    return tuple(fleet.known("parts", named, ask).values())


def learn(fleet: FleetReader, told: Sequence[Part]) -> None:
    """Need not ask about these parts any more."""
    by_name = {(each.component, each.entity_id): each for each in told}
    fleet.known("parts", list(by_name), lambda _unknown: by_name)


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


def history(fleet: FleetReader, one: Part, gauge: str, since: date, until: date) -> Points:
    """What the part told from one day to another, both included, the oldest first; days without a reading are null."""
    values = histories(fleet, one.component, gauge, [one.entity_key], since, until)[one.entity_key]
    return tuple(zip(_ends(since, until), _plain(values), strict=True))


def histories(
    fleet: FleetReader, component: str, gauge: str, keys: Sequence[int], since: date, until: date
) -> dict[int, Values]:
    """What each of the parts told on each of those days; one without a reading is nan."""
    query, blank, holds = _EVENT_DAYS, 0.0, False
    if gauge == EVENTS:
        query = _MEMORY_DAYS if component == "memory" else _EVENT_DAYS
    else:
        blank, holds = np.nan, steps(component, gauge)
        query = (_COUNTER if holds else _GAUGE).format(column=_column(component, gauge))

    def ask(unknown: Sequence[int]) -> dict[int, Values]:
        asked = {"keys": list(unknown), "until": until} | ({} if holds else {"since": since})
        told = arrow(fleet.con, query, asked)
        ordered = np.argsort(unknown)
        at = ordered[np.searchsorted(np.array(unknown), told["entity_key"].to_numpy(), sorter=ordered)]
        day = np.clip(told["day"].to_numpy().astype("datetime64[D]") - np.datetime64(since), 0, None).astype(np.int64)
        found = np.full((len(unknown), (until - since).days + 1), blank)
        found[at, day] = told["value"].to_numpy().astype(np.float64)
        return dict(zip(unknown, _held(found, at, day) if holds else found, strict=True))

    return fleet.known(f"{component} {gauge} {since} {until}", keys, ask)


def _held(found: Matrix, at: npt.NDArray[np.int64], day: npt.NDArray[np.int64]) -> Matrix:
    """Each value until the next one that was told."""
    last = np.zeros(found.shape, dtype=np.int64)
    last[at, day] = day
    last = np.maximum.accumulate(last, axis=1)
    held: Matrix = np.take_along_axis(found, last, axis=1)
    return held


@dataclass(frozen=True)
class Measure:
    """What peers are compared by: a query for what each of them has, and what it binds."""

    query: str
    values: Mapping[str, object]

    @cached_property
    def name(self) -> str:
        """No other measure has it."""
        return f"peers {self.query} {sorted(self.values.items(), key=str)}"


@lru_cache(maxsize=256)
def by_gauge(component: str, gauge: str, day: date) -> Measure:
    """Peers by a gauge, on that day."""
    values: dict[str, object] = {"component": component, "day": day}
    if gauge == EVENTS:
        query = _MEMORY_PEERS if component == "memory" else _EVENT_PEERS
        return Measure(query.format(alike=_ALIKE), values | {"days": EVENT_DAYS})
    query = _COUNTER_PEERS if steps(component, gauge) else _GAUGE_PEERS
    return Measure(query.format(alike=_ALIKE, column=_column(component, gauge)), values)


@lru_cache(maxsize=256)
def by_risk(component: str, asof_at: datetime, version: str) -> Measure:
    """Peers by the risk within 14 days that was told of them at that moment."""
    values: dict[str, object] = {"component": component, "asof_at": asof_at, "version": version}
    return Measure(_RISK_PEERS.format(alike=_ALIKE), values)


def risks(fleet: FleetReader, keys: Sequence[int], since: datetime, version: str) -> dict[int, Points]:
    """Each part's risk within 14 days by that model, the oldest first; null where it was unknown."""
    found = risks_told(fleet, keys, since, version)
    drawn = ((key, map(_moment, at.tolist()), _plain(values)) for key, (at, values) in found.items())
    return {key: tuple(zip(moments, values, strict=True)) for key, moments, values in drawn}


def risks_told(
    fleet: FleetReader, keys: Sequence[int], since: datetime, version: str
) -> dict[int, tuple[Moments, Values]]:
    """The same, as it is kept."""
    query = """
        select entity_key, asof_at, risk_14d from risk semi join (select unnest($keys) as entity_key) using (entity_key)
        where asof_at > $since and model_version = $version
        order by entity_key, asof_at"""

    def ask(unknown: Sequence[int]) -> dict[int, tuple[Moments, Values]]:
        told = arrow(fleet.con, query, {"since": since, "version": version, "keys": list(unknown)})
        owners, first = np.unique(told["entity_key"].to_numpy(), return_index=True)
        moments = np.split(told["asof_at"].cast(pa.timestamp("us")).to_numpy(), first[1:])
        values = np.split(told["risk_14d"].to_numpy().astype(np.float64), first[1:])
        return {int(key): (at, value) for key, at, value in zip(owners, moments, values, strict=False)}

    return fleet.known(f"risks {since} {version}", keys, ask)


def peers(fleet: FleetReader, one: Part, by: Measure) -> Peers | None:
    """Where the part stands among its peers; None when it told nothing of it."""
    held = makes(fleet, [one.model or ""], by).get(one.model or "")
    if held is None:
        return None
    at = int(np.searchsorted(held.keys, one.entity_key))
    if at == held.keys.size or held.keys[at] != one.entity_key:
        return None
    value, count = float(held.told[at]), int(held.ranked.size)
    below, upto = (int(np.searchsorted(held.ranked, value, side)) for side in ("left", "right"))
    return Peers(value, count, below / count, (upto - below) / count, held.middle, float(held.ranked[-1]))


@dataclass(frozen=True)
class Make:
    """The live parts of a make by key, and what each of them has."""

    keys: npt.NDArray[np.int64]
    told: Values
    ranked: Values
    """The same, from the least to the most."""
    middle: float
    """The median."""


def _make(keys: npt.NDArray[np.int64], told: Values) -> Make:
    return Make(keys, told, np.sort(told), float(np.median(told)))


def makes(fleet: FleetReader, models: Sequence[str], by: Measure) -> dict[str, Make]:
    """The live parts of each make, asked about once for each snapshot: all of a make share them.

    The empty make is of those whose make nobody told.
    """

    def ask(unknown: Sequence[str]) -> dict[str, Make]:
        told = arrow(fleet.con, by.query, {**by.values, "models": list(unknown)})
        model = told["model"].combine_chunks().dictionary_encode()
        keys, held = told["entity_key"].to_numpy().astype(np.int64), told["value"].to_numpy().astype(np.float64)
        own = {str(name): model.indices.to_numpy() == n for n, name in enumerate(model.dictionary.to_pylist())}
        return {name: _make(keys[mine], held[mine]) for name, mine in own.items()}

    return fleet.known(by.name, models, ask)


@lru_cache(maxsize=64)
def _ends(since: date, until: date) -> tuple[datetime, ...]:
    return tuple(end_of(since + timedelta(days=n)) for n in range((until - since).days + 1))


@lru_cache(maxsize=4_096)
def _moment(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)


def _plain(values: Values) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


@cache
def _column(component: str, gauge: str) -> str:
    """The gauge's value in SQL: a column of our own tables, the first 16 bits of it where it holds three counters."""
    if gauge == WARNING:
        return f"({' + '.join(f'coalesce({_column(component, each)}, 0)' for each in RULE)})"
    column = f"{gauge}_raw"
    known = catalog(component)
    assert column in known.columns  # noqa: S101 - `gauge_of` gives no other
    return f"({column} & 65535)" if gauge in known.packed else column


# A drive's counters on a day are those of its last change up to that day, in the version that is believed now.
_COUNTER: Final = """
with asked as (select unnest($keys) as entity_key),
changes as (
    select entity_key, version, from_day as day, {column} as value
    from disk_change semi join asked using (entity_key)
),
believed as (
    select entity_key, max(version) as version from changes group by entity_key
)
select entity_key, day, value from changes join believed using (entity_key, version)
where day <= $until order by entity_key, day"""
_GAUGE: Final = """
with asked as (select unnest($keys) as entity_key)
select entity_key, day, {column} as value
from disk_day semi join asked using (entity_key) where day between $since and $until"""
_MEMORY_DAYS: Final = """
with asked as (select unnest($keys) as entity_key)
select entity_key, observed_at::date as day, sum(errors) as value
from memory_error semi join asked using (entity_key)
where observed_at > $since and observed_at < $until + 1 group by all"""
_EVENT_DAYS: Final = """
with asked as (select unnest($keys) as entity_key)
select entity_key, observed_at::date as day, count(*) as value
from event semi join asked using (entity_key)
where observed_at > $since and observed_at < $until + 1 group by all"""
# `alike` are parts of the makes asked about; of no known make where that is empty.
_ALIKE: Final = """
alike as (
    select entity_key, coalesce(model, '') as model from entity
    semi join (select unnest($models) as model) asked on asked.model = coalesce(entity.model, '')
    where component = $component
)"""
_COUNTER_PEERS: Final = """
with {alike},
live as (
    select entity_key, model from alike semi join disk_day on disk_day.entity_key = alike.entity_key and day = $day
),
newest as (
    select entity_key, arg_max({column}, version * 100000 + (from_day - date '2000-01-01')) as value
    from disk_change semi join live using (entity_key) where from_day <= $day group by entity_key
)
select model, entity_key, value from newest join live using (entity_key) where value is not null order by entity_key"""
_GAUGE_PEERS: Final = """
with {alike},
newest as (
    select model, entity_key, {column} as value from disk_day join alike using (entity_key) where day = $day
)
select model, entity_key, value from newest where value is not null order by entity_key"""
_MEMORY_PEERS: Final = """
with {alike},
told as (
    select entity_key, sum(errors) as value from memory_error
    where observed_at > $day - $days and observed_at <= $day + 1 group by entity_key
)
select model, entity_key, coalesce(value, 0) as value
from alike left join told using (entity_key) order by entity_key"""
_EVENT_PEERS: Final = """
with {alike},
told as (
    select entity_key, count(*) as value from event
    where observed_at > $day - $days and observed_at <= $day + 1 group by entity_key
)
select model, entity_key, coalesce(value, 0) as value
from alike left join told using (entity_key) order by entity_key"""
_RISK_PEERS: Final = """
with {alike}
select model, entity_key, risk_14d as value from risk join alike using (entity_key)
where asof_at = $asof_at and model_version = $version and risk_14d is not null order by entity_key"""
