"""The libvirt driver against real daemons and a guest that counts: it moves, stops and starts anew, and runs once."""

import re
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest

from data.errors import ExecutorError, SettingsError
from decisions.domain import Action, Order, OrderState, VmPlan
from pipelines.drivers import Driver, Impossible, Stopped
from pipelines.drivers.opened import opened
from pipelines.executors.driven import Driven, Limits
from pipelines.executors.jobs import Jobs
from pipelines.settings import DriveSettings, LibvirtSettings, Settings

machines = pytest.importorskip("tests.pipelines.drivers.machines", reason="libvirt-python is not installed")
libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")
domains = pytest.importorskip("pipelines.drivers.libvirt.domains", reason="libvirt-python is not installed")
driver = pytest.importorskip("pipelines.drivers.libvirt", reason="libvirt-python is not installed")

pytestmark = [pytest.mark.hypervisor, pytest.mark.timeout(180)]
PINNED = '<foreshock:vm xmlns:foreshock="urn:foreshock:vm:1" live_migratable="no"/>'


@dataclass
class Site:
    """Two machines, a driver of both, and where everything lies."""

    folder: Path
    a: "machines.Machine"
    b: "machines.Machine"

    def driver(self, **settings: object) -> Driver:
        """A driver as settings have it, by default in a hurry."""
        hosts = {machine.name: driver.Host(machine.uri) for machine in (self.a, self.b)}
        short = {"timeout_seconds": 60, "connect_seconds": 5, "shutdown_seconds": 0, "silent_seconds": 0}
        hurry = driver.Fleet(hosts, self.folder / "state", **short)
        return driver.Libvirt(replace(hurry, **settings))  # type: ignore[no-any-return]

    def guest(self, name: str = "vm-1", **kind: object) -> "machines.Guest":
        """A guest that counts on the first machine."""
        return machines.guest(self.folder, name, **kind).start(self.a)

    def counts_once(self, guest: "machines.Guest", machine: "machines.Machine") -> None:
        """The guest runs on that machine alone, and its count goes on by one at a time since it last began."""
        assert [one.runs(guest.name) for one in (self.a, self.b)] == [one is machine for one in (self.a, self.b)]
        before = len(guest.counted())
        machines.wait(lambda: len(guest.counted()) > before + 10, "counting on")
        printed = guest.counted()
        last = len(printed) - printed[::-1].index(1) - 1
        assert printed[last:] == list(range(1, len(printed) - last + 1))
        assert machine.count(guest.name) >= printed[-1]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Two machines, switched on, in which nothing runs yet."""
    if missing := machines.missing():
        pytest.skip(f"{missing}: make test-hypervisors installs what is needed")
    with machines.machines(tmp_path) as (a, b):
        yield Site(tmp_path, a, b)


def test_a_running_guest_moves_and_its_count_goes_on(site: Site) -> None:
    """It moves to the open host chosen for it; memory came along, and the hypervisor's pause is far under 5 s."""
    guest, moving = site.guest(), site.driver()
    before = site.a.count("vm-1")
    moved = moving.migrate("vm-1", site.a.name, None, Event())
    assert (moved.host_id, moved.interrupted) == (site.b.name, False)
    assert 0 < moved.pause_seconds < 5
    assert site.b.count("vm-1") >= before
    assert guest.counted()[0] == 1
    assert guest.counted().count(1) == 1
    site.counts_once(guest, site.b)
    assert (moving.vms_on(site.a.name), moving.vms_on(site.b.name)) == ([], ["vm-1"])


def test_several_guests_move_at_once(site: Site) -> None:
    """Threads share a driver: three guests leave together, and each counts on."""
    moving, guests = site.driver(), [site.guest(f"vm-{n}") for n in range(3)]
    with ThreadPoolExecutor() as pool:
        moves = [pool.submit(moving.migrate, one.name, site.a.name, None, Event()) for one in guests]
        assert {move.result().host_id for move in moves} == {site.b.name}
    assert moving.vms_on(site.b.name) == ["vm-0", "vm-1", "vm-2"]
    for one in guests:
        site.counts_once(one, site.b)


