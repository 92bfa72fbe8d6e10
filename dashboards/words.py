"""Actions, states, risks and times in plain words."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Final

from decisions.actions import ladder
from decisions.cases import cheapest
from decisions.domain import Action, Autonomy, EntityRisk, OrderState, Price, Proposal, Step, VmOutcome, VmPlan
from decisions.ledger.values import ListedOrder, ListedProposal, Standing, Stop
from decisions.plans import ONCE_APPROVED
from features.wording import reason
from models.earned import Earned

if TYPE_CHECKING:
    from dashboards.views import ProposalView

RISK_DAYS: Final = 14
CARRIES: Final = 0.6
"""A part that has this share of the host's risk is what the risk is about."""
NAMED: Final = 2
"""Reasons named in a sentence; the rest is in the table."""


class Section(StrEnum):
    """The parts of the page, the most urgent first."""

    APPROVAL = "approval"
    WRONG = "wrong"
    STARTING = "starting"
    UNDER_WAY = "under_way"
    LOOK = "look"
    WATCHING = "watching"
    OVER = "over"


HEADINGS: Final = {
    Section.APPROVAL: ("Needs approval", "Nothing happens to these hosts until a person approves."),
    Section.WRONG: ("Went wrong", "Orders that failed, were refused, could not be delivered or are not heard of."),
    Section.STARTING: ("Starts by itself", "Policy lets these happen, or somebody approved them."),
    Section.UNDER_WAY: ("Under way", "The executor is at work on these hosts."),
    Section.LOOK: ("Worth a look", "Shown for a person to judge; nothing happens by itself."),
    Section.WATCHING: ("Watched", "Nothing is done about these hosts now; the next cycle asks again."),
    Section.OVER: ("Over", "Completed, vetoed, cancelled or out of time."),
}

ACTIONS: Final = {
    Action.MONITOR: "Watch closer, change nothing",
    Action.NOTIFY: "Page on-call and tell the owners",
    Action.BLOCK_PLACEMENTS: "Put no new VMs on it",
    Action.HOT_PATCH: "Patch it in place",
    Action.PRESERVE_MEMORY: "Pause its VMs and service it",
    Action.SELF_SERVICE: "Let the owners pick the moment",
    Action.LIVE_MIGRATE: "Move its VMs away live",
    Action.EVACUATE: "Empty it, redeploying what cannot move live",
    Action.DECOMMISSION: "Send it to repair",
    Action.INVESTIGATE: "Ask a person to look",
}

COMPONENTS: Final = {"disk": "drive", "memory": "DIMM", "gpu": "GPU", "node": "node"}

_ENDED: Final = {
    OrderState.COMPLETED: "The executor has done it",
    OrderState.CANCELLED: "The order was cancelled",
    OrderState.EXPIRED: "The prediction expired before the order started",
}
_WENT_WRONG: Final = {
    OrderState.FAILED: "The executor could not finish it",
    OrderState.REFUSED: "The order was refused",
}


@cache
def section(
    standing: Standing,
    action: Action,
    autonomy: Autonomy,
    order_state: OrderState | None,
    *,
    troubled: bool = False,
) -> Section:
    """Which part of the page a proposal belongs to that stands so, and its order so."""
    if order_state in _ENDED:
        return Section.OVER
    if order_state in _WENT_WRONG or (order_state is not None and troubled):
        return Section.WRONG
    if order_state is not None:
        return Section.UNDER_WAY if order_state is OrderState.STARTED else Section.STARTING
    if standing in {Standing.WAITING, Standing.SNOOZED}:
        return Section.APPROVAL
    if standing is Standing.HANDED_OVER:
        return Section.APPROVAL if autonomy is Autonomy.APPROVE else Section.LOOK
    if standing is not Standing.SHOWN:
        return Section.OVER
    return Section.WATCHING if action is Action.MONITOR else Section.LOOK


