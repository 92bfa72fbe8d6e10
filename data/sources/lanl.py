"""LANL outages: every outage of the HPC nodes of 23 systems of Los Alamos National Laboratory, 1996 to 2005, as CSV.

An outage becomes a failure with its cause and, at its end, an event `returned` (value = seconds down). The file lists
nodes that failed only; how many nodes a system has stands in each of its rows, so those that never failed are known by
their number, and are entered with the system's dates, until a later file names them. Times have no zone and are taken
as UTC; what happened counts as known at that moment.

Source: Los Alamos National Laboratory, Operational Data to Support and Enable Computer Science Research
(LA-UR-05-7318).
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from data.contracts import EVENTS, FAILURES
from data.readings import Absorbed
from data.sources import tables, unnamed
from data.sources.arrival import Arrival
from data.sources.unnamed import Member
from data.warehouse import Warehouse

SOURCE: Final = "lanl"
COMPONENT: Final = "node"
PREFIX: Final = "lanl-"
CAUSES: Final = ("Facilities", "Hardware", "Human Error", "Network", "Undetermined", "Software")
REQUIRED: Final = ("System", "nodes", "nodenum", "node prod", "node decom", "Prob Started", "Prob Fixed", *CAUSES)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_YEAR: Final = re.compile(r"(?P<month>[A-Z][a-z]{2})-(?P<year>\d{2})")
_YEAR_MONTH: Final = re.compile(r"(?P<year>\d{1,2})-(?P<month>[A-Z][a-z]{2})")
_CENTURY: Final = 90
"""Two-digit years from here on are of the last century."""


@dataclass(frozen=True)
class Outage:
    """A node that was down."""

    system: int
    nodes: int
    node: int
    in_production: datetime | None
    """Null where it was before anybody took note."""
    decommissioned: datetime | None
    began: datetime
    ended: datetime
    cause: str | None

    @property
    def entity_id(self) -> str:
        """The node's name."""
        return name(self.system, self.node)


def name(system: int, node: int) -> str:
    """What a node is called here."""
    return f"{PREFIX}{system}-{node}"


def load(warehouse: Warehouse, path: Path, *, arrival: Arrival = "published", now: datetime | None = None) -> Absorbed:
    """What became of the outages of one file, .csv or .csv.gz.

    Args:
        warehouse: takes the facts.
        path: the file.
        arrival: `published` counts what happened as known at that moment, `now` as arriving now.
        now: the moment of loading; the wall clock's by default. Rows of moments after both are set aside.

    Raises:
        InputError: the file is no such table.
    """
    moment = now or datetime.now(UTC)
    otherwise = "the row is not an outage of a known node"
    told, rejects = tables.told(path, REQUIRED, "LANL outages", _outage, otherwise, lambda one: one.ended, moment)
    outages = list(told.values())

    def arrived(at: datetime) -> datetime:
        return at if arrival == "published" else moment

    unnamed.put(warehouse, *_stays(outages, unnamed.members(warehouse, COMPONENT, PREFIX)))
    loaded = warehouse.put_failures(
        pa.Table.from_pylist([_failure(one, arrived(one.began)) for one in outages], FAILURES), SOURCE
    )
    warehouse.put_events(pa.Table.from_pylist([_return(one, arrived(one.ended)) for one in outages], EVENTS))
    return tables.reported(warehouse, SOURCE, path.name, len(outages), loaded, rejects, moment)


def _outage(row: Mapping[str, str]) -> Outage | str:
    """The outage that the row tells of, or why it tells of none."""
    numbers = [row[column] for column in ("System", "nodes", "nodenum")]
    if not all(number.isdecimal() for number in numbers):
        return "no_node"
    began, ended = _moment(row["Prob Started"]), _moment(row["Prob Fixed"])
    if began is None or ended is None:
        return "bad_time"
    if ended < began:
        return "ends_before_it_begins"
    system, nodes, node = map(int, numbers)
    cause = next((f"{group}: {row[group]}" for group in CAUSES if row[group]), None)
    decommissioned = _month(row["node decom"], after=True)
    return Outage(system, nodes, node, _month(row["node prod"]), decommissioned, began, ended, cause)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%m/%d/%Y %H:%M").replace(tzinfo=UTC)
    except ValueError:
        return None


