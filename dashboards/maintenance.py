"""VMs and what was and is to be done with them, for owners and those who answer them."""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException

from dashboards.fleet_view import FleetReader
from dashboards.pages import Sheet, fill, sheet
from dashboards.queue import Look, Room
from data.errors import UsageError
from decisions.access.values import Person
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
class Wanted:
    """Whose VMs a page is to show."""

    owner: str = ""
    host_id: str = ""
    after: str | None = None
    own: tuple[str, ...] | None = None
    """Owners that the asker speaks for, who sees no other's; null: whoever asks sees all."""

    @property
    def owners(self) -> tuple[str, ...] | None:
        """Owners whose VMs are shown; null: everybody's."""
        return (self.owner,) if self.owner else self.own


@dataclass(frozen=True)
class Told:
    """The page that everybody is shown alike, and the VMs on it, for the parts that are each asker's own."""

    sheet: Sheet
    wanted: Wanted
    vms: tuple[VmMaintenance, ...]

    def __len__(self) -> int:
        """In bytes, or so: the VMs take about as much as the page."""
        return 2 * len(self.sheet)


def told(room: Room, wanted: Wanted) -> Told:
    """The page of an owner's VMs, of a host's, or of all.

    Raises:
        HTTPException: 422, the cursor is none.
    """

    def made(look: Look) -> Told:
        found = vms(look, wanted.owners, wanted.host_id or None, wanted.after, SHOWN)
        if wanted.own is not None:
            found = replace(found, vms=tuple(sorted(found.vms, key=lambda vm: not vm.startable)))
        counts = owners(look) if wanted == Wanted() else None
        shown = {"found": found, "counts": counts, "wanted": wanted, "now": look.now}
        page = sheet("maintenance.html", here="/maintenance", simulated=look.freshness.simulated, **shown)
        return Told(page, wanted, found.vms)

    return room.shared(("maintenance", wanted, wishes(room.home)), made, gather(room, wanted.owners))


def gather(room: Room, owners: Sequence[str] | None) -> Callable[[], None]:
    """Asks which VMs the owners have and what they are, together with what others ask of theirs."""

    def ask(look: Look, owners: Sequence[str]) -> None:
        if look.fleet is not None:
            found = _vms_of(look.fleet, owners)
            _kinds(look.fleet, [name for vms in found.values() for name in vms])

    def asked() -> None:
        for owner in owners or ():
            room.together("owners", owner, ask)

    return asked


def page_of(told: Told, *, started: str = "", refused: str = "", typed: Typed | None = None) -> bytes:
    """The page of somebody as HTML; after a start with a sentence of what was done, or of why not."""
    done = next((vm for vm in told.vms if started and vm.vm_id == started and vm.started_by), None)
    own = {"outcome": fill("started.html", done=done, refused=refused)}
    for at, vm in enumerate(told.vms, 1):
        if vm.startable:
            own[f"start_{at}"] = fill("start.html", vm=vm, name=at, wanted=told.wanted, typed=typed or Typed())
    return told.sheet.filled(own)


def vms(look: Look, owners: Sequence[str] | None, host_id: str | None, after: str | None, limit: int) -> Maintenance:
    """A page of VMs that orders are about, only those of these owners and of a host where they are named.

    Raises:
        HTTPException: 422, the cursor is none.
    """
    try:
        return maintenance.page(
            _ask(look, host_id), _inventory(look), look.home, look.now, owners=owners, after=after, limit=limit
        )
    except UsageError as error:
        raise HTTPException(422, str(error)) from error


def speaks_for(look: Look, person: Person, order_id: str, vm_id: str) -> bool:
    """Whether the order is about the VM, and the person speaks for the owner that it has now."""
    held = look.book.orders([order_id]).get(order_id) if look.book and person.owners else None
    if held is None or all(plan.vm_id != vm_id for plan in held.order.vms):
        return False
    kind = _inventory(look).kinds([vm_id]).get(vm_id)
    return kind is not None and person.speaks_for(kind[0])


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
