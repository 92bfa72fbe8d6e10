"""The driver of Nova against Nova's own API, conductor, scheduler, compute managers and placement.

Below the compute managers is Nova's fake hypervisor; keystone, neutron, glance and cinder are stubs.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest

from data.errors import ExecutorError, SettingsError
from pipelines.drivers import Driver, Impossible, Moved, Stopped
from pipelines.settings import NovaSettings
from tests.pipelines.drivers import nova_site
from tests.pipelines.drivers.nova_site import IMAGES, Site

pytestmark = pytest.mark.hypervisor


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with nova_site.running() as found:
        yield found


@pytest.fixture
def driver(site: Site) -> Iterator[Driver]:
    yield driver_of(site)
    site.clear()


def driver_of(site: Site, **settings: Any) -> Driver:
    """A driver of the site's cloud, which looks often."""
    from pipelines.drivers.nova import Nova

    return Nova(site.connection, NovaSettings(**settings), poll_seconds=0.05)


class Died(BaseException):
    """The driver's process is gone."""


DEATHS = [("before", 1), ("after", 1), ("before", 2), ("after", 2)]
"""When a driver dies: before or after the nth thing that it has Nova do."""


def dying(site: Site, when: str, nth: int) -> Driver:
    """A driver of its own connection that dies then."""
    from pipelines.drivers.nova import Nova

    connection = nova_site.connect(site.url)
    real, done = connection.session.request, [0]

    def request(url: str, method: str, **rest: Any) -> Any:
        done[0] += method == "POST"
        fatal = method == "POST" and done[0] == nth
        if fatal and when == "before":
            raise Died
        answer = real(url, method, **rest)
        if fatal:
            raise Died
        return answer

    connection.session.request = request
    return Nova(connection, NovaSettings(), poll_seconds=0.05)


def service(site: Site, host: str) -> Any:
    """What Nova says of the host's compute service."""
    return next(iter(site.connection.compute.services(binary="nova-compute", host=host)))


def test_a_closed_host_takes_no_new_servers(site: Site, driver: Driver) -> None:
    """Closing disables the service with the reason, and the scheduler leaves it out; reopening undoes it."""
    for _ in range(2):
        driver.close("host2", "its drives fail")
    assert (service(site, "host2").status, service(site, "host2").disabled_reason) == ("disabled", "its drives fail")
    vm_id = site.server("host1")
    with pytest.raises(Impossible, match="No valid host"):
        driver.migrate(vm_id, "host1", "host2", Event())
    for _ in range(2):
        driver.reopen("host2")
    assert (service(site, "host2").status, service(site, "host2").disabled_reason) == ("enabled", None)
    with pytest.raises(Impossible, match="no nova-compute on host9"):
        driver.close("host9", "its drives fail")


def test_a_live_migration_changes_the_host_in_novas_database(site: Site, driver: Driver) -> None:
    """To the target that was asked for, without an interruption; to one of Nova's choice where none was."""
    vm_id = site.server("host1")
    assert driver.migrate(vm_id, "host1", "host3", Event()) == Moved("host3", 0.0)
    assert (site.host(vm_id), driver.host_of(vm_id)) == ("host3", "host3")
    assert vm_id in driver.vms_on("host3")
    assert vm_id not in driver.vms_on("host1")
    chosen = driver.migrate(vm_id, "host3", None, Event()).host_id
    assert chosen in {"host1", "host2"}
    assert site.host(vm_id) == chosen


def test_a_live_migration_that_is_called_back_is_aborted(site: Site, driver: Driver) -> None:
    """Nova aborts it, and the server runs on its source; one called back before it begins never does."""
    vm_id, stop = site.server("host1"), Event()
    site.meet(vm_id, seconds=30)
    Timer(1.0, stop.set).start()
    with pytest.raises(Stopped, match="aborted"):
        driver.migrate(vm_id, "host1", "host3", stop)
    assert (site.host(vm_id), driver.host_of(vm_id)) == ("host1", "host1")
    with pytest.raises(Stopped, match="before"):
        driver.migrate(vm_id, "host1", "host3", stop)
    assert site.migrations(vm_id) == ["cancelled"]


