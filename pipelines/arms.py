"""What the same failures would have cost otherwise: doing nothing, and knowing the future. Both simulated."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from data.contracts import HORIZON_DAYS
from data.simulator.world import World
from decisions.decide import decide
from decisions.domain import UNDER_WAY, EntityRisk, Host, Situation, Vm
from decisions.ledger import Ledger
from decisions.policy import Policy
from models.earned import Earned
from pipelines.executors.simulated import Simulated
from pipelines.settings import ExecutorSettings
from pipelines.steps.approve import approve_waiting
from pipelines.steps.decide import remembering
from pipelines.steps.dispatch import Inventory, drain

NIGHT: Final = timedelta(days=1)
CERTAIN: Final = (Earned(risk_from=0.0, precision=1.0, precision_low=1.0, precision_high=1.0, alerts=1_000),)
"""What perfect foresight has earned."""


def no_action(world: World, until: datetime) -> int:
    """VM interruptions from the world's moment to `until` when nobody does anything."""
    began = world.now
    world.advance(until)
    return interruptions(world, began)


def oracle(world: World, ledger: Ledger, policy: Policy, until: datetime) -> int:
    """VM interruptions from the world's moment to `until` with perfect foresight, the same actions and the same limits.

    Every midnight the same `decide` is asked, with risks that are 1 for what will fail within the horizon.
    """
    began = world.now
    limits = ExecutorSettings()
    while world.now < until:
        now = world.now
        situation = remembering(foreseen(world), ledger, policy)
        ledger.record(decide(situation, policy), now)
        approve_waiting(ledger, now)
        executor = Simulated(world, now)
        drain(ledger, executor, Inventory(situation.hosts, situation.vms), now, limits, policy=policy)
        world.advance(now + NIGHT)
        open_ids = [listed.order.order_id for state in UNDER_WAY for listed in ledger.orders(state=state)]
        for answer in executor.poll(open_ids, world.now):
            ledger.apply(answer)
    return interruptions(world, began)


def foreseen(world: World) -> Situation:
    """The world as it is now, with the failures to come as its risks."""
    now, tables = world.now, world.inventory("hosts", "vms")
    vms: dict[str, list[Vm]] = {}
    for row in tables["vms"].to_pylist():
        vms.setdefault(row["host_id"], []).append(Vm(**row))
    return Situation(
        asof_at=now,
        hosts={row["host_id"]: Host(**row) for row in tables["hosts"].to_pylist()},
        vms={host_id: tuple(members) for host_id, members in vms.items()},
        risks=tuple(_certain(world.upcoming_failures(HORIZON_DAYS[-1]).to_pylist(), now)),
        earned=CERTAIN,
        telemetry_at=now,
    )


def interruptions(world: World, since: datetime) -> int:
    """VM interruptions in the world after `since`."""
    return sum(row["at"] > since for row in world.interruptions().to_pylist())


def _certain(rows: Iterable[dict[str, Any]], now: datetime) -> Iterable[EntityRisk]:
    for row in rows:
        curve = {days: float(row["failed_at"] <= now + timedelta(days=days)) for days in HORIZON_DAYS}
        yield EntityRisk(
            entity_id=row["entity_id"],
            component=row["component"],
            host_id=row["host_id"],
            asof_at=now,
            model_version="oracle",
            status="ok",
            reason=None,
            curve=curve,
        )
