"""What the ledger holds that people may have to know of: one look, bounded by what is open and recent."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from decisions.domain import UNDER_WAY, Action, Autonomy, OrderState, VmOutcome
from decisions.incidents.values import Incident
from decisions.ledger import queries, record
from decisions.ledger import schema as tables
from decisions.ledger.orders import troubled
from decisions.ledger.values import Cycle, ListedOrder, ListedProposal, Standing, Stop

CYCLES: Final = 30
"""Cycles looked back at, at most, for proposals that can still be answered."""
WRONG_FOR: Final = timedelta(hours=24)
"""How long an order that went wrong is told of."""
MOST: Final = 200
"""Orders of a kind looked at, the newest first."""


@dataclass(frozen=True)
class Starting:
    """An order that policy let go by itself and that has not begun, with its proposal."""

    order: ListedOrder
    listed: ListedProposal


@dataclass(frozen=True)
class Wrong:
    """An order that failed or was refused, with what became of its VMs."""

    order: ListedOrder
    vms: tuple[VmOutcome, ...]


@dataclass(frozen=True)
class Seen:
    """What there is to tell of at the moment `now`."""

    now: datetime
    cycle: Cycle | None = None
    incidents: tuple[Incident, ...] = ()
    waiting: tuple[ListedProposal, ...] = ()
    """Proposals that need an answer, of any cycle."""
    starting: tuple[Starting, ...] = ()
    shown: tuple[ListedProposal, ...] = ()
    """Hosts that a person is asked to look at."""
    dead: tuple[ListedOrder, ...] = ()
    """Orders that could not be handed over."""
    unheard: tuple[ListedOrder, ...] = ()
    """Orders at work of which the executor's last answer was of no use."""
    wrong: tuple[Wrong, ...] = ()
    """Orders that failed or were refused lately."""
    stop: Stop | None = None


def look(con: Connection, now: datetime, prediction_hours: float) -> Seen:
    """What there is to tell of; proposals of cycles older than a prediction lives have expired, and are not read."""
    cycles = queries.cycles(con, CYCLES)
    alive = [cycle.cycle_id for cycle in cycles if cycle.asof_at + timedelta(hours=prediction_hours) > now]
    newest = cycles[0] if cycles else None
    switch = record.last_control(con)
    asked, box = tables.proposal.c, tables.outbox.c
    waits = [asked.cycle_id.in_(alive), asked.autonomy == Autonomy.APPROVE.value, asked.expires_at > now]
    looks = [asked.cycle_id.in_(alive[:1]), asked.action == Action.INVESTIGATE.value]
    return Seen(
        now=now,
        cycle=newest,
        incidents=tuple(queries.incidents(con, [tables.incident.c.cycle_id == newest.cycle_id])) if newest else (),
        waiting=_standing(con, now, waits, Standing.WAITING),
        starting=_starting(con, now),
        shown=_standing(con, now, looks, Standing.SHOWN),
        dead=_orders(con, box.state == "dead", tables.orders.c.state == OrderState.REQUESTED.value),
        unheard=_orders(con, tables.orders.c.state.in_(record.OPEN), troubled()),
        wrong=_wrong(con, now),
        stop=Stop(switch.set_by, switch.reason, switch.at) if switch is not None and switch.stopped else None,
    )


def _standing(con: Connection, now: datetime, where: list[Any], standing: Standing) -> tuple[ListedProposal, ...]:
    return tuple(each for each in queries.proposals(con, now, where, None) if each.standing is standing)


def _orders(con: Connection, *where: Any) -> tuple[ListedOrder, ...]:
    return tuple(queries.orders(con, where, MOST))


def _starting(con: Connection, now: datetime) -> tuple[Starting, ...]:
    held, box = tables.orders.c, tables.outbox.c
    still = (OrderState.REQUESTED.value, *(state.value for state in UNDER_WAY if state is not OrderState.STARTED))
    alive = _orders(con, held.state.in_(still), box.state != "dead", held.expires_at > now)
    found = {each.order.proposal_id: each for each in alive}
    decided = queries.proposals(con, now, [tables.proposal.c.proposal_id.in_(found)], None)
    by_policy = [each for each in decided if each.decision is not None and each.decision.by == record.POLICY]
    return tuple(Starting(found[each.proposal.proposal_id], each) for each in by_policy)


def _wrong(con: Connection, now: datetime) -> tuple[Wrong, ...]:
    held = tables.orders.c
    states = (OrderState.FAILED.value, OrderState.REFUSED.value)
    found = _orders(con, held.state.in_(states), held.updated_at > now - WRONG_FOR)
    return tuple(Wrong(each, tuple(queries.outcomes(con, each.order.order_id))) for each in found)
