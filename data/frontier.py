"""The plain cases of a batch, worked out in memory: sound readings of a day that follows all days held, or repeats one.

A `Frontier` is what such a day goes on from: each entity's key, and its last change with the running totals. A day is
compared with it in a few passes over arrays, and only what is new goes to the warehouse; a day that says what is held
of it, and nothing else, changes nothing. Whatever is not plain (a day that differs or was passed over, a late arrival,
an entity twice, an impossible value) is `NotPlain` and belongs to `data.readings.absorb`, which takes any batch and
comes to the same facts; tests hold the two against each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.arrays import Column, Numbers, arrow, number, numbers, whole
from data.catalog import catalog
from data.changes import KINDS, NEVER, UNKNOWN, columns_of, record, told, totals
from data.held import Held
from data.readings import EARLIEST, GRACE_HOURS, Absorbed
from data.snapshots import shown
from data.sql import statement

_NOT_YET: Final = int(np.iinfo(np.int32).max)
"""Stands for a day still to come."""
_STAMP: Final = pa.timestamp("us", tz="UTC")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_AT_ONCE: Final = 1 << 16


class NotPlain(Exception):
    """The batch is not a plain next day; what has been written of it must be rolled back."""


@dataclass(frozen=True)
class Day:
    """Readings of one day, by the names of the table `staged`; columns that it lacks are null throughout."""

    day: date
    ingested_at: datetime
    readings: pa.Table


class Frontier:
    """What the next day goes on from; holds for as long as nothing but its own `absorb` writes readings."""

    def __init__(self, con: duckdb.DuckDBPyConnection, component: str) -> None:
        self._con, self._component = con, component
        self._last_day: date | None = _one(con, f"select max(day) from {component}_day")  # noqa: S608
        self._last_belief: datetime | None = _one(
            con, "select max(known_from) from entity_version where isfinite(known_from)"
        )
        self._known: _Known | None = None
        self._held: Held | None = None

    def absorb(self, source: str, batch: Day, today: date) -> Absorbed:
        """What became of the rows, inside the caller's transaction: all were loaded, or all are held already.

        Raises:
            NotPlain: the batch needs `data.readings.absorb`, and the next one a new frontier.
        """
        last_day = self._last_day if self._last_day is not None and batch.day <= self._last_day else None
        in_turn = last_day is not None or self._follows(batch)
        if not (in_turn and EARLIEST <= batch.day <= today and _sound(batch.readings, self._component)):
            raise NotPlain
        known, count = self._known or _Known(self._con, self._component), len(batch.readings)
        if last_day is not None:
            self._know_again(known, batch, last_day)
            self._known = known
            return Absorbed(count, rows_duplicate=count)
        places = self._places(known, source, batch)
        self._tell(known, source, batch, places)
        self._put_gauges(known, batch, places)
        self._put_changes(known, batch, places)
        self._known, self._last_day = known, batch.day
        return Absorbed(count, count)

    def _know_again(self, known: "_Known", batch: Day, last_day: date) -> None:
        """Pass if all that the batch says is held; `NotPlain` otherwise."""
        found = pc.index_in(whole(batch.readings["entity_id"]), value_set=known.ids)
        if found.null_count:
            raise NotPlain
        places = numbers(found)
        keys, failed, heard = known.keys[places], *_news(known, batch, places)
        if heard.any() or np.bincount(places).max() > 1:
            raise NotPlain
        if self._held is None or self._held.until < batch.day:
            self._held = Held(self._con, self._component, last_day)
        if not (self._held.says(batch.day, keys, batch.readings) and self._held.failed(batch.day, keys[failed])):
            raise NotPlain

    def _follows(self, batch: Day) -> bool:
        """Whether the day, which is after all that is held, came in time and belongs into no earlier belief."""
        end = datetime.combine(batch.day, time(), UTC) + timedelta(days=1)
        return batch.ingested_at <= end + timedelta(hours=GRACE_HOURS) and (
            self._last_belief is None or self._last_belief <= end
        )

    def _places(self, known: "_Known", source: str, batch: Day) -> Numbers:
        """Where each reading's entity stands among those known; who is not known yet gets a key."""
        found = pc.index_in(whole(batch.readings["entity_id"]), value_set=known.ids)
        places = numbers(found, UNKNOWN)
        if found.null_count:
            first = batch.readings.filter(found.is_null()).select(["entity_id", "model", "capacity_bytes"])
            names = first["entity_id"]
            shortest = pc.min(pc.binary_length(pc.utf8_trim(names, characters=" "))).as_py()
            if shortest == 0 or pc.count_distinct(names).as_py() < len(names):
                raise NotPlain
            places[places == UNKNOWN] = known.meet(first, batch.day, source)
        if np.bincount(places).max() > 1:
            raise NotPlain
        return places

    def _tell(self, known: "_Known", source: str, batch: Day, places: Numbers) -> None:
        """Put down failures, and what entities known from elsewhere are heard to be."""
        failed, heard = _news(known, batch, places)
        chosen = np.flatnonzero(failed | heard)
        if not len(chosen):
            return
        rows = batch.readings.select(["model", "capacity_bytes", "failure"]).take(arrow(chosen, pa.int64()))
        rows = rows.append_column("entity_key", arrow(known.keys[places[chosen]], pa.int32()))
        rows = rows.append_column("day", _days(batch.day, len(rows)))
        rows = rows.append_column("ingested_at", _moments(batch.ingested_at, len(rows)))
        with shown(self._con, keyed=rows):
            if failed.any():
                self._con.execute(statement("failures", self._component), {"source": source})
            if heard.any():
                self._con.execute(statement("entities_earlier", self._component))
        speaking = places[heard]
        known.first_seen[speaking] = np.minimum(known.first_seen[speaking], number(batch.day))
        known.unnamed[speaking] &= ~_says(batch, "model")[heard]
        known.unsized[speaking] &= ~_says(batch, "capacity_bytes")[heard]

    def _put_gauges(self, known: "_Known", batch: Day, places: Numbers) -> None:
        count = len(places)
        columns: dict[str, Column] = {
            "day": _days(batch.day, count),
            "entity_key": arrow(known.keys[places], pa.int32()),
            "ingested_at": _moments(batch.ingested_at, count),
        }
        gauges = [f"{stem}_raw" for stem in catalog(self._component).gauges]
        columns |= {name: batch.readings[name] for name in gauges if name in batch.readings.column_names}
        rows = pa.table(list(columns.values()), list(columns))  # noqa: F841 - DuckDB reads it by its name
        self._con.execute(f"insert into {self._component}_day by name from rows")

    def _put_changes(self, known: "_Known", batch: Day, places: Numbers) -> None:
        said = [told(batch.readings, f"{stem}_raw") for stem in catalog(self._component).counters]
        moved = known.since[places] == NEVER
        for now, before in zip(said, known.totals["raw"], strict=True):
            if now is not None or (before != UNKNOWN).any():
                moved |= before[places] != (UNKNOWN if now is None else now)
        if moved.any():
            unknown = np.full(np.count_nonzero(moved), UNKNOWN)
            now_moved = np.stack([unknown if now is None else now[moved] for now in said])
            record(self._con, self._component, known.moved(places[moved], now_moved, batch.day))


