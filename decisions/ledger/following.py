"""Where a cycle's proposals stand, followed from look to look: only what the history told of since is read again.

Whatever is decided on a proposal or becomes of its order goes into the history, in the same transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, func, or_, select

from decisions.domain import OrderState
from decisions.ledger import schema as tables
from decisions.ledger.orders import troubled
from decisions.ledger.queries import last_decisions, standing
from decisions.ledger.values import Asked, Brief, Decision

_LAST_RECORD: Final = select(func.max(tables.history.c.record))
MOST: Final = 500
"""Things that the history may have told of since; of more, all is read again."""
_ORDERS: Final = (
    select(
        *tables.orders.c["proposal_id", "state", "not_before"],
        or_(tables.outbox.c.state == "dead", troubled()).label("troubled"),
    )
    .join(tables.proposal, tables.proposal.c.proposal_id == tables.orders.c.proposal_id)
    .join(tables.outbox, tables.outbox.c.order_id == tables.orders.c.order_id)
)


@dataclass(frozen=True)
class _Known:
    """Orders and last decisions by proposal, as of that record of the history."""

    record: int
    orders: Mapping[str, Row[Any]]
    decided: Mapping[str, Decision]


class Following:
    """What is known of those proposals of one cycle that have an order or a decision."""

    def __init__(self, cycle_id: str, asked: Sequence[Asked]) -> None:
        """Nothing is read before somebody asks."""
        self._cycle_id, self._asked = cycle_id, {each.proposal_id: each for each in asked}
        self._known: _Known | None = None

    def briefs(self, con: Connection, now: datetime) -> dict[str, Brief]:
        """Where they stand `now`, as of the state that the connection sees."""
        record = con.execute(_LAST_RECORD).scalar() or 0
        known = self._known
        if known is None or known.record > record:
            known = self._read(con, record)
        elif known.record < record:
            known = self._read_on(con, record, known)
        self._known = known
        touched = (self._asked[name] for name in {**known.orders, **known.decided})
        return {one.proposal_id: _brief(one, known, now) for one in touched}

    def _read(self, con: Connection, record: int) -> _Known:
        own = tables.proposal.c
        ordered = con.execute(_ORDERS.where(own.cycle_id == self._cycle_id))
        decided = last_decisions(con, select(own.proposal_id).where(own.cycle_id == self._cycle_id))
        return _Known(record, {row.proposal_id: row for row in ordered}, decided)

    def _read_on(self, con: Connection, record: int, known: _Known) -> _Known:
        told, order = tables.history.c, tables.orders.c
        since = select(told.subject).where(told.record > known.record, told.record <= record).distinct()
        subjects = con.execute(since.limit(MOST + 1)).scalars().all()
        if len(subjects) > MOST:
            return self._read(con, record)
        about = or_(order.order_id.in_(subjects), order.proposal_id.in_(subjects))
        ordered = {row.proposal_id: row for row in con.execute(_ORDERS.where(about)) if row.proposal_id in self._asked}
        decided = last_decisions(con, [name for name in subjects if name in self._asked])
        return _Known(record, {**known.orders, **ordered}, {**known.decided, **decided})


def _brief(one: Asked, known: _Known, now: datetime) -> Brief:
    order = known.orders.get(one.proposal_id)
    stands = standing(one, known.decided.get(one.proposal_id), now)
    if order is None:
        return Brief(one, stands, None, troubled=False, starts_at=None)
    return Brief(one, stands, OrderState(order.state), troubled=order.troubled, starts_at=order.not_before)
