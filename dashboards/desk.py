"""A proposal on the desk of a person: what comes when, what could go wrong, and what can be said to it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from dashboards import words
from dashboards.fleet_view import FleetReader, Member, Target
from dashboards.queue import Look
from dashboards.views import DeskView, EndView, HazardView, ProposalView
from dashboards.words import Section
from decisions.domain import Action, Autonomy, Proposal, VmPlan
from decisions.ledger.record import FINAL, OPEN
from decisions.ledger.values import ListedProposal, Standing
from decisions.windows import earliest

GIB: Final = 1024**3
OFFERED_HOURS: Final = (2, 8, 24, 72, 168)
"""Ends that the page offers for a veto or a snooze, beside the proposal's own."""


def desk_view(look: Look, listed: ListedProposal) -> DeskView:
    """The proposal with all that a person needs to decide."""
    (view,), proposal, now = look.views([listed]), listed.proposal, look.now
    decided = listed.decision is not None and listed.decision.verdict.value in FINAL
    decidable = not decided and now < proposal.expires_at
    stoppable = listed.order_state is not None and listed.order_state.value in OPEN
    coming, at, said = _coming(listed, view, look)
    return DeskView(
        proposal=view,
        now=now,
        stopped=look.stopped,
        ticks=now != look.freshness.telemetry_at,
        coming=coming,
        deadline=at,
        deadline_said=said,
        hazards=tuple(_hazards(view, proposal, look.around)),
        decidable=decidable,
        approvable=decidable and proposal.autonomy in {Autonomy.APPROVE, Autonomy.AUTO},
        stoppable=stoppable,
        ends=(
            EndView(None, f"its prediction expires, {words.clock(proposal.expires_at, now)}"),
            *(EndView(h, f"{words.length(timedelta(hours=h))} from now") for h in OFFERED_HOURS),
        ),
        simulated=look.freshness.simulated,
    )


def _coming(listed: ListedProposal, view: ProposalView, look: Look) -> tuple[str, datetime | None, str]:
    """What comes next in a sentence, the moment to count down to, and what happens then."""
    proposal, now = listed.proposal, look.now
    if view.state.section is Section.APPROVAL and now < proposal.expires_at:
        told = "Nothing happens until a person approves."
        if listed.decision is not None and listed.standing in {Standing.SNOOZED, Standing.HANDED_OVER}:
            told = f"{view.state.sentence.rstrip('.')}. {told}"
        start = max(proposal.not_before, earliest(proposal.start_rule, now))
        if start >= proposal.expires_at:
            late = "It is too late to approve: with notice to the owners it would not start before it expires."
            return f"{told} {late}", proposal.expires_at, "expires"
        begins = f"Approved now, it starts at {words.clock(start, now)} ({words.ago(start, now)})."
        return f"{told} {begins}", proposal.expires_at, "expires"
    if view.state.section is Section.STARTING and view.starts_at > now:
        return view.state.sentence, view.starts_at, "starts"
    return view.state.sentence, None, ""


def _hazards(view: ProposalView, proposal: Proposal, fleet: FleetReader | None) -> Iterable[HazardView]:
    plans = [plan for plan in proposal.vms if plan.target_host_id is not None]
    yield HazardView("VMs", _vms_at_stake(view, proposal))
    if fleet is not None and plans:
        targets = fleet.targets(sorted({plan.target_host_id or "" for plan in plans}), proposal.asof_at)
        yield from _capacity(plans, fleet, targets, proposal)
        yield from _racks(view, targets)
        yield from _sets(plans, fleet.members([plan.vm_id for plan in plans], proposal.asof_at), targets)
    yield HazardView("If it is a false alarm", _false_alarm(proposal))


def _vms_at_stake(view: ProposalView, proposal: Proposal) -> str:
    stay = sum(plan.target_host_id is None and plan.technique is Action.MONITOR for plan in proposal.vms)
    chosen = next((price for price in proposal.prices if price.action is proposal.action), None)
    said = [f"{view.vms_said}."]
    if stay:
        said.append(f"{words.plural(stay, 'VM')} cannot move and would go down with the host.")
    if chosen is not None and proposal.vms:
        said.append(f"{words.number(chosen.failed_moves)} interruptions are expected from moves that fail,")
        said.append(f"{words.number(chosen.failing_first)} if the host fails before it is done.")
    return " ".join(said)


def _capacity(
    plans: Sequence[VmPlan], fleet: FleetReader, targets: Mapping[str, Target], proposal: Proposal
) -> Iterable[HazardView]:
    kinds = fleet.kinds([plan.vm_id for plan in plans], proposal.asof_at)
    coming: Counter[str] = Counter()
    for plan in plans:
        if plan.vm_id in kinds and plan.target_host_id is not None:
            coming[plan.target_host_id] += kinds[plan.vm_id].memory_bytes
    left = {host: held.memory_bytes - held.used_bytes - coming[host] for host, held in targets.items()}
    if not left:
        yield HazardView("Capacity", "The targets are not in the inventory that is published.")
        return
    host = min(left, key=lambda each: (left[each], each))
    share = left[host] / targets[host].memory_bytes
    yield HazardView(
        "Capacity",
        f"{words.plural(len(targets), 'target')}. The fullest, {host}, keeps {left[host] / GIB:,.0f} GiB of memory "
        f"free afterwards ({share:.0%} of it).",
    )


def _racks(view: ProposalView, targets: Mapping[str, Target]) -> Iterable[HazardView]:
    racks = {held.rack for held in targets.values()}
    if not racks:
        return
    same = sum(held.rack == view.rack for held in targets.values())
    stay = f"{same} of them in the rack of the host itself" if same else "none of them in the rack of the host"
    yield HazardView("Racks", f"The targets stand in {words.plural(len(racks), 'rack')}; {stay}.")


def _sets(plans: Sequence[VmPlan], members: Sequence[Member], targets: Mapping[str, Target]) -> Iterable[HazardView]:
    """Whether VMs that their owner wants apart come together."""
    bound_for = ((plan.vm_id, targets.get(plan.target_host_id or "")) for plan in plans)
    goes = {vm_id: target.fault_domain for vm_id, target in bound_for if target is not None}
    sets = {member.availability_set for member in members}
    if not sets:
        yield HazardView("Fault domains", "No VM that moves belongs to an availability set.")
        return
    before = Counter((member.availability_set, member.fault_domain) for member in members)
    after = Counter((member.availability_set, goes.get(member.vm_id, member.fault_domain)) for member in members)
    closer = {name for (name, domain), count in after.items() if count > max(1, before[name, domain])}
    worse = f"{len(closer)} would have more VMs in one fault domain than now" if closer else "none loses its spread"
    yield HazardView("Fault domains", f"{words.plural(len(sets), 'availability set')} touched; {worse}.")


def _false_alarm(proposal: Proposal) -> str:
    chosen = next((price for price in proposal.prices if price.action is proposal.action), None)
    if chosen is None:
        return "Nothing is priced: the risk is unknown."
    lost = words.number(chosen.interrupted + chosen.failed_moves + chosen.overhead)
    return f"It costs {lost} expected VM interruptions for a host that would have lived."
