"""The changes of counters that daily readings spell out, each with its running totals.

The readings stand in the table or view `series`, in order of entity, version and day: a row a day, and before the first
of an entity whose changes go on from one held already that one, marked `held`. Hardly any reading differs from the one
before it: DuckDB finds those that do in one pass, and only of these are totals made, in passes over arrays.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa

from data.arrays import Column, Numbers, arrow, numbers
from data.catalog import catalog
from data.snapshots import one_thread, shown
from data.sql import statement

UNKNOWN: Final = -1
"""Stands for a null reading: none is ever below zero."""
NEVER: Final = int(np.iinfo(np.int32).min)
"""Stands for a null day; the others are days since 1970."""
KINDS: Final[dict[str, tuple[pa.DataType, int]]] = {
    "raw": (pa.int64(), UNKNOWN),
    "changes": (pa.int32(), 0),
    "changed_on": (pa.date32(), NEVER),
    "nonzero_on": (pa.date32(), NEVER),
    "max_rise": (pa.int64(), 0),
}
"""The columns of a counter in the tables of changes: their type, and what they are before the first reading."""
_ROWS_AT_ONCE: Final = 1 << 18


def put(con: duckdb.DuckDBPyConnection, component: str) -> None:
    """Record the changes that `series` spells out; current ones that others follow are superseded."""
    for rows in spelt_out(con, component):
        record(con, component, rows)


def record(con: duckdb.DuckDBPyConnection, component: str, rows: pa.Table) -> None:  # noqa: ARG001 - DuckDB reads `rows`
    """Put the entities' current changes into the past, as `spelt_out` tells them, and what is current now instead.

    `rows` is read by its name, at half of what it costs to show it to statements.
    """
    con.execute(f"delete from {component}_current where entity_key in (select entity_key from rows)")  # noqa: S608
    con.execute(f"insert into {component}_superseded by name from rows where until_day is not null")
    newest = "select * exclude (until_day) from rows where until_day is null"
    con.execute(f"insert into {component}_current by name {newest}")


def spelt_out(con: duckdb.DuckDBPyConnection, component: str) -> Iterator[pa.Table]:
    """The changes in `series`, in pieces that part no entity's, and before them those held that they go on from.

    They have the columns of the table of superseded changes; `until_day` is null where nothing follows. One that is
    held comes out as it is, but for that it ends now.
    """
    with one_thread(con):
        for some in _told(con, component).pieces(_ROWS_AT_ONCE):
            yield _changes(con, component, some)


def totals(con: duckdb.DuckDBPyConnection, component: str, entity: Numbers) -> tuple[Numbers, dict[str, Numbers]]:
    """The first days and, by kind, the totals (a row a counter) of entities' current changes; in the order asked."""
    asked = {"place": arrow(np.arange(len(entity)), pa.int64()), "entity_key": arrow(entity, pa.int32())}
    with shown(con, sought=pa.table(asked)):
        found = con.sql(statement("totals", component)).to_arrow_table()
    stems = catalog(component).counters
    return numbers(found["first_day"]), {
        kind: np.stack([numbers(found[f"{stem}_{kind}"], none_yet) for stem in stems])
        for kind, (_, none_yet) in KINDS.items()
    }


def told(readings: pa.Table, column: str) -> Numbers | None:
    """What readings say of a column; nothing where all of it is null."""
    if column not in readings.column_names or readings[column].null_count == len(readings):
        return None
    return numbers(readings[column], UNKNOWN)


def columns_of(component: str, of_kinds: Mapping[str, Numbers | Sequence[Numbers]]) -> dict[str, Column]:
    """The counters' columns of the tables of changes, from a row a counter of each kind."""
    return {
        f"{stem}_{kind}": arrow(of_kinds[kind][row], typed, none_yet if none_yet < 0 else None)
        for row, stem in enumerate(catalog(component).counters)
        for kind, (typed, none_yet) in KINDS.items()
    }


