"""A whole night on real hypervisors: a host at risk, one guest moved live, the owner of the other told."""

import hashlib
import hmac
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from decisions.domain import OrderState, VmOutcome
from decisions.ledger import Ledger
from pipelines.cli import main
from pipelines.contract import signing
from pipelines.drivers.opened import opened as driver_of
from pipelines.executors.driven import Driven, wall
from pipelines.executors.jobs import MEMORY, Jobs
from pipelines.executors.owners import event
from pipelines.executors.webhook import Webhook
from pipelines.settings import Settings, load
from pipelines.steps import dispatch, settle
from tests.pipelines.drivers import at_risk

machines = pytest.importorskip("tests.pipelines.drivers.machines", reason="libvirt-python is not installed")

pytestmark = [pytest.mark.hypervisor, pytest.mark.timeout(300)]
SECRET = "for the metadata proxies of this test"
PINNED = '<foreshock:vm xmlns:foreshock="urn:foreshock:vm:1" live_migratable="no"/>'
SLOW = "bandwidth_mib_per_second = 1\ndowntime_ms_most = 1\n"
"""No move of a busy guest ends: less than a page of its memory may be left, however slowly it writes."""
DRIVE = """\
kind = "libvirt"
[drive.libvirt]
shutdown_seconds = 0
hosts = {hosts}
"""


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
def night(
    folder: Path, home: Path, limits: str = "", policy: str = at_risk.POLICY, wants: str = "live_migrate", **busy: bool
) -> "Iterator[Night]":
    """Two machines, `vm-1` that can move and `vm-2` that cannot, and the night's order, not dispatched yet."""
    if missing := machines.missing():
        pytest.skip(f"{missing}: make test-hypervisors installs what is needed")
    with machines.machines(folder) as (a, b):
        moving = machines.guest(folder, "vm-1", **busy).start(a)
        pinned = machines.guest(folder, "vm-2", metadata=PINNED).start(a)
        (home / "policy.toml").write_text(policy, encoding="utf-8")
        uris = f'{{ "{a.name}" = "{a.uri}", "{b.name}" = "{b.uri}" }}'
        (home / "foreshock.toml").write_text(at_risk.SETTINGS + DRIVE.format(hosts=uris) + limits, encoding="utf-8")
        settings = load(home / "foreshock.toml")
        vms = dict.fromkeys(("vm-1", "vm-2"), a.name)
        report = at_risk.decided(settings, machines.NAMES, vms, at_risk.SOON, pinned=("vm-2",))
        assert (report.proposals, report.orders, report.simulated) == ({wants: 1}, 1, False)
        yield Night(a, b, moving, pinned, settings)


@dataclass(frozen=True)
class Night:
    """What a test of a night looks at."""

    a: "machines.Machine"
    b: "machines.Machine"
    moving: "machines.Guest"
    pinned: "machines.Guest"
    settings: Settings

    def outcomes(self) -> dict[str, VmOutcome]:
        """What became of each VM of the order, which was completed."""
        listed, became = at_risk.settled(self.settings)
        assert (listed.state, listed.order.host_id) == (OrderState.COMPLETED, self.a.name), listed.reason
        return became