def test_a_live_migration_that_takes_too_long_is_aborted(site: Site) -> None:
    """After the time in the settings it counts as impossible, and the server runs on its source."""
    vm_id = site.server("host1")
    site.meet(vm_id, seconds=30)
    with pytest.raises(Impossible, match="aborted after 1 s") as told:
        driver_of(site, timeout_seconds=1.0).migrate(vm_id, "host1", "host3", Event())
    assert not isinstance(told.value, Stopped)
    assert site.host(vm_id) == "host1"


@pytest.mark.parametrize("target", ["host3", None])
def test_what_nova_refuses_is_told_in_its_words(site: Site, driver: Driver, target: str | None) -> None:
    """The reason has what the scheduler said and what the hosts said, and the server runs on its source."""
    vm_id = site.server("host1")
    site.meet(vm_id, refuses="the processors are not alike")
    with pytest.raises(Impossible, match="No valid host was found") as told:
        driver.migrate(vm_id, "host1", target, Event())
    assert "Migration pre-check error: the processors are not alike" in str(told.value)
    assert (site.host(vm_id), driver.host_of(vm_id)) == ("host1", "host1")


def test_a_live_migration_that_fails_on_the_way_leaves_the_server_where_it_was(site: Site, driver: Driver) -> None:
    """Nova rolls it back and says nothing of why; the reason says that."""
    vm_id = site.server("host1")
    site.meet(vm_id, fails=1)
    with pytest.raises(Impossible, match="does not say why"):
        driver.migrate(vm_id, "host1", "host3", Event())
    assert (site.host(vm_id), driver.host_of(vm_id)) == ("host1", "host1")


def test_what_does_not_exist_cannot_be_moved(site: Site, driver: Driver) -> None:
    """An unknown target is refused by name, an unknown server is on no host and does not move."""
    with pytest.raises(Impossible, match="host9 could not be found"):
        driver.migrate(site.server("host1"), "host1", "host9", Event())
    assert driver.host_of("no-such-server") is None
    with pytest.raises(Impossible, match="404"):
        driver.migrate("no-such-server", "host1", "host2", Event())


def test_a_live_migration_under_way_is_watched_not_begun_again(site: Site, driver: Driver) -> None:
    """A second call, as after a crash, waits for the first one's migration; one to another target is refused."""
    vm_id = site.server("host1")
    site.meet(vm_id, seconds=2)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(driver.migrate, vm_id, "host1", "host2", Event())
        nova_site.eventually(lambda: site.migrations(vm_id) == ["running"])
        with pytest.raises(Impossible, match="to host2 already"):
            driver.migrate(vm_id, "host1", "host3", Event())
        assert driver.migrate(vm_id, "host1", "host2", Event()) == first.result() == Moved("host2", 0.0)
    assert site.migrations(vm_id) == ["completed"]
    with pytest.raises(ExecutorError, match="no longer on host1") as told:
        driver.migrate(vm_id, "host1", "host2", Event())
    assert not isinstance(told.value, Impossible)


def test_servers_of_a_living_host_are_migrated_cold(site: Site, driver: Driver) -> None:
    """Stopped, started on the target and confirmed, with the pause that Nova's events tell; again changes nothing."""
    vm_id = site.server("host1")
    moved = driver.redeploy(vm_id, "host1", "host2")
    assert (moved.host_id, moved.interrupted, site.host(vm_id)) == ("host2", True, "host2")
    assert 0 < moved.pause_seconds < 30
    assert site.connection.compute.get_server(vm_id).status == "ACTIVE"
    assert driver.redeploy(vm_id, "host1", "host2") == moved


def test_a_cold_migration_that_nobody_confirmed_is_confirmed(site: Site, driver: Driver) -> None:
    """The driver that began it died: until somebody confirms, the server counts as on no host, and then it is there."""
    vm_id = site.server("host1")
    site.connection.compute.migrate_server(vm_id, host="host3")
    site.until(vm_id, "VERIFY_RESIZE")
    assert driver.host_of(vm_id) is None
    assert driver.redeploy(vm_id, "host1", "host3").host_id == "host3"
    assert driver.host_of(vm_id) == "host3"


