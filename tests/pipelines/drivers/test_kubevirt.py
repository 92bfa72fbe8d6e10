"""The driver of KubeVirt over HTTP, against a cluster in memory that moves its objects on as KubeVirt does."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient, Configuration

from data.errors import ExecutorError, SettingsError
from decisions.domain import Action, OrderState, VmPlan
from pipelines.drivers import Driver, Impossible, Moved, Stopped, kubevirt
from pipelines.drivers.kubevirt import CORDONED, OUT_OF_SERVICE, Kubevirt
from pipelines.executors.driven import Driven
from pipelines.executors.jobs import Jobs
from pipelines.settings import KubevirtSettings
from tests.pipelines.drivers.kubevirt_cluster import FakeCluster, dropped, refused
from tests.pipelines.test_contract import NOW, order

FENCED = [{"key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute"}]


@pytest.fixture
def cluster() -> FakeCluster:
    """Three nodes; two VMs run on the first."""
    made = FakeCluster()
    for name in ("n1", "n2", "n3"):
        made.node(name)
    made.vm("shop/web", "n1")
    made.vm("shop/db", "n1")
    return made


@pytest.fixture
def driver(cluster: FakeCluster) -> Iterator[Driver]:
    """A driver that looks a hundred times a second and waits for half a second."""
    with cluster.serving() as url:
        configuration = Configuration(host=url)
        configuration.retries = 0
        section = KubevirtSettings(timeout_seconds=0.5)
        made = Kubevirt(ApiClient(configuration), section, poll_seconds=0.01)
        yield made
        made.shut()


def creations(cluster: FakeCluster) -> int:
    return sum(method == "POST" for method, _ in cluster.asked)


def soon(work: Any) -> Event:
    """An event, and work that is done a moment from now."""
    stop = Event()
    Timer(0.1, work, args=[stop]).start()
    return stop


def test_vms_are_found_by_their_nodes(driver: Driver, cluster: FakeCluster) -> None:
    """Instances of all namespaces that have not ended, page by page; a VM is nowhere that does not answer."""
    cluster.vm("abc/x", "n1")
    cluster.vm("abc/over", "n1")
    cluster.instance("abc/over")["status"]["phase"] = "Succeeded"
    assert driver.vms_on("n1") == ["abc/x", "shop/db", "shop/web"]
    assert (driver.host_of("shop/web"), driver.host_of("shop/none"), driver.host_of("abc/over")) == ("n1", None, None)
    cluster.node("n1", ready=False)
    assert driver.host_of("shop/web") is None


@pytest.mark.parametrize("vm_id", ["web", "shop/../kube-system", "shop/web?x=1", "Shop/web", "shop/"])
def test_ids_that_name_no_object_are_refused(driver: Driver, cluster: FakeCluster, vm_id: str) -> None:
    """An id of the inventory becomes part of an address only if it is NAMESPACE/NAME."""
    with pytest.raises(Impossible, match=r"NAMESPACE/NAME|no name of an object"):
        driver.host_of(vm_id)
    assert cluster.asked == []


def test_a_vm_that_cannot_move_says_why(driver: Driver, cluster: FakeCluster) -> None:
    """The condition's reason and message, where it is false."""
    assert driver.unmovable("shop/web") is None
    why = {"type": "LiveMigratable", "status": "False", "reason": "DisksNotLiveMigratable", "message": "PVC d is RWO"}
    cluster.instance("shop/web")["status"]["conditions"] = [why]
    assert driver.unmovable("shop/web") == "DisksNotLiveMigratable: PVC d is RWO"
    with pytest.raises(Impossible, match=r"answered 422: Cannot migrate VMI, Reason: DisksNotLiveMigratable"):
        driver.migrate("shop/web", "n1", "n2", Event())


def test_a_node_is_cordoned_with_its_reason_and_uncordoned(driver: Driver, cluster: FakeCluster) -> None:
    """Twice is harmless, and in between others may change the node."""
    node = cluster.objects["nodes", "n1"]
    cluster.before.append(("PATCH", "n1", lambda: node["metadata"].update(resourceVersion="7")))
    for _ in range(2):
        driver.close("n1", "order o1")
    assert (node["spec"], node["metadata"]["annotations"]) == ({"unschedulable": True}, {CORDONED: "order o1"})
    for _ in range(2):
        driver.reopen("n1")
    assert (node["spec"], node["metadata"]["annotations"]) == ({}, {})
    with pytest.raises(Impossible, match="knows no node n9"):
        driver.close("n9", "order o1")


