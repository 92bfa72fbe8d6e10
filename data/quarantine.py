"""Rows that cannot be believed: kept with their reason, once, however often their file is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from data.readings import EARLIEST
from data.warehouse import Warehouse


@dataclass(frozen=True)
class Reject:
    """A row that cannot be believed: its line (null: the whole file), a word to group by, what is wrong, the row."""

    line: int | None
    reason: str
    detail: str
    raw: str | None = None


def mistimed(at: datetime, latest: datetime, told: str) -> Reject | None:
    """What is wrong with a moment told: later than the latest one possible, or of a clock that had not been set."""
    if at > latest:
        return Reject(None, "future_date", "observed after the moment of loading", told)
    return Reject(None, "bad_time", f"the day is {at.date()}", told) if at.date() < EARLIEST else None


def set_aside(warehouse: Warehouse, rejects: Sequence[Reject], source: str, file: str, moment: datetime) -> None:
    """Put the rows of a file into quarantine, but for those that are there from an earlier reading."""
    columns: dict[str, pa.Array[Any]] = {
        "line": pa.array([one.line for one in rejects], pa.int64()),
        "reason": pa.array([one.reason for one in rejects], pa.string()),
        "detail": pa.array([one.detail for one in rejects], pa.string()),
        "raw": pa.array([one.raw for one in rejects], pa.string()),
    }
    with warehouse.transaction() as con:
        con.register("rejected", pa.table(columns))
        con.execute(
            "insert into quarantine select distinct $now, $source, $file, line, reason, detail, raw from rejected "
            "anti join (select line, reason, raw from quarantine where source = $source and file = $file) held "
            "on held.line is not distinct from rejected.line and held.reason = rejected.reason "
            "and held.raw is not distinct from rejected.raw",
            {"now": moment, "source": source, "file": file},
        )
        con.unregister("rejected")
