"""VMs and what was and is to be done with them, for owners and those who answer them."""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException

from dashboards.fleet_view import FleetReader
from dashboards.pages import Sheet, fill, sheet
from dashboards.queue import Look, Room
from data.errors import UsageError
from decisions.ledger.services import Cursor, VmService, services
from pipelines import maintenance
from pipelines.executors.jobs import MEMORY
from pipelines.maintenance import Inventory, Kind, Maintenance, OwnerMaintenance, VmMaintenance

SHOWN: Final = 100
OWNERS_MOST: Final = 500
"""Owners whose VMs are kept by name."""


@dataclass(frozen=True)
class Typed:
    """What a person has typed into the form of one VM."""

    order_id: str = ""
    vm_id: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Told:
    """The page that everybody is shown alike, and the VMs on it, for the parts that are each asker's own."""

    sheet: Sheet
    owner: str
    host_id: str
    vms: tuple[VmMaintenance, ...]

    def __len__(self) -> int:
        """In bytes, or so: the VMs take about as much as the page."""
        return 2 * len(self.sheet)


def told(room: Room, owner: str, host_id: str, after: str | None = None) -> Told:
    """The page of an owner's VMs, of a host's, or of all.

    Raises:
        HTTPException: 422, the cursor is none.
    """

    def made(look: Look) -> Told:
        found = vms(look, owner or None, host_id or None, after, SHOWN)
        counts = owners(look) if not (owner or host_id or after) else None
        shown = {"found": found, "counts": counts, "owner": owner, "host": host_id, "now": look.now}
        page = sheet("maintenance.html", here="/maintenance", simulated=look.freshness.simulated, **shown)
        return Told(page, owner, host_id, found.vms)

    return room.shared(("maintenance", owner, host_id, after, wishes(room.home)), made, gather(room, owner))


def gather(room: Room, owner: str | None) -> Callable[[], None]:
    """Asks which VMs the owner has and what they are, together with what others ask of theirs."""

    def ask(look: Look, owners: Sequence[str]) -> None:
        if look.fleet is not None:
            found = _vms_of(look.fleet, owners)
            _kinds(look.fleet, [name for vms in found.values() for name in vms])

    return lambda: room.together("owners", owner, ask) if owner else None


def page_of(told: Told, *, started: str = "", refused: str = "", typed: Typed | None = None) -> bytes:
    """The page of somebody as HTML; after a start with a sentence of what was done, or of why not."""
    done = next((vm for vm in told.vms if started and vm.vm_id == started and vm.started_by), None)
    own = {"outcome": fill("started.html", done=done, refused=refused)}
    for at, vm in enumerate(told.vms, 1):
        if vm.startable:
            told_of = {"owner": told.owner, "host": told.host_id, "typed": typed or Typed()}
            own[f"start_{at}"] = fill("start.html", vm=vm, name=at, **told_of)
    return told.sheet.filled(own)


def vms(look: Look, owner: str | None, host_id: str | None, after: str | None, limit: int) -> Maintenance:
    """A page of VMs that orders are about, only those of an owner or a host if one is named.

    Raises:
        HTTPException: 422, the cursor is none.
    """
    try:
        return maintenance.page(
            _ask(look, host_id), _inventory(look), look.home, look.now, owner=owner, after=after, limit=limit
        )
    except UsageError as error:
        raise HTTPException(422, str(error)) from error


@dataclass(frozen=True)
class Owners:
    """How the VMs of each owner stand with their newest orders, as they were counted then."""

    counted_at: datetime
    owners: tuple[OwnerMaintenance, ...]


def owners(look: Look) -> Owners:
    """Those with the most to come first; counted anew every half minute, while what was counted before is told."""
    return look.aged("owners", _owners, for_seconds=30)


def _owners(look: Look) -> Owners:
    if look.fleet is None or look.book is None:
        return Owners(look.now, ())
    return Owners(look.now, maintenance.owners(_ask(look, None), _inventory(look), look.now))


def _inventory(look: Look) -> Inventory:
    if look.fleet is None:
        return maintenance.NO_INVENTORY
    fleet = look.fleet
    return Inventory(lambda owner: _vms_of(fleet, [owner])[owner], lambda vms: _kinds(fleet, vms))


def _vms_of(fleet: FleetReader, owners: Sequence[str]) -> Mapping[str, Collection[str]]:
    return fleet.known("VMs of owners", owners, lambda unknown: maintenance.vms_of(fleet.con, unknown), OWNERS_MOST)


def _kinds(fleet: FleetReader, vms: Sequence[str]) -> Mapping[str, Kind]:
    return fleet.known("newest kinds", vms, lambda unknown: maintenance.kinds(fleet.con, unknown))


def wishes(home: Path) -> Hashable:
    """What changes when an owner asks something of the executor that works in this home."""
    return tuple(_changed_at(home / f"{MEMORY}{suffix}") for suffix in ("", "-wal"))


def _changed_at(file: Path) -> tuple[int, int] | None:
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size


def _ask(look: Look, host_id: str | None) -> maintenance.Ask:
    def ask(only: Collection[str] | None, after: Cursor | None) -> Iterator[VmService]:
        if look.book is None:
            return iter(())
        return services(look.book.con, look.now - maintenance.SINCE, host_id=host_id, vms=only, after=after)

    return ask