def test_what_somebody_else_cordoned_stays_cordoned(driver: Driver, cluster: FakeCluster) -> None:
    """A node without our annotation is left as it is."""
    cluster.node("n1", unschedulable=True)
    driver.close("n1", "order o1")
    driver.reopen("n1")
    assert cluster.objects["nodes", "n1"]["spec"] == {"unschedulable": True}
    assert not any(method == "PATCH" for method, _ in cluster.asked)


def test_a_vm_moves_to_the_node_that_is_named(driver: Driver, cluster: FakeCluster) -> None:
    """Led there by the label with the node's host name; without a target the scheduler chooses."""
    assert driver.migrate("shop/web", "n1", "n3", Event()) == Moved("n3", 0.0)
    assert driver.migrate("shop/db", "n1", None, Event()) == Moved("n2", 0.0)
    assert [one["spec"].get("addedNodeSelector") for one in cluster.migrations()] == [
        {"kubernetes.io/hostname": "N3"},
        None,
    ]


def test_an_old_kubevirt_chooses_the_node_and_the_answer_says_so(driver: Driver, cluster: FakeCluster) -> None:
    """Where `addedNodeSelector` is not known the VM moves all the same, and is said to be where it is."""
    cluster.prunes = True
    assert driver.migrate("shop/web", "n1", "n3", Event()) == Moved("n2", 0.0)


def test_a_migration_that_fails_leaves_the_vm_where_it_was(driver: Driver, cluster: FakeCluster) -> None:
    """KubeVirt's reason is passed on, and the next attempt is another migration."""
    cluster.fails["web"] = (
        "Live migration failed error encountered during MigrateToURI3: Requested operation is invalid"
    )
    with pytest.raises(Impossible, match="MigrateToURI3") as failure:
        driver.migrate("shop/web", "n1", "n2", Event())
    assert not isinstance(failure.value, Stopped)
    cluster.fails.clear()
    assert driver.migrate("shop/web", "n1", "n2", Event()).host_id == "n2"
    first, second = (one["metadata"]["name"] for one in cluster.migrations())
    assert (first[:-1], first[-1], second[-1]) == (second[:-1], "1", "2")


def test_a_migration_that_is_called_back_is_aborted(driver: Driver, cluster: FakeCluster) -> None:
    """Deleting the object aborts it; the VM runs where it did."""
    cluster.stuck.add("web")
    with pytest.raises(Stopped, match="aborted; it runs on n1"):
        driver.migrate("shop/web", "n1", "n2", soon(Event.set))
    assert cluster.instance("shop/web")["status"]["migrationState"]["abortStatus"] == "Succeeded"
    early = Event()
    early.set()
    before = creations(cluster)
    with pytest.raises(Stopped, match="before the VM shop/db began"):
        driver.migrate("shop/db", "n1", "n2", early)
    assert creations(cluster) == before


def test_a_vm_that_arrives_in_spite_of_being_called_back_has_moved(driver: Driver, cluster: FakeCluster) -> None:
    """The abort came too late: what counts is where the VM is."""
    cluster.stuck.add("web")

    def arrive(stop: Event) -> None:
        with cluster.lock:
            cluster.before.append(("DELETE", "foreshock-", cluster.stuck.clear))
            cluster.after.append(("DELETE", "foreshock-", lambda: _undelete(cluster)))
        stop.set()

    assert driver.migrate("shop/web", "n1", "n2", soon(arrive)) == Moved("n2", 0.0)


def _undelete(cluster: FakeCluster) -> None:
    """KubeVirt finishes a migration that was across already when it was deleted."""
    for migration in cluster.migrations():
        migration["metadata"].pop("deletionTimestamp", None)


def test_a_migration_that_takes_too_long_is_aborted(driver: Driver, cluster: FakeCluster) -> None:
    """After `timeout_seconds` it is deleted, and the VM stays; the same where no node takes the VM."""
    cluster.stuck.add("web")
    with pytest.raises(Impossible, match=r"aborted after 0\.5 s") as late:
        driver.migrate("shop/web", "n1", "n2", Event())
    assert not isinstance(late.value, Stopped)
    cluster.node("n3", unschedulable=True)
    with pytest.raises(Impossible, match=r"aborted after 0\.5 s"):
        driver.migrate("shop/db", "n1", "n3", Event())
    assert driver.host_of("shop/db") == "n1"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_breaks_is_no_answer_and_the_move_is_found_again(
    driver: Driver, cluster: FakeCluster, when: str
) -> None:
    """Lost before or after the migration was made: nobody knows; asked again, one migration brings the VM over."""
    getattr(cluster, when).append(("POST", "migrations", dropped))
    with pytest.raises(ExecutorError, match="did not answer") as lost:
        driver.migrate("shop/web", "n1", "n2", Event())
    assert not isinstance(lost.value, Impossible)
    assert driver.migrate("shop/web", "n1", "n2", Event()) == Moved("n2", 0.0)
    assert len(cluster.migrations()) == 1


