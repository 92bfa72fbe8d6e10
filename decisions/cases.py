"""Which hosts have something to do, what each would want, and what is forbidden to it whatever others get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from decisions import guardrails
from decisions.actions import MOVES, PRICED, SERVICES
from decisions.domain import Action, Host, HostRisk, Price, Situation, Vm
from decisions.load import Load, load
from decisions.policy import Policy
from decisions.price import Question, break_even, prices
from decisions.remedies import Service, service
from decisions.risk import Exposure

Forbidden = Mapping[Action, tuple[str, str]]
"""By action, the guardrail that forbids it and the sentence that says why."""


@dataclass(frozen=True)
class Case:
    """A host with something to do, before anything is given out."""

    host: Host
    vms: tuple[Vm, ...]
    risk: HostRisk
    exposure: Exposure | None
    """None when the risk is unknown: then nothing can be priced."""
    forbidden: Forbidden
    wants: Action
    gain: float
    """Interruptions that acting avoids, compared with doing nothing; of an unknown risk, the VMs that it is about."""
    service: Service | None = None
    at_risk: bool = True
    """False for a host that is only due for service."""


def concerned(situation: Situation, policy: Policy, risks: Mapping[str, HostRisk]) -> frozenset[str]:
    """Hosts that `find` may make a case of, by their risks alone, and those that were emptied lately or wait for it.

    Of the others it is enough to know their risks as a whole, and what their VMs take.
    """
    busy = {order.host_id for order in situation.open_orders} | {host_id for host_id, _ in situation.recent_evacuations}
    days, floor = policy.horizon.decision_days, policy.risk.minimum_risk
    found = {host_id for host_id, risk in risks.items() if not risk.known or risk.within(days) >= floor}
    for host_id in risks.keys() - found:
        host = situation.hosts.get(host_id)
        helps = host and service(host, None, situation.incidents, policy.remedies, situation.asof_at)
        if helps and helps.due:
            found.add(host_id)
    return frozenset(found | busy)


def find(situation: Situation, policy: Policy, risks: Mapping[str, HostRisk]) -> list[Case]:
    """Every host at risk, of unknown risk or due for service: those at risk first, by what acting avoids."""
    cases = []
    for host_id, risk in risks.items():
        host = situation.hosts.get(host_id)
        vms = tuple(situation.vms.get(host_id, ()))
        if host is None or (host.state in {"repair", "retired"} and not vms):
            continue
        incident = guardrails.incident_of(risk, situation.incidents)
        helps = service(host, incident, situation.incidents, policy.remedies, situation.asof_at)
        at_risk = risk.known and risk.within(policy.horizon.decision_days) >= policy.risk.minimum_risk
        due = risk.known and helps is not None and helps.due and bool(vms)
        if at_risk or due or (risk.unknown and (vms or host.state != "empty")):
            certain = risk if at_risk or due else _doubt(risk)
            cases.append(_case(situation, policy, host, vms, certain, helps, at_risk=at_risk or not due))
    return sorted(cases, key=lambda case: (not case.risk.known, not case.at_risk, -case.gain, case.host.host_id))


def _doubt(risk: HostRisk) -> HostRisk:
    """The host's risk as unknown: what is known of it is low, but something in it is not known at all."""
    return HostRisk(risk.host_id, risk.asof_at, {}, risk.entities, risk.unknown)


def _case(
    situation: Situation,
    policy: Policy,
    host: Host,
    vms: tuple[Vm, ...],
    risk: HostRisk,
    helps: Service | None,
    *,
    at_risk: bool,
) -> Case:
    work = load(vms, policy, owner_has_say=host.dedicated_to is not None)
    forbidden = _forbidden(situation, policy, host, vms, risk, work, helps, planned=not at_risk)
    if not risk.known:
        return Case(host, vms, risk, None, forbidden, Action.INVESTIGATE, float(len(vms)))
    exposure = Exposure(risk, policy.churn.vm_departures_share_per_day, policy.horizon.decision_days)
    priced = prices(Question(host, work, exposure, policy, helps))
    wants = cheapest(priced, forbidden)
    acts = [priced[action].interruptions for action in (*MOVES, *SERVICES) if action in priced]
    gain = priced[Action.MONITOR].interruptions - min(acts, default=priced[wants].interruptions)
    return Case(host, vms, risk, exposure, forbidden, wants, gain, helps, at_risk)


