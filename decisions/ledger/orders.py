"""The way of an order: out of the outbox, through its states, to its outcome. Runs inside the caller's transaction."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, or_, select, update

from data.errors import ExecutorError, LedgerError, Refused
from decisions.domain import Answer, Order, OrderState
from decisions.ledger import chain
from decisions.ledger import schema as tables
from decisions.ledger.reasoned import reasoned
from decisions.ledger.values import load_order

_RANK: Final[Mapping[OrderState, int]] = {
    OrderState.REQUESTED: 0,
    OrderState.ACCEPTED: 1,
    OrderState.STARTED: 2,
    OrderState.COMPLETED: 3,
    OrderState.FAILED: 3,
    OrderState.REFUSED: 3,
    OrderState.CANCELLED: 3,
    OrderState.EXPIRED: 3,
}
_OURS: Final = {OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REFUSED}
_FACTS: Final = {OrderState.COMPLETED, OrderState.FAILED}
_NAMED: Final = 3
"""VMs that a refusal names."""
_WORKED_ON: Final = {OrderState.STARTED, *_FACTS}


def follows(state: OrderState, answer: OrderState) -> bool:
    """Whether an order may go from the state to the answer's: forward only, steps may be skipped.

    One thing overrules an end: what the executor really did, where we had only given up (cancelled, expired, refused).
    """
    return _RANK[answer] > _RANK[state] or (state in _OURS and answer in _FACTS)


def lease(con: Connection, now: datetime, limit: int, lease_seconds: float) -> list[Order]:
    """Orders to hand over now, the first to start first, kept from other dispatchers until the lease ends."""
    box, held = tables.outbox.c, tables.orders.c
    due = or_(
        (box.state == "pending") & (box.next_attempt_at <= now),
        (box.state == "leased") & (box.lease_until <= now),
    )
    query = (
        select(held.order_id, held.body, held.not_before)
        .join(tables.outbox, box.order_id == held.order_id)
        .where(due, held.state == OrderState.REQUESTED.value, held.expires_at > now)
        .order_by(held.not_before, held.order_id)
        .limit(limit)
    )
    rows = con.execute(query).all()
    if rows:
        taken = [row.order_id for row in rows]
        values = {
            "state": "leased",
            "lease_until": now + timedelta(seconds=lease_seconds),
            "attempts": box.attempts + 1,
        }
        con.execute(update(tables.outbox).where(box.order_id.in_(taken)).values(values))
    return [load_order(row.body, row.not_before) for row in rows]


def overdue(con: Connection, now: datetime) -> list[str]:
    """Orders that expired before they were handed over."""
    held, box = tables.orders.c, tables.outbox.c
    query = (
        select(held.order_id)
        .join(tables.outbox, box.order_id == held.order_id)
        .where(held.state == OrderState.REQUESTED.value, held.expires_at <= now, box.state != "sent")
        .order_by(held.order_id)
    )
    return list(con.execute(query).scalars())


def mark(con: Connection, order_id: str, at: datetime, state: str, **values: Any) -> None:
    """Set the order's outbox row; handing over and giving up go into the history."""
    require(con, order_id)
    chain.append(con, at, _marked(con, order_id, state, **values))


def _marked(con: Connection, order_id: str, state: str, **values: Any) -> list[chain.Entry]:
    """What the history hears of the outbox row once it is set."""
    changed = con.execute(
        update(tables.outbox)
        .where(tables.outbox.c.order_id == order_id, tables.outbox.c.state.not_in(["sent", state]))
        .values(state=state, lease_until=None, **values)
    )
    if changed.rowcount and state in {"sent", "dead"}:
        return [chain.Entry(state, order_id, {"error": values.get("last_error")})]
    return []


def advance(con: Connection, order_id: str, state: OrderState, at: datetime, reason: str | None) -> bool:
    """Whether the order went forward to the state; a repeated or late step changes nothing."""
    held = require(con, order_id)
    if not follows(OrderState(held.state), state):
        return False
    chain.append(con, at, [_advanced(con, order_id, state, at, reason)])
    return True


