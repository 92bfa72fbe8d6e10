"""Expected interruptions, checked by hand and by a simulation of failures."""

import math
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.actions import PRICED
from decisions.domain import Action
from decisions.load import live_seconds
from decisions.load import load as sort_vms
from decisions.policy import Policy, load
from decisions.price import Question, break_even, prices
from decisions.risk import Exposure, host_risks
from tests.decisions.fleets import GIB, curve, host, risk, unknown, vm

POLICY = load()
STILL = replace(POLICY, churn=replace(POLICY.churn, vm_arrivals_per_host_day=0.0, vm_departures_share_per_day=1e-4))


def exposure(risk_30d: float, policy: Policy = STILL) -> Exposure:
    """The exposure of a host with one drive of that risk."""
    found = host_risks([risk("h1", risk_30d)])["h1"]
    return Exposure(found, policy.churn.vm_departures_share_per_day, policy.horizon.decision_days)


def test_a_host_fails_when_any_of_its_entities_does() -> None:
    """Two drives of 10 % and 20 % make a host of 28 %."""
    parts = [risk("h1", 0.1, entity_id="a"), risk("h1", 0.2, entity_id="b"), unknown("h1")]
    found = host_risks(parts)["h1"]
    assert found.curve[30] == pytest.approx(0.28)
    assert [r.entity_id for r in found.entities] == ["b", "a"]
    assert len(found.unknown) == 1


def test_waiting_costs_the_vms_that_meet_the_failure() -> None:
    """Without churn, ten VMs and a 30 % chance within the horizon are three interruptions."""
    priced = prices(Question(host(), sort_vms([vm(f"v{k}") for k in range(10)], STILL), exposure(0.4), STILL))
    assert priced[Action.MONITOR].interruptions == pytest.approx(10 * 0.4 * 0.75, rel=1e-3)


def test_live_moves_cost_their_failures_and_what_fails_first() -> None:
    """Ten moves at 1 % failing, a fifth of them interrupting, are 0.02; the minutes of exposure add little."""
    price = prices(Question(host(), sort_vms([vm(f"v{k}") for k in range(10)], STILL), exposure(0.4), STILL))[
        Action.LIVE_MIGRATE
    ]
    assert price.failed_moves == pytest.approx(10 * 0.01 * 0.2)
    assert 10 * 0.01 * 0.8 * 0.3 < price.failing_first < 10 * 0.01 * 0.8 * 0.3 + 0.01


def test_evacuation_counts_each_redeployed_vm_with_its_weight() -> None:
    """Three VMs that cannot move live are one and a half interruptions, announced beforehand."""
    pinned = [vm(f"v{k}", live_migratable=False) for k in range(3)]
    work = sort_vms(pinned, POLICY)
    assert prices(Question(host(), work, exposure(0.4), POLICY))[Action.EVACUATE].interrupted == pytest.approx(1.5)
    assert break_even(work, Action.EVACUATE, POLICY) == pytest.approx(0.5)


def test_waiting_longer_to_start_costs_more() -> None:
    """A move that starts tomorrow leaves a day for the hardware to fail first."""
    work = sort_vms([vm()], POLICY)
    now = prices(Question(host(), work, exposure(0.4), POLICY))[Action.LIVE_MIGRATE]
    tomorrow = prices(Question(host(), work, exposure(0.4), POLICY, delay_seconds=86_400))[Action.LIVE_MIGRATE]
    assert tomorrow.interruptions - now.interruptions == pytest.approx(0.04, rel=0.1)


def test_blocked_hosts_have_no_arrivals_to_lose() -> None:
    """Doing nothing costs the arrivals too, but only where VMs still arrive."""
    work = sort_vms([vm()], POLICY)
    open_, shut = host(), host(state="blocked")
    waiting, shut_off = (
        prices(Question(each, work, exposure(0.4, POLICY), POLICY))[Action.MONITOR].interruptions
        for each in (open_, shut)
    )
    assert waiting > shut_off


def test_live_moves_take_as_long_as_pre_copy() -> None:
    """16 GiB at half of 1.25 GB/s, written at 125 MB/s: 34.4 s and the set-up."""
    moving = vm(memory_bytes=16 * GIB, dirty_bytes_per_second=125_000_000)
    assert live_seconds(moving, POLICY.moves, 2) == pytest.approx(3 + 16 * GIB / 500e6)


@pytest.mark.parametrize("changes", [{"live_migratable": False}, {"dirty_bytes_per_second": 600_000_000}])
def test_some_vms_cannot_move_live(changes: dict[str, object]) -> None:
    """Pinned ones, and those that write nearly as fast as they are copied."""
    assert live_seconds(vm(**changes), POLICY.moves, 2) is None


def test_moves_share_the_source_lanes() -> None:
    """Four equal moves, two at a time, take twice as long as one."""
    work = sort_vms([vm(f"v{k}") for k in range(4)], POLICY)
    assert work.seconds(Action.LIVE_MIGRATE) == pytest.approx(2 * work.moving[0].seconds)


def test_parts_add_up() -> None:
    """The parts of every price add up to its total."""
    vms = [vm(f"v{k}", live_migratable=k % 2 == 0) for k in range(6)]
    for price in prices(Question(host(), sort_vms(vms, POLICY), exposure(0.4, POLICY), POLICY)).values():
        parts = price.failing_first + price.interrupted + price.failed_moves + price.overhead
        assert price.interruptions == pytest.approx(parts)


def test_the_price_of_waiting_agrees_with_failures_played_out() -> None:
    """Twenty thousand played-out fortnights of a host lose as many VMs as the price says (simulated)."""
    dice = Random(7)  # noqa: S311
    shape, stay, come = curve(0.8), POLICY.churn.vm_departures_share_per_day, POLICY.churn.vm_arrivals_per_host_day
    rounds, lost = 20_000, 0.0
    for _ in range(rounds):
        day = _failure_day(dice.random(), shape)
        if day <= POLICY.horizon.decision_days:
            lost += 8 * math.exp(-stay * day) + come / stay * (1 - math.exp(-stay * day))
    priced = prices(Question(host(), sort_vms([vm(f"v{k}") for k in range(8)], POLICY), exposure(0.8, POLICY), POLICY))
    assert priced[Action.MONITOR].interruptions == pytest.approx(lost / rounds, rel=0.02)


def _failure_day(luck: float, shape: dict[int, float]) -> float:
    before, p0 = 0.0, 0.0
    for days, p1 in shape.items():
        if luck < p1:
            return before + (days - before) * (luck - p0) / (p1 - p0)
        before, p0 = float(days), p1
    return math.inf


@given(st.floats(0.01, 1.0), st.integers(1, 6), st.integers(0, 6))
def test_more_protection_never_leaves_more_exposed(risk_30d: float, moving: int, pinned: int) -> None:
    """From one priced action to the next more protective one, the VMs that a failure meets become no more."""
    vms = [vm(f"v{k}", live_migratable=k >= pinned) for k in range(moving + pinned)]
    priced = prices(Question(host(), sort_vms(vms, POLICY), exposure(risk_30d, POLICY), POLICY))
    exposed = [priced[action].failing_first for action in PRICED if action in priced]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(exposed))