def refusing(daemon: object, refusals: list[int]) -> SimpleNamespace:
    """A connection that refuses definitions with these codes, last first, before the daemon is asked."""

    def define(definition: str) -> object:
        if refusals:
            refused = libvirt.libvirtError("domain is already being removed")
            refused.err = (refusals.pop(), libvirt.VIR_FROM_DOMAIN, *[""] * 7)
            raise refused
        return daemon.defineXML(definition)  # type: ignore[attr-defined]

    looked_up = {name: getattr(daemon, name) for name in ("lookupByName", "lookupByUUIDString")}
    return SimpleNamespace(defineXML=define, **looked_up)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each wait for a domain was, by a clock that only waiting moves."""
    waits: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(waits), sleep=waits.append)
    monkeypatch.setattr(domains, "time", clock)
    return waits


def test_a_daemon_that_is_still_removing_an_arrival_is_asked_again(site: Site) -> None:
    """It says that the operation failed, twice, before it takes the definition; any other refusal is told at once."""
    xml, daemon, refusals = site.guest().definition, libvirt.open(site.b.uri), [libvirt.VIR_ERR_OPERATION_FAILED] * 2
    con = refusing(daemon, refusals)
    assert domains.define(con, xml).name() == "vm-1"
    refusals.append(libvirt.VIR_ERR_XML_ERROR)
    with pytest.raises(libvirt.libvirtError):
        domains.define(con, xml)
    assert not refusals
    daemon.lookupByName("vm-1").undefine()
    daemon.close()


@pytest.mark.parametrize(
    ("part", "other"), [("uuid>.*?</uuid", "uuid>11111111-2222-3333-4444-555555555555</uuid"),
                        ("name>test<", "name>other<"), ("<uuid>.*?</uuid>", "")],
)  # fmt: skip
def test_a_definition_at_odds_with_a_domain_that_is_there_is_refused_at_once(
    part: str, other: str, slept: list[float]
) -> None:
    """A domain of that name or with its UUID is there to stay, so nothing is waited for."""
    daemon = libvirt.open("test:///default")
    xml = re.sub(part, other, daemon.lookupByName("test").XMLDesc())
    with pytest.raises(libvirt.libvirtError, match=r"already (exists|defined)") as refused:
        domains.define(daemon, xml)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED
    assert slept == []
    daemon.close()


def test_a_daemon_that_never_ends_removing_is_asked_for_ten_seconds(slept: list[float]) -> None:
    """What it says last is told once the time that removing may take is over."""
    daemon = libvirt.open("test:///default")
    xml = re.sub("<uuid>.*?</uuid>", "", daemon.lookupByName("test").XMLDesc().replace("name>test<", "name>vm-1<"))
    with pytest.raises(libvirt.libvirtError) as refused:
        domains.define(refusing(daemon, [libvirt.VIR_ERR_OPERATION_FAILED] * 1_000), xml)
    assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED
    assert domains.REMOVED_SECONDS < sum(slept) < domains.REMOVED_SECONDS + 3 * domains.POLL_SECONDS
    daemon.close()


def test_a_move_called_back_leaves_the_guest_where_it_was(site: Site) -> None:
    """A guest that writes faster than 1 MiB/s is on its way until the order is called back; it never stops running."""
    guest, moving, stop = site.guest(busy=True), site.driver(bandwidth_mib_per_second=1, downtime_ms_most=50), Event()
    with ThreadPoolExecutor() as pool:
        move = pool.submit(moving.migrate, "vm-1", site.a.name, site.b.name, stop)
        machines.wait(lambda: site.b.domain("vm-1") is not None, "arriving")
        time.sleep(2)
        assert moving.host_of("vm-1") == site.a.name
        assert moving.vms_on(site.b.name) == []
        assert not move.done()
        stop.set()
        with pytest.raises(Stopped, match="called back"):
            move.result()
    site.counts_once(guest, site.a)
    assert site.b.domain("vm-1") is None


def test_a_move_that_takes_too_long_is_given_up(site: Site) -> None:
    """After the timeout the migration is aborted, and the guest runs on at its source."""
    guest = site.guest(busy=True)
    moving = site.driver(bandwidth_mib_per_second=1, downtime_ms_most=50, timeout_seconds=3)
    with pytest.raises(Impossible, match="not moved within 3 s"):
        moving.migrate("vm-1", site.a.name, site.b.name, Event())
    site.counts_once(guest, site.a)


def test_a_move_begun_before_a_crash_is_waited_for(site: Site) -> None:
    """A second driver that finds the migration under way begins no other, and is answered when it ends."""
    guest, slow = site.guest(busy=True), site.driver(bandwidth_mib_per_second=1, downtime_ms_most=50)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(slow.migrate, "vm-1", site.a.name, site.b.name, Event())
        machines.wait(lambda: site.b.domain("vm-1") is not None, "arriving")
        time.sleep(1)
        second = pool.submit(site.driver().migrate, "vm-1", site.a.name, None, Event())
        time.sleep(1)
        assert not second.done()
        site.a.domain("vm-1").migrateSetMaxDowntime(60_000, 0)
        site.a.domain("vm-1").migrateSetMaxSpeed(1_024, 0)  # now it can catch up, however busy this machine is
        assert first.result().host_id == second.result().host_id == site.b.name
    site.counts_once(guest, site.b)


def test_a_target_that_is_dead_takes_nothing(site: Site) -> None:
    """The named target is off: the move is impossible, in the hypervisor's words; the guest runs on at its source."""
    guest = site.guest()
    site.b.off()
    moving = site.driver()
    with pytest.raises(Impossible, match="vm-1 could not move"):
        moving.migrate("vm-1", site.a.name, site.b.name, Event())
    with pytest.raises(Impossible, match="no open host that answers"):
        moving.migrate("vm-1", site.a.name, None, Event())
    assert guest.counted().count(1) == 1
    assert site.a.runs("vm-1")


