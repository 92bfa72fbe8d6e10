"""From risks, fleet and policy to proposals: a pure function of its arguments.

First every host at risk says which action would be cheapest; that decides the breakers and who needs a target. Then,
the host with most to gain first, targets, budgets and start times are given out, each action is priced again with what
the host really got, and the cheapest one that no guardrail forbids is proposed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid5

from decisions import guardrails
from decisions.actions import MOVES, PRICED
from decisions.breakers import Scope, scopes, trip
from decisions.domain import Action, Breaker, EntityRisk, Host, HostRisk, Price, Proposal, Situation, Verdict, Vm
from decisions.placement import Assignment, Occupancy, assign
from decisions.policy import Policy
from decisions.price import Load, blocked, break_even, live_seconds, load, prices
from decisions.reasons import explain
from decisions.risk import NEW, Exposure, host_risks
from decisions.schedule import Calendar

NAMESPACE: Final = UUID("6f1d7a52-0d5c-5d0a-9a3e-6d8d0f1e7c11")

Forbidden = Mapping[Action, tuple[str, str]]
"""By action, the guardrail that forbids it and the sentence that says why."""


@dataclass(frozen=True)
class _Case:
    """A host with something to do, before anything is given out."""

    host: Host
    vms: tuple[Vm, ...]
    risk: HostRisk
    exposure: Exposure | None
    """None when the risk is unknown: then nothing can be priced."""
    forbidden: Forbidden
    wants: Action
    gain: float
    """Interruptions that moving avoids, compared with doing nothing; of an unknown risk, the VMs that it is about."""


def decide(situation: Situation, policy: Policy, risks: Mapping[str, HostRisk] | None = None) -> Verdict:
    """Proposals for every host whose risk is above the policy's floor, or unknown; the same arguments, the same answer.

    Hosts are answered in the order in which budgets are given out: the most interruptions to avoid first, unknown last.

    Args:
        situation: all that may be looked at.
        policy: what is allowed, and what it costs.
        risks: the hosts' risks where they are worked out already, in place of those that `situation.risks` make.
    """
    risks = host_risks(situation.risks) if risks is None else risks
    version = model_version(situation.risks)
    cases = _cases(situation, policy, risks)
    opened = trip(situation, risks, {c.host.host_id for c in cases if c.wants in MOVES}, policy.breaker)
    cycle = _Cycle(situation, policy, version, opened, _place(situation, policy, risks, cases, opened))
    proposals = tuple(cycle.propose(case) for case in cases)
    bitten = Counter(guardrail for p in proposals for guardrail in {line.split(":", 1)[0] for line in p.blocked})
    blocked_by = MappingProxyType(dict(sorted(bitten.items())))
    in_force = policy_in_force(policy, situation.stopped_by)
    return Verdict(situation.asof_at, in_force, version, proposals, blocked_by, tuple(opened.values()))


def policy_in_force(policy: Policy, stopped_by: str | None) -> str:
    """The version of the policy that decides; while the kill switch is thrown, that of one which lets nothing act.

    So a night that was first decided under the kill switch is decided anew once it is released.
    """
    return policy.version if stopped_by is None else f"{policy.version}+stopped"


def model_version(risks: Iterable[EntityRisk]) -> str:
    """The versions of the models that the risks come from, in one name."""
    return "+".join(sorted({risk.model_version for risk in risks}))


def _cases(situation: Situation, policy: Policy, risks: Mapping[str, HostRisk]) -> list[_Case]:
    cases = []
    for host_id, risk in risks.items():
        host = situation.hosts.get(host_id)
        vms = tuple(situation.vms.get(host_id, ()))
        if host is None or (host.state in {"empty", "repair", "retired"} and not vms):
            continue
        at_risk = risk.known and risk.within(policy.horizon.decision_days) >= policy.risk.minimum_risk
        if at_risk or risk.unknown:
            cases.append(_case(situation, policy, host, vms, risk if at_risk else _doubt(risk)))
    return sorted(cases, key=lambda case: (not case.risk.known, -case.gain, case.host.host_id))


def _doubt(risk: HostRisk) -> HostRisk:
    """The host's risk as unknown: what is known of it is low, but something in it is not known at all."""
    return HostRisk(risk.host_id, risk.asof_at, {}, risk.entities, risk.unknown)


