"""What the ledger answers with, and how proposals and orders are written down."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from decisions.domain import Action, Autonomy, Breaker, OptOut, Order, OrderState, Proposal
from decisions.incidents.values import Incident

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class Standing(StrEnum):
    """Where a proposal stands: shown only, waiting for a person or for one in particular, decided, or out of time."""

    SHOWN = "shown"
    WAITING = "waiting"
    APPROVED = "approved"
    VETOED = "vetoed"
    SNOOZED = "snoozed"
    HANDED_OVER = "handed_over"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Decision:
    """A proposal that was approved, vetoed, snoozed or handed over: by whom, why, when, and until when it holds."""

    proposal_id: str
    verdict: Standing
    by: str
    reason: str
    at: datetime
    expires_at: datetime
    assignee: str | None = None
    """To whom it was handed over."""
    decision_id: int = 0
    """Counts up with every decision in the ledger."""


@dataclass(frozen=True)
class ListedProposal:
    """A proposal, where it stands, the last decision on it and what became of its order."""

    proposal: Proposal
    standing: Standing
    decision: Decision | None
    order_id: str | None
    order_state: OrderState | None

    @property
    def etag(self) -> str:
        """Changes with every decision on the proposal and every state of its order; the same as long as they stand."""
        decided = self.decision.decision_id if self.decision else 0
        told = f"{self.proposal.proposal_id}|{decided}|{self.order_state}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Asked:
    """A proposal without what it proposes, as it was made: what thousands of them are sorted by."""

    rank: int
    """Its place in the verdict, 0 the most to gain."""
    proposal_id: str
    asof_at: datetime
    action: Action
    autonomy: Autonomy
    expires_at: datetime
    incident_id: str | None


@dataclass(frozen=True)
class Brief:
    """Where a proposal and its order stand."""

    asked: Asked
    standing: Standing
    order_state: OrderState | None
    troubled: bool
    """Whether handing its order over was given up, or the executor's last answer about it was of no use."""
    starts_at: datetime | None
    """When its order starts at the earliest; null: it has none."""


@dataclass(frozen=True)
class OrderEvent:
    """An order came to a state at a moment."""

    state: OrderState
    at: datetime
    reason: str | None


@dataclass(frozen=True)
class ListedOrder:
    """An order, where it stands, and how its delivery goes."""

    order: Order
    state: OrderState
    reason: str | None
    requested_at: datetime
    updated_at: datetime
    outbox_state: str
    """pending | leased | sent | dead."""
    attempts: int
    next_attempt_at: datetime
    last_error: str | None
    host_state: str | None = None
    """How the order left its host, if its executor told: `blocked`, `empty`, `repair`, ..."""

    @property
    def bad_answer(self) -> str | None:
        """Why the executor's last answer about an order that it has was of no use."""
        return self.last_error if self.outbox_state == "sent" else None


@dataclass(frozen=True)
class OrderLine:
    """An order in one line, as commands and the API tell it."""

    order_id: str
    host_id: str
    action: Action
    state: OrderState
    reason: str | None
    vms: int
    not_before: datetime
    expires_at: datetime
    requested_at: datetime
    updated_at: datetime
    delivery: str
    attempts: int
    last_error: str | None
    host_state: str | None


def in_line(listed: ListedOrder) -> OrderLine:
    """The order in one line."""
    order = listed.order
    return OrderLine(
        order_id=order.order_id,
        host_id=order.host_id,
        action=order.action,
        state=listed.state,
        reason=listed.reason,
        vms=len(order.vms),
        not_before=order.not_before,
        expires_at=order.expires_at,
        requested_at=listed.requested_at,
        updated_at=listed.updated_at,
        delivery=listed.outbox_state,
        attempts=listed.attempts,
        last_error=listed.last_error,
        host_state=listed.host_state,
    )


@dataclass(frozen=True)
class Recorded:
    """What recording a verdict did: ids of proposals that are new and that were held already, and the new orders."""

    cycle_id: str
    new: tuple[str, ...]
    existing: tuple[str, ...]
    orders: tuple[str, ...]
    repeated: bool = False
    """The cycle was held already, and nothing was written."""


@dataclass(frozen=True)
class Cycle:
    """One recorded verdict."""

    cycle_id: str
    asof_at: datetime
    policy_version: str
    model_version: str
    recorded_at: datetime
    proposals: int
    blocked: dict[str, int]
    breakers: tuple[Breaker, ...]


@dataclass(frozen=True)
class Episode:
    """A host's time at risk, from the first alert until it is closed."""

    host_id: str
    opened_at: datetime
    opened_by: str
    """The first proposal."""
    closed_at: datetime | None
    why: str | None


@dataclass(frozen=True)
class Stop:
    """The kill switch, thrown: by whom, why, when."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class Guards:
    """What an order is held against before it goes: as of one state of the ledger."""

    stop: Stop | None
    opt_outs: tuple[OptOut, ...]
    """Those that hold."""
    breakers: tuple[Breaker, ...]
    """Those that are open by the newest decision."""
    handed_over: Mapping[str, datetime]
    """Hosts whose VMs the executor was told to move lately, and when; empty unless it was asked for."""


@dataclass(frozen=True)
class Removal:
    """An opt-out was ended before its time: by whom, why, when."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class ListedOptOut:
    """An opt-out, and its removal if there was one."""

    opt_out: OptOut
    removal: Removal | None


def dump_proposal(proposal: Proposal) -> Any:
    """The proposal as plain JSON types."""
    return _proposals().dump_python(proposal, mode="json")


def dump_order(order: Order) -> Any:
    """The order as plain JSON types."""
    return _orders().dump_python(order, mode="json")


@lru_cache(maxsize=512)
def load_proposal(body: str) -> Proposal:
    """The proposal that was written down; pages show the same ones again and again."""
    return _proposals().validate_json(body)


def load_order(body: str, not_before: datetime) -> Order:
    """The order that was written down, with the start that it was delayed to since."""
    return replace(_order(body), not_before=not_before)


@lru_cache(maxsize=8_192)
def _order(body: str) -> Order:
    """Orders under way are read again for each that is handed over."""
    return _orders().validate_json(body)


def dump_opt_out(out: OptOut) -> Any:
    """The opt-out as plain JSON types."""
    return _opt_outs().dump_python(out, mode="json")


def load_opt_out(body: str) -> OptOut:
    """The opt-out that was written down."""
    return _opt_outs().validate_json(body)


def dump_incident(incident: Incident) -> Any:
    """The incident as plain JSON types."""
    return _incidents().dump_python(incident, mode="json")


def load_incident(body: str) -> Incident:
    """The incident that was written down."""
    return _incidents().validate_json(body)


def load_breakers(body: str) -> tuple[Breaker, ...]:
    """The breakers that were written down."""
    return tuple(Breaker(**each) for each in json.loads(body))


@cache
def _proposals() -> "TypeAdapter[Proposal]":
    from pydantic import TypeAdapter

    return TypeAdapter(Proposal)


@cache
def _incidents() -> "TypeAdapter[Incident]":
    from pydantic import TypeAdapter

    return TypeAdapter(Incident)


@cache
def _orders() -> "TypeAdapter[Order]":
    from pydantic import TypeAdapter

    return TypeAdapter(Order)


@cache
def _opt_outs() -> "TypeAdapter[OptOut]":
    from pydantic import TypeAdapter

    return TypeAdapter(OptOut)
