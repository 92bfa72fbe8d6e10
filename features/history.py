"""What the changes of counters say: of each counter alike, how it stands, how far it rose, how long ago it moved.

Most entities change nothing for months: the change that holds on a row's `last_day` is then the one that held weeks
before, and nothing needs to be looked up for it. So the changes are numbered once, and a row has numbers of changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data.arrays import doubles, numbers
from data.catalog import catalog
from data.changes import KINDS
from data.errors import WarehouseError
from data.snapshots import arrow, shown

if TYPE_CHECKING:
    import duckdb

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Columns = npt.NDArray[np.float32]

WINDOW_DAYS: Final = (1, 3, 7, 14, 30, 90)
COUNTED_FROM_DAYS: Final = 7
"""On how many days a counter changed is told over windows from this length on: in less it is hardly ever two."""

_KEYS: Final = ("entity_key", "version", "from_day")
_VERSION_BITS: Final = 15
_DAY_BITS: Final = 17
_DAYS_BEFORE_1970: Final = 1 << _DAY_BITS - 1
"""Days from 1790 to 2149 can be told apart."""


@dataclass(frozen=True)
class Moved:
    """Rows for which another change held a window ago than on their `last_day`."""

    rows: Ints
    then: Ints
    """The change that held a window ago; as many as there are changes: the entity was not yet seen."""


@dataclass(frozen=True)
class Held:
    """Which change held for each row of a question; a change's number is where it stands in `changes`."""

    changes: pa.Table
    """What the change log says of all changes that any of these numbers is of."""
    newest: Ints
    """The change that held on the row's `last_day`; shape (rows,)."""
    moved: Mapping[int, Moved]
    """By days of a window."""


def held(con: "duckdb.DuckDBPyConnection", component: str, rows: pa.Table, columns: Sequence[str]) -> Held:
    """Return the changes that held on each row's `last_day` and a window before it, as was believed at its `asof_at`.

    A change that another one came after is never the entity's current one, so what held before is looked for among
    those superseded alone.

    Args:
        con: a connection on a warehouse or its snapshot.
        component: which entities; they are watched by readings.
        rows: the spine, in any order.
        columns: what is needed of the changes; one or more of `columns`.

    Raises:
        WarehouseError: there is no change for one of them.
    """
    current, past = _current(con, component, rows, columns), _past(con, component, rows)
    keys = np.concatenate([_packed(*(whole(log, name) for name in _KEYS)) for log in (current, past)])
    order = np.argsort(keys, kind="stable")  # the quickest of what comes in pieces that are in order
    keys = keys[order]
    version = _versions(con, rows) if pc.max(current["version"]).as_py() else np.zeros(rows.num_rows, np.int64)
    entity, last_day = whole(rows, "entity_key"), whole(rows, "last_day")
    first, day_0 = (_packed(entity, version, np.full_like(last_day, day)) for day in (-_DAYS_BEFORE_1970, 0))
    newest = _at(keys, first, day_0 + last_day)
    if newest.size and newest.min() < 0:
        msg = "The facts held contradict each other: an entity has readings and no change. foreshock doctor says where."
        raise WarehouseError(msg)
    began = keys[newest] - day_0
    moved = {}
    for days in WINDOW_DAYS:
        elsewhere = np.flatnonzero(began > last_day - days)
        then = _at(keys, first[elsewhere], (day_0 + last_day)[elsewhere] - days)
        moved[days] = Moved(elsewhere, then)
    at = np.append(order, -1)
    needed = np.zeros(len(at), np.bool_)
    for which in (newest, *(one.then for one in moved.values())):
        needed[at[which]] = True
    changes, place = _read(con, component, current, past, needed[current.num_rows : -1])
    number = place[at]
    return Held(changes, number[newest], {days: Moved(one.rows, number[one.then]) for days, one in moved.items()})


