"""What the ledger can be asked. Each function reads inside the caller's transaction."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, String, and_, bindparam, func, literal_column, or_, select

from decisions.actions import MOVES, SERVICES
from decisions.domain import UNDER_WAY, Action, Autonomy, Order, OrderState, Proposal, VmOutcome
from decisions.incidents.values import Incident
from decisions.ledger import opt_outs
from decisions.ledger import schema as tables
from decisions.ledger.record import FINAL, OPEN, last_control
from decisions.ledger.values import (
    Asked,
    Cycle,
    Decision,
    Episode,
    Guards,
    ListedOrder,
    ListedProposal,
    OrderEvent,
    Standing,
    Stop,
    load_breakers,
    load_incident,
    load_order,
    load_proposal,
)

_TRIED = tuple(action.value for action in sorted(MOVES | SERVICES))
_MOVES = tuple(action.value for action in sorted(MOVES))
_UNDER_WAY = tuple(state.value for state in UNDER_WAY)
_UNDONE = tuple(s.value for s in (OrderState.REFUSED, OrderState.CANCELLED, OrderState.EXPIRED))


def cycles(con: Connection, limit: int, where: Iterable[Any] = ()) -> list[Cycle]:
    """The newest cycles, by the moment they asked about."""
    counted = select(func.count()).where(tables.proposal.c.cycle_id == tables.cycle.c.cycle_id).scalar_subquery()
    query = select(tables.cycle, counted.label("proposals"))
    newest = query.where(*where).order_by(tables.cycle.c.asof_at.desc(), tables.cycle.c.recorded_at.desc()).limit(limit)
    return [
        Cycle(
            cycle_id=row.cycle_id,
            asof_at=row.asof_at,
            policy_version=row.policy_version,
            model_version=row.model_version,
            recorded_at=row.recorded_at,
            proposals=row.proposals,
            blocked=json.loads(row.blocked),
            breakers=load_breakers(row.breakers),
        )
        for row in con.execute(newest)
    ]


def incidents(con: Connection, where: Iterable[Any], limit: int | None = None) -> list[Incident]:
    """Incidents as they were found, of the newest question first, then the most telling."""
    held = tables.incident.c
    query = select(held.body).where(*where).order_by(held.asof_at.desc(), held.rank).limit(limit)
    return [load_incident(body) for body in con.execute(query).scalars()]


_PROPOSALS: Final = (
    select(tables.proposal, tables.orders.c.order_id, tables.orders.c.state.label("order_state"))
    .outerjoin(tables.orders, tables.orders.c.proposal_id == tables.proposal.c.proposal_id)
    .order_by(tables.proposal.c.asof_at.desc(), tables.proposal.c.rank)
)


def proposals(con: Connection, now: datetime, where: Iterable[Any], limit: int | None) -> list[ListedProposal]:
    """Proposals with where they stand, the newest question first, then in the order of the verdict."""
    rows = con.execute(_PROPOSALS.where(*where).limit(limit)).all()
    decided = last_decisions(con, [row.proposal_id for row in rows])
    return [_listed(row, decided.get(row.proposal_id), now) for row in rows]


_SAID: Final = (
    tables.decision.c.proposal_id.label("decided"),
    tables.decision.c.expires_at.label("holds_until"),
    *tables.decision.c["verdict", "decided_by", "reason", "decided_at", "assignee", "decision_id"],
)
_ONE: Final = (
    select(tables.proposal, tables.orders.c.order_id, tables.orders.c.state.label("order_state"), *_SAID)
    .outerjoin(tables.orders, tables.orders.c.proposal_id == tables.proposal.c.proposal_id)
    .outerjoin(tables.decision, tables.decision.c.proposal_id == tables.proposal.c.proposal_id)
    .where(tables.proposal.c.proposal_id == bindparam("proposal_id"))
    .order_by(tables.decision.c.decision_id.desc())
    .limit(1)
)
"""A proposal with its order and the last decision on it; put together once, as many ask it."""


def proposal(con: Connection, now: datetime, proposal_id: str) -> ListedProposal | None:
    """The proposal as it stands `now`, or None."""
    row = con.execute(_ONE, {"proposal_id": proposal_id}).first()
    if row is None:
        return None
    return _listed(row, _decision(row) if row.decided is not None else None, now)


def standings(con: Connection, now: datetime, cycle_id: str) -> Counter[tuple[str, Standing]]:
    """How many of the cycle's proposals are of each action, and stand where `now`; the database counts them."""
    asked, said = tables.proposal.c, tables.decision.c
    last = select(func.max(said.decision_id)).where(said.proposal_id == asked.proposal_id).scalar_subquery()
    own = select(asked.action, asked.autonomy, asked.expires_at, last.label("last"))
    mine = own.where(asked.cycle_id == cycle_id).subquery()
    alike = (mine.c.action, mine.c.autonomy, mine.c.expires_at, said.verdict, said.expires_at.label("holds_until"))
    query = select(*alike, func.count().label("times")).group_by(*alike)
    found: Counter[tuple[str, Standing]] = Counter()
    for row in con.execute(query.outerjoin_from(mine, tables.decision, said.decision_id == mine.c.last)):
        spoke = Decision("", Standing(row.verdict), "", "", now, row.holds_until) if row.verdict else None
        found[row.action, standing(row, spoke, now)] += row.times
    return found


