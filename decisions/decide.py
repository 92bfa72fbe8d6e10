"""From risks, fleet and policy to proposals: a pure function of its arguments.

First every host at risk says which action would be cheapest; that decides the breakers and who needs a target. Then,
the host with most to gain first, targets, budgets and start times are given out, each action is priced again with what
the host really got, and the cheapest one that no guardrail forbids is proposed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid5

from decisions import guardrails
from decisions.actions import MOVES, PRICED, SERVICES
from decisions.breakers import Scope, ration, scopes, trip
from decisions.cases import Case, Forbidden, cheapest, find
from decisions.chance import Choice, choose
from decisions.domain import (
    Action,
    Breaker,
    HostRisk,
    Price,
    Proposal,
    Situation,
    StartRule,
    Verdict,
    Vm,
)
from decisions.incidents.response import responded
from decisions.load import Load, live_seconds, load
from decisions.placement import Assignment, Occupancy, assign
from decisions.plans import steps
from decisions.policy import Policy
from decisions.price import Question, blocked, offer_days, prices
from decisions.reasons import explain
from decisions.risk import NEW, host_risks
from decisions.schedule import calendar_of, rack_of
from decisions.windows import Start, earliest, start

NAMESPACE: Final = UUID("6f1d7a52-0d5c-5d0a-9a3e-6d8d0f1e7c11")


def decide(situation: Situation, policy: Policy, risks: Mapping[str, HostRisk] | None = None) -> Verdict:
    """Proposals for every host whose risk is above the policy's floor, or unknown; the same arguments, the same answer.

    Hosts are answered in the order in which budgets are given out: the most interruptions to avoid first, unknown last.

    Args:
        situation: all that may be looked at.
        policy: what is allowed, and what it costs.
        risks: the hosts' risks where they are worked out already, in place of those that `situation.risks` make.
    """
    risks = _risks(situation) if risks is None else risks
    version = model_version(situation)
    cases = find(situation, policy, risks)
    flagged = {case.host.host_id for case in cases if case.wants in MOVES and case.at_risk}
    opened = trip(situation, risks, flagged, policy.breaker)
    held = _held(situation, policy, risks, cases, opened)
    placed = _place(situation, policy, risks, cases, held)
    cycle = _Cycle(situation, policy, version, held, placed)
    proposals = tuple(cycle.propose(case) for case in cases)
    bitten = Counter(guardrail for p in proposals for guardrail in {line.split(":", 1)[0] for line in p.blocked})
    blocked_by = MappingProxyType(dict(sorted(bitten.items())))
    in_force = policy_in_force(policy, situation.stopped_by)
    breakers, incidents = tuple(opened.values()), responded(situation.incidents, policy)
    told = proposals, blocked_by, breakers, incidents, placed.placement
    return Verdict(situation.asof_at, in_force, version, *told)


def policy_in_force(policy: Policy, stopped_by: str | None) -> str:
    """The version of the policy that decides; while the kill switch is thrown, that of one which lets nothing act.

    So a night that was first decided under the kill switch is decided anew once it is released.
    """
    return policy.version if stopped_by is None else f"{policy.version}+stopped"


def model_version(situation: Situation) -> str:
    """The versions of the models that the risks come from, in one name."""
    rest = frozenset() if situation.rest is None else situation.rest.model_versions
    return "+".join(sorted(rest.union(risk.model_version for risk in situation.risks)))


def _risks(situation: Situation) -> Mapping[str, HostRisk]:
    """The risk of each host, by host: of those whose parts are told, and of the rest."""
    rest: Mapping[str, HostRisk] = {} if situation.rest is None else situation.rest.risks
    return {**rest, **host_risks(situation.risks)}


def _place(
    situation: Situation,
    policy: Policy,
    risks: Mapping[str, HostRisk],
    cases: Sequence[Case],
    held: "_Held",
) -> Assignment:
    """Targets for the VMs of every host that wants to move them and may, each worth its share of the host's gain."""
    requests: list[Vm] = []
    values: dict[str, float] = {}
    for case in cases:
        if case.wants not in MOVES or held.back(case):
            continue
        at_once = policy.limits.live_moves_at_once_per_source
        live_only = case.wants is Action.LIVE_MIGRATE
        movable = [vm for vm in case.vms if not live_only or live_seconds(vm, policy.moves, at_once)]
        requests += sorted(movable, key=lambda vm: (-vm.memory_bytes, vm.vm_id))
        values |= {vm.vm_id: max(0.0, case.gain) / len(movable) for vm in movable}
    closed = {case.host.host_id for case in cases} | situation.owned_hosts | {o.host_id for o in situation.open_orders}
    closed |= {host_id for host_id, risk in risks.items() if risk.unknown}
    spare = policy.limits.spare_hosts_per_cluster
    days, floor = policy.horizon.decision_days, policy.risk.minimum_risk
    chances = {host_id: risk.within(days) for host_id, risk in risks.items() if risk.known and host_id not in closed}
    together = None if situation.rest is None else situation.rest.residents
    occupancy = Occupancy(situation.vms, frozenset(closed), _under_way(situation), spare, chances, floor, together)
    return assign(requests, situation.hosts, occupancy, policy.placement, values)


