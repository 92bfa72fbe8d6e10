"""What was left to chance, and what orders did to VMs. Each function reads inside the caller's transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Float, literal_column, select

from decisions.domain import Proposal
from decisions.ledger import schema as tables
from decisions.ledger.values import load_proposal

_PROPENSITY: Final = {
    "sqlite": "json_extract(proposal.body, '$.propensity')",
    "postgresql": "(proposal.body::jsonb ->> 'propensity')::float",
}


@dataclass(frozen=True)
class Touched:
    """What an order did to a VM that stood on its host."""

    vm_id: str
    host_id: str
    at: datetime
    result: str
    interrupted: bool


def proposals(con: Connection, until: datetime) -> list[Proposal]:
    """Proposals of questions up to the moment that chance had a part in, the oldest first."""
    held = tables.proposal.c
    propensity = literal_column(_PROPENSITY[con.dialect.name], Float)
    query = select(held.body).where(held.asof_at <= until, propensity < 1.0)
    return [load_proposal(body) for body in con.execute(query.order_by(held.asof_at, held.rank)).scalars()]


def touched(con: Connection, since: datetime, until: datetime) -> list[Touched]:
    """What orders did to VMs after the one moment, up to the other, the oldest first."""
    order, fate = tables.orders.c, tables.outcome.c
    query = (
        select(fate.vm_id, order.host_id, fate.at, fate.result, fate.interrupted)
        .join(tables.orders, order.order_id == fate.order_id)
        .where(fate.at > since, fate.at <= until)
        .order_by(fate.at, fate.vm_id)
    )
    return [Touched(*row) for row in con.execute(query)]
