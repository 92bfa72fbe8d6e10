"""The arms of a replay: the same nightly loop over the same failures, with different beliefs, policies and worlds."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

import pyarrow as pa

from data.contracts import HORIZON_DAYS
from data.simulator.arrivals import Arrival
from data.simulator.motion import WorldSpec
from data.simulator.world import World
from decisions.decide import decide
from decisions.domain import EntityRisk, Host, HostRisk, Situation, Verdict, Vm
from decisions.policy import Policy
from decisions.risk import host_risks
from models.earned import Earned
from pipelines.executors.simulated import Simulated
from pipelines.replay.memory import Memory
from pipelines.replay.night import Night, sure

CERTAIN: Final = (Earned(risk_from=0.0, precision=1.0, precision_low=1.0, precision_high=1.0, alerts=1_000),)
"""What a belief that is taken for certain has earned."""
IN_USE: Final = frozenset({"in_service", "blocked", "probation"})

Belief = Callable[["Run", Night], tuple[Mapping[str, HostRisk], tuple[Earned, ...]]]
"""What an arm takes the risks to be, and what they have earned."""


@dataclass(frozen=True)
class Arm:
    """One way to run the period."""

    name: str
    policy: Policy
    belief: Belief | None
    """Null: nobody acts."""
    delay_days: int = 0
    """Decisions are made on the risks of so many nights before."""
    most_moves: int | None = None
    """Hosts that may be emptied a night; null: as many as the policy decides."""
    spec: WorldSpec | None = None
    """How the world behaves in this arm, if otherwise than in all."""
    paced_by: str | None = None
    """The arm that has to have emptied as many hosts before this one may: the same alert budget."""


@dataclass
class Run:
    """An arm under way: its world, its memory, and the fleet as it stands."""

    arm: Arm
    world: World
    memory: Memory = field(default_factory=Memory)
    hosts: dict[str, Host] = field(default_factory=dict)
    vms: dict[str, tuple[Vm, ...]] = field(default_factory=dict)
    allowed: int = 0
    """Hosts that it may have emptied by now, where another arm sets the pace."""
    _each: dict[str, Vm] = field(default_factory=dict)

    def arrive(self, arrival: Arrival) -> None:
        """Take in what comes now."""
        self.world.arrive(arrival.tables, arrival.failures)
        self.meet(arrival.tables)

    def meet(self, tables: Mapping[str, pa.Table]) -> None:
        """Know hosts and VMs that have come."""
        self.hosts |= {row["host_id"]: Host(**row) for row in tables["hosts"].to_pylist()}
        came = sorted((Vm(**row) for row in tables["vms"].to_pylist()), key=lambda vm: (vm.host_id, vm.vm_id))
        self._each |= {vm.vm_id: vm for vm in came}
        self.vms |= {host_id: tuple(members) for host_id, members in groupby(came, key=lambda vm: vm.host_id)}

    def night(self, night: Night, against: Policy | None = None) -> tuple[Verdict, ...]:
        """What was decided at the night's moment and carried out, and what `against` would have decided instead."""
        if self.arm.belief is None:
            return ()
        self.refresh()
        verdicts = [self.weigh(night, policy) for policy in (self.arm.policy, against) if policy is not None]
        self.memory.carry_out(verdicts[0], Simulated(self.world, night.at).submit, self.arm.most_moves)
        return tuple(verdicts)

    def weigh(self, night: Night, policy: Policy) -> Verdict:
        """What the policy would decide about the fleet as this arm has it."""
        assert self.arm.belief is not None  # noqa: S101 - an arm that believes nothing weighs nothing
        risks, bought = self.arm.belief(self, night)
        seen = Situation(night.at, self.hosts, self.vms, (), bought, night.at)
        return decide(self.memory.about(seen, policy), policy, risks)

    def advance(self, to: datetime) -> None:
        """Let the world go on, and hear what became of orders and hosts."""
        began = self.world.now
        self.world.advance(to)
        if self.arm.belief is None:
            return
        answers = Simulated(self.world, to).poll(list(self.memory.orders), to)
        self.memory.settle(answers, self.world.failed_hosts(began), to)

    def refresh(self) -> None:
        """See what has changed in the world: host states, and where VMs stand."""
        states, homes = self.world.changes()
        for host_id, state in states.items():
            self.hosts[host_id] = replace(self.hosts[host_id], state=state)
        lost: dict[str, set[str]] = {}
        for vm_id, host_id in homes.items():
            lost.setdefault(self._each[vm_id].host_id, set()).add(vm_id)
            self._each[vm_id] = replace(self._each[vm_id], host_id=host_id)
        for host_id in lost.keys() | set(homes.values()):
            stayed = (vm for vm in self.vms.get(host_id, ()) if vm.vm_id not in lost.get(host_id, ()))
            came = (self._each[vm_id] for vm_id, home in homes.items() if home == host_id)
            members = tuple(sorted((*stayed, *came), key=lambda vm: vm.vm_id))
            if members:
                self.vms[host_id] = members
            else:
                self.vms.pop(host_id, None)