def test_a_host_at_risk_is_emptied_before_it_fails(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One guest moves with a pause that the ledger keeps; the other cannot, so its owner is told and starts it anew."""
    with night(tmp_path, home) as it, at_risk.executor(home) as url:
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
        with at_risk.executor(home) as url:
            monkeypatch.setenv("FORESHOCK__EXECUTOR__URL", url)
            assert main(["dispatch", "--json"]) == 0
            machines.wait(lambda: it.b.domain("vm-1") is not None, "arriving")
            time.sleep(1)
        with at_risk.executor(home) as url:
            monkeypatch.setenv("FORESHOCK__EXECUTOR__URL", url)
            time.sleep(2)
            assert it.a.runs("vm-1")
            it.a.domain("vm-1").migrateSetMaxDowntime(60_000, 0)  # now it can catch up
            assert it.outcomes()["vm-1"].result == "moved"
        printed = it.moving.counted()
        assert (it.b.runs("vm-1"), printed) == (True, list(range(1, len(printed) + 1)))


def test_a_move_called_back_on_its_way_ends_as_cancelled(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aborted while memory flows: the guest runs on where it was, the host is open again, and the ledger says why."""
    with night(tmp_path, home, SLOW, busy=True) as it, at_risk.executor(home) as url:
        monkeypatch.setenv("FORESHOCK__EXECUTOR__URL", url)
        assert main(["dispatch", "--json"]) == 0
        machines.wait(lambda: it.b.domain("vm-1") is not None, "arriving")
        with Ledger(it.settings.ledger_url) as ledger:
            order_id = ledger.orders()[0].order.order_id
        Webhook(url, signing.secret(), datetime.now(UTC)).cancel(order_id, "the drive was replaced")
        listed, became = at_risk.settled(it.settings)
        assert (listed.state, listed.reason) == (OrderState.CANCELLED, "the drive was replaced")
        assert (listed.host_state, became["vm-1"].result) == ("in_service", "stayed")
        assert (it.a.runs("vm-1"), it.b.domain("vm-1")) == (True, None)


def test_a_target_that_is_gone_refuses_the_order(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No guest moves, each runs on where it was, and the ledger has the hypervisor's reason."""
    with night(tmp_path, home) as it, at_risk.executor(home) as url:
        monkeypatch.setenv("FORESHOCK__EXECUTOR__URL", url)
        it.b.off()
        assert main(["dispatch", "--json"]) == 0
        listed, became = at_risk.settled(it.settings)
        assert (listed.state, became["vm-1"].result) == (OrderState.REFUSED, "stayed")
        assert "vm-1" in str(listed.reason)
        assert it.a.runs("vm-1")


def test_a_source_that_dies_in_the_middle_leaves_one_guest(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its plug is pulled while memory flows: fenced, its guest is started on the target, once, as the ledger has it."""
    monkeypatch.setenv("FORESHOCK__DRIVE__PATIENCE_SECONDS", "3")
    fence = f'fence_command = ["{sys.executable}", "-c", "import sys; sys.exit(sys.argv[1] != \'machine-a\')"]\n'
    with night(tmp_path, home, SLOW + fence, busy=True) as it, at_risk.executor(home) as url:
        monkeypatch.setenv("FORESHOCK__EXECUTOR__URL", url)
        assert main(["dispatch", "--json"]) == 0
        machines.wait(lambda: it.b.domain("vm-1") is not None, "arriving")
        it.a.off()
        fate = it.outcomes()["vm-1"]
        assert (fate.result, fate.target_host_id, fate.interrupted) == ("redeployed", it.b.name, True)
        it.a.on()
        assert (it.a.runs("vm-1"), it.b.runs("vm-1")) == (False, True)


def test_an_offer_that_nobody_took_ends_in_an_evacuation(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pinned guest's owner has until the window's end, then it is started anew; time is set forward to that."""
    offers = 'self_service = "auto"\nnotify = "never"\nlive_migrate = "never"\nevacuate = "never"'
    policy = at_risk.POLICY.replace('evacuate = "auto"', offers)
    ahead = [timedelta()]
    with night(tmp_path, home, policy=policy, wants="self_service") as it, closing(Jobs(home / MEMORY)) as jobs:
        executor = Driven(driver_of(it.settings), jobs, clock=lambda: wall() + ahead[0])
        for step in (dispatch, settle):
            monkeypatch.setattr(step, "opened", lambda *_: nullcontext(executor))
        assert main(["dispatch", "--json"]) == 0
        (task,) = machines.ticking(executor, lambda: jobs.of_vm("vm-2")[1], "the offer")
        told = event(task)
        assert (told["EventType"], told["EventStatus"]) == ("Redeploy", "Scheduled")
        assert parsedate_to_datetime(told["NotBefore"]) > wall() + timedelta(hours=2)
        machines.ticking(executor, lambda: it.b.runs("vm-1"), "the move")
        assert it.a.runs("vm-2")
        ahead[0] = task.not_before - wall() + timedelta(seconds=1)
        machines.ticking(executor, lambda: it.b.runs("vm-2"), "the evacuation")
        fates = it.outcomes()
        assert (fates["vm-1"].result, fates["vm-2"].result) == ("moved", "redeployed")
        assert (it.a.runs("vm-2"), it.b.runs("vm-2")) == (False, True)
        assert jobs.promises()["broken"] == 0