def _under_way(situation: Situation) -> list[tuple[Vm, str]]:
    """VMs that open orders are moving, with their targets."""
    targets = {p.vm_id: p.target_host_id for o in situation.open_orders for p in o.vms if p.target_host_id is not None}
    if not targets:
        return []
    return [(vm, targets[vm.vm_id]) for vms in situation.vms.values() for vm in vms if vm.vm_id in targets]


@dataclass(frozen=True)
class _Held:
    """Who is held back for what others do: by a breaker that is open, or until others have gone."""

    opened: Mapping[Scope, Breaker]
    waiting: Mapping[str, str]
    """By host, which share is used up, and by how many."""

    def covering(self, case: Case) -> tuple[Breaker, ...]:
        """The open breakers that the host is counted in."""
        return tuple(self.opened[scope] for scope in scopes(case.host, case.risk) if scope in self.opened)

    def back(self, case: Case) -> bool:
        """Whether the host's VMs may not move now."""
        return bool(self.covering(case)) or case.host.host_id in self.waiting


def _held(
    situation: Situation,
    policy: Policy,
    risks: Mapping[str, HostRisk],
    cases: Sequence[Case],
    opened: Mapping[Scope, Breaker],
) -> _Held:
    going = [case for case in cases if case.wants in MOVES and case.at_risk and not _Held(opened, {}).covering(case)]
    return _Held(opened, ration(situation, risks, [case.host.host_id for case in going], policy.breaker))