def test_sources_reach_a_target_by_the_address_for_peers(site: Site) -> None:
    """Where the executor and the hosts are on different networks, each has its own address of the target."""
    guest = site.guest()
    hosts = {
        site.a.name: driver.Host(site.a.uri),
        site.b.name: driver.Host(site.b.uri, "qemu+unix:///?socket=/nowhere"),
    }
    with pytest.raises(Impossible, match="/nowhere"):
        site.driver(hosts=hosts).migrate("vm-1", site.a.name, None, Event())
    site.counts_once(guest, site.a)


@pytest.mark.parametrize("seconds", [0, 2])
def test_a_source_that_dies_on_the_way_lets_its_guest_be_started_once(site: Site, seconds: float) -> None:
    """Without a fence it stays down, as it might still run; with one it runs once, also after the source is back."""
    guest, moving = site.guest(busy=True), site.driver(bandwidth_mib_per_second=1, downtime_ms_most=50)
    with ThreadPoolExecutor() as pool:
        move = pool.submit(moving.migrate, "vm-1", site.a.name, site.b.name, Event())
        machines.wait(lambda: site.b.domain("vm-1") is not None, "arriving")
        time.sleep(seconds)
        site.a.off()
        with pytest.raises(ExecutorError, match="no host that answers") as lost:
            move.result()
    assert not isinstance(lost.value, Impossible)
    assert moving.host_of("vm-1") is None
    with pytest.raises(Impossible, match="might still run there"):
        moving.redeploy("vm-1", site.a.name, site.b.name)
    fenced = site.driver(fence_command=(sys.executable, "-c", "import sys; sys.exit(sys.argv[1] != 'machine-a')"))
    anew = fenced.redeploy("vm-1", site.a.name, site.b.name)
    assert (anew.host_id, anew.interrupted) == (site.b.name, True)
    again = fenced.redeploy("vm-1", site.a.name, site.b.name)
    assert again == anew
    site.a.on()
    assert (fenced.vms_on(site.a.name), fenced.vms_on(site.b.name)) == ([], ["vm-1"])
    assert site.a.domain("vm-1") is None
    site.counts_once(guest, site.b)


def test_an_evacuation_takes_the_guests_of_a_host_that_died_before_it_began(site: Site) -> None:
    """The executor has the order, then the host dies: fenced, its guest starts on the target, and the order ends."""
    guest, moving = site.guest(), site.driver(fence_command=("true",))
    executor = Driven(moving, Jobs(site.folder / "executor.db"), limits=Limits(patience=timedelta()))
    now = datetime.now(UTC)
    plan = VmPlan("vm-1", Action.EVACUATE, site.b.name, 12.0, None)
    asked = ("o1", "p1", site.a.name, Action.EVACUATE, (plan,), now, now + timedelta(hours=1))
    assert executor.submit(Order(*asked, ("it fails",), "policy", "disk-1", None)).state is OrderState.ACCEPTED
    site.a.off()
    ended = {OrderState.COMPLETED, OrderState.FAILED, OrderState.REFUSED}
    machines.ticking(executor, lambda: executor.poll(["o1"], now)[0].state in ended, "the order's end")
    (told,) = executor.poll(["o1"], now)
    assert [(vm.result, vm.target_host_id, vm.interrupted) for vm in told.vms] == [("redeployed", site.b.name, True)]
    assert told.state is OrderState.COMPLETED, told.reason
    site.a.on()
    assert moving.vms_on(site.a.name) == []
    site.counts_once(guest, site.b)