def state(
    listed: ListedProposal, order: ListedOrder | None, stop: Stop | None, now: datetime
) -> tuple[Section, str, str]:
    """Which part of the page the proposal belongs to, where it stands in a word or two, and in a sentence."""
    held = order.state if order is not None else None
    troubled = order is not None and (order.outbox_state == "dead" or order.bad_answer is not None)
    part = section(listed.standing, listed.proposal.action, listed.proposal.autonomy, held, troubled=troubled)
    said = _order_state(listed, order, stop, now) if order is not None else _proposal_state(listed, now)
    return (part, *said)


def _proposal_state(listed: ListedProposal, now: datetime) -> tuple[str, str]:
    proposal, said = listed.proposal, listed.decision
    if listed.standing is Standing.WAITING:
        return "needs approval", "Waits for a person; without an answer nothing happens."
    if said is not None and listed.standing is Standing.HANDED_OVER:
        handed = f"Handed to {said.assignee} by {said.by} at {clock(said.at, now)}: {said.reason}"
        return f"waits for {said.assignee}", handed
    if said is not None and listed.standing in {Standing.SNOOZED, Standing.VETOED, Standing.APPROVED}:
        word = {Standing.SNOOZED: "put off", Standing.VETOED: "vetoed", Standing.APPROVED: "approved"}[listed.standing]
        until = "until it changes, or " if listed.standing is Standing.SNOOZED else "until "
        hold = f", {until}{clock(said.expires_at, now)}" if listed.standing is not Standing.APPROVED else ""
        return word, f"{word.capitalize()} by {said.by} at {clock(said.at, now)}{hold}: {said.reason}"
    if listed.standing is Standing.EXPIRED:
        return "expired", f"Expired {ago(proposal.expires_at, now)}; decide on a newer one."
    if proposal.action is Action.MONITOR:
        return "watched", "Asked again by the next cycle."
    return "shown only", "Nothing happens by itself."


def _order_state(listed: ListedProposal, order: ListedOrder, stop: Stop | None, now: datetime) -> tuple[str, str]:
    why = f": {order.reason}" if order.reason else ""
    if order.state in _ENDED:
        return order.state.value, f"{_ENDED[order.state]} ({clock(order.updated_at, now)}){why or '.'}"
    if order.state in _WENT_WRONG:
        return order.state.value, f"{_WENT_WRONG[order.state]} ({clock(order.updated_at, now)}){why or '.'}"
    if order.outbox_state == "dead":
        tried = f"Could not be handed to the executor in {order.attempts} attempts"
        return "not delivered", f"{tried}: {order.last_error or 'no reason given'}"
    if order.bad_answer is not None:
        return "not heard of", f"The executor has the order, and what it says of it is of no use: {order.bad_answer}"
    if order.state is OrderState.STARTED:
        began = ago(order.updated_at, now) if order.updated_at <= now else f"at {clock(order.updated_at, now)}"
        return "under way", f"Started {began}; the executor is at work."
    start = f"{clock(order.order.not_before, now)} ({ago(order.order.not_before, now)})"
    who = "Policy lets this happen by itself" if listed.decision is None else _approved(listed)
    if order.state is OrderState.ACCEPTED or order.outbox_state == "sent":
        return "sent", f"{who}. The executor has the order and starts at {start}."
    if stop is not None:
        return "held", f"{who}, but the kill switch holds it back; it would start at {start}."
    late = f" Handing it over failed {order.attempts} times: {order.last_error}." if order.last_error else ""
    return "automatic", f"{who}. It starts at {start}, once dispatched.{late}"


def _approved(listed: ListedProposal) -> str:
    said = listed.decision
    if said is None or said.by == "policy":
        return "Policy lets this happen by itself"
    return f"Approved by {said.by} ({said.reason})"


def done(view: "ProposalView", name: str, now: datetime) -> str:
    """What the person has just done to the proposal; empty where somebody else has decided since."""
    said = view.decision
    if view.order_state == OrderState.CANCELLED:
        return "The order is stopped; the host is left alone until its prediction expires."
    if view.order_state == OrderState.STARTED:
        return "The executor is stopping what it still can; VMs that have moved stay where they are."
    if said is None or said.by != name:
        return ""
    until = clock(said.expires_at, now)
    match said.verdict:
        case Standing.APPROVED if view.order_id is not None:
            return f"Approved. It starts at {clock(view.starts_at, now)} ({ago(view.starts_at, now)})."
        case Standing.VETOED:
            return f"Vetoed. The host is left alone until {until}."
        case Standing.SNOOZED:
            return f"Put off until it changes, or until {until}."
        case Standing.HANDED_OVER:
            return f"Handed to {said.assignee}. It can still be decided by anybody who may, until it expires."
    return f"{said.verdict.value.capitalize()}."