class _Cycle:
    """The budgets of one cycle while they are given out, host after host."""

    def __init__(self, situation: Situation, policy: Policy, version: str, held: _Held, placed: Assignment) -> None:
        self._situation, self._policy, self._version = situation, policy, version
        self._in_force = policy_in_force(policy, situation.stopped_by)
        self._held, self._placed = held, placed
        self._calendar = calendar_of(situation.asof_at, policy.limits, situation.open_orders, situation.hosts)
        self._told_at = max(situation.asof_at, situation.now or situation.asof_at)
        self._looks, self._services = 0, 0
        self._blocked = _closed(situation)
        self._sizes = Counter(h.cluster for h in situation.hosts.values())

    def propose(self, case: Case) -> Proposal:
        """The cheapest action that the host may still have, with its share of the budgets taken."""
        expires_at = case.risk.asof_at + self._policy.prediction_life
        targets = self._placed.targets if case.wants in MOVES and not self._held.back(case) else None
        work = load(case.vms, self._policy, targets, owner_has_say=case.host.dedicated_to is not None)
        starts = self._start(case, work, expires_at) if targets is not None else None
        asof = self._situation.asof_at
        in_time = starts is not None and starts.at < expires_at  # what is forbidden is priced as if it went at once
        starts_in = (starts.at - asof).total_seconds() if starts is not None and in_time else 0.0
        forbidden = {**self._budgets(case, work, starts, expires_at), **case.forbidden}
        priced = self._prices(case, work, starts_in)
        choice = self._choose(case, priced, forbidden)
        action = choice.action
        moves = starts if action in MOVES else None
        if moves is not None:
            slots = self._calendar.at_once(work.plans(action))
            self._calendar.hold(rack_of(case.host), slots, starts_in + work.seconds(action), starts_in)
        self._looks += action in {Action.INVESTIGATE, Action.NOTIFY}
        self._services += action in SERVICES
        self._blocked[case.host.cluster] += action in {Action.BLOCK_PLACEMENTS, Action.NOTIFY}
        served = moves or self._pause(case, action, expires_at) or Start(asof, StartRule(), ())
        return self._proposal(case, choice, work, priced, forbidden, served, expires_at)

    def _choose(self, case: Case, priced: Mapping[Action, Price], forbidden: Forbidden) -> Choice:
        """What the host gets of what it may still have; chance has no part where it is not at risk, or empty."""
        if not priced:
            asked = _unpriced(case.risk, forbidden)
            return Choice(asked, asked)
        reach = _reach(priced, case.wants, forbidden)
        if not case.at_risk or not case.vms:
            best = cheapest(reach, forbidden)
            return Choice(best, best)
        return choose(reach, forbidden, case.host.host_id, self._policy.experiment)

    def _start(self, case: Case, work: Load, expires_at: datetime) -> Start:
        """When the move that the host wants may start: notice given, window open, budgets free."""
        asof, seconds = self._situation.asof_at, work.seconds(case.wants)
        rack, slots = rack_of(case.host), self._calendar.at_once(work.plans(case.wants))

        def free(at: datetime) -> datetime:
            starts_in = self._calendar.earliest_seconds(rack, slots, seconds, (at - asof).total_seconds())
            return asof + timedelta(seconds=ceil(starts_in))

        pool = case.host.cluster
        return start(case.wants, case.risk, self._told_at, expires_at, (pool, self._policy.of(pool)), free)

    def _pause(self, case: Case, action: Action, expires_at: datetime) -> Start | None:
        """When the host's VMs may be paused for its service; None for what touches no VM."""
        if action is not Action.PRESERVE_MEMORY:
            return None
        pool = case.host.cluster
        return start(action, case.risk, self._told_at, expires_at, (pool, self._policy.of(pool)), lambda at: at)

    def _prices(self, case: Case, work: Load, starts_in: float) -> Mapping[Action, Price]:
        """Every action's price: moves with what the host got; a person who looks is taken to find room for all."""
        if case.exposure is None:
            return {}
        alone = load(case.vms, self._policy, owner_has_say=work.owner_has_say)
        first = prices(self._question(case, alone))
        given = prices(self._question(case, work, starts_in))
        return {**first, **{action: price for action, price in given.items() if action in MOVES}}

    def _question(self, case: Case, work: Load, starts_in: float = 0.0) -> Question:
        assert case.exposure is not None  # noqa: S101 - asked about known risks only
        return Question(case.host, work, case.exposure, self._policy, case.service, starts_in)

    def _budgets(
        self, case: Case, work: Load, starts: Start | None, expires_at: datetime
    ) -> dict[Action, tuple[str, str]]:
        """What is forbidden to this host by what others already got."""
        cluster, limits = case.host.cluster, self._policy.limits
        allowed = max(1, int(limits.blocked_hosts_share_per_cluster * self._sizes[cluster]))
        found: dict[Action, tuple[str, str]] = {}
        full = guardrails.blocked_share(cluster, self._blocked[cluster], allowed)
        if full is not None:
            found |= dict.fromkeys((Action.BLOCK_PLACEMENTS, Action.NOTIFY), ("blocked_share", full))
        served = guardrails.services_left(self._services, self._policy.service.hosts_per_cycle)
        if served is not None:
            found |= dict.fromkeys(SERVICES, ("services_left", served))
        busy = guardrails.looks_left(self._looks, self._policy.people.looks_per_cycle)
        if busy is not None:
            found |= dict.fromkeys((Action.INVESTIGATE, Action.NOTIFY), ("looks_left", busy))
        late = self._late(case, starts, expires_at) if starts is not None else ()
        for action in MOVES:
            checks = (
                ("breaker", guardrails.open_breaker(action, self._held.covering(case))),
                ("share_used", self._held.waiting.get(case.host.host_id)),
                ("destination", self._no_target(case, work, action)),
                *late,
            )
            for name, why in checks:
                if why is not None and action not in found:
                    found[action] = (name, why)
        return found

    def _late(self, case: Case, starts: Start, expires_at: datetime) -> tuple[tuple[str, str | None], ...]:
        """What leaves no start before the prediction expires."""
        rule, told_at = starts.rule, self._told_at
        return (
            ("notice", guardrails.short_notice(told_at, rule.notice_minutes, expires_at)),
            ("window", guardrails.closed_window(case.host.cluster, earliest(rule, told_at), expires_at)),
            ("concurrency", guardrails.concurrency(starts.at, expires_at, rack_of(case.host))),
        )

    def _no_target(self, case: Case, work: Load, action: Action) -> str | None:
        """Why the move has nowhere to go, when none of the VMs that it is about has a target."""
        about = {Action.EVACUATE: work.redeploying, Action.SELF_SERVICE: work.offered}.get(action, work.moving)
        if about or not case.vms:
            return None
        why = next((self._placed.unplaced[vm.vm_id] for vm in case.vms if vm.vm_id in self._placed.unplaced), None)
        return why if why is not None or case.wants is not action else f"host {case.host.host_id} has no VM to move"

    def _proposal(
        self,
        case: Case,
        choice: Choice,
        work: Load,
        priced: Mapping[Action, Price],
        forbidden: Forbidden,
        starts: Start,
        expires_at: datetime,
    ) -> Proposal:
        action = choice.action
        asof, pool = self._situation.asof_at, case.host.cluster
        incident = guardrails.incident_of(case.risk, self._situation.incidents)
        question = f"{asof.isoformat()}|{case.host.host_id}|{self._in_force}|{self._version}"
        bound = _bound(action, priced, forbidden)
        marked = tuple(blocked(priced[a], forbidden[a][0] if a in forbidden else None) for a in PRICED if a in priced)
        deadline = self._deadline(case, action, work, starts.at)
        remedy = case.service.remedy.change if case.service and action in {*SERVICES, *MOVES} else None
        return Proposal(
            proposal_id=str(uuid5(NAMESPACE, question)),
            asof_at=asof,
            host_id=case.host.host_id,
            action=action,
            autonomy=self._policy.of(pool).autonomy[action],
            expires_at=expires_at,
            not_before=starts.at,
            risk=case.risk,
            prices=marked,
            vms=work.plans(action, deadline),
            reasons=(
                *explain(case.risk, case.vms, choice, priced, work, self._policy, case.service, deadline),
                *starts.said,
            ),
            blocked=bound,
            policy_version=self._in_force,
            model_version=self._version,
            propensity=choice.propensity,
            chances=choice.chances,
            draw=choice.draw,
            simulated=case.host.simulated or any(vm.simulated for vm in case.vms),
            planned=not case.at_risk,
            steps=steps(action, work, starts.at, deadline, case.host),
            remedy=remedy,
            pool=pool,
            start_rule=starts.rule,
            earned=guardrails.earned_by(case.risk, self._situation.earned),
            incident_id=incident.incident_id if incident else None,
        )

    def _deadline(self, case: Case, action: Action, work: Load, not_before: datetime) -> datetime | None:
        """The end of the window that owners are offered; null where none is."""
        if action is not Action.SELF_SERVICE:
            return None
        return not_before + timedelta(days=offer_days(self._question(case, work)))


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


def _closed(situation: Situation) -> Counter[str]:
    """Hosts that take no new VMs, or that an order under way is about to close to them, by cluster."""
    closed = {host.host_id for host in situation.hosts.values() if host.state == "blocked"}
    closing = {Action.BLOCK_PLACEMENTS, Action.NOTIFY}
    closed |= {order.host_id for order in situation.open_orders if order.action in closing}
    return Counter(situation.hosts[host_id].cluster for host_id in closed & situation.hosts.keys())
