"""A whole night on real hypervisors: a host at risk, one guest moved live, the owner of the other told."""

import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pyarrow as pa
import pytest

from data.contracts import HORIZON_DAYS
from decisions.domain import OrderState, VmOutcome
from decisions.ledger import Ledger
from pipelines.cli import main
from pipelines.settings import Settings, load
from pipelines.steps.decide import decide
from pipelines.steps.ingest import open_warehouse
from tests import facts
from tests.decisions.fleets import SHAPE, earned

machines = pytest.importorskip("tests.pipelines.drivers.machines", reason="libvirt-python is not installed")

pytestmark = [pytest.mark.hypervisor, pytest.mark.timeout(300)]
MODEL = SimpleNamespace(version="1", earned=earned())
SECRET = "for the metadata proxies of this test"
PINNED = '<foreshock:vm xmlns:foreshock="urn:foreshock:vm:1" live_migratable="no"/>'
SETTINGS = """\
home = "."
[policy]
path = "policy.toml"
[clock]
source = "wall"
[executor]
kind = "webhook"
[drive]
kind = "libvirt"
tick_seconds = 0.1
[drive.libvirt]
shutdown_seconds = 0
hosts = {hosts}
"""
POLICY = """\
[limits]
spare_hosts_per_cluster = 0
[notice]
live_migrate_minimum_minutes = 0
live_migrate_usual_minutes = 0
[breaker]
fleet_share = 1
zone_share = 1
rack_share = 1
hardware_model_share = 1
drive_model_share = 1
firmware_share = 1
"""
ROOT = Path(__file__).parents[3]


READINGS = """\
date,serial_number,model,capacity_bytes,failure,smart_5_raw
{day},disk-a,M1,4000000000000,0,80
{day},disk-b,M1,4000000000000,0,0
"""
ROOT = Path(__file__).parents[3]
A, B = machines.NAMES


def real(table: pa.Table, **columns: list[object]) -> pa.Table:
    """The table, not simulated, with other columns too."""
    for name, values in {"simulated": [False] * table.num_rows, **columns}.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    return table


def plant(settings: Settings, midnight: datetime) -> None:
    """Two real hosts, a drive in each, two guests on the first, and its risk as a model would have written it."""
    day = midnight.date() - timedelta(days=1)
    readings = settings.home / f"{day}.csv"
    readings.write_text(READINGS.format(day=day), encoding="utf-8")
    assert main(["ingest", "backblaze", str(readings), "--json"]) == 0
    small = {"memory_bytes": [2**26] * 2, "vcpus": [1] * 2}
    vms = real(facts.vms(**{"vm-1": A, "vm-2": A}), live_migratable=[True, False], **small)
    with open_warehouse(settings) as warehouse:
        parts = real(facts.entities(**{"disk-a": A, "disk-b": B}))
        warehouse.put_inventory(real(facts.hosts(A, B)), vms, parts, at=midnight)
        with warehouse.transaction() as con:
            keys = con.execute("select entity_id, entity_key from entity where component = 'disk'").fetchall()
        rows = [
            {"asof_at": midnight, "entity_key": key, "component": "disk", "model_version": MODEL.version,
             "status": "ok", "reason": None, "factors": None,
             **{f"risk_{days}d": (0.7 if name == "disk-a" else 0.0005) * SHAPE[days] for days in HORIZON_DAYS}}
            for name, key in keys
        ]  # fmt: skip
        warehouse.put_risks(pa.Table.from_pylist(rows))
        warehouse.publish()


@contextmanager
def executor(home: Path) -> Iterator[str]:
    """The address of `foreshock executor`, a process of its own."""
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


def owner(url: str, vm_id: str, wish: dict[str, object] | None = None) -> dict[str, Any]:
    """What the owner's agent in the VM is answered, or gets for what it asks."""
    signed = hmac.new(SECRET.encode(), vm_id.encode(), hashlib.sha256).hexdigest()
    heads = {"Metadata": "true", "X-Instance-ID": vm_id, "X-Instance-ID-Signature": signed}
    way = "GET" if wish is None else "POST"
    answer = httpx.request(way, f"{url}/metadata/scheduledevents", headers=heads, json=wish, timeout=30)
    answer.raise_for_status()
    return dict(answer.json())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without settings yet, and the secrets of both sides."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("FORESHOCK_HOME", str(folder))
    monkeypatch.setenv("FORESHOCK_EXECUTOR_SECRET", "for the orders of this test, long enough")
    monkeypatch.setenv("FORESHOCK_METADATA_SECRET", SECRET)
    monkeypatch.chdir(folder)
    return folder


