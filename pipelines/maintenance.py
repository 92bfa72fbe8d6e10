"""Which VMs have been moved or serviced and which have not, what their owners are offered until when, and chose.

The ledger says what was ordered and what came of it, the snapshot whose VMs they are, and the memory of the reference
executor, where one works in this home, what owners have asked for since.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from data.errors import UsageError
from data.snapshots import arrow
from decisions.domain import UNDER_WAY, Action, OrderState
from decisions.ledger.services import Ask as Ask
from decisions.ledger.services import Cursor, VmService
from pipelines.executors.jobs import MEMORY

if TYPE_CHECKING:
    import duckdb

SINCE: Final = timedelta(days=30)
"""Orders that ended earlier are history: the host's page and the audit have them."""
COUNTED: Final = 10_000
"""VMs counted by owner, those of the newest orders first."""


class Stands(StrEnum):
    """Where a VM stands with an order."""

    OFFERED = "offered"
    WAITING = "waiting"
    UNDER_WAY = "under way"
    DONE = "done"
    STAYS = "stays"
    WENT_WRONG = "went wrong"
    NOT_DONE = "not done"


_RESULTS: Final = {
    "moved": (Stands.DONE, "moved live"),
    "redeployed": (Stands.DONE, "redeployed"),
    "chosen": (Stands.DONE, "redeployed at its owner's moment"),
    "paused": (Stands.DONE, "stood still while its host was serviced"),
    "stayed": (Stands.STAYS, "stayed where it was"),
    "failed": (Stands.WENT_WRONG, "its move failed"),
    "lost": (Stands.WENT_WRONG, "lost with its host"),
}
_COMING: Final = {
    Action.LIVE_MIGRATE: "moves live",
    Action.EVACUATE: "is redeployed",
    Action.SELF_SERVICE: "is redeployed, at the latest when its window ends",
    Action.PRESERVE_MEMORY: "stands still while its host is serviced",
    Action.NOTIFY: "stays; its owner is told",
    Action.MONITOR: "stays where it is",
}
_FREEZES: Final = frozenset({Action.LIVE_MIGRATE, Action.PRESERVE_MEMORY})


@dataclass(frozen=True)
class Event:
    """The scheduled event that the owner sees in the VM, as the reference executor's metadata service tells it."""

    event_id: str
    kind: str
    """`Freeze` or `Redeploy`."""
    not_before: datetime
    asked_at: datetime | None
    """When it was asked to start; null: not yet, or the executor keeps its memory elsewhere."""


@dataclass(frozen=True)
class VmMaintenance:
    """One VM of one order, as its owner asks about it."""

    vm_id: str
    owner: str | None
    """Null: the inventory does not know the VM."""
    series: str | None
    host_id: str
    target_host_id: str | None
    """Where it went, or is to go; null: it stays, or never arrived."""
    action: Action
    technique: Action
    stands: Stands
    said: str
    offered_until: datetime | None
    chose: str | None
    """What the owner chose; null: there was no choice."""
    starts_at: datetime
    ended_at: datetime | None
    interrupted: bool
    pause_seconds: float
    event: Event | None
    """Null: nothing is to come for this VM."""
    startable: bool
    """Whether it can be started now: its window is open, the executor has the order, and nobody has asked yet."""
    started_by: str | None
    """Who let it begin here, at the owner's word; null: nobody did."""
    order_id: str
    proposal_id: str
    simulated: bool


@dataclass(frozen=True)
class OwnerMaintenance:
    """How many VMs of one owner stand how."""

    owner: str
    offered: int
    waiting: int
    under_way: int
    done: int
    stays: int
    went_wrong: int
    not_done: int


@dataclass(frozen=True)
class Maintenance:
    """A page of VMs, and where the next begins (null: this was the last)."""

    now: datetime
    vms: tuple[VmMaintenance, ...]
    next: str | None


Kind = tuple[str | None, str | None, bool]
"""A VM's owner and series, and whether it is simulated."""


