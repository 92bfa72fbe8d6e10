"""A small fleet whose failures are half foretold, run through by several arms at once; no warehouse and no model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from data.contracts import HORIZON_DAYS
from data.simulator.arrivals import Arrival
from data.simulator.fleet import FleetSpec, plan
from data.simulator.motion import WorldSpec
from data.simulator.truth import failures
from data.simulator.world import World
from decisions.decide import decide
from decisions.domain import UNDER_WAY, Situation
from decisions.ledger import Ledger
from decisions.policy import Policy, load
from models.earned import Earned
from pipelines.clock import end_of
from pipelines.executors.simulated import Simulated
from pipelines.replay import arms
from pipelines.replay.arms import Arm, Run
from pipelines.replay.fixed import grid
from pipelines.replay.measure import figures
from pipelines.replay.night import Night, look
from pipelines.replay.period import Period, Played, play
from pipelines.replay.scores import Scores
from pipelines.settings import ExecutorSettings
from pipelines.steps.approve import approve_waiting
from pipelines.steps.decide import remembering
from pipelines.steps.dispatch import Inventory, drain

pytestmark = pytest.mark.slow

SPEC = FleetSpec(hosts=60, vms=420, days=60, acceleration=40, disks_per_host=6, dimms_per_host=0, gpus_per_host=0)
PERIOD = Period(SPEC.start + timedelta(days=1), SPEC.start + timedelta(days=25))
LOOSE = """\
[earned]
required = false
[breaker]
fleet_share = 0.5
zone_share = 1.0
rack_share = 1.0
hardware_model_share = 1.0
drive_model_share = 1.0
firmware_share = 1.0
"""


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """The shipped policy with breakers that suit so small a fleet."""
    (tmp_path / "policy.toml").write_text(LOOSE, encoding="utf-8")
    return load(tmp_path / "policy.toml")


@cache
def fleet() -> tuple[Arrival, ...]:
    """All of it there from the first midnight on, but for the last ten hosts, which come on day 10."""
    planned = plan(SPEC)
    tables, truth = planned.tables(), failures(planned)
    late = pa.array(tables["hosts"]["host_id"].to_pylist()[-10:])

    def part(at: datetime, *, later: bool) -> Arrival:
        here = {n: t.filter(_of(pc.is_in(t["host_id"], late), wanted=later)) for n, t in tables.items()}
        failing = truth.filter(pc.is_in(truth["entity_id"], here["entities"]["entity_id"]))
        return Arrival(at, here, failing)

    first = PERIOD.starts_at
    return part(first, later=False), part(first + timedelta(days=10), later=True)


def _of(chosen: Any, *, wanted: bool) -> Any:
    return chosen if wanted else pc.invert(chosen)


@dataclass(frozen=True)
class Foretold:
    """Scores that know three in four failures, some days before: what a good model would say."""

    days_before: int = 5

    def predictor(self, day: date) -> Any:
        """Who judges."""
        del day
        bought = (Earned(0.0, 0.5, 0.4, 0.6, 100),)
        return SimpleNamespace(component="disk", version="foretold", earned=bought)

    def night(self, day: date) -> pa.Table:
        """The risks of all drives at the end of the day."""
        entities = pa.concat_tables([arrival.tables["entities"] for arrival in fleet()])
        fails = {r["entity_id"]: r["failed_at"] for a in fleet() for r in a.failures.to_pylist()}
        at = end_of(day)
        ids = entities["entity_id"].to_pylist()
        near = np.array([i in fails and at < fails[i] <= at + timedelta(days=self.days_before) for i in ids])
        told = near & np.array([hash_of(i) % 4 > 0 for i in ids])
        risk = np.where(told, 0.8, 0.001)
        columns = {f"risk_{days}d": pa.array(risk) for days in HORIZON_DAYS}
        blank = {"status": pa.array(["ok"] * len(ids)), "reason": pa.nulls(len(ids), pa.string())}
        return pa.table({"entity_id": entities["entity_id"], **blank, "rule": pa.array(told.astype(int)), **columns})


def hash_of(text: str) -> int:
    """A number that is the same in every process."""
    return sum(text.encode())


def run(lineup: Sequence[Arm], **more: Any) -> Played:
    """The arms over the fleet's period."""
    return play(cast("Scores", more.pop("scores", Foretold())), fleet(), lineup, PERIOD, seed=3, **more)


def lineup(policy: Policy) -> list[Arm]:
    """The arms of every replay, without a search by hindsight."""
    return [
        Arm("no_action", policy, None),
        Arm("policy", policy, arms.as_scored),
        Arm("rule", policy, arms.by_rule, paced_by="policy"),
        Arm("always_evacuate", policy, arms.riskiest, paced_by="policy"),
        Arm("oracle", policy, arms.foreseen),
    ]


def test_foresight_beats_the_policy_and_the_policy_beats_doing_nothing(policy: Policy) -> None:
    """Where failures are foretold, the policy saves VMs, and knowing all of them saves more."""
    costs = run(lineup(policy)).costs
    assert costs["oracle"].interruptions < costs["policy"].interruptions < costs["no_action"].interruptions
    assert costs["policy"].migrations > 0
    assert costs["no_action"].migrations == 0


def test_rivals_empty_no_more_hosts_than_the_policy(policy: Policy) -> None:
    """The rule and always-evacuate have the policy's alert budget."""
    costs = run(lineup(policy)).costs
    assert 0 < costs["rule"].hosts_emptied <= costs["policy"].hosts_emptied
    assert 0 < costs["always_evacuate"].hosts_emptied <= costs["policy"].hosts_emptied


