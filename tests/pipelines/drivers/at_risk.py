"""A home of real hosts of which one is at risk, and the executor beside it, for tests of whole nights."""

import json
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pyarrow as pa

from data.contracts import HORIZON_DAYS
from decisions.domain import OrderState, VmOutcome
from decisions.ledger import Ledger
from decisions.ledger.values import ListedOrder
from pipelines.cli import main
from pipelines.settings import Settings
from pipelines.steps.decide import DecideReport, decide
from pipelines.steps.ingest import open_warehouse
from tests import facts
from tests.decisions.fleets import earned

ROOT: Final = Path(__file__).parents[3]
MODEL: Final = SimpleNamespace(version="1", earned=earned(0.8))
SOON: Final = {1: 0.07, 3: 0.18, 7: 0.35, 14: 0.53, 30: 0.7}
"""A curve of risk, by horizon in days."""
TODAY: Final = {1: 0.9, 3: 0.95, 7: 0.97, 14: 0.98, 30: 0.99}
ENDED: Final = {OrderState.COMPLETED, OrderState.FAILED, OrderState.REFUSED, OrderState.EXPIRED, OrderState.CANCELLED}
POLICY: Final = """\
[limits]
spare_hosts_per_cluster = 0
[notice]
live_migrate_minimum_minutes = 0
live_migrate_usual_minutes = 0
evacuate_minimum_minutes = 0
evacuate_usual_minutes = 0
[autonomy]
evacuate = "auto"
[breaker]
fleet_share = 1
zone_share = 1
rack_share = 1
hardware_model_share = 1
drive_model_share = 1
firmware_share = 1
"""
SETTINGS: Final = """\
home = "."
[policy]
path = "policy.toml"
[clock]
source = "wall"
[executor]
kind = "webhook"
[drive]
tick_seconds = 0.1
"""
"""Ends within `[drive]`, whose kind is still to be named."""


def decided(
    settings: Settings,
    hosts: Sequence[str],
    vms: Mapping[str, str],
    curve: Mapping[int, float],
    *,
    movable: bool = True,
    pinned: Collection[str] = (),
) -> DecideReport:
    """What is decided on hosts with a drive each, the first one's at risk, and VMs by the host that they are on."""
    now = datetime.now(UTC)
    asof = now.replace(
        second=0, microsecond=0
    )  # a host that fails today may have failed by now, asked about at midnight
    day = asof.date() - timedelta(days=1)
    readings = settings.home / f"{day}.csv"
    lines = [f"{day},disk-{host},M1,4000000000000,0,{80 * (host == hosts[0])}\n" for host in hosts]
    header = "date,serial_number,model,capacity_bytes,failure,smart_5_raw\n"
    readings.write_text(header + "".join(lines), encoding="utf-8")
    assert main(["ingest", "backblaze", str(readings), "--json"]) == 0
    can_move = [movable and vm_id not in pinned for vm_id in vms]
    small = {"memory_bytes": [2**29] * len(vms), "vcpus": [1] * len(vms), "live_migratable": can_move}
    parts = _real(facts.entities(**{f"disk-{host}": host for host in hosts}))
    with open_warehouse(settings) as warehouse:
        warehouse.put_inventory(_real(facts.hosts(*hosts)), _real(facts.vms(**vms), **small), parts, at=asof)
        with warehouse.transaction() as con:
            keys = con.execute("select entity_id, entity_key from entity where component = 'disk'").fetchall()
        rows = [
            {"asof_at": asof, "entity_key": key, "component": "disk", "model_version": MODEL.version,
             "status": "ok", "reason": None, "factors": None,
             **{f"risk_{days}d": curve[days] if name == f"disk-{hosts[0]}" else 0.0001 for days in HORIZON_DAYS}}
            for name, key in keys
        ]  # fmt: skip
        warehouse.put_risks(pa.Table.from_pylist(rows))
        warehouse.publish()
    return decide(settings, asof, {"disk": MODEL}, now=now)  # type: ignore[dict-item]


def _real(table: pa.Table, **columns: Sequence[object]) -> pa.Table:
    """The table, not simulated, with other columns too."""
    for name, values in {"simulated": [False] * table.num_rows, **columns}.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    return table


@contextmanager
def executor(home: Path) -> Iterator[str]:
    """The address of `foreshock executor` on the home, a process of its own."""
    command = [sys.executable, "-c", "import sys; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"]
    options = ["executor", "--port", "0", "--json", "--config", str(home / "foreshock.toml")]
    with (home / "executor.log").open("wb") as log:
        process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (home / "executor.log").read_text()
        yield json.loads(line)["url"]
    finally:
        process.kill()
        process.wait()


def settled(settings: Settings, seconds: float = 120.0) -> tuple[ListedOrder, dict[str, VmOutcome]]:
    """The one order and what became of its VMs, as the ledger has it, once it has ended; settles until it has."""
    until = time.monotonic() + seconds
    with Ledger(settings.ledger_url) as ledger:
        while True:
            assert main(["settle", "--json"]) == 0
            (listed,) = ledger.orders()
            if listed.state in ENDED:
                return listed, {vm.vm_id: vm for vm in ledger.outcomes(listed.order.order_id)}
            assert time.monotonic() < until, listed
            time.sleep(0.3)