def test_a_source_that_hangs_is_fenced_before_its_guest_starts_elsewhere(site: Site) -> None:
    """Its guest could wake up any moment, which only the fence rules out; that it hangs is noticed within 20 s."""
    guest, patient = site.guest(), site.driver()
    assert patient.host_of("vm-1") == site.a.name
    assert site.a.process is not None
    site.a.hang()
    began = time.monotonic()
    with pytest.raises(ExecutorError, match="machine-a"):
        patient.vms_on(site.a.name)
    assert time.monotonic() - began < 20
    with pytest.raises(Impossible, match="might still run there"):
        patient.redeploy("vm-1", site.a.name, None)
    fence = ("sh", "-c", f"test $0 = machine-a && kill -9 {site.a.process.pid}")
    assert site.driver(fence_command=fence, silent_seconds=1).redeploy("vm-1", site.a.name, None).host_id == site.b.name
    assert site.a.process.wait(10) == -9
    site.a.off()
    site.a.on()
    site.counts_once(guest, site.b)


def test_a_fence_that_cannot_prove_anything_starts_nothing(site: Site) -> None:
    """A fence that fails, or is not there, leaves the guest down, and the reason says what to do."""
    site.guest()
    site.driver().vms_on(site.a.name)
    site.a.off()
    for command in ((sys.executable, "-c", "raise SystemExit('no answer from its BMC')"), ("/nonexistent",)):
        with pytest.raises(Impossible, match="Switch the host off by hand"):
            site.driver(fence_command=command).redeploy("vm-1", site.a.name, None)
    assert site.b.domain("vm-1") is None


def test_a_guest_is_started_anew_from_a_source_that_answers(site: Site) -> None:
    """It counts from one again on its target, its source knows it no more, and its absence is measured."""
    guest, moving = site.guest(), site.driver()
    moved = moving.redeploy("vm-1", site.a.name, None)
    assert (moved.host_id, moved.interrupted) == (site.b.name, True)
    assert 0 < moved.pause_seconds < 30
    assert site.a.domain("vm-1") is None
    assert moving.redeploy("vm-1", site.a.name, site.b.name).host_id == site.b.name
    site.counts_once(guest, site.b)


