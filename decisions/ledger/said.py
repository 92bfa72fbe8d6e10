"""What a person says to a proposal: approve, veto, snooze, hand over. Each runs inside the caller's transaction."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, insert, select

from data.errors import Changed, LedgerError, Refused, UsageError
from decisions import guardrails
from decisions.actions import ladder
from decisions.domain import Autonomy, Order, Proposal
from decisions.ledger import chain, opt_outs, queries
from decisions.ledger import schema as tables
from decisions.ledger.reasoned import reasoned
from decisions.ledger.record import FINAL, OPEN, last_control, put_decisions, put_orders
from decisions.ledger.values import ListedProposal, Standing, load_proposal
from decisions.windows import earliest

ANSWERS_KEPT: Final = timedelta(days=7)
"""How long an answer is given again to who asks again under the same key."""
LONGEST_NAME: Final = 200
"""Characters in the name of whom a proposal is handed to."""


class Say(StrEnum):
    """What can be said to a proposal."""

    APPROVE = "approve"
    VETO = "veto"
    SNOOZE = "snooze"
    HAND_OVER = "hand_over"


_VERDICTS: Final[Mapping[Say, Standing]] = {
    Say.APPROVE: Standing.APPROVED,
    Say.VETO: Standing.VETOED,
    Say.SNOOZE: Standing.SNOOZED,
    Say.HAND_OVER: Standing.HANDED_OVER,
}


@dataclass(frozen=True)
class Said:
    """What a person says to a proposal, and why; until when it holds (null: until the proposal expires)."""

    proposal_id: str
    say: Say
    by: str
    reason: str
    at: datetime
    until: datetime | None = None
    to: str | None = None
    """To whom it is handed over."""


@dataclass(frozen=True)
class Condition:
    """On what a decision is taken: the proposal is still as it was seen, and the request is new."""

    etag: str | None = None
    """What `ListedProposal.etag` was; null: whatever it is."""
    key: str | None = None
    """The name the asker gave the request: asked again, it gets the same answer; null: every request is new."""
    request: str = ""
    """The request under that name, which no other request may have."""


@dataclass(frozen=True)
class Decided:
    """A decision that stands: who said what to which proposal, why, when, until when it holds, the order it made."""

    proposal_id: str
    verdict: str
    by: str
    reason: str
    at: datetime
    expires_at: datetime
    assignee: str | None
    order_id: str | None
    starts_at: datetime | None
    """When its order starts at the earliest."""
    etag: str


ANYWAY: Final = Condition()
"""However the proposal stands, and every request is new."""


def say(con: Connection, said: Said, on: Condition) -> Decided:
    """The decision, all of it or nothing; the same request under the same key gets the answer it got before.

    Raises:
        UsageError: No reason, no person to hand it to, a moment that has passed, or a key that named another request.
        LedgerError: There is no such proposal.
        Changed: Somebody has decided, or its order has gone on, since the proposal was seen.
        Refused: It has expired, is decided, or may not be approved.
    """
    before = _answered(con, said, on)
    if before is not None:
        return before
    if on.etag is not None:
        _unchanged(con, said, on.etag)
    order = None
    match said.say:
        case Say.APPROVE:
            order = approve(con, said.proposal_id, said.by, said.reason, said.at)
        case Say.HAND_OVER:
            hand_over(con, said)
        case _:
            refuse(con, said.proposal_id, _VERDICTS[said.say], said.by, said.reason, said.at, said.until)
    decided = _decided(con, said, order)
    if on.key is not None:
        _remember(con, said, on, decided)
    return decided


def approve(con: Connection, proposal_id: str, by: str, reason: str, at: datetime) -> Order | None:
    """The order that the approval makes; None for actions that no executor carries out.

    Raises:
        Refused: Expired, decided already, only for show, stopped, opted out, too late to give notice, or the host has
            an open order.
    """
    reasoned(reason, "A decision")
    proposal = undecided(con, proposal_id, at)
    if proposal.autonomy not in {Autonomy.APPROVE, Autonomy.AUTO}:
        msg = f"Proposal {proposal_id} ({proposal.action} for {proposal.host_id}) is only for show: policy says so."
        raise Refused(msg)
    switch = last_control(con)
    if switch is not None and switch.stopped:
        msg = f"{switch.set_by} has stopped all action ({switch.reason}); `foreshock start` lifts it."
        raise Refused(msg)
    held = opt_outs.holding(con, at)
    kept_out = guardrails.opted_out(proposal.action, proposal.host_id, proposal.pool, held, at)
    if kept_out is not None:
        msg = f"{kept_out}. `foreshock opt-out remove` ends it."
        raise Refused(msg)
    _in_time(proposal, at)
    busy = select(tables.orders.c.order_id).where(
        tables.orders.c.host_id == proposal.host_id, tables.orders.c.state.in_(OPEN)
    )
    other = con.execute(busy).scalar()
    if other is not None:
        msg = f"Host {proposal.host_id} already has the open order {other}; wait for it or cancel it."
        raise Refused(msg)
    history = put_decisions(con, [proposal], Standing.APPROVED, by, reason, at, None)
    carried_out = [proposal] if ladder()[proposal.action].sent_to_executor else []
    made, entries = put_orders(con, carried_out, at, from_now=True)
    chain.append(con, at, [*history, *entries])
    return made[0] if made else None


def refuse(
    con: Connection, proposal_id: str, verdict: Standing, by: str, reason: str, at: datetime, until: datetime | None
) -> None:
    """A veto or a snooze, which holds the host until then; without a moment, until the proposal expires.

    Raises:
        UsageError: No reason, or a moment that has passed.
        Refused: Expired or decided already.
    """
    reasoned(reason, "A decision")
    proposal = undecided(con, proposal_id, at)
    if until is not None and until <= at:
        msg = f"A {verdict.value} proposal cannot be held until {until:%Y-%m-%d %H:%M} UTC, which has passed."
        raise UsageError(msg)
    chain.append(con, at, put_decisions(con, [proposal], verdict, by, reason, at, until))


def hand_over(con: Connection, said: Said) -> None:
    """The proposal waits for the named person; it can still be decided by anybody who may, and expires as before.

    Raises:
        UsageError: No reason, nobody to hand it to, or a name that is too long.
        Refused: Expired or decided already.
    """
    reasoned(said.reason, "A decision")
    to = _named(said.to)
    proposal = undecided(con, said.proposal_id, said.at)
    told = put_decisions(con, [proposal], Standing.HANDED_OVER, said.by, said.reason, said.at, None, to)
    chain.append(con, said.at, told)


def _named(to: str | None) -> str:
    name = (to or "").strip()
    if not name:
        msg = "Nobody is named to hand the proposal to. Name a person."
        raise UsageError(msg)
    if len(name) > LONGEST_NAME:
        msg = f"A person's name has at most {LONGEST_NAME} characters, not {len(name)}. Name one person."
        raise UsageError(msg)
    return name


def undecided(con: Connection, proposal_id: str, at: datetime) -> Proposal:
    """The proposal, if it can still be decided on.

    Raises:
        LedgerError: There is no such proposal.
        Refused: It has expired, or somebody was faster.
    """
    row = con.execute(select(tables.proposal.c.body).where(tables.proposal.c.proposal_id == proposal_id)).first()
    if row is None:
        msg = f"There is no proposal {proposal_id}. `foreshock decisions list` shows them."
        raise LedgerError(msg)
    proposal = load_proposal(row.body)
    named = f"Proposal {proposal_id} ({proposal.action} for {proposal.host_id})"
    final = _final_decision(con, proposal_id)
    if final is not None:
        msg = (
            f"{named} was {final.verdict} by {final.decided_by} at {final.decided_at:%Y-%m-%d %H:%M} UTC: "
            f"{final.reason}. To stop its order, cancel it: `foreshock orders cancel`."
        )
        raise Refused(msg)
    if at >= proposal.expires_at:
        msg = f"{named} expired at {proposal.expires_at:%Y-%m-%d %H:%M} UTC; decide on a newer one."
        raise Refused(msg)
    return proposal


def _in_time(proposal: Proposal, at: datetime) -> None:
    starts_at = max(proposal.not_before, earliest(proposal.start_rule, at))
    if starts_at >= proposal.expires_at:
        msg = (
            f"Proposal {proposal.proposal_id} ({proposal.action} for {proposal.host_id}) is approved too late: with "
            f"notice to the owners and within the maintenance window it would start at {starts_at:%Y-%m-%d %H:%M} UTC, "
            f"after its prediction expires at {proposal.expires_at:%H:%M} UTC; decide on a newer one."
        )
        raise Refused(msg)


def _final_decision(con: Connection, proposal_id: str) -> Row[tuple[str, str, datetime, str]] | None:
    decided = tables.decision.c
    query = select(decided.verdict, decided.decided_by, decided.decided_at, decided.reason)
    return con.execute(query.where(decided.proposal_id == proposal_id, decided.verdict.in_(FINAL))).first()


def _listed(con: Connection, said: Said) -> ListedProposal:
    """The proposal as it stands; that it is there has been seen to."""
    found = queries.proposal(con, said.at, said.proposal_id)
    assert found is not None  # noqa: S101 - see above
    return found


def _unchanged(con: Connection, said: Said, etag: str) -> None:
    found = queries.proposal(con, said.at, said.proposal_id)
    if found is None or found.etag == etag:
        return
    last = found.decision
    if last is None:
        msg = f"Proposal {said.proposal_id} is not as it was when you looked at it. Look again."
        raise Changed(msg)
    verdict = last.verdict.replace("_", " ")
    to = f" to {last.assignee}" if last.assignee else ""
    went = f" Its order is {found.order_state}." if found.order_state else ""
    msg = (
        f"{last.by} was first: {said.proposal_id} was {verdict}{to} at {last.at:%Y-%m-%d %H:%M} UTC: {last.reason}."
        f"{went} Nothing was changed by you; look again."
    )
    raise Changed(msg)


def _decided(con: Connection, said: Said, order: Order | None) -> Decided:
    found = _listed(con, said)
    return Decided(
        proposal_id=said.proposal_id,
        verdict=_VERDICTS[said.say].value,
        by=said.by,
        reason=said.reason,
        at=said.at,
        expires_at=found.decision.expires_at if found.decision else found.proposal.expires_at,
        assignee=found.decision.assignee if found.decision else None,
        order_id=order.order_id if order else None,
        starts_at=order.not_before if order else None,
        etag=found.etag,
    )


def _answered(con: Connection, said: Said, on: Condition) -> Decided | None:
    """The answer that the request got before, if it was asked before."""
    if on.key is None:
        return None
    held = tables.answer.c
    row = con.execute(select(tables.answer).where(held.asked_by == said.by, held.key == on.key)).first()
    if row is None:
        return None
    if row.request_sha256 != chain.digest(on.request):
        msg = f"The key {on.key} has named another request of {said.by} already. Give every request a key of its own."
        raise UsageError(msg)
    return _load(row.body)


def _remember(con: Connection, said: Said, on: Condition, decided: Decided) -> None:
    con.execute(delete(tables.answer).where(tables.answer.c.at < said.at - ANSWERS_KEPT))
    body = {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(decided).items()
    }
    row = {"asked_by": said.by, "key": on.key, "request_sha256": chain.digest(on.request), "at": said.at}
    con.execute(insert(tables.answer), {**row, "body": chain.canonical(body)})


def _load(body: str) -> Decided:
    told: dict[str, Any] = json.loads(body)
    moments = {name: datetime.fromisoformat(told[name]) for name in ("at", "expires_at", "starts_at") if told[name]}
    return Decided(**{**told, **moments})