def risk(proposal: Proposal) -> str:
    """The host's risk as a sentence with its best reasons; an unknown risk says why it is."""
    host, parts = proposal.risk, proposal.risk.unknown
    if not host.known:
        first = f"{cause(parts[0])} for {thing(parts[0])}" if parts else "no part of it was scored"
        more = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
        return f"Unknown, which is not low: {first}{more}"
    chance, top = f"{percent(host.within(RISK_DAYS))} within {RISK_DAYS} days", host.entities[0]
    if top.curve[RISK_DAYS] >= CARRIES * host.within(RISK_DAYS):
        return f"{chance}, {_because(top)} on {thing(top)}"
    named = COMPONENTS.get(top.component, top.component)
    alike = all(entity.component == top.component for entity in host.entities)
    over = plural(len(host.entities), named if alike else "part")
    return f"{chance} over {over}; the riskiest, {thing(top)}, has {percent(top.curve[RISK_DAYS])} {_because(top)}"


def _because(entity: EntityRisk) -> str:
    said = [reason(f.feature, f.value) for f in entity.factors if f.contribution > 0]
    return f"because of {' and '.join(said[:NAMED])}" if said else "for no single reason"


def thing(entity: EntityRisk) -> str:
    """The entity as people call it, such as `drive Z3`."""
    return f"{COMPONENTS.get(entity.component, entity.component)} {entity.entity_id}"


def cause(entity: EntityRisk) -> str:
    """Why the entity's risk is unknown."""
    return entity.reason.replace("_", " ") if entity.reason else "no reason given"


def vms(plans: Sequence[VmPlan], on_host: int | None) -> str:
    """What becomes of the host's VMs, by how many."""
    if not plans:
        if on_host is None:
            return "VMs stay where they are"
        return _all(on_host, "stay where they are", "stays where it is") if on_host else "No VM runs on it"
    done = Counter(plan.technique for plan in plans)
    kinds = (
        (Action.LIVE_MIGRATE, "move live", "moves live"),
        (Action.EVACUATE, "are redeployed (interrupted once)", "is redeployed (interrupted once)"),
        (Action.SELF_SERVICE, "wait for their owner's moment", "waits for its owner's moment"),
        (Action.PRESERVE_MEMORY, "stand still for seconds", "stands still for seconds"),
        (Action.NOTIFY, "stay, their owners told", "stays, its owner told"),
        (Action.MONITOR, "stay", "stays"),
    )
    named = [(done[action], many, one) for action, many, one in kinds if done[action]]
    if len(named) == 1:
        return _all(*named[0])
    return f"{plural(len(plans), 'VM')}: {', '.join(f'{n:,} {one if n == 1 else many}' for n, many, one in named)}"


def _all(count: int, many: str, one: str) -> str:
    return f"1 VM, which {one}" if count == 1 else f"{plural(count, 'VM')}: all {many}"


def outcome(became: Sequence[VmOutcome]) -> str | None:
    """What became of the VMs, by how many; None before anything did."""
    if not became:
        return None
    results = Counter(vm.result for vm in became)
    lost = sum(vm.interrupted for vm in became)
    longest = max(vm.pause_seconds for vm in became)
    pause = f", longest pause {longest:.1f} s" if longest else ""
    said = ", ".join(f"{count:,} {result}" for result, count in results.most_common())
    return f"{said}; {plural(lost, 'VM') if lost else 'none'} interrupted{pause}"


