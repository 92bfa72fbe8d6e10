"""Titan's GPUs: every stay of a GPU in a slot of the Titan supercomputer (OLCF, 2013 to 2019), as CSV.

A stay that ended with a double-bit error (`DBE`) or with the GPU off the bus (`OTB`) is a failure at its end; one that
ended without either took a sound GPU out. Times without an offset are taken as UTC. A GPU cannot sit in two slots at
once: a stay that begins within another of the same GPU is set aside. Two GPUs told to share a slot are kept, for
nothing says which of them is wrong, and what each of them did still holds.

Source: Ostrouchov, Maxwell, Ashraf, Engelmann, Shankar and Rogers, GPU lifetimes on Titan supercomputer (SC'20).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from data.contracts import FAILURES, STAYS
from data.quarantine import Reject
from data.readings import Absorbed
from data.sources import tables
from data.sources.arrival import Arrival
from data.warehouse import Warehouse

SOURCE: Final = "titan"
REQUIRED: Final = ("SN", "location", "insert", "remove", "event")
EVENTS: Final = ("", "DBE", "OTB")
_LOCATION: Final = re.compile(r"c\d+-\d+c\ds\dn\d")


@dataclass(frozen=True)
class Stint:
    """A stay of a GPU in a slot, and how it ended."""

    serial: str
    location: str
    begins: datetime
    ends: datetime | None
    event: str

    @property
    def newest(self) -> datetime:
        """When it failed, or else began."""
        return self.ends if self.event and self.ends else self.begins


def load(warehouse: Warehouse, path: Path, *, arrival: Arrival = "published", now: datetime | None = None) -> Absorbed:
    """What became of the stays of one file, .csv or .csv.gz; a later file closes the stays that have ended since.

    Args:
        warehouse: takes the facts.
        path: the file.
        arrival: `published` counts a failure as known at its moment, `now` as arriving now.
        now: the moment of loading; the wall clock's by default. Rows of moments after both are set aside.

    Raises:
        InputError: the file is no such table.
    """
    moment = now or datetime.now(UTC)
    otherwise = "the row is not a stay of a GPU in a slot"
    told, rejects = tables.told(path, REQUIRED, "Titan's GPUs", _stint, otherwise, lambda one: one.newest, moment)
    for line in sorted(_overlapping(told)):
        kept = json.dumps(vars(told.pop(line)), default=str)
        rejects.append(Reject(line, "in_two_slots", "the GPU sits in another slot at that time", kept))
    stints = list(told.values())
    changed = warehouse.put_stays(pa.Table.from_pylist([_stay(one) for one in stints], STAYS))
    failed = [_failure(one, moment if arrival == "now" else None) for one in stints if one.event]
    warehouse.put_failures(pa.Table.from_pylist(failed, FAILURES), SOURCE)
    loaded = min(changed, len(stints))
    return tables.reported(warehouse, SOURCE, path.name, len(stints), loaded, rejects, moment)


def _stint(row: Mapping[str, str]) -> Stint | str:
    """The stay that the row tells of, or why it tells of none."""
    if not row["SN"] or not _LOCATION.fullmatch(row["location"]):
        return "no_slot"
    if row["event"] not in EVENTS:
        return "unknown_event"
    begins, ends = _moment(row["insert"]), _moment(row["remove"])
    if begins is None or (row["remove"] and ends is None) or (row["event"] and ends is None):
        return "bad_time"
    if ends is not None and ends < begins:
        return "ends_before_it_begins"
    return Stint(row["SN"], row["location"], begins, ends, row["event"])


def _overlapping(told: Mapping[int, Stint]) -> set[int]:
    """The lines whose stay begins while the same GPU still sits elsewhere; the stay that began first is believed."""
    found: set[int] = set()
    earlier: Stint | None = None
    for line, one in sorted(told.items(), key=lambda item: (item[1].serial, item[1].begins, item[0])):
        if earlier is None or earlier.serial != one.serial or (earlier.ends is not None and earlier.ends <= one.begins):
            earlier = one
        elif (earlier.location, earlier.begins) != (one.location, one.begins):
            found.add(line)
    return found


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (OverflowError, ValueError):
        return None


def _stay(one: Stint) -> dict[str, Any]:
    return {
        "component": "gpu",
        "entity_id": one.serial,
        "model": "Tesla K20X",
        "host_id": one.location,
        "valid_from": one.begins,
        "valid_until": one.ends,
    }


def _failure(one: Stint, arrived: datetime | None) -> dict[str, Any]:
    return {
        "component": "gpu",
        "entity_id": one.serial,
        "failed_at": one.ends,
        "ingested_at": arrived or one.ends,
        "cause": one.event.lower(),
    }
