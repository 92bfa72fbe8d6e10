"""Small random drive histories, as a source would stage them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import duckdb
import pyarrow as pa
from hypothesis import strategies as st

from data.readings import absorb, stage
from data.snapshots import shown

START = date(2020, 1, 1)
NOW = datetime(2021, 1, 1, tzinfo=UTC)
STAGED = pa.schema(
    {
        "entity_id": pa.string(),
        "day": pa.date32(),
        "ingested_at": pa.timestamp("us", "UTC"),
        "failure": pa.int8(),
        "smart_5_raw": pa.int64(),
        "smart_187_raw": pa.int64(),
        "smart_194_raw": pa.int64(),
        "model": pa.string(),
        "capacity_bytes": pa.int64(),
        "smart_9_raw": pa.int64(),
    }
)


@dataclass(frozen=True)
class Reading:
    """One drive-day with the counters that matter here; `late_hours` after the day's end it reached us."""

    entity_id: str
    day: date
    smart_5: int | None
    smart_187: int | None
    smart_194: int | None = 25
    failure: int = 0
    late_hours: float = 0.0

    @property
    def ingested_at(self) -> datetime:
        """When it reached us."""
        return datetime.combine(self.day, datetime.min.time(), UTC) + timedelta(days=1, hours=self.late_hours)


@st.composite
def histories(draw: st.DrawFn, late: bool = False) -> list[Reading]:
    """A few drives over three weeks: gaps, counters that grow, fall and vanish."""
    readings = []
    for drive in "ABC"[: draw(st.integers(1, 3))]:
        days = draw(st.lists(st.integers(0, 20), min_size=1, max_size=8, unique=True))
        five, uncorrectable = 0, draw(st.sampled_from([None, 0]))
        for offset in sorted(days):
            five = draw(st.sampled_from([five, five, five + 1, five + 8, max(0, five - 1)]))
            if uncorrectable is not None:
                uncorrectable += draw(st.sampled_from([0, 0, 2]))
            shown = draw(st.sampled_from([five, five, five, None]))
            hours = draw(st.sampled_from([0.0, 0.0, 24.0, 72.0])) if late else 0.0
            readings.append(Reading(drive, START + timedelta(days=offset), shown, uncorrectable, late_hours=hours))
    return readings


def put(con: duckdb.DuckDBPyConnection, readings: list[Reading]) -> None:
    """Absorb a batch as a source would."""
    rows = [
        {"entity_id": r.entity_id, "day": r.day, "ingested_at": r.ingested_at, "failure": r.failure,
         "smart_5_raw": r.smart_5, "smart_187_raw": r.smart_187, "smart_194_raw": r.smart_194,
         "model": "M", "capacity_bytes": 4 * 10**12, "smart_9_raw": 100}
        for r in readings
    ]  # fmt: skip
    told = pa.Table.from_pylist(rows, STAGED)
    con.execute("begin")
    stage(con, "disk")
    with shown(con, told=told):
        con.execute("insert into staged by name from told")
    absorb(con, "disk", "test", "test", NOW.date(), NOW)
    con.execute("commit")