def plan(one: VmPlan) -> str:
    """What becomes of one VM."""
    if one.technique is Action.MONITOR:
        return "stays on the host"
    where = f"to {one.target_host_id}" if one.target_host_id else "to a host yet to be found"
    if one.technique is Action.LIVE_MIGRATE:
        return f"moves live {where}"
    if one.technique is Action.EVACUATE:
        return f"is redeployed {where}"
    if one.technique is Action.SELF_SERVICE and one.deadline is not None:
        return f"goes {where} at its owner's moment, at {one.deadline:%a %-d %b %H:%M} UTC at the latest"
    if one.technique is Action.NOTIFY:
        return "stays on the host; its owner is told"
    if one.technique is Action.PRESERVE_MEMORY:
        return "stands still for seconds while the host is serviced"
    return ladder()[one.technique].vm_impact


def step(one: Step, now: datetime, *, waits: bool) -> str:
    """One step of the plan: when, what, with how many VMs; `waits`: nobody has approved it yet."""
    at = f"{clock(one.at, now)}: " if one.at is not None else ""
    about = f" ({plural(one.vms, 'VM')})" if one.vms else ""
    when = f", {one.when}" if waits or one.when != ONCE_APPROVED else ""
    return f"{at}{ACTIONS[one.action]}{about}{when}"


def earned(bands: Sequence[Earned]) -> tuple[str, ...]:
    """How good calls of such a risk have been, and how many of the next ones will come true; a sentence a model."""
    return tuple(_earned(band) for band in bands)


def _earned(band: Earned) -> str:
    if not band.alerts:
        return "Nobody has measured how often such a risk comes true."
    bounds = f"{band.precision_low:.0%} to {band.precision_high:.0%}".replace("%", " %")
    hits = round(band.precision * band.alerts)
    said = f"{hits} of {band.alerts} came true, {band.precision * 100:.0f} % (95 % interval {bounds})"
    if not band.next_calls:
        return f"{said}."
    span = f"{band.next_low}" if band.next_low == band.next_high else f"{band.next_low} to {band.next_high}"
    return f"{said}; of the next {band.next_calls}, about a month's, {span} will in 95 of 100 cases."


def by_chance(proposal: Proposal) -> str | None:
    """That an experiment drew the action, and which one it would be otherwise; None where it is that one anyway."""
    open_ = {each.action: each for each in proposal.prices if each.action in proposal.chances}
    if not open_ or (best := cheapest(open_, {})) is proposal.action:
        return None
    costs = f"{number(open_[best].interruptions)} expected VM interruptions"
    named = f"{ACTIONS[best][0].lower()}{ACTIONS[best][1:]}"
    return f"An experiment drew this, to learn what each action is worth. Without it this would be: {named} ({costs})"


def price(action: Action, prices: Sequence[Price], *, drawn: bool = False) -> str:
    """The price of the action against doing nothing."""
    by_action = {each.action: each.interruptions for each in prices}
    if action not in by_action:
        return "Not priced: the risk is unknown"
    if action is Action.MONITOR and not drawn:
        return f"{number(by_action[action])} expected VM interruptions; nothing that is allowed costs less"
    waiting = by_action.get(Action.MONITOR) if action is not Action.MONITOR else None
    against = f" against {number(waiting)} for doing nothing" if waiting is not None else ""
    return f"{number(by_action[action])} expected VM interruptions{against}"


def number(value: float) -> str:
    """A count of interruptions, as many digits as matter."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def percent(share: float) -> str:
    """A probability, as many digits as matter."""
    if 0 < share < 0.001:
        return "under 0.1\N{NO-BREAK SPACE}%"
    said = f"{share:.1%}" if share < 0.1 else f"{share:.0%}"
    return said.replace("%", "\N{NO-BREAK SPACE}%")


def plural(count: int, noun: str) -> str:
    """`1 VM`, `2 VMs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def clock(at: datetime, now: datetime) -> str:
    """The moment in UTC, with its day where that is not today."""
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%a %-d %b %H:%M} UTC"


def ago(at: datetime, now: datetime) -> str:
    """How far the moment is from now: `in 4 h`, `2 days ago`, `now`."""
    size = length(abs(at - now))
    if size == "0 min":
        return "now"
    return f"in {size}" if at > now else f"{size} ago"


def length(span: timedelta) -> str:
    """A duration in the largest unit that says enough."""
    minutes = round(span.total_seconds() / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{hours} h" if hours < 48 else f"{round(hours / 24)} days"