def _month(text: str, *, after: bool = False) -> datetime | None:
    """The first day of the month, or of the one `after` it; `5-Nov` and `Nov-05` are the same, words are null."""
    found = _MONTH_YEAR.fullmatch(text) or _YEAR_MONTH.fullmatch(text)
    if found is None or found["month"] not in _MONTHS:
        return None
    year, month = int(found["year"]), _MONTHS.index(found["month"]) + int(after)
    return datetime((1900 if year >= _CENTURY else 2000) + year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _stays(outages: Sequence[Outage], held: Mapping[str, Member]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A stay for each node of each system, and the new names of nodes that were entered by a number not their own.

    A stay lasts from going into production to its end. A node that failed before it was in production was there from
    its first outage on. Nodes that never failed take the free numbers from the system's lowest on, and the earliest
    beginning and latest end of those that did.
    """
    systems: dict[int, list[Outage]] = {}
    for one in outages:
        systems.setdefault(one.system, []).append(one)
    rows, named = list[dict[str, Any]](), dict[str, str]()
    for system, of_system in sorted(systems.items()):
        own: dict[int, list[Outage]] = {}
        for one in of_system:
            own.setdefault(one.node, []).append(one)
        known = _numbered(system, held)
        renumbered = _renumbered(of_system[0].nodes, own, known)
        named |= {name(system, old): name(system, new) for old, new in renumbered.items()}
        silent = [number for number in known if number not in own and number not in renumbered]
        lowest = 1 if min(own) == 1 else 0
        free = (number for number in count(lowest) if number not in own and number not in known)
        quiet = islice(free, max(0, of_system[0].nodes - len(own) - len(silent)))
        rows += [_stay(system, node, listed) for node, listed in sorted(own.items())]
        rows += [_stay(system, node, of_system) for node in quiet]
        rows += [_stayed_on(_stay(system, node, of_system), known[node]) for node in silent]
    return rows, named


def _numbered(system: int, held: Mapping[str, Member]) -> dict[int, Member]:
    """The nodes of a system that are held, by number."""
    before = name(system, 0).removesuffix("0")
    return {int(full.removeprefix(before)): member for full, member in held.items() if full.startswith(before)}


def _renumbered(nodes: int, own: Collection[int], known: Mapping[int, Member]) -> dict[int, int]:
    """The numbers told now of nodes that were entered by others, since there cannot be more of them than there are."""
    spare = [number for number, member in sorted(known.items()) if number not in own and not member.failed]
    strangers = sorted(set(own) - set(known))
    return dict(zip(spare, strangers[: max(0, len({*own, *known}) - nodes)], strict=False))


def _stayed_on(stay: dict[str, Any], held: Member) -> dict[str, Any]:
    """The stay of a node that is held and of which nothing new is told; only its end may be."""
    return {**stay, "valid_from": held.begins, "valid_until": held.ends or stay["valid_until"]}


def _stay(system: int, node: int, told: Sequence[Outage]) -> dict[str, Any]:
    first = min(one.began for one in told)
    begins = [one.in_production for one in told if one.in_production is not None]
    ends = [one.decommissioned for one in told]
    until = None if None in ends else max((end for end in ends if end is not None), default=None)
    last = max(one.ended for one in told)
    return {
        "component": COMPONENT,
        "entity_id": name(system, node),
        "model": f"lanl-{system}",
        "host_id": name(system, node),
        "valid_from": min([*begins, first]).replace(hour=0, minute=0),
        "valid_until": max(until, last + timedelta(minutes=1)) if until is not None else None,
    }


def _failure(one: Outage, ingested_at: datetime) -> dict[str, Any]:
    return {
        "component": COMPONENT,
        "entity_id": one.entity_id,
        "failed_at": one.began,
        "ingested_at": ingested_at,
        "cause": one.cause,
    }


def _return(one: Outage, ingested_at: datetime) -> dict[str, Any]:
    return {
        "component": COMPONENT,
        "entity_id": one.entity_id,
        "observed_at": one.ended,
        "ingested_at": ingested_at,
        "kind": "returned",
        "value": (one.ended - one.began).total_seconds(),
        "detail": json.dumps({"cause": one.cause}),
    }