def _case(situation: Situation, policy: Policy, host: Host, vms: tuple[Vm, ...], risk: HostRisk) -> _Case:
    work = load(vms, policy)
    forbidden = _forbidden(situation, policy, host, risk, work)
    if not risk.known:
        return _Case(host, vms, risk, None, forbidden, Action.INVESTIGATE, float(len(vms)))
    exposure = Exposure(risk, policy.churn.vm_departures_share_per_day, policy.horizon.decision_days)
    priced = prices(host, work, exposure, policy)
    wants = _cheapest(priced, forbidden)
    best_move = min((price.interruptions for action, price in priced.items() if action in MOVES), default=0.0)
    gain = priced[Action.MONITOR].interruptions - (best_move if MOVES & priced.keys() else priced[wants].interruptions)
    return _Case(host, vms, risk, exposure, forbidden, wants, gain)


def _cheapest(priced: Mapping[Action, Price], forbidden: Forbidden) -> Action:
    """The cheapest action that is not forbidden, to a millionth of an interruption; of equals the least protective."""
    allowed = [action for action in PRICED if action in priced and action not in forbidden]
    return min(allowed, key=lambda action: (round(priced[action].interruptions, 6), PRICED.index(action)))


def _forbidden(situation: Situation, policy: Policy, host: Host, risk: HostRisk, work: Load) -> Forbidden:
    """What no budget can change: the guardrails that look at the host, its prediction and its history alone."""
    asof, fresh, limits = situation.asof_at, policy.freshness, policy.limits
    now = situation.now or asof
    acting = (
        ("kill_switch", guardrails.kill_switch(situation.stopped_by)),
        ("stale_telemetry", guardrails.stale_telemetry(now, situation.telemetry_at, fresh.telemetry_hours)),
        ("expired_prediction", guardrails.expired_prediction(now, risk.asof_at, fresh.prediction_hours)),
        ("unknown_risk", guardrails.unknown_risk(risk)),
        ("one_owner", guardrails.one_owner(host.host_id, situation.owned_hosts)),
        ("being_emptied", guardrails.being_emptied(host)),
    )
    moving = (
        *acting,
        ("cool_down", guardrails.cool_down(host.host_id, asof, situation.recent_actions, limits.cool_down_hours)),
        ("attempt_cap", guardrails.attempt_cap(host.host_id, situation.attempts, limits.attempts_per_episode)),
    )
    found: dict[Action, tuple[str, str]] = {}
    for action in PRICED:
        checks = [("autonomy", guardrails.autonomy_never(action, policy.autonomy))]
        if action is Action.BLOCK_PLACEMENTS:
            checks += [*acting, ("already_blocked", guardrails.already_blocked(host))]
        elif action is Action.INVESTIGATE:
            checks.append(("one_owner", guardrails.one_owner(host.host_id, situation.owned_hosts)))
        elif action in MOVES:
            bar = break_even(work, action, policy)
            precision = guardrails.earned_precision(action, risk, situation.earned, policy.earned, bar)
            checks += [*moving, ("earned_precision", precision)]
        first = next(((name, why) for name, why in checks if why is not None), None)
        if first is not None:
            found[action] = first
    return found


def _place(
    situation: Situation,
    policy: Policy,
    risks: Mapping[str, HostRisk],
    cases: Sequence[_Case],
    opened: Mapping[Scope, Breaker],
) -> Assignment:
    """Targets for the VMs of every host that wants to move them and may, in the order of the cases."""
    requests = []
    for case in cases:
        if case.wants not in MOVES or _covering(case, opened):
            continue
        at_once = policy.limits.live_moves_at_once_per_source
        movable = [vm for vm in case.vms if case.wants is Action.EVACUATE or live_seconds(vm, policy.moves, at_once)]
        requests += sorted(movable, key=lambda vm: (-vm.memory_bytes, vm.vm_id))
    closed = {case.host.host_id for case in cases} | situation.owned_hosts | {o.host_id for o in situation.open_orders}
    closed |= {host_id for host_id, risk in risks.items() if risk.unknown}
    spare = policy.limits.spare_hosts_per_cluster
    occupancy = Occupancy(situation.vms, frozenset(closed), _under_way(situation), spare)
    return assign(requests, situation.hosts, occupancy)


