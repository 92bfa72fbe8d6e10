"""What people let begin for owners within a window: written down before the executor hears of it.

Each function runs inside the caller's transaction. The history alone holds it: a wish is taken once, and a later
record that it failed frees the VM to be asked for again.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, select

from data.errors import Refused
from decisions.domain import UNDER_WAY, Action, OrderState
from decisions.ledger import chain, orders
from decisions.ledger import schema as tables
from decisions.ledger.reasoned import reasoned
from decisions.ledger.record import last_control
from decisions.ledger.values import load_order

ASKED: Final = "vm_start"
FAILED: Final = "vm_start_failed"


@dataclass(frozen=True)
class Start:
    """Who let what an owner was offered begin, why and when."""

    order_id: str
    vm_id: str
    by: str
    reason: str
    at: datetime


def ask(con: Connection, wish: Start) -> tuple[Start, bool]:
    """The wish as it is held, that of whoever asked first, and whether it is this one.

    Raises:
        UsageError: No reason.
        LedgerError: There is no such order.
        Refused: All action is stopped, the owner of that VM is offered no window, it is over, or the executor does not
            have the order.
    """
    reasoned(wish.reason, "Starting a VM")
    switch = last_control(con)
    if switch is not None and switch.stopped:
        msg = f"{switch.set_by} has stopped all action ({switch.reason}); `foreshock start` lifts it."
        raise Refused(msg)
    held = orders.require(con, wish.order_id)
    order = load_order(held.body, held.not_before)
    plan = next((plan for plan in order.vms if plan.vm_id == wish.vm_id), None)
    if plan is None or plan.technique is not Action.SELF_SERVICE or plan.deadline is None:
        msg = f"Order {wish.order_id} offers no window for VM {wish.vm_id}: there is nothing to start."
        raise Refused(msg)
    if OrderState(held.state) not in UNDER_WAY:
        word = "is not with the executor yet" if held.state == OrderState.REQUESTED.value else f"is {held.state}"
        msg = f"VM {wish.vm_id} cannot be started: order {wish.order_id} {word}."
        raise Refused(msg)
    if plan.deadline <= wish.at:
        ended = f"{plan.deadline:%Y-%m-%d %H:%M} UTC"
        msg = f"The window for VM {wish.vm_id} ended at {ended}: it goes without being asked."
        raise Refused(msg)
    known = asked(con, [wish.order_id]).get((wish.order_id, wish.vm_id))
    if known is not None:
        return known, False
    body = {"by": wish.by, "reason": wish.reason, "vm": wish.vm_id, "host": order.host_id}
    chain.append(con, wish.at, [chain.Entry(ASKED, wish.order_id, body)])
    return wish, True


def fail(con: Connection, wish: Start, error: str, at: datetime) -> None:
    """The executor did not begin with the VM; it may be asked again."""
    chain.append(con, at, [chain.Entry(FAILED, wish.order_id, {"vm": wish.vm_id, "error": error})])


def asked(con: Connection, order_ids: Collection[str]) -> dict[tuple[str, str], Start]:
    """Wishes that have not failed, by order and VM."""
    held = tables.history.c
    query = select(held.kind, held.subject, held.at, held.body).order_by(held.record)
    found: dict[tuple[str, str], Start] = {}
    for row in con.execute(query.where(held.subject.in_(sorted(order_ids)), held.kind.in_((ASKED, FAILED)))):
        body = json.loads(row.body)
        key = (row.subject, body["vm"])
        if row.kind == FAILED:
            found.pop(key, None)
        else:
            at = datetime.fromisoformat(row.at).astimezone(UTC)
            found.setdefault(key, Start(*key, body["by"], body["reason"], at))
    return found
