"""The ledger in numbers, for whoever watches it: each question is answered from an index, or from one cycle.

Each function reads inside the caller's transaction.
"""

from datetime import datetime

from sqlalchemy import Connection, func, select

from decisions.actions import MOVES
from decisions.domain import UNDER_WAY, OrderState
from decisions.ledger import record
from decisions.ledger import schema as tables
from decisions.ledger.orders import troubled

_TAKEN = tuple(state.value for state in UNDER_WAY)
_WAITING = ("pending", "leased")


def orders(con: Connection) -> dict[str, int]:
    """All orders there ever were, by where they stand."""
    held = tables.orders.c
    return dict(con.execute(select(held.state, func.count()).group_by(held.state)).tuples().all())


def moving(con: Connection) -> int:
    """Hosts that the executor is emptying, or is about to."""
    held = tables.orders.c
    moves = [action.value for action in sorted(MOVES)]
    return con.execute(select(func.count()).where(held.state.in_(_TAKEN), held.action.in_(moves))).scalar_one()


def dead_letters(con: Connection) -> int:
    """Orders whose handing over was given up, and that wait for a person."""
    held, box = tables.orders.c, tables.outbox.c
    query = select(func.count()).join_from(tables.outbox, tables.orders, box.order_id == held.order_id)
    return con.execute(query.where(box.state == "dead", held.state == OrderState.REQUESTED.value)).scalar_one()


def bad_answers(con: Connection) -> int:
    """Open orders of which the executor's last answer was of no use."""
    held, box = tables.orders.c, tables.outbox.c
    query = select(func.count()).join_from(tables.outbox, tables.orders, box.order_id == held.order_id)
    return con.execute(query.where(troubled(), held.state.in_(record.OPEN))).scalar_one()


def waiting(con: Connection) -> tuple[int, datetime | None]:
    """Orders that are still to be handed over, and since when the oldest of them has been due."""
    held, box = tables.orders.c, tables.outbox.c
    query = select(func.count(), func.min(held.requested_at)).join_from(
        tables.outbox, tables.orders, box.order_id == held.order_id
    )
    count, oldest = con.execute(query.where(box.state.in_(_WAITING), held.state == OrderState.REQUESTED.value)).one()
    return count, oldest


def lags(con: Connection, since: datetime) -> list[float]:
    """How many seconds each order requested since then waited until the executor took it, the shortest first."""
    held, step = tables.orders.c, tables.order_event.c
    taken = select(func.min(step.at)).where(step.order_id == held.order_id, step.state.in_(_TAKEN)).scalar_subquery()
    query = select(held.requested_at, taken.label("taken_at")).where(held.requested_at >= since)
    rows = con.execute(query).all()
    return sorted((row.taken_at - row.requested_at).total_seconds() for row in rows if row.taken_at is not None)


def outcomes(con: Connection) -> dict[tuple[str, bool], int]:
    """VMs of all orders, by what became of them, and by whether they were interrupted."""
    held = tables.outcome.c
    query = select(held.result, held.interrupted, func.count()).group_by(held.result, held.interrupted)
    return {(result, interrupted): count for result, interrupted, count in con.execute(query).tuples()}


def open_episodes(con: Connection) -> int:
    """Hosts whose time at risk is not over."""
    return con.execute(select(func.count()).where(tables.episode.c.closed_at.is_(None))).scalar_one()


def incidents(con: Connection, cycle_id: str) -> int:
    """Incidents that were found before the cycle was decided."""
    return con.execute(select(func.count()).where(tables.incident.c.cycle_id == cycle_id)).scalar_one()
