"""InfiniteHBD's fault trace: beginnings and ends of faults of 400 GPU servers over 348 days, as CSV.

The trace names servers and not their GPUs, and a fault of any class takes the whole server out, so a server is an
entity of the component `node`. A fault's beginning is its failure, with level and class as the cause (`Hardware: GPU,
GPU Lost`); its end is an event `returned` (value = seconds down). Planned work (classes `Change` and `Test`) is no
failure: its beginning and end are events `planned_work`. Servers without a fault are not named: they are entered by
number, until a later file names them. Time counts in days from a day that was not published, taken here as `EPOCH`.

Source: the trace published with InfiniteHBD (SIGCOMM 2025), Apache-2.0.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from data.contracts import EVENTS, FAILURES
from data.readings import Absorbed
from data.sources import tables, unnamed
from data.sources.arrival import Arrival
from data.sources.unnamed import Member
from data.warehouse import Warehouse

SOURCE: Final = "infinitehbd"
EPOCH: Final = datetime(2024, 1, 1, tzinfo=UTC)
SERVERS: Final = 400
COMPONENT: Final = "node"
PREFIX: Final = "infinitehbd-"
QUIET: Final = f"{PREFIX}quiet-"
PLANNED: Final = ("Change", "Test")
REQUIRED: Final = ("node_id", "event_time", "event_type", "Level", "Class", "Desc")


@dataclass(frozen=True)
class Fault:
    """A fault that began or ended on a server."""

    server: str
    at: datetime
    begins: bool
    level: str
    kind: str
    detail: str

    @property
    def planned(self) -> bool:
        """Whether somebody took the server out on purpose."""
        return self.kind in PLANNED

    @property
    def cause(self) -> str:
        """What failed, the level first: `Hardware: Fan, Redundancy Lost`."""
        return f"{self.level.removesuffix(' Failure')}: {self.kind}, {self.detail}"


def load(warehouse: Warehouse, path: Path, *, arrival: Arrival = "published", now: datetime | None = None) -> Absorbed:
    """What became of the faults of one file, .csv or .csv.gz.

    Args:
        warehouse: takes the facts.
        path: the file.
        arrival: `published` counts what happened as known at that moment, `now` as arriving now.
        now: the moment of loading; the wall clock's by default. Rows of moments after both are set aside.

    Raises:
        InputError: the file is no such table.
    """
    moment = now or datetime.now(UTC)
    otherwise = "the row is not a fault of a server"
    told, rejects = tables.told(path, REQUIRED, "GPU server faults", _fault, otherwise, lambda one: one.at, moment)
    faults = list(told.values())
    unnamed.put(warehouse, *_stays(faults, unnamed.members(warehouse, COMPONENT, PREFIX)))
    known = moment if arrival == "now" else None
    failures = [_failure(one, known) for one in faults if one.begins and not one.planned]
    events = [*_returns(faults, known), *(_work(one, known) for one in faults if one.planned)]
    loaded = warehouse.put_failures(pa.Table.from_pylist(failures, FAILURES), SOURCE)
    loaded += warehouse.put_events(pa.Table.from_pylist(events, EVENTS))
    return tables.reported(warehouse, SOURCE, path.name, len(faults), loaded, rejects, moment)


def _fault(row: Mapping[str, str]) -> Fault | str:
    """The fault that the row tells of, or why it tells of none."""
    if not row["node_id"]:
        return "no_server"
    if row["event_type"] not in {"fault_start", "fault_end"}:
        return "unknown_event"
    try:
        days = float(row["event_time"])
    except ValueError:
        return "bad_time"
    if not (math.isfinite(days) and 0 <= days < 36_500):
        return "bad_time"
    at = EPOCH + timedelta(seconds=round(days * 86_400))
    return Fault(row["node_id"], at, row["event_type"] == "fault_start", row["Level"], row["Class"], row["Desc"])


def _stays(faults: list[Fault], held: Mapping[str, Member]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A stay for each server, and the names told now of servers that were entered by number."""
    told = sorted({f"{PREFIX}{one.server}" for one in faults} - set(held))
    numbered = [name for name in held if name.startswith(QUIET)]
    named = dict(zip(numbered, told[: max(0, len(held) + len(told) - SERVERS)], strict=False))
    quiet = [f"{QUIET}{number}" for number in range(max(0, SERVERS - len(told) - len(held)))]
    rows = [
        {
            "component": COMPONENT,
            "entity_id": server,
            "model": "infinitehbd",
            "host_id": server,
            "valid_from": EPOCH,
            "valid_until": None,
        }
        for server in (*told, *quiet)
    ]
    return rows, named


def _failure(one: Fault, known: datetime | None) -> dict[str, Any]:
    return {
        "component": COMPONENT,
        "entity_id": f"{PREFIX}{one.server}",
        "failed_at": one.at,
        "ingested_at": known or one.at,
        "cause": one.cause,
    }


def _returns(faults: list[Fault], known: datetime | None) -> list[dict[str, Any]]:
    """The end of each fault, with how long the server was down where its beginning is known."""
    opened: dict[str, list[datetime]] = {}
    rows = []
    unplanned = (one for one in faults if not one.planned)
    for one in sorted(unplanned, key=lambda each: (each.at, not each.begins)):
        begun = opened.setdefault(one.server, [])
        if one.begins:
            begun.append(one.at)
        else:
            seconds = (one.at - begun.pop(0)).total_seconds() if begun else None
            rows.append(_event(one, known, "returned", seconds, {"cause": one.cause}))
    return rows


def _work(one: Fault, known: datetime | None) -> dict[str, Any]:
    return _event(one, known, "planned_work", float(one.begins), {"class": one.kind, "description": one.detail})


def _event(
    one: Fault, known: datetime | None, kind: str, value: float | None, detail: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "component": COMPONENT,
        "entity_id": f"{PREFIX}{one.server}",
        "observed_at": one.at,
        "ingested_at": known or one.at,
        "kind": kind,
        "value": value,
        "detail": json.dumps(detail),
    }
