"""A proposal of the ledger, with what the snapshot knows of its host and VMs, made ready to be shown."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dashboards import words
from dashboards.fleet_view import Place, VmKind
from dashboards.views import (
    Card,
    CommandView,
    EntityView,
    FactorView,
    GuardrailView,
    PriceView,
    ProposalView,
    StateView,
    VmView,
)
from dashboards.words import Section
from decisions.domain import EntityRisk, Proposal, VmOutcome, VmPlan
from decisions.ledger.record import OPEN
from decisions.ledger.values import ListedOrder, ListedProposal, Stop
from features.wording import reason


@dataclass(frozen=True)
class Surroundings:
    """What is known around a cycle's proposals; whatever is missing is simply not shown."""

    now: datetime
    stop: Stop | None = None
    places: Mapping[str, Place] = field(default_factory=dict)
    """By host."""
    kinds: Mapping[str, VmKind] = field(default_factory=dict)
    """By VM."""
    orders: Mapping[str, ListedOrder] = field(default_factory=dict)
    """By order."""
    outcomes: Mapping[str, list[VmOutcome]] = field(default_factory=dict)
    """By order."""


def card(listed: ListedProposal, around: Surroundings) -> Card:
    """The proposal as people see it among others."""
    proposal = listed.proposal
    order = around.orders.get(listed.order_id or "")
    place = around.places.get(proposal.host_id)
    section, word, sentence = words.state(listed, order, around.stop, around.now)
    by_chance = words.by_chance(proposal)
    return Card(
        proposal_id=proposal.proposal_id,
        asof_at=proposal.asof_at,
        host_id=proposal.host_id,
        rack=place.rack if place else None,
        zone=place.zone if place else None,
        cluster=place.cluster if place else None,
        hardware_model=place.hardware_model if place else None,
        action=proposal.action.value,
        action_said=words.ACTIONS[proposal.action],
        state=StateView(section, word, sentence),
        autonomy=proposal.autonomy.value,
        standing=listed.standing.value,
        starts_at=order.order.not_before if order else proposal.not_before,
        expires_at=proposal.expires_at,
        risk_said=words.risk(proposal),
        vms_on_host=len(proposal.vms) or (place.vms if place else None),
        vms_said=words.vms(proposal.vms, place.vms if place else None),
        outcome_said=words.outcome(around.outcomes.get(listed.order_id or "", ())),
        price_said=words.price(proposal.action, proposal.prices, drawn=by_chance is not None),
        by_chance=by_chance,
        earned_said=words.earned(proposal.earned),
        guardrails=tuple(_guardrail(line) for line in proposal.blocked),
        reasons=proposal.reasons,
        steps=tuple(words.step(each, around.now, waits=order is None) for each in proposal.steps),
        order_id=listed.order_id,
        order_state=listed.order_state.value if listed.order_state else None,
        incident_id=proposal.incident_id,
        commands=_commands(listed, section),
        policy_version=proposal.policy_version,
        model_version=proposal.model_version,
        simulated=proposal.simulated,
        pool=proposal.pool,
    )


def present(listed: ListedProposal, around: Surroundings) -> ProposalView:
    """The proposal as people see it by itself."""
    proposal = listed.proposal
    return ProposalView(
        **vars(card(listed, around)),
        risk=dict(sorted(proposal.risk.curve.items())),
        prices=_prices(proposal),
        entities=_entities(proposal),
        vms=_vms(listed, around),
        decision=listed.decision,
        etag=listed.etag,
    )


def _prices(proposal: Proposal) -> tuple[PriceView, ...]:
    """Every action that was priced, the cheapest first."""
    rows = [
        PriceView(
            action=price.action.value,
            named=words.ACTIONS[price.action],
            chosen=price.action is proposal.action,
            interruptions=price.interruptions,
            failing_first=price.failing_first,
            interrupted=price.interrupted,
            failed_moves=price.failed_moves,
            overhead=price.overhead,
            blocked_by=price.blocked_by.replace("_", " ") if price.blocked_by else None,
        )
        for price in proposal.prices
    ]
    return tuple(sorted(rows, key=lambda row: row.interruptions))


def _guardrail(line: str) -> GuardrailView:
    name, _, sentence = line.partition(": ")
    return GuardrailView(name.replace("_", " "), sentence)


def _entities(proposal: Proposal) -> tuple[EntityView, ...]:
    """What the risk is about comes first: the riskiest parts, or the unknown ones where the host's risk is unknown."""
    known, unknown = proposal.risk.entities, proposal.risk.unknown
    ordered = (*known, *unknown) if proposal.risk.known else (*unknown, *known)
    return tuple(_entity(each) for each in ordered)


def _entity(risk: EntityRisk) -> EntityView:
    return EntityView(
        component=words.COMPONENTS.get(risk.component, risk.component),
        entity_id=risk.entity_id,
        model=risk.model,
        model_version=risk.model_version,
        asof_at=risk.asof_at,
        status=risk.status,
        reason=words.cause(risk) if risk.reason else None,
        risk=dict(sorted(risk.curve.items())),
        factors=tuple(FactorView(f.feature, reason(f.feature, f.value), f.value, f.contribution) for f in risk.factors),
    )


def _vms(listed: ListedProposal, around: Surroundings) -> tuple[VmView, ...]:
    done = {outcome.vm_id: outcome for outcome in around.outcomes.get(listed.order_id or "", ())}
    return tuple(_vm(plan, around.kinds.get(plan.vm_id), done.get(plan.vm_id)) for plan in listed.proposal.vms)


def _vm(plan: VmPlan, kind: VmKind | None, outcome: VmOutcome | None) -> VmView:
    return VmView(
        vm_id=plan.vm_id,
        owner=kind.owner if kind else None,
        series=kind.series if kind else None,
        memory_bytes=kind.memory_bytes if kind else None,
        technique=plan.technique.value,
        said=words.plan(plan),
        target_host_id=plan.target_host_id,
        seconds=plan.seconds,
        outcome=outcome.result if outcome else None,
        interrupted=outcome.interrupted if outcome else None,
        pause_seconds=outcome.pause_seconds if outcome else None,
    )


def _commands(listed: ListedProposal, section: Section) -> tuple[CommandView, ...]:
    """What a person can type now, the likeliest first."""
    wanted = shlex.quote(listed.proposal.proposal_id)
    found = []
    if section is Section.APPROVAL:
        found += [
            CommandView("Let it happen", f'foreshock decisions approve {wanted} --reason "..."'),
            CommandView("Stop it", f'foreshock decisions veto {wanted} --reason "..."'),
            CommandView("Put it off", f'foreshock decisions snooze {wanted} --hours 2 --reason "..."'),
        ]
    if listed.order_id is not None and listed.order_state is not None and listed.order_state.value in OPEN:
        found.append(CommandView("Stop it", f'foreshock orders cancel {shlex.quote(listed.order_id)} --reason "..."'))
    if listed.order_id is not None and section is Section.WRONG:
        found.append(CommandView("See what happened", f"foreshock orders show {shlex.quote(listed.order_id)}"))
    return (*found, CommandView("Show it in the terminal", f"foreshock decisions show {wanted}"))