@dataclass(frozen=True)
class Inventory:
    """Whose VMs are whose, and what they are."""

    vms_of: Callable[[str], Collection[str]]
    """Of an owner."""
    kinds: Callable[[Sequence[str]], Mapping[str, Kind]]
    """Of those VMs that it knows."""


def inventory(con: "duckdb.DuckDBPyConnection") -> Inventory:
    """What the snapshot tells, asked anew each time."""
    return Inventory(lambda owner: vms_of(con, [owner])[owner], lambda vms: kinds(con, vms))


NO_INVENTORY: Final = Inventory(lambda _owner: (), lambda _vms: {})


def page(
    ask: Ask,
    known: Inventory,
    home: Path,
    now: datetime,
    *,
    owners: Collection[str] | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Maintenance:
    """At most `limit` VMs after the cursor, only those of the owners where they are named.

    Raises:
        UsageError: the cursor is none.
    """
    vms = _of(known, owners) if owners is not None else None
    found = list(islice(ask(vms, _cursor(after)), limit + 1))
    shown = _views(found[:limit], known, home, now)
    return Maintenance(now, tuple(shown), _named(found[limit - 1]) if len(found) > limit else None)


def _of(known: Inventory, owners: Collection[str]) -> Collection[str]:
    """The VMs whose newest owner is one of these: what has changed hands is its new owner's alone."""
    had = [vm for owner in owners for vm in known.vms_of(owner)]
    return {vm for vm, (owner, _, _) in known.kinds(had).items() if owner in owners}


def owners(ask: Ask, known: Inventory, now: datetime) -> tuple[OwnerMaintenance, ...]:
    """How the VMs of each owner stand, those with the most still to come first."""
    found = list(islice(ask(None, None), COUNTED))
    newest = {one.vm_id: one for one in reversed(found)}  # of several orders the newest counts
    counts: dict[str, Counter[Stands]] = {}
    kinds = known.kinds(list(newest))
    for vm_id, one in newest.items():
        owner = kinds.get(vm_id, (None, None, False))[0] or "not in the inventory"
        counts.setdefault(owner, Counter())[_stands(one, now)[0]] += 1
    rows = [OwnerMaintenance(owner, *(count[stands] for stands in Stands)) for owner, count in sorted(counts.items())]
    return tuple(sorted(rows, key=lambda row: -(row.offered + row.waiting + row.under_way + row.went_wrong)))


def _views(found: Sequence[VmService], known: Inventory, home: Path, now: datetime) -> Iterator[VmMaintenance]:
    kinds = known.kinds(list(dict.fromkeys(one.vm_id for one in found)))
    asked = _asked(home, [one.order_id for one in found if one.order_state in UNDER_WAY])
    for one in found:
        owner, series, simulated = kinds.get(one.vm_id, (None, None, False))
        stands, said = _stands(one, now)
        wish = asked.get((one.order_id, one.vm_id), one.start.at if one.start else None)
        coming = stands in {Stands.OFFERED, Stands.WAITING, Stands.UNDER_WAY}
        goes = coming or stands is Stands.DONE
        yield VmMaintenance(
            vm_id=one.vm_id,
            owner=owner,
            series=series,
            host_id=one.host_id,
            target_host_id=one.target_host_id if goes and one.target_host_id != one.host_id else None,
            action=one.action,
            technique=one.technique,
            stands=stands,
            said=said,
            offered_until=one.deadline if stands is Stands.OFFERED else None,
            chose=_chose(one, stands, wish),
            starts_at=one.starts_at,
            ended_at=one.ended_at,
            interrupted=one.interrupted,
            pause_seconds=one.pause_seconds,
            event=_event(one, wish) if coming else None,
            startable=stands is Stands.OFFERED and wish is None and one.order_state in UNDER_WAY,
            started_by=one.start.by if one.start else None,
            order_id=one.order_id,
            proposal_id=one.proposal_id,
            simulated=simulated,
        )


def _stands(one: VmService, now: datetime) -> tuple[Stands, str]:
    if one.result is not None:
        return _RESULTS.get(one.result, (Stands.DONE, one.result))
    coming = _COMING.get(one.technique, one.technique.value.replace("_", " "))
    if one.technique in {Action.MONITOR, Action.NOTIFY}:
        return Stands.STAYS, coming
    if one.order_state not in {OrderState.REQUESTED, *UNDER_WAY}:
        return Stands.NOT_DONE, f"the order ended without it: {one.order_state.value}"
    if one.technique is Action.SELF_SERVICE and one.deadline is not None and one.deadline > now:
        return Stands.OFFERED, coming
    return (Stands.UNDER_WAY if one.order_state is OrderState.STARTED else Stands.WAITING), coming


def _chose(one: VmService, stands: Stands, wish: datetime | None) -> str | None:
    if one.technique is not Action.SELF_SERVICE:
        return None
    by = f" ({one.start.by}: {one.start.reason})" if one.start else ""
    if one.result == "chosen":
        return f"a moment of its own{by}"
    if wish is not None:
        return f"to start it, at {wish:%Y-%m-%d %H:%M} UTC{by}"
    return "nothing yet" if stands is Stands.OFFERED else "nothing while it was offered"


def _event(one: VmService, wish: datetime | None) -> Event:
    from pipelines.executors.owners import event_id_of

    until = one.deadline if one.technique is Action.SELF_SERVICE and one.deadline else one.starts_at
    kind = "Freeze" if one.technique in _FREEZES else "Redeploy"
    return Event(event_id_of(one.order_id, one.vm_id), kind, until, wish)


def kinds(con: "duckdb.DuckDBPyConnection", vms: Sequence[str]) -> dict[str, Kind]:
    """What inventory has told last of each of the VMs that it knows."""
    if not vms:
        return {}
    query = """
        select vm_id, arg_max(owner, valid_from) as owner, arg_max(series, valid_from) as series,
               bool_or(simulated) as simulated
        from vm semi join (select unnest($ids) as vm_id) using (vm_id) group by vm_id"""
    rows = arrow(con, query, {"ids": list(vms)}).to_pylist()
    return {row["vm_id"]: (row["owner"], row["series"], row["simulated"]) for row in rows}


def vms_of(con: "duckdb.DuckDBPyConnection", owners: Sequence[str]) -> dict[str, frozenset[str]]:
    """The VMs that each of the owners has or had."""
    query = """
        select owner, list(distinct vm_id) as vms from vm
        semi join (select unnest($owners) as owner) using (owner) group by owner"""
    found = {owner: frozenset(vms) for owner, vms in con.execute(query, {"owners": list(owners)}).fetchall()}
    return {owner: found.get(owner, frozenset()) for owner in owners}


def _asked(home: Path, orders: Iterable[str]) -> dict[tuple[str, str], datetime]:
    """When owners asked for their events to start, by order and VM, as the executor of this home remembers."""
    file, ids = home / MEMORY, sorted(set(orders))
    if not ids or not file.is_file():
        return {}
    marks = ", ".join("?" * len(ids))
    query = f"select order_id, vm_id, asked_at from task where asked_at is not null and order_id in ({marks})"  # noqa: S608
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as memory:
        drives = memory.execute(
            "select 1 from sqlite_master where name = 'task'"
        ).fetchone()  # one of a simulation does not
        rows = memory.execute(query, ids).fetchall() if drives else []
    return {(order_id, vm_id): datetime.fromisoformat(at) for order_id, vm_id, at in rows}


def _named(one: VmService) -> str:
    return f"{one.requested_at.isoformat()}~{one.order_id}~{one.vm_id}"


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    try:
        at, order_id, vm_id = text.split("~", 2)
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        msg = f"{text!r} is no cursor: take `next` of the page before, or leave it out to begin anew."
        raise UsageError(msg) from error
    if moment.tzinfo is None:
        msg = f"{text!r} is no cursor: its moment has no time zone."
        raise UsageError(msg)
    return Cursor(moment, order_id, vm_id)