def test_contact_lost_on_the_way_says_nothing_of_the_vm(driver: Driver, cluster: FakeCluster) -> None:
    """Neither a broken connection nor an answer that says only that the API is unwell is a refusal."""
    for fault in (
        dropped,
        refused(503, "ServiceUnavailable", "etcd leader changed"),
        refused(403, "Forbidden", "rbac"),
    ):
        cluster.before.append(("GET", "instancemigrations/foreshock-", fault))
        with pytest.raises(ExecutorError, match=r"did not answer|etcd leader changed|rbac") as lost:
            driver.migrate("shop/web", "n1", "n2", Event())
        assert not isinstance(lost.value, Impossible)
    assert driver.migrate("shop/web", "n1", "n2", Event()) == Moved("n2", 0.0)
    assert creations(cluster) == 1


def test_somebody_elses_migration_is_watched_and_never_aborted(driver: Driver, cluster: FakeCluster) -> None:
    """A drain has begun it: it is left to end, also when this order is called back."""
    body = {"metadata": {"name": "kubevirt-evacuation-x7"}, "spec": {"vmiName": "web"}, "status": {}}
    cluster.put("virtualmachineinstancemigrations", "shop/kubevirt-evacuation-x7", body)
    stop = Event()
    stop.set()
    assert driver.migrate("shop/web", "n1", "n3", stop) == Moved("n2", 0.0)
    assert not {"POST", "DELETE"} & {method for method, _ in cluster.asked}


def test_a_vm_that_is_elsewhere_is_not_moved(driver: Driver, cluster: FakeCluster) -> None:
    """Nobody knows what the caller wants then: it asks where the VM is."""
    with pytest.raises(ExecutorError, match="is on n1, no longer on n2"):
        driver.migrate("shop/web", "n2", "n3", Event())
    with pytest.raises(Impossible, match="no instance of the VM shop/none"):
        driver.migrate("shop/none", "n1", "n2", Event())


def test_a_vm_is_started_anew_elsewhere(driver: Driver, cluster: FakeCluster) -> None:
    """Its node is cordoned, it is restarted, and runs on another; once more, nothing happens to it."""
    moved = Moved("n2", 9.0, interrupted=True)
    assert driver.redeploy("shop/web", "n1", "n3") == moved
    assert cluster.objects["nodes", "n1"]["metadata"]["annotations"] == {
        CORDONED: "VM shop/web is started anew elsewhere"
    }
    assert driver.redeploy("shop/web", "n1", "n3") == moved
    assert [path for method, path in cluster.asked if method == "PUT"] == [
        "/apis/subresources.kubevirt.io/v1/namespaces/shop/virtualmachines/web/restart"
    ]


def test_a_restart_that_was_asked_for_is_not_asked_for_again(driver: Driver, cluster: FakeCluster) -> None:
    """The connection broke after the request: the second call waits for what the first began."""
    cluster.after.append(("PUT", "restart", dropped))
    with pytest.raises(ExecutorError, match="did not answer") as lost:
        driver.redeploy("shop/web", "n1", None)
    assert not isinstance(lost.value, Impossible)
    assert driver.redeploy("shop/web", "n1", None).host_id == "n2"
    assert sum(method == "PUT" for method, _ in cluster.asked) == 1


def test_a_new_instance_on_its_way_up_is_waited_for(driver: Driver, cluster: FakeCluster) -> None:
    """The executor died after the restart: what came of that is not restarted, though it is on no node yet."""
    driver.close("n1", "order o1")
    cluster.instance("shop/web")["status"] = {"phase": "Scheduling", "conditions": []}
    assert driver.redeploy("shop/web", "n1", None).host_id == "n2"
    assert not any(method == "PUT" for method, _ in cluster.asked)


def test_a_vm_that_nothing_would_start_again_is_not_stopped(driver: Driver, cluster: FakeCluster) -> None:
    """A bare instance, a run strategy that knows no restart, a VM that its owner has stopped."""
    cluster.vm("shop/bare", "n1", bare=True)
    cluster.vm("shop/once", "n1", "Once")
    cluster.vm("shop/off", None, "Halted")
    for vm_id, why in (("bare", "without a VirtualMachine"), ("once", "does not support"), ("off", "is stopped")):
        with pytest.raises(Impossible, match=why):
            driver.redeploy(f"shop/{vm_id}", "n1", None)
    assert cluster.instance("shop/bare")["status"]["phase"] == "Running"