def test_the_same_replay_twice_gives_the_same(policy: Policy) -> None:
    """All chance comes from the seed."""
    assert run(lineup(policy)) == run(lineup(policy))


def test_late_hosts_count_from_the_day_they_come(policy: Policy) -> None:
    """VM-days count a VM from its arrival, and its host's failures interrupt it."""
    played = run([Arm("no_action", policy, None)])
    first, late = (arrival.tables["vms"].num_rows for arrival in fleet())
    days = (PERIOD.last - PERIOD.first).days + 1
    assert played.costs["no_action"].vm_days == first * days + late * (days - 10)
    newcomers = set(fleet()[1].tables["hosts"]["host_id"].to_pylist())
    assert newcomers & played.costs["no_action"].by_host.keys()


def test_a_difference_names_the_night_the_host_and_both_actions(policy: Policy) -> None:
    """Laid beside a policy that never moves anything, every move is told, and nothing but what differs."""
    never = replace(policy, version="never", risk=replace(policy.risk, minimum_risk=1.0))
    played = run(lineup(policy)[:2], compare=("policy", never))
    assert {change.against for change in played.changes} == {"none"}
    assert "live_migrate" in {change.policy for change in played.changes}
    assert {change.host_id for change in played.changes} <= set(played.hosts)
    assert not run(lineup(policy)[:2], compare=("policy", policy)).changes


def test_decisions_that_come_later_than_the_failure_save_nothing(policy: Policy) -> None:
    """With failures foretold two days ahead, decisions on risks three days old come too late for all of them."""
    late = Arm("late", policy, arms.as_scored, delay_days=3)
    costs = run([*lineup(policy)[:2], late], scores=Foretold(days_before=2)).costs
    assert costs["policy"].interruptions < costs["late"].interruptions


def test_a_budget_of_one_host_a_night_is_kept(policy: Policy) -> None:
    """No night empties more hosts than the arm may."""
    few, none = (Arm(f"at most {most}", policy, arms.as_scored, most_moves=most) for most in (1, 0))
    costs = run([*lineup(policy)[:2], few, none]).costs
    assert 0 < costs[few.name].hosts_emptied <= len(PERIOD.nights)
    assert costs[none.name].hosts_emptied == 0


def test_live_moves_that_fail_cost_what_they_interrupt(policy: Policy) -> None:
    """In a world where every live move fails and interrupts, the policy's own moves are its cost."""
    bad = Arm("bad", policy, arms.as_scored, spec=WorldSpec(live_failure_rate=1.0, failed_move_interrupts=1.0))
    costs = run([*lineup(policy)[:2], bad]).costs
    assert costs["bad"].causes["failed_move"] > 0
    assert "failed_move" not in costs["no_action"].causes


def test_a_saving_has_an_interval_that_holds_it(policy: Policy) -> None:
    """Savings lie within their intervals, and doing nothing saves nothing for sure."""
    played = run(lineup(policy))
    found = figures(played.costs, played.hosts, "no_action", seed=1)
    assert (found.saving["no_action"].low, found.saving["no_action"].high) == (0.0, 0.0)
    for one in found.saving.values():
        assert one.low is not None
        assert one.low <= one.value <= one.high  # type: ignore[operator]
    difference = found.difference("oracle", "policy")
    assert difference.value is not None
    assert difference.value > 0


def test_the_grid_holds_no_policy_twice_and_never_the_one_it_is_built_around(policy: Policy) -> None:
    """Every policy of the grid has a name of its own, by which its decisions are told apart."""
    versions = [fixed.version for _, fixed in grid(policy)]
    assert len(versions) == len(set(versions))
    assert policy.version not in versions


def test_an_arm_remembers_what_the_ledger_would(policy: Policy, tmp_path: Path) -> None:
    """Night by night, a replayed arm gives the same orders as the same loop over a ledger."""
    seen: list[set[str]] = []
    counted: list[set[str]] = []
    first = fleet()[0]
    homes = {row["entity_id"]: row["host_id"] for row in first.tables["entities"].to_pylist()}
    makes = {row["entity_id"]: row["model"] for row in first.tables["entities"].to_pylist()}
    world = World.create(":memory:", first.tables, first.failures, PERIOD.starts_at, 3)
    arm = Arm("policy", policy, arms.as_scored)
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger, world:
        replayed, beside = Run(arm, world.fork()), Run(arm, world)
        for one in (replayed, beside):
            one.meet(first.tables)
            one.refresh()
        for day in PERIOD.nights[:6]:
            night = look(cast("Scores", Foretold()), day, homes, makes)
            replayed.night(night)
            seen.append(set(replayed.memory.orders))
            counted.append(_by_ledger(beside, ledger, night))
            for one in (replayed, beside):
                one.advance(night.at + timedelta(days=1))
    assert seen == counted
    assert any(seen)


def _by_ledger(one: Run, ledger: Ledger, night: Night) -> set[str]:
    """The open orders after a night that is kept in a ledger."""
    one.refresh()
    open_ids = [listed.order.order_id for state in UNDER_WAY for listed in ledger.orders(state=state)]
    for answer in Simulated(one.world, night.at).poll(open_ids, night.at):
        ledger.apply(answer)
    situation = remembering(Situation(night.at, one.hosts, one.vms, (), night.earned, night.at), ledger, one.arm.policy)
    ledger.record(decide(situation, one.arm.policy, night.risks), night.at)
    approve_waiting(ledger, night.at)
    drain(
        ledger,
        Simulated(one.world, night.at),
        Inventory(one.hosts, one.vms),
        night.at,
        ExecutorSettings(),
        policy=one.arm.policy,
    )
    return {order.order_id for order in ledger.open_orders()}