_INCIDENT: Final = {
    "sqlite": "json_extract(proposal.body, '$.incident_id')",
    "postgresql": "(proposal.body::jsonb ->> 'incident_id')",
}


def asked(con: Connection, cycle_id: str) -> tuple[Asked, ...]:
    """What the cycle proposed, in the order of its verdict; it is never changed."""
    held = tables.proposal.c
    incident_id = literal_column(_INCIDENT[con.dialect.name], String).label("incident_id")
    query = select(held.proposal_id, held.asof_at, held.action, held.autonomy, held.expires_at, incident_id)
    rows = con.execute(query.where(held.cycle_id == cycle_id).order_by(held.rank))
    return tuple(
        Asked(
            rank,
            row.proposal_id,
            row.asof_at,
            Action(row.action),
            Autonomy(row.autonomy),
            row.expires_at,
            row.incident_id,
        )
        for rank, row in enumerate(rows)
    )


def last_decisions(con: Connection, ids: Sequence[str] | Select[tuple[str]]) -> Mapping[str, Decision]:
    """The last decision on each of the proposals that has any."""
    found: dict[str, Decision] = {}
    some = [ids[at : at + 10_000] for at in range(0, len(ids), 10_000)] if isinstance(ids, Sequence) else [ids]
    for each in some:
        query = select(*_SAID).where(tables.decision.c.proposal_id.in_(each))
        for row in con.execute(query.order_by(tables.decision.c.decision_id)):
            found[row.decided] = _decision(row)
    return found


def _decision(row: Row[Any]) -> Decision:
    verdict, held = Standing(row.verdict), (row.holds_until, row.assignee, row.decision_id)
    return Decision(row.decided, verdict, row.decided_by, row.reason, row.decided_at, *held)


def _listed(row: Row[Any], decision: Decision | None, now: datetime) -> ListedProposal:
    order_state = OrderState(row.order_state) if row.order_state is not None else None
    return ListedProposal(load_proposal(row.body), standing(row, decision, now), decision, row.order_id, order_state)


def standing(row: Row[Any] | Asked, decision: Decision | None, now: datetime) -> Standing:
    """Where a proposal stands `now` on which that was decided last."""
    if decision is not None and (decision.verdict.value in FINAL or decision.expires_at > now):
        return decision.verdict
    if row.expires_at <= now:
        return Standing.EXPIRED
    return Standing.WAITING if row.autonomy == Autonomy.APPROVE else Standing.SHOWN


_ORDERS: Final = (
    select(
        tables.orders,
        tables.outbox.c.state.label("outbox_state"),
        *tables.outbox.c["attempts", "next_attempt_at", "last_error"],
    )
    .join(tables.outbox, tables.outbox.c.order_id == tables.orders.c.order_id)
    .order_by(tables.orders.c.requested_at.desc(), tables.orders.c.order_id)
)


def orders(con: Connection, where: Iterable[Any], limit: int | None) -> list[ListedOrder]:
    """Orders with where they stand, the newest request first."""
    return [_listed_order(row) for row in con.execute(_ORDERS.where(*where).limit(limit))]


def _listed_order(row: Row[Any]) -> ListedOrder:
    return ListedOrder(
        order=load_order(row.body, row.not_before),
        state=OrderState(row.state),
        reason=row.reason,
        requested_at=row.requested_at,
        updated_at=row.updated_at,
        outbox_state=row.outbox_state,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        last_error=row.last_error,
        host_state=row.host_state,
    )