def cheapest(priced: Mapping[Action, Price], forbidden: Forbidden) -> Action:
    """The cheapest action that is not forbidden, to a millionth of an interruption; of equals the least protective."""
    allowed = [action for action in PRICED if action in priced and action not in forbidden]
    return min(allowed, key=lambda action: (round(priced[action].interruptions, 6), PRICED.index(action)))


def _forbidden(
    situation: Situation,
    policy: Policy,
    host: Host,
    vms: Sequence[Vm],
    risk: HostRisk,
    work: Load,
    helps: Service | None,
    *,
    planned: bool,
) -> Forbidden:
    """What no budget can change: the guardrails that look at the host, its prediction and its history alone."""
    found: dict[Action, tuple[str, str]] = {}
    always, pool, now = _always(situation, policy, host, risk), host.cluster, situation.now or situation.asof_at
    autonomy = policy.of(pool).autonomy
    for action in PRICED:
        checks = [
            ("autonomy", guardrails.autonomy_never(action, autonomy, policy.autonomy_key(pool, action))),
            ("opt_out", guardrails.opted_out(action, host.host_id, pool, situation.opt_outs, now)),
        ]
        if action is Action.INVESTIGATE:
            checks.append(("one_owner", guardrails.one_owner(host.host_id, situation.owned_hosts)))
        elif action is not Action.MONITOR:
            checks += always
        if action is Action.DECOMMISSION:
            checks.append(("out_already", guardrails.out_already(host)))
        elif action not in {Action.MONITOR, Action.INVESTIGATE}:
            checks.append(("being_emptied", guardrails.being_emptied(host)))
        checks += _own(situation, policy, host, vms, risk, action)
        if action in MOVES and not planned:
            bar = break_even(work, action, policy)
            precision = guardrails.earned_precision(action, risk, situation.earned, policy.earned, bar)
            checks.append(("earned_precision", precision))
        if action in MOVES:
            incident = guardrails.incident_of(risk, situation.incidents)
            veto = guardrails.correlation_veto(incident, holds_moves=policy.incidents.holds_moves)
            checks.append(("correlation_veto", veto))
            cures = [each for each in SERVICES if helps is not None and helps.offers(each) and each not in found]
            checks.append(("cure_first", guardrails.cure_first(cures, helps, policy.service.cure_first_share)))
        first = next(((name, why) for name, why in checks if why is not None), None)
        if first is not None:
            found[action] = first
    return found


Checks = list[tuple[str, str | None]]


def _always(situation: Situation, policy: Policy, host: Host, risk: HostRisk) -> Checks:
    """What forbids everything that acts."""
    fresh, now = policy.freshness, situation.now or situation.asof_at
    return [
        ("kill_switch", guardrails.kill_switch(situation.stopped_by)),
        ("stale_telemetry", guardrails.stale_telemetry(now, situation.telemetry_at, fresh.telemetry_hours)),
        ("expired_prediction", guardrails.expired_prediction(now, risk.asof_at, fresh.prediction_hours)),
        ("unknown_risk", guardrails.unknown_risk(risk)),
        ("one_owner", guardrails.one_owner(host.host_id, situation.owned_hosts)),
    ]


def _own(situation: Situation, policy: Policy, host: Host, vms: Sequence[Vm], risk: HostRisk, action: Action) -> Checks:
    """What forbids one action by its own conditions."""
    limits, seen, name = policy.limits, situation, host.host_id
    tried: Checks = [
        ("cool_down", guardrails.cool_down(name, seen.asof_at, seen.recent_actions, limits.cool_down_hours)),
        ("attempt_cap", guardrails.attempt_cap(name, seen.attempts, limits.attempts_per_episode)),
    ]
    match action:
        case Action.BLOCK_PLACEMENTS:
            return [("already_blocked", guardrails.already_blocked(host))]
        case Action.NOTIFY:
            return [("already_told", guardrails.already_told(name, seen.told_hosts))]
        case Action.HOT_PATCH:
            return tried
        case Action.PRESERVE_MEMORY:
            return [
                ("compatibility", guardrails.compatibility(action, vms)),
                ("owner_control", guardrails.owner_control(action, host, risk, policy.owners)),
                *tried,
            ]
        case Action.LIVE_MIGRATE | Action.EVACUATE:
            return [("owner_control", guardrails.owner_control(action, host, risk, policy.owners)), *tried]
        case Action.SELF_SERVICE:
            return tried
        case _:
            return []