def test_a_dead_node_must_be_fenced_before_its_vms_start_elsewhere(driver: Driver, cluster: FakeCluster) -> None:
    """Not ready is not off: without the taint nothing is done; with it, the new instance is waited for."""
    cluster.node("n1", ready=False)
    with pytest.raises(Impossible, match=r"might still run there; fence the node, then: kubectl taint nodes n1"):
        driver.redeploy("shop/web", "n1", None)
    cluster.node("n1", ready=False, taints=FENCED)
    with pytest.raises(ExecutorError, match=r"does not run elsewhere after 0\.5 s: Running"):
        driver.redeploy("shop/web", "n1", None)

    def taken_away(_: Event) -> None:
        with cluster.lock:
            cluster.objects["virtualmachines", "shop/web"]["status"]["stateChangeRequests"] = [{"action": "Start"}]
            del cluster.objects["virtualmachineinstances", "shop/web"]

    soon(taken_away)
    assert driver.redeploy("shop/web", "n1", None) == Moved("n2", 9.0, interrupted=True)
    assert not {"PUT", "DELETE"} & {method for method, _ in cluster.asked}


def test_a_vm_that_is_started_by_hand_is_started_once_its_dead_node_is_fenced(
    driver: Driver, cluster: FakeCluster
) -> None:
    """With the run strategy Manual, KubeVirt makes no new instance unasked."""
    cluster.vm("shop/hand", "n1", "Manual")
    cluster.node("n1", ready=False, taints=FENCED)
    cluster.instance("shop/hand")["status"]["phase"] = "Failed"
    assert driver.redeploy("shop/hand", "n1", None) == Moved("n2", 9.0, interrupted=True)


def test_a_node_that_is_gone_may_still_run_its_vms(driver: Driver, cluster: FakeCluster) -> None:
    """A node that was deleted from the cluster, and was not fenced before, may be up for all that anybody knows."""
    del cluster.objects["nodes", "n1"]
    with pytest.raises(Impossible, match="knows no node n1"):
        driver.redeploy("shop/web", "n1", None)


def test_a_vm_stands_still_and_goes_on(driver: Driver, cluster: FakeCluster) -> None:
    """Each is harmless when it is so already; what KubeVirt refuses is told in its words."""
    for _ in range(2):
        driver.pause("shop/web")
    assert driver.host_of("shop/web") == "n1"
    for _ in range(2):
        driver.resume("shop/web")
    assert [path.rsplit("/", 1)[1] for method, path in cluster.asked if method == "PUT"] == ["pause", "unpause"]
    why = "Pausing VMIs with LivenessProbe is currently not supported"
    cluster.before.append(("PUT", "pause", refused(403, "Forbidden", why)))
    with pytest.raises(Impossible, match=why):
        driver.pause("shop/web")


def test_an_order_empties_a_node(driver: Driver, cluster: FakeCluster, tmp_path: Path) -> None:
    """The executor of real hosts on top of it: cordoned, one VM moved live, the other started anew, and told so."""
    jobs = Jobs(tmp_path / "jobs.db")
    executor = Driven(driver, jobs, clock=lambda: NOW)
    plans = (VmPlan("shop/web", Action.LIVE_MIGRATE, "n3", 12.0), VmPlan("shop/db", Action.EVACUATE, "n2", 120.0))
    assert executor.submit(order(host_id="n1", action=Action.EVACUATE, vms=plans)).state is OrderState.ACCEPTED
    for _ in range(5):
        executor.tick()
    (answer,) = executor.poll(["o1"], NOW)
    told = {vm.vm_id: (vm.result, vm.target_host_id) for vm in answer.vms}
    assert (answer.state, answer.host_state) == (OrderState.COMPLETED, "empty")
    assert told == {"shop/web": ("moved", "n3"), "shop/db": ("redeployed", "n2")}
    jobs.close()


def test_the_cluster_is_that_of_the_kubeconfig(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings name a context; one that is not there is an error of the settings."""
    with cluster.serving() as url:
        file = tmp_path / "config"
        file.write_text(
            yaml.safe_dump(
                {
                    "clusters": [{"name": "c", "cluster": {"server": url}}],
                    "users": [{"name": "u", "user": {"token": "t"}}],
                    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "here",
                }
            )
        )
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        assert kubevirt.opened(KubevirtSettings(context="here"), tmp_path).vms_on("n1") == ["shop/db", "shop/web"]
        with pytest.raises(SettingsError, match=r'drive\.kubevirt: the context "elsewhere"'):
            kubevirt.opened(KubevirtSettings(context="elsewhere"), tmp_path)
