"""What happened to one host, as moments in order of time: risk, decisions with names, orders, failures, opt-outs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, pairwise
from typing import Final

from dashboards import host_facts, words
from dashboards.queue import Look
from decisions.domain import OrderState
from decisions.ledger.story import Story
from decisions.ledger.values import ListedOptOut, Standing

_VERDICTS: Final = {
    Standing.APPROVED: "Approved",
    Standing.VETOED: "Vetoed",
    Standing.SNOOZED: "Put off",
}
_ENDED: Final = {
    "failed": "a part failed",
    "mitigated": "emptied, and no part failed within 30 days",
    "recovered": "no longer at risk",
    "gone": "left the inventory",
}
STATES: Final = 100
"""The newest rows of the inventory that are looked through for another state."""
_BAD: Final = frozenset({OrderState.FAILED, OrderState.REFUSED})


@dataclass(frozen=True)
class Moment:
    """Something that happened to the host: when, of what kind, what, by whom and why."""

    at: datetime
    kind: str
    """`failure`, `episode`, `proposal`, `decision`, `order`, `opt-out` or `inventory`."""
    what: str
    by: str | None = None
    why: str | None = None
    proposal_id: str | None = None
    bad: bool = False


def moments(look: Look, host_id: str, told: Story | None) -> tuple[Moment, ...]:
    """What snapshot and ledger hold of the host, the newest first; at one moment, the effect before its cause."""
    found = [*_of_snapshot(look, host_id), *(_of_ledger(told) if told else ())]
    found.sort(key=lambda one: one.at)
    return tuple(found[::-1])


def _of_snapshot(look: Look, host_id: str) -> Iterator[Moment]:
    if look.fleet is None:
        return
    for row in host_facts.failures(look.fleet, host_id):
        part = f"{words.COMPONENTS.get(row['component'], row['component'])} {row['entity_id']}"
        said = f"{part[:1].upper()}{part[1:]} failed"
        yield Moment(row["failed_at"], "failure", said, why=row["cause"], bad=True)
    for row, before in islice(pairwise(host_facts.inventory(look.fleet, [host_id])[host_id]), STATES):
        if before["state"] != row["state"]:
            was, now = before["state"].replace("_", " "), row["state"].replace("_", " ")
            yield Moment(row["valid_from"], "inventory", f"Inventory: {now}, was {was}")


def _of_ledger(told: Story) -> Iterator[Moment]:
    actions = {listed.order.order_id: listed.order for listed in told.orders}
    for listed in reversed(told.proposals):
        proposal = listed.proposal
        said = f"Proposed: {words.ACTIONS[proposal.action].lower()}"
        yield Moment(proposal.asof_at, "proposal", said, why=words.risk(proposal), proposal_id=proposal.proposal_id)
    for episode in reversed(told.episodes):
        yield Moment(episode.opened_at, "episode", "At risk: an episode began", proposal_id=episode.opened_by)
        if episode.closed_at is not None:
            why = _ENDED.get(episode.why or "", episode.why)
            yield Moment(episode.closed_at, "episode", "The episode ended", why=why, bad=episode.why == "failed")
    for decision in reversed(told.decisions):
        said = _VERDICTS.get(decision.verdict, decision.verdict.value.capitalize())
        by = "policy" if decision.by == "policy" else decision.by
        yield Moment(decision.at, "decision", said, by, decision.reason, decision.proposal_id)
    for step in reversed(told.steps):
        order = actions[step.order_id]
        said = f"Order {step.event.state.value}: {words.ACTIONS[order.action].lower()}"
        fates = told.fates.get(step.order_id)
        if fates and step.event.state in {OrderState.COMPLETED, OrderState.FAILED}:
            lost = (
                f", {words.plural(fates.interrupted, 'VM')} interrupted" if fates.interrupted else ", none interrupted"
            )
            said += f" ({fates.moved:,} of {words.plural(fates.vms, 'VM')} went elsewhere{lost})"
        bad = step.event.state in _BAD
        yield Moment(step.event.at, "order", said, None, step.event.reason, order.proposal_id, bad)
    for out in told.opt_outs:
        yield from _opted_out(out)


def _opted_out(listed: ListedOptOut) -> Iterator[Moment]:
    out = listed.opt_out
    of = ", ".join(words.ACTIONS[action].lower() for action in out.actions) or "everything that becomes an order"
    until = f"until {out.expires_at:%-d %b %Y %H:%M} UTC"
    yield Moment(out.at, "opt-out", f"{out.scope.capitalize()} {out.name} kept out of {of} {until}", out.by, out.reason)
    if listed.removal is not None:
        removal = listed.removal
        yield Moment(removal.at, "opt-out", "The opt-out was ended early", removal.by, removal.reason)
