"""What the warehouse holds of days gone by, to tell readings by that only say it again."""

from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.arrays import Numbers, number, numbers, whole
from data.catalog import catalog
from data.changes import UNKNOWN, told
from data.sql import statement

_DAY_BITS = 32


class Held:
    """What is held of the days up to one; later days do not change it, and any other writing of readings does."""

    def __init__(self, con: duckdb.DuckDBPyConnection, component: str, until: date) -> None:
        self.until = until
        self._con, self._component = con, component
        changes = con.sql(statement("believed", component)).to_arrow_table()
        self._changed_at = _moment(numbers(changes["entity_key"]), numbers(changes["from_day"]))
        self._counters = {f"{stem}_raw": told(changes, f"{stem}_raw") for stem in catalog(component).counters}

    def says(self, day: date, keys: Numbers, readings: pa.Table) -> bool:
        """Whether each of the readings, of entities with these keys, is held with the same values."""
        gauges = [f"{stem}_raw" for stem in catalog(self._component).gauges]
        query = f"select entity_key, {', '.join(gauges)} from {self._component}_day where day = $day"  # noqa: S608
        seen = self._con.sql(query, params={"day": day}).to_arrow_table()
        found = pc.index_in(pa.array(keys, pa.int32()), value_set=whole(seen["entity_key"]))
        if found.null_count:
            return False
        at = np.searchsorted(self._changed_at, _moment(keys, np.full_like(keys, number(day))), "right") - 1
        if (at < 0).any() or (self._changed_at[at] >> _DAY_BITS != keys).any():
            return False
        return all(_same(told(seen, name), numbers(found), told(readings, name)) for name in gauges) and all(
            _same(values, at, told(readings, name)) for name, values in self._counters.items()
        )

    def failed(self, day: date, keys: Numbers) -> bool:
        """Whether all of the entities are known to have failed by the end of the day."""
        if not len(keys):
            return True
        query = "select entity_key from failure where failed_at <= ($day::date + 1)::timestamptz"
        known = self._con.sql(query, params={"day": day}).to_arrow_table()
        return bool(np.isin(keys, numbers(known["entity_key"])).all())


def _same(held: Numbers | None, at: Numbers, said: Numbers | None) -> bool:
    """Whether what is held at these places is what is said; nothing stands for null throughout."""
    if held is None or said is None:
        return (held is None or bool((held[at] == UNKNOWN).all())) and (said is None)
    return bool((held[at] == said).all())


def _moment(keys: Numbers, days: Numbers) -> Numbers:
    """Entity and day as one number, in their order."""
    return (keys.astype(np.int64) << _DAY_BITS) + days
