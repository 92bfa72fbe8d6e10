"""Simulate: a fleet or an overlay in the home, with a world that carries orders out.

The world's file appears last and at once, so a kill before that leaves nothing but files that a repeat writes again.
"""

import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from data.errors import Refused, UsageError
from data.simulator.fleet import FleetSpec, plan
from data.simulator.overlay import OverlaySpec
from data.simulator.overlay import overlay as lay
from data.simulator.telemetry import write
from data.simulator.truth import failures
from data.simulator.world import World
from data.snapshots import PUBLISHED
from pipelines.executors.opened import world_path
from pipelines.settings import Settings
from pipelines.snapshot import snapshot
from pipelines.steps.ingest import open_warehouse

FOLDER: Final = "simulated"


@dataclass(frozen=True)
class SimulateReport:
    """What was made; everything in it is simulated but an overlay's entities."""

    hosts: int
    vms: int
    entities: int
    days: int
    failures: int
    folder: Path | None
    simulated: bool = True


def folder(settings: Settings) -> Path:
    """Where a simulated fleet's telemetry lies, one file a day."""
    return settings.home / FOLDER


def fleet(settings: Settings, spec: FleetSpec) -> SimulateReport:
    """What a new fleet holds, whose telemetry is written and whose world stands at its first midnight.

    Raises:
        UsageError: the home has a simulated world already.
        Refused: the home's inventory holds hosts that are real.
    """
    _refuse_second(settings)
    _refuse_real(settings)
    planned = plan(spec)
    shutil.rmtree(folder(settings), ignore_errors=True)
    written = write(planned, folder(settings))
    World.create(world_path(settings), planned.tables(), failures(planned), spec.start_at, spec.seed).close()
    return SimulateReport(
        hosts=planned.hosts.num_rows,
        vms=planned.vms.num_rows,
        entities=planned.entities.num_rows,
        days=spec.days,
        failures=written.failures,
        folder=folder(settings),
    )


def overlay(settings: Settings, on: date, spec: OverlaySpec) -> SimulateReport:
    """What was laid over the drives held at the end of `on`; the warehouse has its inventory from that moment.

    Raises:
        UsageError: the home has a simulated world already.
        Refused: the home's inventory holds hosts that are real.
        InputError: no drive was read around that day.
    """
    _refuse_second(settings)
    _refuse_real(settings)
    with snapshot(settings) as con:
        laid = lay(con, on, spec)
    tables = laid.tables()
    with open_warehouse(settings) as warehouse:
        warehouse.put_inventory(tables["hosts"], tables["vms"], tables["entities"], at=laid.asof_at)
        warehouse.publish()
    World.create(world_path(settings), tables, laid.failures, laid.asof_at, spec.seed).close()
    return SimulateReport(
        hosts=laid.hosts.num_rows,
        vms=laid.vms.num_rows,
        entities=laid.entities.num_rows,
        days=0,
        failures=laid.failures.num_rows,
        folder=None,
    )


def _refuse_second(settings: Settings) -> None:
    path = world_path(settings)
    if path.exists():
        msg = f"{path} is a simulated world already. Set FORESHOCK_HOME to a new folder, or delete that home first."
        raise UsageError(msg)


def _refuse_real(settings: Settings) -> None:
    if not (settings.home / PUBLISHED).exists():
        return
    with snapshot(settings) as con:
        rows = con.execute("select count(*) from host where not simulated and valid_until is null").fetchall()
    real = rows[0][0]
    if real:
        msg = (
            f"{settings.home} holds an inventory of {real} real hosts, which a simulated one would replace. "
            "Set FORESHOCK_HOME to a new folder for what is simulated."
        )
        raise Refused(msg)
