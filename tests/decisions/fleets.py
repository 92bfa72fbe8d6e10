"""Small fleets for the tests of choice: plain builders, and a Hypothesis strategy over random ones."""

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from decisions.domain import WEEKDAYS, Action, Autonomy, EntityRisk, Host, OptOut, Situation, Vm
from decisions.policy import Policy, Pool, load
from decisions.sections import Notice, Windows
from models.earned import Earned

ASOF = datetime(2026, 3, 1, tzinfo=UTC)
GIB = 1024**3
SHAPE = {1: 0.1, 3: 0.25, 7: 0.5, 14: 0.75, 30: 1.0}
"""A curve's share of its 30-day risk, by horizon."""


def host(host_id: str = "h1", **changes: Any) -> Host:
    """A host in service with 64 vCPU and 256 GiB."""
    plain = Host(host_id, "c1", "z1", "r1", 0, "hw1", "fw1", 64, 256 * GIB, "in_service", simulated=True)
    return replace(plain, **changes)


def vm(vm_id: str = "v1", host_id: str = "h1", **changes: Any) -> Vm:
    """A migratable VM with 4 vCPU and 16 GiB."""
    return replace(Vm(vm_id, host_id, "owner", "D", 4, 16 * GIB, 20_000_000, None, True, simulated=True), **changes)


def curve(risk_30d: float) -> dict[int, float]:
    """A risk curve of the usual shape."""
    return {days: risk_30d * share for days, share in SHAPE.items()}


def risk(host_id: str = "h1", risk_30d: float = 0.4, **changes: Any) -> EntityRisk:
    """The known risk of the host's only drive."""
    plain = EntityRisk(f"{host_id}-disk", "disk", host_id, ASOF, "disk-1", "ok", None, curve(risk_30d), model="M1")
    return replace(plain, **changes)


def unknown(host_id: str = "h1", reason: str = "stale_telemetry") -> EntityRisk:
    """A drive whose risk is unknown."""
    return risk(host_id, status="unknown", reason=reason, curve={})


def earned(low: float = 0.4) -> tuple[Earned, ...]:
    """One bucket that holds every host."""
    return (Earned(0.0, low + 0.05, low, low + 0.1, 200),)


def situation(hosts: list[Host], vms: list[Vm], risks: list[EntityRisk], **changes: Any) -> Situation:
    """A situation in which nothing but the arguments stands in the way."""
    by_host: Mapping[str, tuple[Vm, ...]] = {h.host_id: tuple(v for v in vms if v.host_id == h.host_id) for h in hosts}
    plain = Situation(ASOF, {h.host_id: h for h in hosts}, by_host, tuple(risks), earned(), ASOF)
    return replace(plain, **changes)