@contextmanager
def night(folder: Path, home: Path, limits: str = "", **busy: bool) -> "Iterator[Night]":
    """Two machines, `vm-1` that can move and `vm-2` that cannot, and the night's order, not dispatched yet."""
    if missing := machines.missing():
        pytest.skip(f"{missing}: make test-hypervisors installs what is needed")
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with machines.machines(folder) as (a, b):
        moving = machines.guest(folder, "vm-1", **busy).start(a)
        pinned = machines.guest(folder, "vm-2", metadata=PINNED).start(a)
        (home / "policy.toml").write_text(POLICY, encoding="utf-8")
        uris = f'{{ "{a.name}" = "{a.uri}", "{b.name}" = "{b.uri}" }}'
        (home / "foreshock.toml").write_text(SETTINGS.format(hosts=uris) + limits, encoding="utf-8")
        settings = load(home / "foreshock.toml")
        plant(settings, midnight)
        report = decide(settings, midnight, {"disk": MODEL}, now=now)  # type: ignore[dict-item]
        assert (report.proposals, report.orders, report.simulated) == ({"live_migrate": 1}, 1, False)
        with Ledger(settings.ledger_url) as ledger:
            yield Night(a, b, moving, pinned, ledger)


@dataclass(frozen=True)
class Night:
    """What a test of a night looks at."""

    a: "machines.Machine"
    b: "machines.Machine"
    moving: "machines.Guest"
    pinned: "machines.Guest"
    ledger: Ledger

    def outcomes(self) -> dict[str, VmOutcome]:
        """What became of each VM, once the executor's answers say that the order has ended."""

        def ended() -> bool:
            assert main(["settle", "--json"]) == 0
            return self.ledger.orders()[0].state in {OrderState.COMPLETED, OrderState.FAILED, OrderState.REFUSED}

        machines.wait(ended, "the end of the order", 120)
        (listed,) = self.ledger.orders()
        assert (listed.state, listed.order.host_id) == (OrderState.COMPLETED, self.a.name), listed.reason
        return {vm.vm_id: vm for vm in self.ledger.outcomes(listed.order.order_id)}


def test_a_host_at_risk_is_emptied_before_it_fails(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One guest moves with a pause that the ledger keeps; the other cannot, so its owner is told and starts it anew."""
    with night(tmp_path, home) as it, executor(home) as url:
        monkeypatch.setenv("FORESHOCK__EXECUTOR__URL", url)
        assert main(["dispatch", "--json"]) == 0
        fate = it.outcomes()["vm-1"]
        assert (fate.result, fate.target_host_id, fate.interrupted) == ("moved", it.b.name, False)
        assert 0 < fate.pause_seconds < 5
        assert (it.b.runs("vm-1"), it.moving.counted().count(1)) == (True, 1)
        (told,) = owner(url, "vm-2")["Events"]
        assert (told["EventType"], told["EventStatus"], told["Resources"]) == ("Redeploy", "Scheduled", ["vm-2"])
        assert it.pinned.counted().count(1) == 1
        owner(url, "vm-2", {"StartRequests": [{"EventId": told["EventId"]}]})
        machines.wait(lambda: not owner(url, "vm-2")["Events"], "the end of the event")
        machines.wait(lambda: it.pinned.counted().count(1) == 2, "its second first count")
        assert [machine.domain("vm-2") is not None for machine in (it.a, it.b)] == [False, True]


def test_an_executor_killed_in_the_middle_of_a_move_ends_it_once(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while memory flows, and started again, it waits for the same move; the guest never lost count."""
    with night(tmp_path, home, "bandwidth_mib_per_second = 1\ndowntime_ms_most = 50\n", busy=True) as it:
        with executor(home) as url:
            monkeypatch.setenv("FORESHOCK__EXECUTOR__URL", url)
            assert main(["dispatch", "--json"]) == 0
            machines.wait(lambda: it.b.domain("vm-1") is not None, "arriving")
            time.sleep(1)
        with executor(home) as url:
            monkeypatch.setenv("FORESHOCK__EXECUTOR__URL", url)
            time.sleep(2)
            assert it.a.runs("vm-1")
            it.a.domain("vm-1").migrateSetMaxDowntime(60_000, 0)  # now it can catch up
            assert it.outcomes()["vm-1"].result == "moved"
        printed = it.moving.counted()
        assert (it.b.runs("vm-1"), printed) == (True, list(range(1, len(printed) + 1)))