class _Known:
    """The entities, each at its place, with room for those to come: `count` of them are there.

    Attributes are arrays by place: `first_seen` is the day since which an entity is known to report, `unnamed` whether
    its model is not known, `unsized` whether its capacity is not, `since` the day of its last change. `totals` have, by
    kind of column, a row for each counter; but for the values themselves they are recalled from the warehouse when an
    entity moves.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, component: str) -> None:
        self._con, self._component = con, component
        table = con.sql(statement("known", component)).to_arrow_table()
        self.count, self.ids = len(table), whole(table["entity_id"])
        self.keys = numbers(table["entity_key"])
        self.version = np.zeros_like(self.keys)
        self.first_seen = numbers(table["first_seen_on"], _NOT_YET)
        self.unnamed, self.unsized = (numbers(table[name]) == 1 for name in ("unnamed", "unsized"))
        self.since, self.first_day = np.full_like(self.keys, NEVER), np.full_like(self.keys, NEVER)
        shape = (len(catalog(component).counters), self.count)
        self.totals = {kind: np.zeros(shape, f"i{typed.bit_width // 8}") for kind, (typed, _) in KINDS.items()}
        self._read_changes()
        self.recalled = self.since == NEVER
        for kind, (_, none_yet) in KINDS.items():
            self.totals[kind][:, self.recalled] = none_yet

    def _read_changes(self) -> None:
        """Learn the current change of each entity, and what its counters have been since."""
        place_of = np.zeros(self.keys.max(initial=0) + 1, np.int32)
        place_of[self.keys] = np.arange(self.count)
        names = [f"{stem}_raw" for stem in catalog(self._component).counters]
        query = f"select entity_key, version, from_day, {', '.join(names)} from {self._component}_current"  # noqa: S608
        for some in self._con.sql(query).to_arrow_reader(_ROWS_AT_ONCE):
            places = place_of[numbers(some["entity_key"])]
            self.version[places], self.since[places] = numbers(some["version"]), numbers(some["from_day"])
            for held, name in zip(self.totals["raw"], names, strict=True):
                held[places] = numbers(some[name], UNKNOWN)

    def meet(self, first: pa.Table, day: date, source: str) -> Numbers:
        """The places of the entities in `first`, who get a key in order of their ids."""
        before, there, wanted = self.count, slice(self.count, self.count + len(first)), whole(first["entity_id"])
        first = first.sort_by("entity_id")
        keyed = self._con.sql(
            "insert into entity (entity_key, component, entity_id, model, capacity_bytes, first_seen_on, source, "
            "simulated) select nextval('entity_key_seq'), $component, entity_id, model, capacity_bytes, $day, $source, "
            "false from first returning entity_id, entity_key, (model is null)::tinyint as unnamed, "
            "(capacity_bytes is null)::tinyint as unsized",
            params={"component": self._component, "day": day, "source": source},
        ).to_arrow_table()
        self._make_room(there.stop)
        self.count, self.ids = there.stop, pa.concat_arrays([self.ids, whole(keyed["entity_id"])])
        self.keys[there] = numbers(keyed["entity_key"])
        self.unnamed[there], self.unsized[there] = numbers(keyed["unnamed"]), numbers(keyed["unsized"])
        self.first_seen[there] = number(day)
        return before + numbers(pc.index_in(wanted, value_set=whole(keyed["entity_id"])))

    def _make_room(self, count: int) -> None:
        if count <= len(self.keys):
            return
        room = count + count // 8
        self.keys, self.version = _widened(self.keys, room), _widened(self.version, room)
        self.unnamed, self.unsized = _widened(self.unnamed, room), _widened(self.unsized, room)
        self.first_seen = _widened(self.first_seen, room)
        self.since, self.first_day = _widened(self.since, room, NEVER), _widened(self.first_day, room, NEVER)
        self.recalled = _widened(self.recalled, room, none_yet=True)
        self.totals = {kind: _widened(held, room, KINDS[kind][1]) for kind, held in self.totals.items()}

    def _recall(self, places: Numbers) -> None:
        """Read the totals of the entities at `places`."""
        if not len(places):
            return
        self.first_day[places], found = totals(self._con, self._component, self.keys[places])
        self.recalled[places] = True
        for kind, values in found.items():
            self.totals[kind][:, places] = values

    def moved(self, places: Numbers, now: Numbers, day: date) -> pa.Table:
        """The changes that the entities at `places`, whose counters are `now`, have had until now and have from now."""
        self._recall(places[~self.recalled[places]])
        going_on = self.since[places] != NEVER
        before = {kind: held[:, places] for kind, held in self.totals.items()}
        gone_on = _gone_on(before, now, number(day))
        both = {kind: np.concatenate([before[kind][:, going_on], gone_on[kind]], axis=1) for kind in KINDS}
        begun, twice = self.since[places][going_on], np.append(places[going_on], places)
        self.since[places] = number(day)
        self.first_day[places] = np.where(self.first_day[places] == NEVER, number(day), self.first_day[places])
        for kind, values in gone_on.items():
            self.totals[kind][:, places] = values
        columns = {
            "entity_key": arrow(self.keys[twice], pa.int32()),
            "version": arrow(self.version[twice], pa.int32()),
            "from_day": arrow(np.append(begun, self.since[places]), pa.date32()),
            "until_day": arrow(np.repeat([number(day), NEVER], [len(begun), len(places)]), pa.date32(), NEVER),
            "first_day": arrow(self.first_day[twice], pa.date32()),
        } | columns_of(self._component, both)
        return pa.table(list(columns.values()), list(columns))


def _news(known: _Known, batch: Day, places: Numbers) -> tuple[Numbers, Numbers]:
    """Which readings tell of a failure, and which what an entity is of which that was not known."""
    heard = known.first_seen[places] > number(batch.day)
    for lacking, name in ((known.unnamed, "model"), (known.unsized, "capacity_bytes")):
        if lacking.any():
            heard |= lacking[places] & _says(batch, name)
    return numbers(batch.readings["failure"]) == 1, heard


def _says(batch: Day, name: str) -> Numbers:
    """Which readings tell the column."""
    says: Numbers = numbers(pc.is_valid(batch.readings[name]).cast(pa.int8())) == 1
    return says


def _gone_on(before: Mapping[str, Numbers], now: Numbers, today: int) -> dict[str, Numbers]:
    """Counters' totals `before`, gone on by readings `now` of `today`; a row a counter."""
    rise = np.where((before["raw"] != UNKNOWN) & (now != UNKNOWN), now - before["raw"], 0)
    first_above = (before["nonzero_on"] == NEVER) & (now > 0)
    return {
        "raw": now,
        "changes": before["changes"] + (rise != 0),
        "changed_on": np.where(rise != 0, today, before["changed_on"]),
        "nonzero_on": np.where(first_above, today, before["nonzero_on"]),
        "max_rise": np.maximum(before["max_rise"], rise),
    }


def _sound(readings: pa.Table, component: str) -> bool:
    """Whether every reading has an entity and none is impossible."""
    if not len(readings) or readings["entity_id"].null_count:
        return False
    held = [readings[name] for name in ("failure", *catalog(component).columns) if name in readings.column_names]
    least: list[int] = [pc.min(column).as_py() for column in held if column.null_count < len(column)]
    return min(least, default=0) >= 0 and (pc.max(readings["failure"]).as_py() or 0) <= 1


def _widened(held: Numbers, room: int, none_yet: int = 0) -> Numbers:
    """The same with columns up to `room`, which hold what stands for none."""
    wide = np.full((*held.shape[:-1], room), none_yet, held.dtype)
    wide[..., : held.shape[-1]] = held
    return wide


def _days(day: date, count: int) -> Column:
    return arrow(np.full(count, number(day)), pa.date32())


def _moments(moment: datetime, count: int) -> Column:
    return arrow(np.full(count, (moment - _EPOCH) // timedelta(microseconds=1)), _STAMP)


def _one(con: duckdb.DuckDBPyConnection, query: str) -> Any:
    ((value,),) = con.execute(query).fetchall()
    return value