def as_scored(run: Run, night: Night) -> tuple[Mapping[str, HostRisk], tuple[Earned, ...]]:
    """The risks as the model told them."""
    del run
    return night.risks, night.earned


def foreseen(run: Run, night: Night) -> tuple[Mapping[str, HostRisk], tuple[Earned, ...]]:
    """Perfect foresight: 1 for what will fail within the horizon, and nothing else."""
    rows = run.world.upcoming_failures(HORIZON_DAYS[-1]).to_pylist()
    return host_risks(_certain(row, night.at) for row in rows), CERTAIN


def by_rule(run: Run, night: Night) -> tuple[Mapping[str, HostRisk], tuple[Earned, ...]]:
    """Certainty for the hosts that break the rule most, as many as the pace allows."""
    return _foremost(run, night, {host_id: float(over) for host_id, over in night.rule.items()})


def riskiest(run: Run, night: Night) -> tuple[Mapping[str, HostRisk], tuple[Earned, ...]]:
    """Certainty for the riskiest hosts, as many as the pace allows."""
    days = run.arm.policy.horizon.decision_days
    known = {host_id: risk.within(days) for host_id, risk in night.risks.items() if risk.known}
    return _foremost(run, night, known)


def _foremost(run: Run, night: Night, weight: Mapping[str, float]) -> tuple[dict[str, HostRisk], tuple[Earned, ...]]:
    left = run.allowed - run.memory.moves
    owned = {order.host_id for order in run.memory.orders.values()}
    may = [h for h in weight if h in run.vms and run.hosts[h].state in IN_USE and h not in owned]
    first = sorted(may, key=lambda host_id: (-weight[host_id], host_id))[: max(0, left)]
    return {host_id: sure(night.risks[host_id]) for host_id in first}, CERTAIN


def _certain(row: Mapping[str, Any], now: datetime) -> EntityRisk:
    curve = {days: float(row["failed_at"] <= now + timedelta(days=days)) for days in HORIZON_DAYS}
    return EntityRisk(row["entity_id"], row["component"], row["host_id"], now, "oracle", "ok", None, curve)


@dataclass(frozen=True)
class Cost:
    """What an arm cost: interruptions by host and by cause, and what it did."""

    by_host: Mapping[str, int]
    causes: Mapping[str, int]
    vm_days: float
    migrations: int
    """VMs that were moved or redeployed by orders."""
    hosts_emptied: int
    """Orders to move a host's VMs."""
    actions: Mapping[str, int]
    """Proposals over all nights."""

    @property
    def interruptions(self) -> int:
        """VM interruptions, whatever their cause."""
        return sum(self.causes.values())


def cost(run: Run) -> Cost:
    """What the arm has cost so far."""
    told = run.world.interruptions().to_pylist()
    return Cost(
        by_host=dict(Counter(row["host_id"] for row in told)),
        causes=dict(sorted(Counter(row["cause"] for row in told).items())),
        vm_days=run.world.vm_days(),
        migrations=run.world.migrations(),
        hosts_emptied=run.memory.moves,
        actions=dict(sorted(run.memory.actions.items())),
    )