@pytest.mark.parametrize(("when", "nth"), DEATHS)
def test_a_cold_migration_may_be_broken_off_anywhere(site: Site, driver: Driver, when: str, nth: int) -> None:
    """Whatever the driver died of doing, the next one brings the one migration to its end."""
    vm_id = site.server("host1")
    with pytest.raises(Died):
        dying(site, when, nth).redeploy(vm_id, "host1", "host2")
    moved = driver.redeploy(vm_id, "host1", "host2")
    assert (moved.host_id, moved.interrupted, driver.host_of(vm_id)) == ("host2", True, "host2")
    assert site.migrations(vm_id) == ["confirmed"]


def test_a_confirmation_under_way_is_waited_for(site: Site) -> None:
    """A driver that died had confirmed the migration: Nova, still at work on that, refuses to hear it again."""
    from pipelines.drivers.nova import Nova

    vm_id = site.server("host1")
    site.connection.compute.migrate_server(vm_id, host="host2")
    site.until(vm_id, "VERIFY_RESIZE")
    connection, answers = nova_site.connect(site.url), []
    once = connection.session.request

    def twice(url: str, method: str, **rest: Any) -> Any:
        if method == "POST":
            answers.append(once(url, method, **rest).status_code)
        answer = once(url, method, **rest)
        if method == "POST":
            answers.append(answer.status_code)
        return answer

    connection.session.request = twice
    assert Nova(connection, NovaSettings(), poll_seconds=0.05).redeploy(vm_id, "host1", "host2").host_id == "host2"
    assert answers in ([204, 400], [204, 409])
    assert site.migrations(vm_id) == ["confirmed"]
    site.clear()


def test_an_owners_resize_is_left_to_the_owner(site: Site, driver: Driver) -> None:
    """A server whose new size waits for its owner's word is not confirmed behind their back."""
    vm_id = site.server("host1")
    compute = site.connection.compute
    compute.resize_server(vm_id, compute.find_flavor("m1.small").id)
    site.until(vm_id, "VERIFY_RESIZE")
    where = site.host(vm_id)
    with pytest.raises(Impossible, match="vm_state resized"):
        driver.redeploy(vm_id, where, None)
    assert compute.get_server(vm_id).status == "VERIFY_RESIZE"


def test_a_stopped_server_stays_stopped(site: Site, driver: Driver) -> None:
    """It is on no host as far as running goes, moves cold, loses nothing and is not started."""
    vm_id = site.server("host1")
    site.connection.compute.stop_server(vm_id)
    site.until(vm_id, "SHUTOFF")
    assert driver.host_of(vm_id) is None
    assert vm_id in driver.vms_on("host1")
    assert driver.redeploy(vm_id, "host1", "host2") == Moved("host2", 0.0)
    assert (site.host(vm_id), site.connection.compute.get_server(vm_id).status) == ("host2", "SHUTOFF")


def test_a_paused_server_goes_on(site: Site, driver: Driver) -> None:
    """Pausing and resuming keep the server on its host, and each may come twice."""
    vm_id = site.server("host1")
    for _ in range(2):
        driver.pause(vm_id)
        assert (site.connection.compute.get_server(vm_id).status, driver.host_of(vm_id)) == ("PAUSED", "host1")
    for _ in range(2):
        driver.resume(vm_id)
        assert site.connection.compute.get_server(vm_id).status == "ACTIVE"
    site.connection.compute.stop_server(vm_id)
    site.until(vm_id, "SHUTOFF")
    with pytest.raises(Impossible, match=r"Cannot 'pause' instance .* while it is in vm_state stopped"):
        driver.pause(vm_id)


