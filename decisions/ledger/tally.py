"""What the ledger counts over the whole fleet. Each function reads inside the caller's transaction."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from decisions.ledger import queries
from decisions.ledger import schema as tables
from decisions.ledger.record import OPEN

CHUNK = 500
"""Names in one statement."""
GONE = ("moved", "redeployed", "chosen")
"""Results of VMs that an order took off their host."""


@dataclass(frozen=True)
class Ended:
    """An order whose VMs have an outcome."""

    host_id: str
    action: str
    asof_at: datetime
    """The moment of the question that it answers."""
    at: datetime
    vms: int
    gone: int
    """VMs that went elsewhere."""
    interrupted: int
    chosen: int
    """Interrupted, at a moment that their owner picked."""


@dataclass(frozen=True)
class OpenOrder:
    """An order that has not come to an end."""

    order_id: str
    proposal_id: str
    host_id: str
    action: str
    state: str
    not_before: datetime
    outbox_state: str


def ended(con: Connection, since: datetime) -> list[Ended]:
    """Orders that ended since then and touched VMs, the oldest first."""
    order, fate = tables.orders.c, tables.outcome.c

    def counted(condition: ColumnElement[bool]) -> Any:
        return func.sum(case((condition, 1), else_=0))

    query = (
        select(
            order.host_id,
            order.action,
            order.asof_at,
            order.updated_at,
            func.count(),
            counted(fate.result.in_(GONE)),
            counted(fate.interrupted),
            counted(fate.interrupted & (fate.result == "chosen")),
        )
        .join(tables.outcome, fate.order_id == order.order_id)
        .where(order.updated_at >= since)
        .group_by(order.order_id, order.host_id, order.action, order.asof_at, order.updated_at)
        .order_by(order.updated_at, order.order_id)
    )
    return [Ended(*row) for row in con.execute(query)]


def taken_off(con: Connection, hosts: Iterable[str], since: datetime) -> dict[tuple[str, str], datetime]:
    """When each VM left each of the hosts by an order since then, by host and VM; the last time where it was more."""
    order, fate = tables.orders.c, tables.outcome.c
    found: dict[tuple[str, str], datetime] = {}
    for some in _chunks(hosts):
        query = (
            select(order.host_id, fate.vm_id, func.max(fate.at, type_=tables.UtcDateTime()))
            .join(tables.outcome, fate.order_id == order.order_id)
            .where(order.host_id.in_(some), order.updated_at >= since, fate.result.in_(GONE))
            .group_by(order.host_id, fate.vm_id)
        )
        found |= {(host_id, vm_id): at for host_id, vm_id, at in con.execute(query)}
    return found


def open_orders(con: Connection, besides: str | None = None) -> list[OpenOrder]:
    """Orders that have not come to an end, in the order of their start, without those of one cycle."""
    order, box = tables.orders.c, tables.outbox.c
    query = (
        select(
            order.order_id,
            order.proposal_id,
            order.host_id,
            order.action,
            order.state,
            order.not_before,
            box.state.label("outbox_state"),
        )
        .join(tables.outbox, box.order_id == order.order_id)
        .where(order.state.in_(OPEN))
        .order_by(order.not_before, order.order_id)
    )
    if besides is not None:
        query = query.join(tables.proposal, tables.proposal.c.proposal_id == order.proposal_id)
        query = query.where(tables.proposal.c.cycle_id != besides)
    return [OpenOrder(*row) for row in con.execute(query)]


def emptied(con: Connection, since: datetime) -> list[str]:
    """Hosts that were to be emptied since then, as the breakers count them."""
    return sorted(queries.recent(con, since, None, moves_only=True))


def episodes_open(con: Connection) -> int:
    """How many hosts are at risk and watched."""
    query = select(func.count()).select_from(tables.episode).where(tables.episode.c.closed_at.is_(None))
    return int(con.execute(query).scalar_one())


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    left = iter(sorted(set(names)))
    while some := list(islice(left, CHUNK)):
        yield some
