"""What the ledger remembers of one host, the newest first. Each function reads inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, func, select

from decisions.domain import OrderState
from decisions.ledger import opt_outs, queries
from decisions.ledger import schema as tables
from decisions.ledger.values import Decision, Episode, ListedOptOut, ListedOrder, ListedProposal, OrderEvent, Standing


@dataclass(frozen=True)
class Step:
    """An order of the host came to a state, and how many of its VMs fared how."""

    order_id: str
    event: OrderEvent


@dataclass(frozen=True)
class Fates:
    """What became of an order's VMs, by how many."""

    order_id: str
    vms: int
    moved: int
    interrupted: int


@dataclass(frozen=True)
class Story:
    """Everything about one host, each kind the newest first and no more of it than was asked for."""

    proposals: tuple[ListedProposal, ...]
    decisions: tuple[Decision, ...]
    """All of them, not only the last of each proposal."""
    orders: tuple[ListedOrder, ...]
    steps: tuple[Step, ...]
    fates: dict[str, Fates]
    """By order."""
    episodes: tuple[Episode, ...]
    opt_outs: tuple[ListedOptOut, ...]


def of_host(con: Connection, host_id: str, pool: str | None, now: datetime, limit: int) -> Story:
    """The host's story; `pool` is its cluster, whose opt-outs concern it too."""
    found = queries.proposals(con, now, [tables.proposal.c.host_id == host_id], limit)
    orders = queries.orders(con, [tables.orders.c.host_id == host_id], limit)
    ids = [listed.order.order_id for listed in orders]
    concerns = {("host", host_id), ("pool", pool)}
    return Story(
        proposals=tuple(found),
        decisions=tuple(_decisions(con, [each.proposal.proposal_id for each in found])),
        orders=tuple(orders),
        steps=tuple(_steps(con, ids)),
        fates=fates(con, ids),
        episodes=tuple(_episodes(con, host_id, limit)),
        opt_outs=tuple(e for e in opt_outs.listed(con) if (e.opt_out.scope, e.opt_out.name) in concerns)[:limit],
    )


def fates(con: Connection, order_ids: list[str]) -> dict[str, Fates]:
    """What became of the VMs of each of those orders that has an outcome."""
    held = tables.outcome.c
    moved = func.sum(case((held.result.in_(("moved", "redeployed", "chosen")), 1), else_=0))
    interrupted = func.sum(case((held.interrupted, 1), else_=0))
    query = select(held.order_id, func.count(), moved, interrupted).group_by(held.order_id)
    rows = con.execute(query.where(held.order_id.in_(order_ids)))
    return {order_id: Fates(order_id, vms, gone, cut) for order_id, vms, gone, cut in rows}


def _decisions(con: Connection, ids: list[str]) -> list[Decision]:
    said = tables.decision.c
    query = select(tables.decision).where(said.proposal_id.in_(ids)).order_by(said.decision_id.desc())
    return [
        Decision(r.proposal_id, Standing(r.verdict), r.decided_by, r.reason, r.decided_at, r.expires_at)
        for r in con.execute(query)
    ]


def _steps(con: Connection, ids: list[str]) -> list[Step]:
    step = tables.order_event.c
    query = select(tables.order_event).where(step.order_id.in_(ids)).order_by(step.at.desc(), step.step.desc())
    return [Step(r.order_id, OrderEvent(OrderState(r.state), r.at, r.reason)) for r in con.execute(query)]


def _episodes(con: Connection, host_id: str, limit: int) -> list[Episode]:
    spell = tables.episode.c
    query = select(tables.episode).where(spell.host_id == host_id).order_by(spell.opened_at.desc()).limit(limit)
    return [Episode(r.host_id, r.opened_at, r.opened_by, r.closed_at, r.why) for r in con.execute(query)]
