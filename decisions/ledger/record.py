"""Writing down a verdict, with the orders it makes. Each function runs inside the caller's transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from sqlalchemy import Connection, Row, insert, select

from decisions.actions import ladder
from decisions.domain import UNDER_WAY, Autonomy, Order, OrderState, Proposal, Verdict
from decisions.ledger import chain
from decisions.ledger import schema as tables
from decisions.ledger.values import Recorded, Standing, dump_incident, dump_order, dump_proposal
from decisions.windows import earliest

NAMESPACE = UUID("a6f0c1de-3f5b-5a57-8f6e-0a6f2b1f9d55")
POLICY = "policy"
"""Who decides what policy lets happen by itself."""

FINAL = (Standing.APPROVED.value, Standing.VETOED.value)
OPEN = tuple(s.value for s in (OrderState.REQUESTED, *UNDER_WAY))


def record(con: Connection, verdict: Verdict, now: datetime) -> Recorded:
    """Proposals, automatic decisions, orders and episodes of a cycle; nothing at all if the cycle is held already."""
    cycle_id = cycle_id_of(verdict.asof_at, verdict.policy_version, verdict.model_version)
    ids = tuple(p.proposal_id for p in verdict.proposals)
    if con.execute(select(tables.cycle.c.cycle_id).where(tables.cycle.c.cycle_id == cycle_id)).first() is not None:
        held = select(tables.proposal.c.proposal_id).where(tables.proposal.c.cycle_id == cycle_id)
        existing = tuple(con.execute(held.order_by(tables.proposal.c.rank)).scalars())
        return Recorded(cycle_id, new=(), existing=existing, orders=(), repeated=True)
    _put_cycle(con, cycle_id, verdict, now)
    history = [chain.Entry("cycle", cycle_id, {"asof_at": verdict.asof_at.isoformat(), "proposals": len(ids)})]
    history += _put_incidents(con, cycle_id, verdict)
    history += _put_proposals(con, cycle_id, verdict.proposals)
    history += _open_episodes(con, verdict.proposals)
    automatic, held_back = _free(con, verdict.proposals)
    history += held_back
    history += put_decisions(con, automatic, Standing.APPROVED, POLICY, "policy lets this happen by itself", now, None)
    orders, entries = put_orders(con, automatic, now)
    chain.append(con, now, [*history, *entries])
    return Recorded(cycle_id, new=ids, existing=(), orders=tuple(order.order_id for order in orders))


def cycle_id_of(asof_at: datetime, policy_version: str, model_version: str) -> str:
    """The id of the cycle that asks about that moment with that policy and those models."""
    return str(uuid5(NAMESPACE, f"{asof_at.isoformat()}|{policy_version}|{model_version}"))


def _free(con: Connection, proposals: Iterable[Proposal]) -> tuple[list[Proposal], list[chain.Entry]]:
    """Proposals that policy may carry out by itself, and why others of those get no order: their host has one."""
    meant = [p for p in proposals if p.autonomy is Autonomy.AUTO and ladder()[p.action].sent_to_executor]
    held = tables.orders.c
    query = select(held.host_id, held.order_id).where(held.state.in_(OPEN))
    busy = {row.host_id: row.order_id for row in con.execute(query)} if meant else {}
    entries = [
        chain.Entry("held_back", p.proposal_id, {"host": p.host_id, "reason": f"has the open order {busy[p.host_id]}"})
        for p in meant
        if p.host_id in busy
    ]
    return [p for p in meant if p.host_id not in busy], entries


def _put_cycle(con: Connection, cycle_id: str, verdict: Verdict, now: datetime) -> None:
    row = {
        "cycle_id": cycle_id,
        "asof_at": verdict.asof_at,
        "policy_version": verdict.policy_version,
        "model_version": verdict.model_version,
        "recorded_at": now,
        "blocked": chain.canonical(dict(verdict.blocked)),
        "breakers": chain.canonical([asdict(breaker) for breaker in verdict.breakers]),
    }
    con.execute(insert(tables.cycle), row)


def _put_incidents(con: Connection, cycle_id: str, verdict: Verdict) -> list[chain.Entry]:
    bodies = [(each.incident_id, chain.canonical(dump_incident(each))) for each in verdict.incidents]
    rows = [
        {"cycle_id": cycle_id, "rank": rank, "incident_id": incident_id, "asof_at": verdict.asof_at, "body": body}
        for rank, (incident_id, body) in enumerate(bodies)
    ]
    if rows:
        con.execute(insert(tables.incident), rows)
    return [chain.Entry("incident", f"{name}/{cycle_id}", {"sha256": chain.digest(body)}) for name, body in bodies]


def _put_proposals(con: Connection, cycle_id: str, proposals: Sequence[Proposal]) -> list[chain.Entry]:
    bodies = [chain.canonical(dump_proposal(p)) for p in proposals]
    rows = [
        {
            "proposal_id": p.proposal_id,
            "cycle_id": cycle_id,
            "rank": rank,
            "asof_at": p.asof_at,
            "host_id": p.host_id,
            "action": p.action.value,
            "autonomy": p.autonomy.value,
            "expires_at": p.expires_at,
            "body": body,
        }
        for rank, (p, body) in enumerate(zip(proposals, bodies, strict=True))
    ]
    if rows:
        con.execute(insert(tables.proposal), rows)
    return [
        chain.Entry("proposal", p.proposal_id, {"host": p.host_id, "action": p.action, "sha256": chain.digest(body)})
        for p, body in zip(proposals, bodies, strict=True)
    ]


def _open_episodes(con: Connection, proposals: Iterable[Proposal]) -> list[chain.Entry]:
    """An episode for each host newly at risk; one that is merely unknown, or due for service, opens none."""
    open_now = set(con.execute(select(tables.episode.c.host_id).where(tables.episode.c.closed_at.is_(None))).scalars())
    fresh = [p for p in proposals if p.risk.known and not p.planned and p.host_id not in open_now]
    rows = [{"host_id": p.host_id, "opened_at": p.asof_at, "opened_by": p.proposal_id} for p in fresh]
    if rows:
        con.execute(insert(tables.episode), rows)
    return [chain.Entry("episode_opened", p.host_id, {"proposal": p.proposal_id}) for p in fresh]


def put_decisions(
    con: Connection,
    proposals: Sequence[Proposal],
    verdict: Standing,
    by: str,
    reason: str,
    at: datetime,
    until: datetime | None,
    assignee: str | None = None,
) -> list[chain.Entry]:
    """The decisions written down, and what the history says of them; without a moment they hold to the expiry."""
    rows = [
        {
            "proposal_id": p.proposal_id,
            "verdict": verdict.value,
            "decided_by": by,
            "reason": reason,
            "decided_at": at,
            "expires_at": until or p.expires_at,
            "assignee": assignee,
        }
        for p in proposals
    ]
    if rows:
        con.execute(insert(tables.decision), rows)
    body = {"by": by, "reason": reason, **({"to": assignee} if assignee else {})}
    return [chain.Entry(verdict.value, p.proposal_id, {**body, "host": p.host_id}) for p in proposals]


def order_of(proposal: Proposal, at: datetime) -> Order:
    """The order for the proposal, which starts at `at` at the earliest; the same proposal gives the same `order_id`."""
    return Order(
        order_id=str(uuid5(NAMESPACE, f"order|{proposal.proposal_id}")),
        proposal_id=proposal.proposal_id,
        host_id=proposal.host_id,
        action=proposal.action,
        vms=proposal.vms,
        not_before=max(proposal.not_before, at),
        expires_at=proposal.expires_at,
        reasons=proposal.reasons,
        policy_version=proposal.policy_version,
        model_version=proposal.model_version,
        remedy=proposal.remedy,
    )


def put_orders(
    con: Connection, proposals: Sequence[Proposal], now: datetime, *, from_now: bool = False
) -> tuple[list[Order], list[chain.Entry]]:
    """Orders with their first step and their outbox row; an approval that comes late moves notice and start."""
    made = [order_of(p, earliest(p.start_rule, now) if from_now else p.not_before) for p in proposals]
    asof = {p.proposal_id: p.asof_at for p in proposals}
    if not made:
        return [], []
    bodies = {order.order_id: chain.canonical(dump_order(order)) for order in made}
    con.execute(insert(tables.orders), [_order_row(order, asof[order.proposal_id], bodies, now) for order in made])
    requested = OrderState.REQUESTED.value
    steps = [{"order_id": order.order_id, "step": 0, "state": requested, "at": now} for order in made]
    con.execute(insert(tables.order_event), steps)
    about = [{"vm_id": name, "order_id": o.order_id} for o in made for name in {plan.vm_id: None for plan in o.vms}]
    if about:
        con.execute(insert(tables.order_vm), about)
    letters = [{"order_id": o.order_id, "state": "pending", "attempts": 0, "next_attempt_at": now} for o in made]
    con.execute(insert(tables.outbox), letters)
    entries = [
        chain.Entry("order", o.order_id, {"proposal": o.proposal_id, "sha256": chain.digest(bodies[o.order_id])})
        for o in made
    ]
    return made, entries


def _order_row(order: Order, asof_at: datetime, bodies: dict[str, str], now: datetime) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "proposal_id": order.proposal_id,
        "asof_at": asof_at,
        "host_id": order.host_id,
        "action": order.action.value,
        "state": OrderState.REQUESTED.value,
        "requested_at": now,
        "updated_at": now,
        "not_before": order.not_before,
        "expires_at": order.expires_at,
        "body": bodies[order.order_id],
    }


_LAST_CONTROL: Final = (
    select(tables.control.c.stopped, tables.control.c.set_by, tables.control.c.reason, tables.control.c.at)
    .order_by(tables.control.c.control_id.desc())
    .limit(1)
)


def last_control(con: Connection) -> Row[tuple[bool, str, str, datetime]] | None:
    """The kill switch's last setting: stopped, set_by, reason, at."""
    return con.execute(_LAST_CONTROL).first()
