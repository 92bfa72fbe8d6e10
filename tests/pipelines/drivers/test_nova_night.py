"""Whole nights on Nova: from a host's risk to where Nova's database has its servers, and what the ledger says of it."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from decisions.domain import OrderState, VmOutcome
from decisions.ledger.values import ListedOrder
from pipelines.cli import main
from pipelines.settings import load
from tests.pipelines.drivers import at_risk, nova_site
from tests.pipelines.drivers.nova_site import HOSTS, Site

pytestmark = pytest.mark.hypervisor

Night = Callable[..., tuple[ListedOrder, dict[str, VmOutcome]]]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with nova_site.running() as found:
        yield found


@pytest.fixture
def night(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    """A night on a home of Nova's three hosts: decide, dispatch to an executor of its own, settle until it is done.

    Where it is said when, the executor is killed then and started again.
    """
    (tmp_path / "policy.toml").write_text(at_risk.POLICY, encoding="utf-8")
    nova = 'kind = "nova"\n[drive.nova]\ncloud = "this-one"\n'
    (tmp_path / "foreshock.toml").write_text(at_risk.SETTINGS + nova, encoding="utf-8")
    clouds = {"clouds": {"this-one": nova_site.credentials(site.url)}}
    (tmp_path / "clouds.yaml").write_text(json.dumps(clouds), encoding="utf-8")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    monkeypatch.setenv("FORESHOCK_HOME", str(tmp_path))
    monkeypatch.setenv("FORESHOCK_EXECUTOR_SECRET", "for the orders of this test, long enough")
    monkeypatch.chdir(tmp_path)

    def spent(
        hosts: tuple[str, ...],
        vms: Mapping[str, str],
        curve: Mapping[int, float],
        *,
        movable: bool = True,
        dies_once: Callable[[], bool] | None = None,
    ) -> tuple[ListedOrder, dict[str, VmOutcome]]:
        settings = load(tmp_path / "foreshock.toml")
        assert at_risk.decided(settings, hosts, vms, curve, movable=movable).orders == 1
        with at_risk.executor(tmp_path) as url:
            monkeypatch.setenv("FORESHOCK__EXECUTOR__URL", url)
            assert main(["dispatch", "--json"]) == 0
            if dies_once is None:
                return at_risk.settled(settings)
            nova_site.eventually(dies_once)
        with at_risk.executor(tmp_path) as url:
            monkeypatch.setenv("FORESHOCK__EXECUTOR__URL", url)
            return at_risk.settled(settings)

    yield spent
    site.clear()


def test_a_host_at_risk_is_emptied_live(site: Site, night: Night) -> None:
    """Both servers run elsewhere by Nova's database, where the ledger says, and the host is closed with the reason."""
    vms = {site.server("host1"): "host1", site.server("host1"): "host1", site.server("host2"): "host2"}
    order, became = night(HOSTS, vms, at_risk.SOON)
    assert (order.state, order.host_state, order.order.action) == (OrderState.COMPLETED, "empty", "live_migrate")
    moving = [vm_id for vm_id, host in vms.items() if host == "host1"]
    assert {(vm.vm_id, vm.result, vm.interrupted) for vm in became.values()} == {
        (id_, "moved", False) for id_ in moving
    }
    for vm_id in vms:
        assert site.host(vm_id) == (became[vm_id].target_host_id if vm_id in became else "host2") != "host1"
    closed = next(iter(site.connection.compute.services(binary="nova-compute", host="host1")))
    assert (closed.status, order.order.order_id in closed.disabled_reason) == ("disabled", True)


def test_what_nova_refuses_is_a_refused_order_with_its_reason(site: Site, night: Night) -> None:
    """No server moves, the order ends as refused, and the ledger has what Nova's scheduler and hosts said."""
    vm_id = site.server("host2")
    site.meet(vm_id, refuses="the processors are not alike")
    order, became = night(("host2", "host1", "host3"), {vm_id: "host2"}, at_risk.SOON)
    assert (order.state, became[vm_id].result, site.host(vm_id)) == (OrderState.REFUSED, "stayed", "host2")
    assert "No valid host was found" in str(order.reason)
    assert "the processors are not alike" in str(order.reason)


def test_an_executor_that_dies_during_a_migration_watches_it_to_its_end(site: Site, night: Night) -> None:
    """Killed while Nova moves the server, and started again: one migration in all, and the order is completed."""
    vm_id = site.server("host3")
    site.meet(vm_id, seconds=6)
    under_way = lambda: site.migrations(vm_id) == ["running"]  # noqa: E731
    order, became = night(("host3", "host1", "host2"), {vm_id: "host3"}, at_risk.SOON, dies_once=under_way)
    assert (order.state, became[vm_id].result) == (OrderState.COMPLETED, "moved")
    assert site.migrations(vm_id) == ["completed"]
    assert site.host(vm_id) == became[vm_id].target_host_id


def test_a_fenced_host_is_evacuated(site: Site, night: Night) -> None:
    """A host that fails today, and was forced down before the order came: its server runs elsewhere, started anew."""
    vm_id = site.server("host1")
    site.force_down("host1")
    order, became = night(HOSTS, {vm_id: "host1"}, at_risk.TODAY, movable=False)
    assert (order.state, order.order.action) == (OrderState.COMPLETED, "evacuate")
    assert (became[vm_id].result, became[vm_id].interrupted) == ("redeployed", True)
    assert site.host(vm_id) == became[vm_id].target_host_id != "host1"
    assert site.connection.compute.get_server(vm_id).status == "ACTIVE"