def fleet(count: int, at_risk: Mapping[str, float], *, vms_per_host: int = 4, **changes: Any) -> Situation:
    """`count` hosts h000, h001 ... in racks of 10 and clusters of 50, with VMs; the others' risk is 0.1 %."""
    hosts = [
        host(f"h{i:03d}", cluster=f"c{i // 50}", zone=f"z{i // 50}", rack=f"r{i // 10}", fault_domain=i % 5)
        for i in range(count)
    ]
    vms = [vm(f"{h.host_id}-v{k}", h.host_id) for h in hosts for k in range(vms_per_host)]
    risks = [risk(h.host_id, at_risk.get(h.host_id, 0.001)) for h in hosts]
    return situation(hosts, vms, risks, **changes)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """A random fleet: tight or roomy, with sets, pinned VMs, unknown risks, old predictions, open work."""
    dice = random.Random(draw(st.integers(0, 2**32)))  # noqa: S311
    count, fill = draw(st.integers(2, 30)), draw(st.sampled_from([0.3, 0.6, 0.9]))
    share = draw(st.sampled_from([0.1, 0.5, 1.0]))
    states = ["in_service"] * 8 + ["blocked", "draining", "repair"]
    hosts = [
        host(
            f"h{i:02d}",
            cluster=f"c{i % 2}",
            rack=f"r{i % 5}",
            fault_domain=i % 3,
            hardware_model=f"hw{i % 2}",
            state=dice.choice(states),
        )
        for i in range(count)
    ]
    vms = [_random_vm(dice, h, k) for h in hosts for k in range(dice.randrange(int(16 * fill) + 1))]
    risks = [_random_risk(dice, h, share) for h in hosts]
    return situation(
        hosts,
        vms,
        risks,
        earned=(Earned(0.0, 0.3, dice.choice([0.01, 0.2]), 0.4, 50), Earned(0.4, 0.7, 0.6, 0.8, 20)),
        telemetry_at=dice.choice([ASOF, ASOF, ASOF - timedelta(hours=100), None]),
        owned_hosts=frozenset(h.host_id for h in hosts if dice.random() < 0.1),
        recent_actions={h.host_id: ASOF - timedelta(hours=5) for h in hosts if dice.random() < 0.1},
        attempts={h.host_id: dice.randrange(5) for h in hosts if dice.random() < 0.2},
        opt_outs=tuple(_random_opt_out(dice, h) for h in hosts if dice.random() < 0.05),
        now=dice.choice([None, ASOF + timedelta(hours=2), ASOF + timedelta(hours=29)]),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy with a random maintenance window and notice for everybody, and others for the cluster c1."""
    shipped = load()

    def windows() -> Windows:
        days = draw(st.sets(st.sampled_from(WEEKDAYS), min_size=1))
        begins, ends = draw(st.sampled_from([(0.0, 24.0), (1.0, 5.0), (22.0, 4.0), (12.5, 13.0)]))
        return Windows(tuple(days), begins, ends, draw(st.sampled_from([0.0, 0.05, 1.0])))

    def notice() -> Notice:
        least, more = draw(st.sampled_from([0.0, 5.0, 120.0])), draw(st.sampled_from([0.0, 60.0]))
        return Notice(least, least + more, least, least + 2 * more, draw(st.sampled_from([0.0, 0.02, 1.0])))

    pool = Pool({**shipped.autonomy, Action.LIVE_MIGRATE: draw(st.sampled_from(Autonomy))}, windows(), notice())
    breaker = replace(shipped.breaker, floor_hosts=draw(st.sampled_from([1, 100])))
    return replace(shipped, windows=windows(), notice=notice(), pools={"c1": pool}, breaker=breaker)


def _random_opt_out(dice: random.Random, at: Host) -> OptOut:
    scope, name = dice.choice([("host", at.host_id), ("host", at.host_id), ("pool", at.cluster)])
    actions = dice.choice([(), (Action.LIVE_MIGRATE,), (Action.EVACUATE, Action.BLOCK_PLACEMENTS)])
    ends = ASOF + timedelta(hours=dice.choice([-1, 1, 100]))
    return OptOut(f"out-{at.host_id}", scope, name, actions, "ann", "demo", ASOF - timedelta(days=1), ends)


def _random_vm(dice: random.Random, at: Host, number: int) -> Vm:
    return vm(
        f"{at.host_id}-v{number}",
        at.host_id,
        vcpus=dice.choice([1, 2, 4]),
        memory_bytes=dice.choice([2, 8, 16]) * GIB,
        dirty_bytes_per_second=dice.choice([0, 50_000_000, 900_000_000]),
        availability_set=dice.choice([None, None, "a", "b"]),
        live_migratable=dice.random() < 0.8,
    )


def _random_risk(dice: random.Random, at: Host, share: float) -> EntityRisk:
    if dice.random() < 0.1:
        return unknown(at.host_id)
    old = ASOF - timedelta(hours=dice.choice([0, 0, 0, 10, 50]))
    return risk(at.host_id, dice.random() if dice.random() < share else 0.001, asof_at=old)