def _advanced(con: Connection, order_id: str, state: OrderState, at: datetime, reason: str | None) -> chain.Entry:
    """What the history hears of the order once it stands there."""
    values = {"state": state.value, "reason": reason, "updated_at": at}
    con.execute(update(tables.orders).where(tables.orders.c.order_id == order_id).values(values))
    events = tables.order_event
    count = select(func.count()).select_from(events).where(events.c.order_id == order_id)
    step = con.execute(count).scalar_one()
    con.execute(insert(events), {"order_id": order_id, "step": step, "state": state.value, "at": at, "reason": reason})
    return chain.Entry("order_state", order_id, {"state": state.value, "reason": reason})


def apply(con: Connection, answer: Answer) -> bool:
    """Whether the executor's answer told something new; its outcomes are written with it.

    An executor that began an order had accepted it: where that answer was lost, it is written down with this one.

    Raises:
        ExecutorError: It tells of VMs that are not in the order.
    """
    order_id, at = answer.order_id, answer.at
    held = require(con, order_id)
    _refuse_strangers(answer, load_order(held.body, held.not_before))
    state, told = OrderState(held.state), _usable(con, order_id)
    if state is OrderState.REQUESTED and answer.state in _WORKED_ON:
        state = OrderState.ACCEPTED
        told.append(_advanced(con, order_id, state, at, None))
    if not follows(state, answer.state):
        chain.append(con, at, told)
        return False
    told.append(_advanced(con, order_id, answer.state, at, answer.reason))
    told += _marked(con, order_id, "sent", last_error=None)
    if answer.host_state is not None:
        con.execute(
            update(tables.orders).where(tables.orders.c.order_id == order_id).values(host_state=answer.host_state)
        )
        told.append(chain.Entry("host_state", order_id, {"host_id": held.host_id, "state": answer.host_state}))
    if answer.vms:
        vms = [vm.vm_id for vm in answer.vms]
        known = tables.outcome.c
        con.execute(delete(tables.outcome).where(known.order_id == order_id, known.vm_id.in_(vms)))
        con.execute(insert(tables.outcome), [_outcome(answer, at) for at in range(len(answer.vms))])
        told.append(chain.Entry("outcome", order_id, {"vms": {vm.vm_id: vm.result for vm in answer.vms}}))
    chain.append(con, at, told)
    return True


def bad_answer(con: Connection, order_id: str, why: str, at: datetime) -> None:
    """Write down that the executor's answer is of no use, once for as long as that is so."""
    box = tables.outbox.c
    news = update(tables.outbox).where(box.order_id == order_id, box.last_error.is_distinct_from(why))
    if con.execute(news.values(last_error=why)).rowcount:
        chain.append(con, at, [chain.Entry("bad_answer", order_id, {"error": why})])


def _usable(con: Connection, order_id: str) -> list[chain.Entry]:
    """What the history hears of an answer that is of use, where the one before was not."""
    box = tables.outbox.c
    well = update(tables.outbox).where(box.order_id == order_id, troubled()).values(last_error=None)
    return [chain.Entry("usable_answer", order_id, {})] if con.execute(well).rowcount else []


def troubled() -> ColumnElement[bool]:
    """Whether what the executor last said of an order that it has was of no use."""
    return (tables.outbox.c.state == "sent") & tables.outbox.c.last_error.is_not(None)


def _refuse_strangers(answer: Answer, order: Order) -> None:
    strangers = sorted({vm.vm_id for vm in answer.vms} - {vm.vm_id for vm in order.vms})
    if strangers:
        named = ", ".join(strangers[:_NAMED]) + (" ..." if len(strangers) > _NAMED else "")
        msg = f"The executor's answer tells of VMs that are not in order {order.order_id}: {named}"
        raise ExecutorError(msg)