def _under_way(situation: Situation) -> list[tuple[Vm, str]]:
    """VMs that open orders are moving, with their targets."""
    targets = {p.vm_id: p.target_host_id for o in situation.open_orders for p in o.vms if p.target_host_id is not None}
    if not targets:
        return []
    return [(vm, targets[vm.vm_id]) for vms in situation.vms.values() for vm in vms if vm.vm_id in targets]


def _covering(case: _Case, opened: Mapping[Scope, Breaker]) -> tuple[Breaker, ...]:
    return tuple(opened[scope] for scope in scopes(case.host, case.risk) if scope in opened)


class _Cycle:
    """The budgets of one cycle while they are given out, host after host."""

    def __init__(
        self, situation: Situation, policy: Policy, version: str, opened: Mapping[Scope, Breaker], placed: Assignment
    ) -> None:
        self._situation, self._policy, self._version = situation, policy, version
        self._in_force = policy_in_force(policy, situation.stopped_by)
        self._opened, self._placed = opened, placed
        self._calendar = _calendar(situation, policy)
        self._looks = 0
        self._blocked = Counter(h.cluster for h in situation.hosts.values() if h.state == "blocked")
        self._sizes = Counter(h.cluster for h in situation.hosts.values())

    def propose(self, case: _Case) -> Proposal:
        """The cheapest action that the host may still have, with its share of the budgets taken."""
        expires_at = case.risk.asof_at + self._policy.prediction_life
        targets = self._placed.targets if case.wants in MOVES and not _covering(case, self._opened) else None
        work = load(case.vms, self._policy, targets)
        slots = self._calendar.at_once(work.plans(case.wants)) if targets is not None else {}
        rack = _rack(case.host)
        starts_in = self._calendar.earliest_seconds(rack, slots) if targets is not None else 0.0
        start_at = self._situation.asof_at + timedelta(seconds=starts_in)
        forbidden = {**self._budgets(case, work, start_at, expires_at), **case.forbidden}
        priced = self._prices(case, work, starts_in)
        action = (
            _cheapest(_reach(priced, case.wants, forbidden), forbidden) if priced else _unpriced(case.risk, forbidden)
        )
        if action in MOVES:
            self._calendar.hold(rack, slots, starts_in + work.seconds(action))
        self._looks += action is Action.INVESTIGATE
        self._blocked[case.host.cluster] += action is Action.BLOCK_PLACEMENTS
        not_before = start_at if action in MOVES else self._situation.asof_at
        return self._proposal(case, action, work, priced, forbidden, not_before, expires_at)

    def _prices(self, case: _Case, work: Load, starts_in: float) -> Mapping[Action, Price]:
        """Every action's price: moves with what the host got; a person who looks is taken to find room for all."""
        if case.exposure is None:
            return {}
        first = prices(case.host, load(case.vms, self._policy), case.exposure, self._policy)
        given = prices(case.host, work, case.exposure, self._policy, starts_in)
        return {**first, **{action: price for action, price in given.items() if action in MOVES}}

    def _budgets(
        self, case: _Case, work: Load, start_at: datetime, expires_at: datetime
    ) -> dict[Action, tuple[str, str]]:
        """What is forbidden to this host by what others already got."""
        cluster, limits = case.host.cluster, self._policy.limits
        allowed = max(1, int(limits.blocked_hosts_share_per_cluster * self._sizes[cluster]))
        found: dict[Action, tuple[str, str]] = {}
        full = guardrails.blocked_share(cluster, self._blocked[cluster], allowed)
        if full is not None:
            found[Action.BLOCK_PLACEMENTS] = ("blocked_share", full)
        busy = guardrails.looks_left(self._looks, self._policy.people.looks_per_cycle)
        if busy is not None:
            found[Action.INVESTIGATE] = ("looks_left", busy)
        for action in MOVES:
            checks = (
                ("breaker", guardrails.open_breaker(action, _covering(case, self._opened))),
                ("destination", self._no_target(case, work, action)),
                ("concurrency", guardrails.concurrency(start_at, expires_at, _rack(case.host))),
            )
            for name, why in checks:
                if why is not None and action not in found:
                    found[action] = (name, why)
        return found

    def _no_target(self, case: _Case, work: Load, action: Action) -> str | None:
        """Why the move has nowhere to go, when none of the VMs that it is about has a target."""
        about = work.redeploying if action is Action.EVACUATE else work.moving
        if about or not case.vms:
            return None
        why = next((self._placed.unplaced[vm.vm_id] for vm in case.vms if vm.vm_id in self._placed.unplaced), None)
        return why if why is not None or case.wants is not action else f"host {case.host.host_id} has no VM to move"

    def _proposal(
        self,
        case: _Case,
        action: Action,
        work: Load,
        priced: Mapping[Action, Price],
        forbidden: Forbidden,
        not_before: datetime,
        expires_at: datetime,
    ) -> Proposal:
        asof = self._situation.asof_at
        question = f"{asof.isoformat()}|{case.host.host_id}|{self._in_force}|{self._version}"
        bound = _bound(action, priced, forbidden)
        marked = tuple(blocked(priced[a], forbidden[a][0] if a in forbidden else None) for a in PRICED if a in priced)
        return Proposal(
            proposal_id=str(uuid5(NAMESPACE, question)),
            asof_at=asof,
            host_id=case.host.host_id,
            action=action,
            autonomy=self._policy.autonomy[action],
            expires_at=expires_at,
            not_before=not_before,
            risk=case.risk,
            prices=marked,
            vms=work.plans(action),
            reasons=explain(case.risk, case.vms, action, priced, work, self._policy),
            blocked=bound,
            policy_version=self._in_force,
            model_version=self._version,
            simulated=case.host.simulated or any(vm.simulated for vm in case.vms),
        )