def test_what_is_pinned_says_by_what(site: Site, driver: Driver) -> None:
    """A property of the flavor, or of the image, or a tag keeps a server from moving live; another does not."""
    plain, pinned = site.server("host1", image=IMAGES[1]), site.server("host1", flavor="m1.tiny.specs")
    assert (driver.unmovable(plain), driver.unmovable(pinned)) == (None, None)
    assert driver_of(site, unmovable_properties=("hw:numa_nodes",)).unmovable(pinned) == (
        "its flavor or image has hw:numa_nodes = 1"
    )
    assert driver_of(site, unmovable_properties=("architecture",)).unmovable(plain) == (
        "its flavor or image has architecture = x86_64"
    )
    site.connection.compute.get_server(plain).add_tag(site.connection.compute, "foreshock:unmovable")
    assert driver.unmovable(plain) == "it has the tag foreshock:unmovable"


def test_a_host_that_merely_does_not_answer_is_not_evacuated(site: Site, driver: Driver) -> None:
    """Its guests may still run: nothing happens, and the reason says that somebody has to fence it first."""
    vm_id = site.server("host1")
    with site.silent("host1"):
        assert driver.host_of(vm_id) is None
        with pytest.raises(Impossible, match="might still run there; fence the host"):
            driver.redeploy(vm_id, "host1", "host3")
        with pytest.raises(Impossible):
            driver.migrate(vm_id, "host1", "host3", Event())
    assert site.host(vm_id) == "host1"
    assert "done" not in site.migrations(vm_id)


def test_a_host_forced_down_is_evacuated(site: Site, driver: Driver) -> None:
    """Servers that ran run on the target, a stopped one is stopped there, also where a driver died midway."""
    ran, stopped, half, full = (site.server("host1", name) for name in ("ran", "stopped", "half", "full"))
    site.connection.compute.stop_server(stopped)
    site.until(stopped, "SHUTOFF")
    site.force_down("host1")
    assert driver.host_of(ran) is None

    moved = driver.redeploy(ran, "host1", "host3")
    assert (moved.host_id, moved.interrupted, site.host(ran)) == ("host3", True, "host3")
    assert 0 < moved.pause_seconds < 60
    assert driver.host_of(ran) == "host3"
    assert driver.redeploy(ran, "host1", "host3") == moved

    assert driver.redeploy(stopped, "host1", "host3") == Moved("host3", 0.0)
    assert site.connection.compute.get_server(stopped).status == "SHUTOFF"

    site.connection.compute.evacuate_server(half, host="host2")
    site.until(half, "SHUTOFF")
    assert driver.host_of(half) is None
    assert replace(driver.redeploy(half, "host1", "host2"), pause_seconds=0.0) == Moved("host2", 0.0, interrupted=True)
    assert driver.host_of(half) == "host2"

    driver.close("host2", "full")
    with pytest.raises(Impossible, match="No valid host"):
        driver.redeploy(full, "host1", "host2")
    driver.reopen("host2")
    again = driver.redeploy(full, "host1", "host2")
    assert (again.host_id, again.pause_seconds > 0) == ("host2", True)


def test_an_evacuation_may_be_broken_off_anywhere(site: Site, driver: Driver) -> None:
    """Whatever the driver died of doing, the next one brings the one evacuation to its end: the server runs."""
    vms = {site.server("host2"): death for death in DEATHS}
    site.force_down("host2")
    for vm_id, (when, nth) in vms.items():
        with pytest.raises(Died):
            dying(site, when, nth).redeploy(vm_id, "host2", "host3")
        moved = driver.redeploy(vm_id, "host2", "host3")
        assert (moved.host_id, moved.interrupted, driver.host_of(vm_id)) == ("host3", True, "host3")
        assert site.migrations(vm_id) == ["done"]


def test_a_cloud_that_does_not_answer_leaves_the_outcome_open(site: Site) -> None:
    """No answer is no refusal: the error is not `Impossible`."""
    from pipelines.drivers.nova import Nova

    gone = Nova(nova_site.connect("http://127.0.0.1:9"), NovaSettings())
    with pytest.raises(ExecutorError, match="could not be reached") as told:
        gone.host_of("a-server")
    assert not isinstance(told.value, Impossible)


def test_a_cloud_without_a_name_in_clouds_yaml_is_a_wrong_setting(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error says which cloud, and where it was looked for."""
    from pipelines.drivers.nova import opened

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r'the cloud "no-such" of clouds.yaml cannot be used'):
        opened(NovaSettings(cloud="no-such"), tmp_path)
