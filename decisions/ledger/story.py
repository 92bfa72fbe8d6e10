"""What the ledger remembers of one host, the newest first. Each function reads inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BindParameter, Connection, bindparam, case, func, select

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


_IDS: Final[BindParameter[Any]] = bindparam("ids", expanding=True)
_DECISIONS: Final = (
    select(tables.decision)
    .where(tables.decision.c.proposal_id.in_(_IDS))
    .order_by(tables.decision.c.decision_id.desc())
)
_STEPS: Final = (
    select(tables.order_event)
    .where(tables.order_event.c.order_id.in_(_IDS))
    .order_by(tables.order_event.c.at.desc(), tables.order_event.c.step.desc())
)
_FATES: Final = (
    select(
        tables.outcome.c.order_id,
        func.count(),
        func.sum(case((tables.outcome.c.result.in_(("moved", "redeployed", "chosen")), 1), else_=0)),
        func.sum(case((tables.outcome.c.interrupted, 1), else_=0)),
    )
    .where(tables.outcome.c.order_id.in_(_IDS))
    .group_by(tables.outcome.c.order_id)
)
_EPISODES: Final = (
    select(tables.episode)
    .where(tables.episode.c.host_id == bindparam("host_id"))
    .order_by(tables.episode.c.opened_at.desc())
    .limit(bindparam("most"))
)


def fates(con: Connection, order_ids: list[str]) -> dict[str, Fates]:
    """What became of the VMs of each of those orders that has an outcome."""
    rows = con.execute(_FATES, {"ids": order_ids}) if order_ids else ()
    return {order_id: Fates(order_id, vms, gone, cut) for order_id, vms, gone, cut in rows}


def _decisions(con: Connection, ids: list[str]) -> list[Decision]:
    return [
        Decision(r.proposal_id, Standing(r.verdict), r.decided_by, r.reason, r.decided_at, r.expires_at)
        for r in (con.execute(_DECISIONS, {"ids": ids}) if ids else ())
    ]


def _steps(con: Connection, ids: list[str]) -> list[Step]:
    rows = con.execute(_STEPS, {"ids": ids}) if ids else ()
    return [Step(r.order_id, OrderEvent(OrderState(r.state), r.at, r.reason)) for r in rows]


def _episodes(con: Connection, host_id: str, limit: int) -> list[Episode]:
    rows = con.execute(_EPISODES, {"host_id": host_id, "most": limit})
    return [Episode(r.host_id, r.opened_at, r.opened_by, r.closed_at, r.why) for r in rows]