def _bound(action: Action, priced: Mapping[Action, Price], forbidden: Forbidden) -> tuple[str, ...]:
    """The guardrails that stood in the way of an action cheaper than the chosen one, the cheapest first."""
    if not priced:
        return tuple(f"{name}: {why}" for name, why in dict.fromkeys(forbidden.values()))
    chosen = priced[action].interruptions
    cheaper = sorted((p.interruptions, PRICED.index(a), a) for a, p in priced.items() if p.interruptions < chosen)
    return tuple(dict.fromkeys(": ".join(forbidden[a]) for _, _, a in cheaper if a in forbidden))


def _reach(priced: Mapping[Action, Price], wants: Action, forbidden: Forbidden) -> Mapping[Action, Price]:
    """The prices of what the host may still get: the action it wanted, for which there is a plan, or a lesser one.

    A host that can have its move is not put before a person instead, who would find no more room than there is.
    """
    reach = set(PRICED[: PRICED.index(wants) + 1])
    if any(action in priced and action not in forbidden for action in MOVES & reach):
        reach.discard(Action.INVESTIGATE)
    return {action: price for action, price in priced.items() if action in reach}


def _unpriced(risk: HostRisk, forbidden: Forbidden) -> Action:
    """What to do about a host of unknown risk: ask a person if one may be asked, watch it otherwise.

    A part that is merely new becomes known by watching it: nobody is asked to look at every replaced drive.
    """
    merely_new = all(entity.reason == NEW for entity in risk.unknown)
    return Action.MONITOR if merely_new or Action.INVESTIGATE in forbidden else Action.INVESTIGATE


def _rack(host: Host) -> str:
    return f"{host.zone}/{host.rack}"


def _calendar(situation: Situation, policy: Policy) -> Calendar:
    """The cycle's budgets, less what orders under way hold of them."""
    calendar = Calendar(situation.asof_at, policy.limits)
    for order in sorted(situation.open_orders, key=lambda order: (order.not_before, order.order_id)):
        host = situation.hosts.get(order.host_id)
        if host is None or order.action not in MOVES:
            continue
        seconds = sum(plan.seconds for plan in order.vms) / policy.limits.live_moves_at_once_per_source
        longest = max((plan.seconds for plan in order.vms), default=0.0)
        calendar.hold_open(_rack(host), calendar.at_once(order.vms), order.not_before, seconds + longest)
    return calendar
