"""What the changes of counters say: of each counter alike, how it stands, how far it rose, how long ago it moved.

Most entities change nothing for months: the change that holds on a row's `last_day` is then the one that held weeks
before, and nothing needs to be looked up for it. So the changes are numbered once, and a row has numbers of changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data.catalog import catalog
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

_VERSION_BITS: Final = 15
_DAY_BITS: Final = 17
_DAYS_BEFORE_1970: Final = 1 << _DAY_BITS - 1
"""Days from 1790 to 2149 can be told apart."""


@dataclass(frozen=True)
class Moved:
    """Rows for which another change held a window ago than on their `last_day`."""

    rows: Ints
    then: Ints
    """The change that held a window ago; -1: the entity was not yet seen."""


@dataclass(frozen=True)
class Held:
    """Which change held for each row of a question; a change's number is where it stands in `changes`."""

    changes: pa.Table
    """The rows of the change log that any of these numbers is of."""
    newest: Ints
    """The change that held on the row's `last_day`; shape (rows,)."""
    moved: Mapping[int, Moved]
    """By days of a window."""


def held(con: "duckdb.DuckDBPyConnection", component: str, rows: pa.Table) -> Held:
    """Return the changes that held on each row's `last_day` and a window before it, as was believed at its `asof_at`.

    Args:
        con: a connection on a warehouse or its snapshot.
        component: which entities; they are watched by readings.
        rows: the spine, in any order.

    Raises:
        WarehouseError: there is no change for one of them.
    """
    log = arrow(con, f"select entity_key, version, from_day, rowid from {component}_change")  # noqa: S608
    keys = _packed(whole(log, "entity_key"), whole(log, "version"), whole(log, "from_day"))
    order = np.argsort(keys, kind="stable")  # the quickest of what comes in pieces that are in order
    keys = keys[order]
    entity, last_day, version = whole(rows, "entity_key"), whole(rows, "last_day"), _versions(con, rows)
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
    return _fetched(con, component, whole(log, "rowid")[order], newest, moved)


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


def _fetched(
    con: "duckdb.DuckDBPyConnection", component: str, rowids: Ints, newest: Ints, moved: Mapping[int, Moved]
) -> Held:
    """Read the changes that are needed from the log, and number them anew as they come."""
    needed = np.zeros(len(rowids) + 1, np.bool_)
    for numbers in (newest, *(one.then for one in moved.values())):
        needed[numbers] = True
    needed[-1] = False
    wanted = np.flatnonzero(needed)
    with shown(con, needed=pa.table([pa.array(rowids[wanted])], ["number"])):
        changes = arrow(
            con,
            f"select *, rowid from {component}_change where rowid in (select number from needed)",  # noqa: S608
        )
    found = whole(changes, "rowid")
    order = np.argsort(found)
    place = np.full(len(rowids) + 1, -1, np.int64)
    place[wanted] = order[np.searchsorted(found, rowids[wanted], sorter=order)]
    return Held(changes, place[newest], {days: Moved(one.rows, place[one.then]) for days, one in moved.items()})


def told(component: str) -> Mapping[str, Mapping[str, str]]:
    """The features made here, by counter: their names, in order, and what each is."""
    return {stem: _told(stem) for stem in catalog(component).counters}


def _told(stem: str) -> dict[str, str]:
    return {
        stem: "counter as it stands",
        **{f"{stem}_rise_{days}d": f"growth in {days} days; null: not yet seen then" for days in WINDOW_DAYS},
        **{f"{stem}_changes_{days}d": f"days of {days} on which it changed; null: not yet seen then" for days in _LONG},
        f"{stem}_days_since_change": "d; null: it never changed",
        f"{stem}_days_since_nonzero": "d since it was first above zero; null: it never was",
        f"{stem}_max_rise": "largest growth in one day",
    }


_LONG: Final = tuple(days for days in WINDOW_DAYS if days >= COUNTED_FROM_DAYS)


def features(held: Held, component: str, last_day: Ints) -> Columns:
    """Return the features in the order of `told`: shape (counters, features of one, rows), NaN: not known.

    Differences are exact where the counter's numbers are below 2^53; those of drives have 48 bits.

    Args:
        held: which changes held.
        component: which entities.
        last_day: the day that each row's newest reading is of, since 1970; shape (rows,).
    """
    stems = catalog(component).counters
    # One stretch of memory for all, which is given out in large pages.
    columns = np.empty((len(stems), 1 + len(WINDOW_DAYS) + len(_LONG) + 3, len(last_day)), np.float32)
    for stem, own in zip(stems, columns, strict=True):
        raw, changes, changed_on, nonzero_on, rise = (
            _double(held.changes, f"{stem}_{name}")
            for name in ("raw", "changes", "changed_on", "nonzero_on", "max_rise")
        )
        own[0] = raw.astype(np.float32)[held.newest]
        _growth(held, raw, WINDOW_DAYS, own[1:])
        _growth(held, changes, _LONG, own[1 + len(WINDOW_DAYS) :])
        own[-3] = last_day - changed_on.astype(np.float32)[held.newest]
        own[-2] = last_day - nonzero_on.astype(np.float32)[held.newest]
        own[-1] = rise.astype(np.float32)[held.newest]
    return columns


def _growth(held: Held, values: Floats, windows: Sequence[int], columns: Columns) -> None:
    """Write by how much the values grew over each window, a column each."""
    now, then = values[held.newest], np.append(values, np.nan)
    still = (now - now).astype(np.float32)  # 0, or NaN where the value is not known
    for column, days in zip(columns, windows, strict=False):
        moved = held.moved[days]
        column[:] = still
        column[moved.rows] = now[moved.rows] - then[moved.then]


def whole(table: pa.Table, name: str) -> Ints:
    """Return a column of whole numbers or days (since 1970) without nulls."""
    return _plain(table, name).to_numpy().astype(np.int64)


def _double(table: pa.Table, name: str) -> Floats:
    """A column as float64, null as NaN; days are since 1970."""
    return np.asarray(_plain(table, name).to_numpy(), np.float64)


def _plain(table: pa.Table, name: str) -> "pa.ChunkedArray[Any]":
    column = table.column(name)
    return column.cast(pa.int32()) if pa.types.is_date(column.type) else column
