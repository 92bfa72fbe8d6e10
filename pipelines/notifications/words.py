"""What is told, from what was seen: one notice per incident, and of all else one per kind. Values in, values out."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from data.errors import ExecutorError
from decisions.actions import MOVES, SERVICES
from decisions.domain import OrderState, Proposal
from decisions.incidents.values import Incident
from decisions.ledger.notices import Item, Notice, Severity
from decisions.ledger.seen import Seen, Starting, Wrong
from decisions.ledger.values import ListedOrder, ListedProposal, Stop

LINES: Final = 10
"""Hosts that a notice names one by one."""
RISK_DAYS: Final = 14
TOLD: Final = MOVES | SERVICES
"""Actions that people are told of before they begin: those that touch VMs."""


@dataclass(frozen=True)
class Ask:
    """One host that something will happen to, or will not without an answer."""

    proposal: Proposal
    at: datetime
    """When it starts by itself, or when its proposal expires unanswered."""
    waits: bool
    """For a person."""

    @property
    def item(self) -> Item:
        """What a person can take note of, and the proposal."""
        return f"{self.proposal.action.value} {self.proposal.host_id}", self.proposal.proposal_id

    @property
    def line(self) -> str:
        """The host, what happens to it, to how many VMs, when, and why."""
        proposal = self.proposal
        told = [_action(proposal), _count(len(proposal.vms), "VM")] if proposal.vms else [_action(proposal)]
        when = f"expires {_clock(self.at)}" if self.waits else f"starts {_clock(self.at)}"
        risk = (
            f"{proposal.risk.within(RISK_DAYS):.0%} within {RISK_DAYS} days" if proposal.risk.known else "risk unknown"
        )
        return f"{proposal.host_id}: {', '.join([*told, when, risk])}"


def notices(seen: Seen, soon: timedelta) -> list[Notice]:
    """What is told now.

    Args:
        seen: what the ledger holds.
        soon: what touches VMs and starts or expires within this is a page, else a warning.
    """
    asks = [*_waiting(seen.waiting), *_starting(seen.starting)]
    by_incident: dict[str | None, list[Ask]] = defaultdict(list)
    named = {incident.incident_id for incident in seen.incidents}
    for ask in asks:
        cause = ask.proposal.incident_id
        by_incident[cause if cause in named else None].append(ask)
    page_by = seen.now + soon
    return [
        *(_incident(each, by_incident[each.incident_id], page_by) for each in seen.incidents),
        *_alone(by_incident[None], page_by),
        *_cycle(seen),
        *_dead(seen.dead),
        *_unheard(seen.unheard),
        *_wrong(seen.wrong),
        *_shown(seen.shown),
        *_stopped(seen.stop),
    ]


def failing(step: str, error: Exception) -> Notice:
    """That a step of a run failed."""
    said = " ".join(str(error).split()) or type(error).__name__
    title = f"The step {step} failed"
    return Notice(topic_of(step), Severity.PAGE, title, f"{said}\nUntil it runs, nothing new is decided.", "/", (
        (step, type(error).__name__),
    ))  # fmt: skip


def unanswered(why: str) -> Notice:
    """That a cycle had to do without what the executor would have answered; `settle` is the step that asks it."""
    body = f"{why}\nHosts whose orders it has count as at work until it answers; all else was decided."
    return Notice(topic_of("settle"), Severity.PAGE, "The executor does not answer", body, "/", (
        ("settle", ExecutorError.__name__),
    ))  # fmt: skip


def topic_of(step: str) -> str:
    """The topic of a failing step."""
    return f"step/{step}"


def is_step(topic: str) -> bool:
    """Whether the topic is that of a failing step."""
    return topic.startswith("step/")


def _waiting(listed: Iterable[ListedProposal]) -> Iterator[Ask]:
    return (Ask(each.proposal, each.proposal.expires_at, waits=True) for each in listed)


def _starting(found: Iterable[Starting]) -> Iterator[Ask]:
    told = (each for each in found if each.order.order.action in TOLD)
    return (Ask(each.listed.proposal, each.order.order.not_before, waits=False) for each in told)


def _alone(asks: Sequence[Ask], page_by: datetime) -> Iterator[Notice]:
    waiting, starting = _by_moment(a for a in asks if a.waits), _by_moment(a for a in asks if not a.waits)
    if waiting:
        title = f"{_needs(waiting)} approval, the first until {_clock(waiting[0].at)}"
        yield _about("approval", title, waiting, page_by, "/?show=approval")
    if starting:
        title = f"Policy acts on {_count(len(starting), 'host')} by itself, the first at {_clock(starting[0].at)}"
        yield _about("starting", title, starting, page_by, "/?show=starting")


def _about(topic: str, title: str, asks: Sequence[Ask], page_by: datetime, path: str) -> Notice:
    severity = _severity(asks, page_by)
    path = f"/proposals/{asks[0].proposal.proposal_id}" if len(asks) == 1 else path
    return Notice(topic, severity, title, _lines([ask.line for ask in asks]), path, tuple(ask.item for ask in asks))


def _incident(incident: Incident, asks: Iterable[Ask], page_by: datetime) -> Notice:
    ordered = _by_moment(asks)
    severity = _severity(ordered, page_by)
    hosts = incident.hosts_affected
    title = f"{incident.leading.named}: {_count(len(hosts), 'host')}, one cause"
    waits = [ask for ask in ordered if ask.waits]
    told = [f"{_needs(waits)} approval, the first until {_clock(waits[0].at)}."] if waits else []
    starts = [ask for ask in ordered if not ask.waits]
    told += [f"Policy acts on {_count(len(starts), 'host')} by itself from {_clock(starts[0].at)}."] if starts else []
    body = "\n".join([f"{incident.sentence}.", *filter(None, [incident.response]), *told])
    items = (*((host, "") for host in hosts), *(ask.item for ask in ordered))
    path = f"/incidents/{incident.incident_id}"
    return Notice(f"incident/{incident.incident_id}", severity, title, body, path, items)


def _cycle(seen: Seen) -> Iterator[Notice]:
    cycle = seen.cycle
    if cycle is None:
        return
    if cycle.breakers:
        scopes = [breaker.scope for breaker in cycle.breakers]
        title = f"Breaker open: {', '.join(scopes[:LINES])}"
        body = _lines([f"{breaker.sentence}." for breaker in cycle.breakers])
        yield Notice("breaker", Severity.PAGE, title, body, "/", tuple((scope, "") for scope in scopes))
    stale = cycle.blocked.get("stale_telemetry", 0)
    if stale:
        title = "Telemetry is stale"
        body = (
            f"No action for want of fresh readings or events: {_count(stale, 'host')}. Look at the ingest. A fleet of "
            "which only events tell, and so few, needs more freshness.telemetry_hours in the policy."
        )
        yield Notice("stale_telemetry", Severity.PAGE, title, body, "/", ((title, ""),))


def _dead(orders: Sequence[ListedOrder]) -> Iterator[Notice]:
    if orders:
        title = f"{_count(len(orders), 'order')} could not be handed to the executor"
        lines = [f"{_order(each)}: {each.last_error or 'no reason given'}" for each in orders]
        items = tuple((f"order {each.order.order_id}", str(each.attempts)) for each in orders)
        yield Notice("dead_letters", Severity.PAGE, title, _lines(lines), "/?show=wrong", items)


def _unheard(orders: Sequence[ListedOrder]) -> Iterator[Notice]:
    if orders:
        title = f"What became of {_count(len(orders), 'order')} is not known: the executor's answer is of no use"
        lines = [f"{_order(each)}: {each.bad_answer}" for each in orders]
        items = tuple((f"order {each.order.order_id}", each.state.value) for each in orders)
        yield Notice("bad_answers", Severity.PAGE, title, _lines(lines), "/?show=wrong", items)


def _wrong(found: Sequence[Wrong]) -> Iterator[Notice]:
    if not found:
        return
    failed = any(each.order.state is OrderState.FAILED for each in found)
    lines = []
    for each in found:
        lost = sum(vm.interrupted for vm in each.vms)
        hurt = f"; {_count(lost, 'VM')} interrupted" if lost else ""
        lines.append(f"{_order(each.order)} {each.order.state.value}: {each.order.reason or 'no reason given'}{hurt}")
    title = f"{_count(len(found), 'order')} went wrong within a day"
    severity = Severity.PAGE if failed else Severity.WARN
    items = tuple((f"order {each.order.order.order_id}", each.order.state.value) for each in found)
    yield Notice("went_wrong", severity, title, _lines(lines), "/?show=wrong", items)


def _shown(listed: Sequence[ListedProposal]) -> Iterator[Notice]:
    if listed:
        title = f"{_count(len(listed), 'host')} worth a look"
        lines = [f"{each.proposal.host_id}: {next(iter(each.proposal.reasons), '')}" for each in listed]
        items = tuple((each.proposal.host_id, "") for each in listed)
        yield Notice("look", Severity.INFO, title, _lines(lines), "/?show=look", items)


def _stopped(stop: Stop | None) -> Iterator[Notice]:
    if stop is not None:
        title = f"The kill switch was thrown by {stop.by}"
        body = f"{stop.reason or 'No reason given.'}\nNo order leaves until it is released: foreshock start."
        yield Notice("kill_switch", Severity.WARN, title, body, "/", ((stop.by, stop.at.isoformat()),))


def _severity(asks: Iterable[Ask], page_by: datetime) -> Severity:
    """A page where VMs are touched, or left where they are unanswered, before long; an empty host can wait."""
    urgent = any(ask.at <= page_by and ask.proposal.action in TOLD for ask in asks)
    return Severity.PAGE if urgent else Severity.WARN


def _by_moment(asks: Iterable[Ask]) -> list[Ask]:
    return sorted(asks, key=lambda ask: (ask.at, ask.proposal.host_id))


def _needs(asks: Sequence[Ask]) -> str:
    return "1 host needs" if len(asks) == 1 else f"{len(asks):,} hosts need"


def _order(listed: ListedOrder) -> str:
    return f"{listed.order.host_id}, {listed.order.action.value.replace('_', ' ')}"


def _action(proposal: Proposal) -> str:
    return proposal.action.value.replace("_", " ")


def _lines(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - LINES:,} more"] if len(lines) > LINES else []
    return "\n".join([*lines[:LINES], *more])


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _clock(at: datetime) -> str:
    return f"{at:%a %-d %b %H:%M} UTC"
