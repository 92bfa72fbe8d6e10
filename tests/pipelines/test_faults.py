"""Faults to order: a drill goes wrong as it was told to, and dispatch and settle come through it."""

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from data.contracts import FAILURES, INVENTORY
from data.simulator.world import World
from decisions.domain import OrderState
from decisions.ledger import Ledger
from pipelines.executors import Executor
from pipelines.executors.faults import Faulty
from pipelines.executors.simulated import Simulated
from pipelines.settings import ExecutorSettings, FaultSettings
from pipelines.steps.dispatch import DispatchReport, Inventory, drain
from tests.decisions.fleets import ASOF, fleet
from tests.decisions.ledgers import NOW, automatic

FLEET = fleet(50, {})
LIMITS = ExecutorSettings(attempts=3, backoff_seconds=0)
LATER = ASOF + timedelta(hours=8)


def world() -> World:
    """The fleet as a simulated world in which no part fails."""
    rows = {
        "hosts": [asdict(host) for host in FLEET.hosts.values()],
        "vms": [asdict(vm) for vms in FLEET.vms.values() for vm in vms],
        "entities": [],
    }
    tables = {name: pa.Table.from_pylist(rows[name], schema=schema) for name, schema in INVENTORY.items()}
    return World.create(":memory:", tables, FAILURES.empty_table(), ASOF, 7)


def drill(tmp_path: Path, faults: FaultSettings) -> tuple[DispatchReport, Ledger, Executor, World, list[float]]:
    """Two orders handed to a faulty simulated fleet."""
    made, slept = world(), list[float]()
    executor = Faulty(Simulated(made, NOW), faults, slept.append)
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.record(automatic(), NOW)
    report = drain(ledger, executor, Inventory(FLEET.hosts, FLEET.vms), NOW, LIMITS, lambda _: None)
    return report, ledger, executor, made, slept


def test_answers_that_are_lost_or_given_twice_change_nothing(tmp_path: Path) -> None:
    """With every answer lost, orders end as dead letters; settle learns that they were carried out, once each."""
    faults = FaultSettings(lost_answer_share=1.0, answered_twice_share=1.0, slow_share=1.0, slow_seconds=2.5)
    report, ledger, executor, made, slept = drill(tmp_path, faults)
    assert (report.sent, report.dead) == (0, 2)
    assert slept == [2.5] * 6
    for answer in executor.poll([listed.order.order_id for listed in ledger.orders()], LATER):
        ledger.apply(answer)
    assert {listed.state for listed in ledger.orders()} == {OrderState.COMPLETED}
    assert made.migrations() == 8


def test_a_refusal_moves_nothing_and_says_so(tmp_path: Path) -> None:
    """An executor that refuses everything leaves the fleet as it was, and the ledger knows why."""
    report, ledger, _, made, _ = drill(tmp_path, FaultSettings(refused_share=1.0))
    assert report.refused == 2
    assert {listed.reason for listed in ledger.orders()} == {"drill: this executor refuses"}
    assert made.migrations() == 0


def test_a_failure_in_the_middle_leaves_each_vm_somewhere(tmp_path: Path) -> None:
    """An order that fails at work ends as failed; what had moved stays moved, the rest stays, and both are told."""
    _, ledger, executor, made, _ = drill(tmp_path, FaultSettings(failed_share=1.0))
    ids = [listed.order.order_id for listed in ledger.orders()]
    starts = max(listed.order.not_before for listed in ledger.orders())
    for seconds in (1, 20, 60):
        for answer in executor.poll(ids, starts + timedelta(seconds=seconds)):
            ledger.apply(answer)
    assert {listed.state for listed in ledger.orders()} == {OrderState.FAILED}
    fates = [vm.result for order_id in ids for vm in ledger.outcomes(order_id)]
    assert fates.count("moved") == made.migrations() < 8
    assert set(fates) <= {"moved", "stayed"}


def test_the_same_drill_goes_the_same_way() -> None:
    """Which order meets a fault is a function of seed and id; about as many as asked do."""
    ids = [f"order-{n}" for n in range(2_000)]

    def met(seed: int) -> list[bool]:
        faulty = Faulty(Simulated(world(), NOW), FaultSettings(seed=seed, refused_share=0.2))
        return [faulty._meets("refused", id_, 0.2) for id_ in ids]

    assert met(1) == met(1) != met(2)
    assert 340 < sum(met(1)) < 460