@pytest.mark.parametrize("last", ["stop", "_start", "clear_up"])
def test_a_redeploy_killed_anywhere_can_be_asked_again(site: Site, last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was the last thing that happened, the next call ends with the guest running once, on its target."""
    guest = site.guest()
    owner = driver.domains if last == "stop" else driver.Redeployment
    real = getattr(owner, last)

    def die(*args: object) -> None:
        real(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, last, die)
        with pytest.raises(KeyboardInterrupt):
            site.driver().redeploy("vm-1", site.a.name, site.b.name)
    assert site.driver().redeploy("vm-1", site.a.name, site.b.name).host_id == site.b.name
    assert site.a.domain("vm-1") is None
    site.counts_once(guest, site.b)


def test_a_guest_that_may_run_on_a_silent_target_is_not_started_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target goes silent as it starts the guest: nothing else starts it, and once that answers it runs there."""
    guest, moving, real = site.guest(), site.driver(), driver.Redeployment._defined

    def lost(*asked: object) -> SimpleNamespace:
        arrival = real(*asked)

        def create() -> None:
            arrival.create()
            site.b.hang()
            moving.vms_on(site.b.name)

        return SimpleNamespace(create=create)

    with monkeypatch.context() as patch:
        patch.setattr(driver.Redeployment, "_defined", lost)
        with pytest.raises(ExecutorError):
            moving.redeploy("vm-1", site.a.name, site.b.name)
    for target in (site.b.name, None):
        with pytest.raises(Impossible, match="might have been started on host machine-b"):
            moving.redeploy("vm-1", site.a.name, target)
    site.b.hang(signal.SIGCONT)
    again = site.driver()
    assert again.redeploy("vm-1", site.a.name, None).host_id == site.b.name
    assert site.a.domain("vm-1") is None
    site.counts_once(guest, site.b)


def test_a_target_that_refuses_gives_the_guest_back(site: Site) -> None:
    """What its second port writes to is on the source only: it is started there again, and the reason says so."""
    (site.a.root / "lib/only").mkdir()
    second = '<serial type="file"><source path="/var/lib/libvirt/only/second"/></serial>'
    guest = site.guest(devices=second)
    with pytest.raises(Impossible, match="was started again on machine-a"):
        site.driver().redeploy("vm-1", site.a.name, site.b.name)
    assert site.b.domain("vm-1") is None
    site.counts_once(guest, site.a)


def test_a_stopped_guest_stays_stopped(site: Site) -> None:
    """Its owner had switched it off: only its definition goes to the target."""
    site.guest()
    site.a.domain("vm-1").destroy()
    moved = site.driver().redeploy("vm-1", site.a.name, None)
    assert (moved.host_id, moved.interrupted, moved.pause_seconds) == (site.b.name, False, 0)
    assert (site.a.domain("vm-1"), site.b.runs("vm-1")) == (None, False)
    assert site.driver().vms_on(site.b.name) == ["vm-1"]


def test_a_paused_guest_keeps_its_count(site: Site) -> None:
    """Paused, it stands still and is still there; resumed, it goes on; either twice does no harm."""
    guest, moving = site.guest(), site.driver()
    moving.pause("vm-1")
    moving.pause("vm-1")
    stood = site.a.count("vm-1")
    time.sleep(1)
    assert (site.a.count("vm-1"), moving.host_of("vm-1")) == (stood, site.a.name)
    moving.resume("vm-1")
    moving.resume("vm-1")
    site.counts_once(guest, site.a)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ({"metadata": PINNED}, "live_migratable=no"),
        ({"devices": '<shmem name="s"><model type="ivshmem-plain"/></shmem>'}, "shares memory"),
    ],
)
def test_a_guest_bound_to_its_host_is_not_moved_live(site: Site, kind: dict[str, str], reason: str) -> None:
    """What its definition says keeps it from moving live; nothing is tried."""
    guest, moving = site.guest(**kind), site.driver()
    assert reason in str(moving.unmovable("vm-1"))
    with pytest.raises(Impossible, match=reason):
        moving.migrate("vm-1", site.a.name, site.b.name, Event())
    site.counts_once(guest, site.a)


def test_a_closed_host_is_not_chosen(site: Site) -> None:
    """Closed twice, it is out of the choice, also for the next driver; reopened, it is in again."""
    site.guest()
    site.driver().close(site.b.name, "it fails soon")
    site.driver().close(site.b.name, "it fails soon")
    with pytest.raises(Impossible, match="no open host"):
        site.driver().migrate("vm-1", site.a.name, None, Event())
    site.driver().reopen(site.b.name)
    assert site.driver().migrate("vm-1", site.a.name, None, Event()).host_id == site.b.name


def test_a_host_that_comes_back_is_spoken_to_again(site: Site) -> None:
    """A daemon that dies and starts again needs no new driver, and a guest never seen is said to be unknown."""
    moving = site.driver()
    assert moving.vms_on(site.a.name) == []
    site.a.off()
    with pytest.raises(ExecutorError, match="machine-a"):
        moving.vms_on(site.a.name)
    site.a.on()
    assert moving.vms_on(site.a.name) == []
    with pytest.raises(ExecutorError, match="never seen"):
        moving.unmovable("vm-1")


@pytest.mark.parametrize(
    ("section", "wanted"),
    [({}, r"hosts is empty"), ({"hosts": {"h1": "test:///default"}, "peers": {"h2": "test:///default"}}, "names h2")],
)
def test_settings_that_drive_nothing_are_refused(tmp_path: Path, section: dict[str, object], wanted: str) -> None:
    """Without hosts, or with a peer that is none of them, the driver is not opened."""
    settings = Settings(home=tmp_path, drive=DriveSettings(kind="libvirt", libvirt=LibvirtSettings(**section)))
    with pytest.raises(SettingsError, match=wanted):
        opened(settings)
