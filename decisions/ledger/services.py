"""What orders meant for each VM, and what came of it, the newest order first. Reads inside the caller's transaction."""

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select

from decisions.domain import Action, OrderState
from decisions.ledger import schema as tables
from decisions.ledger.record import OPEN
from decisions.ledger.starts import Start, asked

CHUNK: Final = 100
"""Orders read at a time."""
NAMED_MOST: Final = 10_000
"""VMs or orders that a statement names; of more, every order is read."""


@dataclass(frozen=True)
class VmService:
    """One VM of one order."""

    vm_id: str
    host_id: str
    order_id: str
    proposal_id: str
    action: Action
    """What the order is."""
    technique: Action
    """What it means for this VM."""
    order_state: OrderState
    starts_at: datetime
    deadline: datetime | None
    """Until when the owner may pick the moment."""
    requested_at: datetime
    updated_at: datetime
    target_host_id: str | None
    result: str | None
    """What became of it, as `VmOutcome` says; null: nothing yet, or the order ended without touching it."""
    interrupted: bool
    pause_seconds: float
    ended_at: datetime | None
    start: Start | None
    """Who let it begin within the owner's window, if anybody did here."""


@dataclass(frozen=True)
class Cursor:
    """The last VM of a page."""

    requested_at: datetime
    order_id: str
    vm_id: str


Ask = Callable[[Collection[str] | None, Cursor | None], Iterator[VmService]]
"""VMs of orders: only these (null: all), after that one."""


def services(
    con: Connection,
    since: datetime,
    *,
    host_id: str | None = None,
    vms: Collection[str] | None = None,
    after: Cursor | None = None,
) -> Iterator[VmService]:
    """VMs of orders that are open or ended since then, the newest order first, a VM in the order of its id.

    Args:
        con: a transaction.
        since: orders that ended before are left out.
        host_id: only of orders for that host.
        vms: only these.
        after: go on after that VM.
    """
    seen = after
    where = [or_(tables.orders.c.state.in_(OPEN), tables.orders.c.updated_at >= since), *_about(con, host_id, vms)]
    while rows := _orders(con, where, seen, inclusive=seen is not None and seen is after):
        fates = _fates(con, [row.order_id for row in rows])
        wishes = asked(con, [row.order_id for row in rows if row.action == Action.SELF_SERVICE])
        for row in rows:
            for one in _of_order(row, vms, fates, wishes):
                passed = after is not None and row.order_id == after.order_id and one.vm_id <= after.vm_id
                if not passed:
                    yield one
        seen = Cursor(rows[-1].requested_at, rows[-1].order_id, "")


def _about(con: Connection, host_id: str | None, vms: Collection[str] | None) -> Iterator[ColumnElement[bool]]:
    """What orders must be like to concern the host and the VMs."""
    held, named = tables.orders.c, tables.order_vm.c
    if host_id is not None:
        yield held.host_id == host_id
    if vms is not None and len(vms) <= NAMED_MOST:
        query = select(named.order_id).where(named.vm_id.in_(sorted(vms))).distinct().limit(NAMED_MOST + 1)
        found = con.execute(query).scalars().all()
        if len(found) <= NAMED_MOST:
            yield held.order_id.in_(found)


def _orders(
    con: Connection, where: list[ColumnElement[bool]], after: Cursor | None, *, inclusive: bool
) -> list[Row[Any]]:
    held = tables.orders.c
    query = select(tables.orders).where(*where)
    if after is not None:
        later = held.order_id >= after.order_id if inclusive else held.order_id > after.order_id
        query = query.where(
            or_(held.requested_at < after.requested_at, and_(held.requested_at == after.requested_at, later))
        )
    return list(con.execute(query.order_by(held.requested_at.desc(), held.order_id).limit(CHUNK)))


def _fates(con: Connection, order_ids: list[str]) -> dict[tuple[str, str], Row[Any]]:
    fate = tables.outcome.c
    rows = con.execute(select(tables.outcome).where(fate.order_id.in_(order_ids)))
    return {(row.order_id, row.vm_id): row for row in rows}


def _of_order(
    row: Row[Any],
    vms: Collection[str] | None,
    fates: dict[tuple[str, str], Row[Any]],
    wishes: dict[tuple[str, str], Start],
) -> Iterator[VmService]:
    wanted = (plan for plan in json.loads(row.body)["vms"] if vms is None or plan["vm_id"] in vms)
    for plan in sorted(wanted, key=lambda each: str(each["vm_id"])):
        fate = fates.get((row.order_id, plan["vm_id"]))
        deadline = plan.get("deadline")
        yield VmService(
            vm_id=plan["vm_id"],
            host_id=row.host_id,
            order_id=row.order_id,
            proposal_id=row.proposal_id,
            action=Action(row.action),
            technique=Action(plan["technique"]),
            order_state=OrderState(row.state),
            starts_at=row.not_before,
            deadline=datetime.fromisoformat(deadline) if deadline else None,
            requested_at=row.requested_at,
            updated_at=row.updated_at,
            target_host_id=(fate.target_host_id if fate else None) or plan["target_host_id"],
            result=fate.result if fate else None,
            interrupted=bool(fate.interrupted) if fate else False,
            pause_seconds=fate.pause_seconds if fate else 0.0,
            ended_at=fate.at if fate else None,
            start=wishes.get((row.order_id, plan["vm_id"])),
        )