@dataclass(frozen=True)
class _Told:
    """Readings that differ from the one before; `first` marks an entity's first, `raw` has a row a counter."""

    entity: Numbers
    version: Numbers
    day: Numbers
    held: Numbers
    first: Numbers
    raw: Numbers

    def __len__(self) -> int:
        return len(self.day)

    @property
    def last(self) -> Numbers:
        """Which are their entity's last ones."""
        return np.append(self.first[1:], True)[: len(self)]

    def at(self, rows: "Numbers | slice") -> "_Told":
        """Some of the rows."""
        first = self.first[rows]
        return _Told(self.entity[rows], self.version[rows], self.day[rows], self.held[rows], first, self.raw[:, rows])

    def pieces(self, rows: int) -> Iterator["_Told"]:
        """All of it in pieces of about so many rows, none of which parts an entity's."""
        starts = np.flatnonzero(self.first)
        cuts = starts[np.append(True, np.diff(starts // rows) > 0)[: len(starts)]]
        for begin, end in pairwise([*cuts.tolist(), len(self)]):
            yield self.at(slice(begin, end))


def _told(con: duckdb.DuckDBPyConnection, component: str) -> _Told:
    """The changes in `series`, each held one before those that go on from it."""
    stems = catalog(component).counters
    any_of = ", ".join(f"exists(select 1 from series where {stem}_raw is not null limit 1)" for stem in stems)  # noqa: S608
    (held_any,) = con.execute(f"select {any_of}").fetchall()  # names of our own columns
    filled = tuple(stem for stem, any_held in zip(stems, held_any, strict=True) if any_held)
    rows = con.sql(statement("changed", component, filled)).to_arrow_table()
    entity, version, day, held = (numbers(rows[name]) for name in ("entity_key", "version", "day", "held"))
    raw = np.full((len(stems), len(rows)), UNKNOWN, np.int64)
    for stem in filled:
        raw[stems.index(stem)] = numbers(rows[f"{stem}_raw"])
    first = np.append(True, (np.diff(entity) != 0) | (np.diff(version) != 0))[: len(rows)]
    every = _Told(entity, version, day, held == 1, first, raw)
    return every.at(~every.held | ~every.last)


def _changes(con: duckdb.DuckDBPyConnection, component: str, told: _Told) -> pa.Table:
    """What the tables of changes say of all of them."""
    starts = np.flatnonzero(told.first)
    first_day, going_on = told.day[starts], np.flatnonzero(told.held[starts])
    before: dict[str, Numbers] | None = None
    if len(going_on):
        before = {kind: np.full((len(told.raw), len(starts)), none_yet) for kind, (_, none_yet) in KINDS.items()}
        first_day[going_on], found = totals(con, component, told.entity[starts[going_on]])
        for kind, values in found.items():
            before[kind][:, going_on] = values
    spread = _Spread(starts, np.diff(np.append(starts, len(told))))
    running = [
        _running(told, raw, spread, before and {kind: held[row] for kind, held in before.items()})
        for row, raw in enumerate(told.raw)
    ]
    columns: dict[str, Column] = {
        "entity_key": arrow(told.entity, pa.int32()),
        "version": arrow(told.version, pa.int32()),
        "from_day": arrow(told.day, pa.date32()),
        "until_day": arrow(np.where(told.last, NEVER, np.roll(told.day, -1)), pa.date32(), NEVER),
        "first_day": arrow(spread(first_day), pa.date32()),
    }
    columns |= columns_of(component, {kind: [one[kind] for one in running] for kind in KINDS})
    return pa.table(list(columns.values()), list(columns))


@dataclass(frozen=True)
class _Spread:
    """Gives every row what its series has, one value a series; `starts` are the rows at which they begin."""

    starts: Numbers
    lengths: Numbers

    def __call__(self, values: Numbers) -> Numbers:
        return np.repeat(values, self.lengths)


def _running(told: _Told, raw: Numbers, spread: _Spread, before: Mapping[str, Numbers] | None) -> dict[str, Numbers]:
    """A counter's running totals, which go on from those `before` each series, if there are any."""
    none_yet = {kind: np.broadcast_to(none, len(told)) for kind, (_, none) in KINDS.items()}
    earlier = none_yet if before is None else {kind: spread(held) for kind, held in before.items()}
    if not (raw >= 0).any():
        return {**earlier, "raw": raw}
    place = np.arange(len(told), dtype=np.int32)
    start = spread(spread.starts.astype(np.int32))
    known = (raw[1:] != UNKNOWN) & (raw[:-1] != UNKNOWN) & ~told.first[1:]
    rise = np.append(0, np.where(known, np.diff(raw), 0))
    changed, above = rise != 0, (raw > 0) & ~told.held
    changes, count = np.cumsum(changed, dtype=np.int32), np.cumsum(above, dtype=np.int32)
    above_before = spread((count - above)[spread.starts])
    changed_at = np.maximum.accumulate(np.where(changed, place, start))
    nonzero_at = np.maximum.accumulate(np.where(above & (count - above_before == 1), place, start))
    first_above = (earlier["nonzero_on"] == NEVER) & (count > above_before)
    return {
        "raw": raw,
        "changes": changes - spread(changes[spread.starts]) + earlier["changes"],
        "changed_on": np.where(changed[changed_at], told.day[changed_at], earlier["changed_on"]),
        "nonzero_on": np.where(first_above, told.day[nonzero_at], earlier["nonzero_on"]),
        "max_rise": np.maximum(_highest(rise, spread), earlier["max_rise"]),
    }


def _highest(values: Numbers, spread: _Spread) -> Numbers:
    """The highest value of each row's series so far, or zero."""
    above = np.flatnonzero(values > 0)
    if not len(above):
        return np.zeros_like(values)
    levels, level = np.unique(values[above], return_inverse=True)
    levels, least = np.append(0, levels), spread(np.arange(len(spread.starts)) * (len(levels) + 1))
    reached = least.copy()
    reached[above] += level + 1
    highest: Numbers = levels[np.maximum.accumulate(reached) - least]
    return highest