def _outcome(answer: Answer, at: int) -> dict[str, object]:
    vm = answer.vms[at]
    return {
        "order_id": answer.order_id,
        "vm_id": vm.vm_id,
        "result": vm.result,
        "target_host_id": vm.target_host_id,
        "pause_seconds": vm.pause_seconds,
        "interrupted": vm.interrupted,
        "at": answer.at,
    }


def give_up(con: Connection, order_id: str, state: OrderState, at: datetime, reason: str) -> bool:
    """Whether an order that was never handed over came to its end: refused, expired or cancelled."""
    if not advance(con, order_id, state, at, reason):
        return False
    mark(con, order_id, at, "dead", last_error=reason)
    return True


def delay(con: Connection, order_id: str, not_before: datetime, at: datetime, reason: str) -> None:
    """Let an order start later than it says; its body stays what it was, and the history says why."""
    con.execute(update(tables.orders).where(tables.orders.c.order_id == order_id).values(not_before=not_before))
    body = {"not_before": not_before.isoformat(), "reason": reason}
    chain.append(con, at, [chain.Entry("order_delayed", order_id, body)])


def cancel(con: Connection, order_id: str, by: str, reason: str, at: datetime) -> None:
    """End an order that has not been handed over.

    Raises:
        UsageError: No reason.
        Refused: It is being handed over, was handed over, or has ended.
    """
    reasoned(reason, "Calling an order back")
    held = require(con, order_id)
    if held.state != OrderState.REQUESTED.value:
        msg = f"Order {order_id} is {held.state} already; what has been handed over only the executor can cancel."
        raise Refused(msg)
    if held.outbox_state in {"leased", "sent"}:
        msg = f"Order {order_id} is being handed over ({held.outbox_state}); only the executor can cancel it now."
        raise Refused(msg)
    call_back(con, order_id, by, reason, at)
    give_up(con, order_id, OrderState.CANCELLED, at, f"{by}: {reason}")


def call_back(con: Connection, order_id: str, by: str, reason: str, at: datetime) -> None:
    """Write down who wants the order called back, and why; what comes of it is written when it is known.

    Raises:
        UsageError: No reason.
    """
    reasoned(reason, "Calling an order back")
    held = require(con, order_id)
    body = {"by": by, "reason": reason, "host": held.host_id}
    chain.append(con, at, [chain.Entry("call_back", order_id, body)])


def retry(con: Connection, order_id: str, by: str, at: datetime) -> None:
    """Put a dead letter back into the queue, with its attempts counted from the start.

    Raises:
        Refused: The order is not dead, has ended or has expired.
    """
    held = require(con, order_id)
    if held.outbox_state != "dead" or held.state != OrderState.REQUESTED.value:
        msg = f"Order {order_id} is {held.state}, its delivery {held.outbox_state}: only dead letters can be retried."
        raise Refused(msg)
    if held.expires_at <= at:
        msg = f"Order {order_id} expired at {held.expires_at:%Y-%m-%d %H:%M} UTC; the next cycle decides anew."
        raise Refused(msg)
    values = {"state": "pending", "attempts": 0, "next_attempt_at": at, "lease_until": None}
    con.execute(update(tables.outbox).where(tables.outbox.c.order_id == order_id).values(values))
    chain.append(con, at, [chain.Entry("retry", order_id, {"by": by})])


def require(con: Connection, order_id: str) -> Row[Any]:
    """The order's row with its outbox state.

    Raises:
        LedgerError: There is no such order.
    """
    query = (
        select(tables.orders, tables.outbox.c.state.label("outbox_state"))
        .join(tables.outbox, tables.outbox.c.order_id == tables.orders.c.order_id)
        .where(tables.orders.c.order_id == order_id)
    )
    row = con.execute(query).first()
    if row is None:
        msg = f"There is no order {order_id}. `foreshock orders list` shows them."
        raise LedgerError(msg)
    return row