def _current(con: "duckdb.DuckDBPyConnection", component: str, rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The current changes of the entities asked about."""
    with shown(con, asked=rows.select(["entity_key"])):
        return arrow(
            con,
            f"select {', '.join((*_KEYS, *columns))} "  # noqa: S608 - names of ours
            f"from {component}_current semi join asked using (entity_key)",
        )


def _past(con: "duckdb.DuckDBPyConnection", component: str, rows: pa.Table) -> pa.Table:
    """Keys and places of the superseded changes that can have held on the days asked about, or a window before."""
    first, last = pc.min(rows["last_day"]).as_py(), pc.max(rows["last_day"]).as_py()
    since = None if first is None else first - timedelta(days=max(WINDOW_DAYS))
    return arrow(
        con,
        f"select {', '.join(_KEYS)}, rowid from {component}_superseded "  # noqa: S608 - names of ours
        "where from_day <= $until::date and until_day > $since::date",
        {"since": since, "until": last},
    )


def _versions(con: "duckdb.DuckDBPyConnection", rows: pa.Table) -> Ints:
    """Which version of an entity's past was believed when each row was asked: 0 but for those with late readings."""
    asked = rows.select(["entity_key", "asof_at"]).append_column("row", pa.array(np.arange(rows.num_rows)))
    with shown(con, asked=asked):
        late = arrow(
            con,
            "select asked.row, entity_version.version from asked join entity_version "
            "on entity_version.entity_key = asked.entity_key "
            "and asked.asof_at >= entity_version.known_from and asked.asof_at < entity_version.known_until",
        )
    versions = np.zeros(rows.num_rows, np.int64)
    versions[whole(late, "row")] = whole(late, "version")
    return versions


def _packed(entity: Ints, version: Ints, day: Ints) -> Ints:
    """One number each that orders by entity, version, day (since 1970)."""
    if version.size and version.max() >= 1 << _VERSION_BITS:
        most = (1 << _VERSION_BITS) - 1
        msg = f"An entity's past was rewritten {version.max()} times; at most {most} of its versions can be told apart."
        raise WarehouseError(msg)
    return (((entity << _VERSION_BITS) | version) << _DAY_BITS) + day + _DAYS_BEFORE_1970


def _at(keys: Ints, first: Ints, wanted: Ints) -> Ints:
    """Where in the ordered `keys` the last one from `first` to `wanted` stands; -1: there is none."""
    found = np.searchsorted(keys, wanted, side="right") - 1
    some = found >= 0
    some[some] = keys[found[some]] >= first[some]
    return np.where(some, found, -1)


def _read(
    con: "duckdb.DuckDBPyConnection", component: str, current: pa.Table, past: pa.Table, needed: npt.NDArray[np.bool_]
) -> tuple[pa.Table, Ints]:
    """The current changes and behind them those needed of the past, and where each of both stands there.

    After all of these comes the place of none, which is behind all changes.
    """
    rowids = whole(past, "rowid")[needed]
    told = [name for name in current.column_names if name not in _KEYS]
    with shown(con, needed=pa.table([pa.array(rowids)], ["place"])):
        found = arrow(
            con,
            f"select {', '.join(told)}, rowid from {component}_superseded "  # noqa: S608 - names of ours
            "where rowid in (select place from needed)",
        )
    held = whole(found, "rowid")
    order = np.argsort(held, kind="stable")
    place = np.arange(current.num_rows + past.num_rows + 1)
    place[current.num_rows : -1][needed] = current.num_rows + order[np.searchsorted(held, rowids, sorter=order)]
    place[-1] = current.num_rows + found.num_rows
    return pa.concat_tables([current.select(told), found.drop_columns(["rowid"])]), place


@dataclass(frozen=True)
class Made:
    """A feature that is made of one column of the change log."""

    name: str
    column: str
    how: Literal["as it stands", "days since", "growth"]
    says: str
    days: int = 0
    """The window over which it grew."""


def columns(component: str) -> list[str]:
    """What the change log tells of a change, beside whose it is and when it began."""
    return ["first_day", *(f"{stem}_{kind}" for stem in catalog(component).counters for kind in KINDS)]


@cache
def made(component: str) -> Mapping[str, tuple[Made, ...]]:
    """The features made here, by counter, those of one column together."""
    return {stem: tuple(_of_counter(stem)) for stem in catalog(component).counters}


def _of_counter(stem: str) -> Iterator[Made]:
    yield Made(stem, f"{stem}_raw", "as it stands", "counter as it stands")
    for days in WINDOW_DAYS:
        says = f"growth in {days} days; null: not yet seen then"
        yield Made(f"{stem}_rise_{days}d", f"{stem}_raw", "growth", says, days)
    for days in WINDOW_DAYS:
        if days >= COUNTED_FROM_DAYS:
            says = f"days of {days} on which it changed; null: not yet seen then"
            yield Made(f"{stem}_changes_{days}d", f"{stem}_changes", "growth", says, days)
    yield Made(f"{stem}_days_since_change", f"{stem}_changed_on", "days since", "d; null: it never changed")
    says = "d since it was first above zero; null: it never was"
    yield Made(f"{stem}_days_since_nonzero", f"{stem}_nonzero_on", "days since", says)
    yield Made(f"{stem}_max_rise", f"{stem}_max_rise", "as it stands", "largest growth in one day")


def features(held: Held, asked: Sequence[Made], last_day: Ints) -> Columns:
    """Return features of counters' changes: shape (features, rows), NaN: not known.

    Differences are exact where the counter's numbers are below 2^53; those of drives have 48 bits.

    Args:
        held: which changes held.
        asked: which features, those of one column together.
        last_day: the day that each row's newest reading is of, since 1970; shape (rows,).
    """
    # One stretch of memory for all, which is given out in large pages; and what is worked in is used for every column.
    columns = np.empty((len(asked), len(last_day)), np.float32)
    values, now, today = np.empty(held.changes.num_rows + 1), np.empty(len(last_day)), last_day.astype(np.float32)
    values[-1] = np.nan
    looked_up, still = "", today
    for one, column in zip(asked, columns, strict=True):
        if one.column != looked_up:
            looked_up = one.column
            doubles(held.changes[looked_up], values[:-1])
            values.take(held.newest, out=now, mode="clip")
            still = (now - now).astype(np.float32)  # 0, or NaN where the value is not known
        if one.how == "growth":
            moved = held.moved[one.days]
            column[:] = still
            column[moved.rows] = (now.take(moved.rows) - values.take(moved.then)).astype(np.float32)
        else:
            column[:] = now
        if one.how == "days since":
            np.subtract(today, column, out=column)
    return columns


def whole(table: pa.Table, name: str) -> Ints:
    """Return a column of whole numbers or days (since 1970) without nulls."""
    return numbers(table[name]).astype(np.int64)