def unanswered(con: Connection, since: datetime) -> list[str]:
    """Orders that were handed over at least once and came to nothing that we know of, changed since then."""
    held, box = tables.orders.c, tables.outbox.c
    nothing = (OrderState.REQUESTED.value, *_UNDONE)
    query = select(held.order_id).join(tables.outbox, box.order_id == held.order_id)
    lost = query.where(box.attempts > 0, held.state.in_(nothing), held.updated_at >= since)
    return list(con.execute(lost.order_by(held.order_id)).scalars())


def order_events(con: Connection, order_id: str) -> list[OrderEvent]:
    """The states that the order came to, in order."""
    step = tables.order_event.c
    rows = con.execute(select(step.state, step.at, step.reason).where(step.order_id == order_id).order_by(step.step))
    return [OrderEvent(OrderState(row.state), row.at, row.reason) for row in rows]


def outcomes(con: Connection, order_id: str) -> list[VmOutcome]:
    """What became of each VM of the order, by VM."""
    held = tables.outcome.c
    rows = con.execute(select(tables.outcome).where(held.order_id == order_id).order_by(held.vm_id))
    return [VmOutcome(r.vm_id, r.result, r.target_host_id, r.pause_seconds, r.interrupted) for r in rows]


def guards(con: Connection, now: datetime, moved_since: datetime | None) -> Guards:
    """What an order is held against before it goes."""
    asked = tables.cycle.c
    newest = select(asked.breakers).order_by(asked.asof_at.desc(), asked.recorded_at.desc()).limit(1)
    breakers, switch = con.execute(newest).scalar(), last_control(con)
    return Guards(
        stop=stop_of(switch),
        opt_outs=opt_outs.holding(con, now),
        breakers=load_breakers(breakers) if breakers is not None else (),
        handed_over=handed_over(con, moved_since) if moved_since is not None else {},
    )


def stop_of(last: Row[tuple[bool, str, str, datetime]] | None) -> Stop | None:
    """The kill switch's last setting, if that is thrown."""
    return Stop(last.set_by, last.reason, last.at) if last is not None and last.stopped else None


def moves_under_way(con: Connection) -> list[Order]:
    """Orders to move VMs that the executor has taken and not ended, in the order of their start."""
    held = tables.orders.c
    query = select(held.body, held.not_before).where(held.state.in_(_UNDER_WAY), held.action.in_(_MOVES))
    rows = con.execute(query.order_by(held.not_before, held.order_id))
    return [load_order(row.body, row.not_before) for row in rows]


def open_orders(con: Connection, besides: str | None) -> list[Order]:
    """Orders that have not come to an end, in the order of their start."""
    held = tables.orders.c
    query = select(held.body, held.not_before).where(held.state.in_(OPEN), *_not_ordered_by(besides))
    rows = con.execute(query.order_by(held.not_before, held.order_id))
    return [load_order(row.body, row.not_before) for row in rows]


def owned_hosts(con: Connection, now: datetime, besides: str | None, without: Sequence[str] = ()) -> frozenset[str]:
    """Hosts that an order is at work on, that wait for a person, or that a person's no still holds.

    Proposals `without` hold nothing.
    """
    held, asked, said = tables.orders.c, tables.proposal.c, tables.decision.c
    cancelled = and_(held.state == OrderState.CANCELLED.value, held.expires_at > now)
    busy = select(held.host_id).where(or_(held.state.in_(OPEN), cancelled), *_not_ordered_by(besides))
    final = select(said.proposal_id).where(said.verdict.in_(FINAL))
    waiting = select(asked.host_id).where(
        asked.autonomy == Autonomy.APPROVE.value,
        asked.expires_at > now,
        asked.proposal_id.not_in(final),
        asked.proposal_id.not_in(without),
        *_not_asked_by(besides),
    )
    no = (Standing.VETOED.value, Standing.SNOOZED.value)
    refused = (
        select(asked.host_id)
        .join(tables.decision, said.proposal_id == asked.proposal_id)
        .where(said.verdict.in_(no), said.expires_at > now, *_not_asked_by(besides))
        .where(asked.proposal_id.not_in(without))
    )
    queries: tuple[Select[tuple[str]], ...] = (busy, waiting, refused)
    return frozenset(host_id for query in queries for host_id in con.execute(query).scalars())


def put_off(con: Connection, now: datetime, besides: str | None) -> list[Proposal]:
    """Proposals that a snooze holds, the newest question first."""
    said = tables.decision.c
    snoozed = select(said.proposal_id).where(said.verdict == Standing.SNOOZED.value, said.expires_at > now)
    where = [tables.proposal.c.proposal_id.in_(snoozed), *_not_asked_by(besides)]
    return [each.proposal for each in proposals(con, now, where, None) if each.standing is Standing.SNOOZED]


def recent(con: Connection, since: datetime, besides: str | None, *, moves_only: bool) -> dict[str, datetime]:
    """Hosts that were to be emptied or serviced since then, and when last; what never took effect does not count."""
    held = tables.orders.c
    query = select(held.host_id, func.max(held.requested_at).label("at")).where(
        held.action.in_(_MOVES if moves_only else _TRIED),
        held.requested_at >= since,
        held.state.not_in(_UNDONE),
        *_not_ordered_by(besides),
    )
    return {row.host_id: row.at for row in con.execute(query.group_by(held.host_id).order_by(held.host_id))}


def handed_over(con: Connection, since: datetime) -> dict[str, datetime]:
    """Hosts whose orders to move VMs the executor has had since then, and since when the last was asked for."""
    held, box = tables.orders.c, tables.outbox.c
    query = (
        select(held.host_id, func.max(held.requested_at).label("at"))
        .join(tables.outbox, box.order_id == held.order_id)
        .where(held.action.in_(_MOVES), held.requested_at >= since, held.state.not_in(_UNDONE), box.state == "sent")
    )
    return {row.host_id: row.at for row in con.execute(query.group_by(held.host_id).order_by(held.host_id))}


def attempts(con: Connection, besides: str | None) -> dict[str, int]:
    """Orders to empty or service each host in its open episode; cancelled and expired ones do not count."""
    held, spell = tables.orders.c, tables.episode.c
    not_tried = (OrderState.CANCELLED.value, OrderState.EXPIRED.value)
    query = (
        select(held.host_id, func.count().label("tried"))
        .join(tables.episode, and_(spell.host_id == held.host_id, spell.closed_at.is_(None)))
        .where(held.asof_at >= spell.opened_at, held.action.in_(_TRIED), held.state.not_in(not_tried))
        .where(*_not_ordered_by(besides))
        .group_by(held.host_id)
        .order_by(held.host_id)
    )
    return {row.host_id: row.tried for row in con.execute(query)}


def told_hosts(con: Connection, besides: str | None) -> frozenset[str]:
    """Hosts whose owners an order has told in the open episode."""
    held, spell = tables.orders.c, tables.episode.c
    query = (
        select(held.host_id)
        .join(tables.episode, and_(spell.host_id == held.host_id, spell.closed_at.is_(None)))
        .where(held.asof_at >= spell.opened_at, held.action == Action.NOTIFY.value, held.state.not_in(_UNDONE))
        .where(*_not_ordered_by(besides))
    )
    return frozenset(con.execute(query).scalars())


def episodes(con: Connection, *, only_open: bool) -> list[Episode]:
    """Hosts' times at risk, the oldest first."""
    spell = tables.episode.c
    query = select(tables.episode).order_by(spell.opened_at, spell.host_id)
    rows = con.execute(query.where(spell.closed_at.is_(None)) if only_open else query)
    return [Episode(r.host_id, r.opened_at, r.opened_by, r.closed_at, r.why) for r in rows]


def last_proposed(con: Connection) -> dict[str, datetime]:
    """The newest question in which each host with an open episode was proposed for anything."""
    asked, spell = tables.proposal.c, tables.episode.c
    watched = select(spell.host_id).where(spell.closed_at.is_(None))
    query = select(asked.host_id, func.max(asked.asof_at).label("at")).where(asked.host_id.in_(watched))
    query = query.group_by(asked.host_id)
    return {row.host_id: row.at for row in con.execute(query)}


def questions(con: Connection, since: datetime, until: datetime) -> list[datetime]:
    """The moments after `since` and up to `until` that cycles have asked about."""
    asof_at = tables.cycle.c.asof_at
    query = select(asof_at).where(asof_at > since, asof_at <= until).distinct().order_by(asof_at)
    return list(con.execute(query).scalars())


def _not_asked_by(cycle_id: str | None) -> list[Any]:
    return [] if cycle_id is None else [tables.proposal.c.cycle_id != cycle_id]


def _not_ordered_by(cycle_id: str | None) -> list[Any]:
    if cycle_id is None:
        return []
    its_own = select(tables.proposal.c.proposal_id).where(tables.proposal.c.cycle_id == cycle_id)
    return [tables.orders.c.proposal_id.not_in(its_own)]
