"""KubeVirt as what moves VMs: a VM is `namespace/name` of a VirtualMachineInstance, a host is a node.

Who is asked and as whom stands in the kubeconfig; docs/executors/kubevirt.md says what that account must be allowed to.
Reasons are the cluster's own: of its refusal, of a migration's state, of an instance's conditions.
"""

import time
from pathlib import Path
from threading import Event
from typing import Any, Final

from kubernetes import config
from kubernetes.client import ApiClient
from kubernetes.config import ConfigException

from data.errors import ExecutorError, SettingsError
from pipelines.drivers import Impossible, Moved, Stopped
from pipelines.drivers.kubevirt import objects
from pipelines.drivers.kubevirt.cluster import (
    ASKED,
    INSTANCE,
    KUBEVIRT,
    MACHINE,
    MIGRATION,
    NODES,
    Cluster,
    Declined,
    migration,
    path,
    split,
)
from pipelines.drivers.kubevirt.objects import OURS, Thing
from pipelines.settings import KubevirtSettings

HOSTNAME: Final = "kubernetes.io/hostname"
OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
"""The taint by which somebody says that a node is off for sure; Kubernetes then takes its pods and volumes away."""
CORDONED: Final = "foreshock.io/cordoned"
"""The annotation of nodes that were cordoned here, with the reason."""
ABORT_SECONDS: Final = 120.0
"""For how long an abort is waited for, after a migration has taken too long."""
CONFLICTS: Final = 5
"""How often a node that others change meanwhile is read again before it is given up."""


def opened(section: KubevirtSettings, _folder: Path) -> "Kubevirt":
    """The driver of the cluster that the settings name.

    Raises:
        SettingsError: there is no such context, or no kubeconfig.
    """
    try:
        api: ApiClient = config.new_client_from_config(  # type: ignore[no-untyped-call]
            context=section.context or None
        )
    except (ConfigException, OSError) as error:
        which = f'the context "{section.context}"' if section.context else "the current context"
        msg = f"drive.kubevirt: {which} of the kubeconfig cannot be used: {error}"
        raise SettingsError(msg) from error
    return Kubevirt(api, section)


class Kubevirt:
    """A `Driver` that asks a cluster's API, and looks again every second until it is done."""

    def __init__(self, api: ApiClient, section: KubevirtSettings, *, poll_seconds: float = 1.0) -> None:
        """A driver; the client is used by several threads."""
        self._cluster, self._section, self._poll_seconds = Cluster(api), section, poll_seconds

    def host_of(self, vm_id: str) -> str | None:
        """The node on which the instance runs or is paused; null: on none that is ready."""
        node = objects.node_of(self._cluster.find(path(INSTANCE, vm_id)))
        if node is None:
            return None
        found = self._cluster.find(f"{NODES}/{node}")
        return node if found is not None and objects.ready(found) else None

    def vms_on(self, host_id: str) -> list[str]:
        """The instances of all namespaces on a node that have not come to their end, in order of their ids."""
        self._cluster.node(host_id)
        found = self._cluster.all_of(f"{KUBEVIRT}/{INSTANCE}")
        here = [one for one in found if objects.status(one).get("nodeName") == host_id and not objects.over(one)]
        return sorted(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in here)

    def unmovable(self, vm_id: str) -> str | None:
        """The reason and message of the condition `LiveMigratable` where it is false, or null."""
        condition = objects.condition(self._cluster.instance(vm_id), "LiveMigratable")
        if condition is None or condition["status"] != "False":
            return None
        return ": ".join(filter(None, (condition.get("reason"), condition.get("message")))) or "LiveMigratable is False"

    def close(self, host_id: str, reason: str) -> None:
        """Cordon the node, and write the reason beside it; one that is cordoned stays as it is."""
        for _ in range(CONFLICTS):
            node = self._cluster.node(host_id)
            if node["spec"].get("unschedulable") or self._cluster.changed(node, {CORDONED: reason}, unschedulable=True):
                return
        raise _contended(host_id)

    def reopen(self, host_id: str) -> None:
        """Uncordon the node, unless somebody else has cordoned it."""
        for _ in range(CONFLICTS):
            node = self._cluster.node(host_id)
            ours = CORDONED in node["metadata"].get("annotations", {})
            if not ours or self._cluster.changed(node, {CORDONED: None}, unschedulable=None):
                return
        raise _contended(host_id)

    def migrate(self, vm_id: str, source: str, target: str | None, stop: Event) -> Moved:
        """Migrate the instance live, or watch the migration that is under way, until it has ended.

        A cluster whose KubeVirt knows no `addedNodeSelector` chooses the node itself. KubeVirt does not tell for how
        long the guest did not run: `pause_seconds` is 0, which is not shown.

        Raises:
            Impossible: it was refused or failed, and the instance runs on its source; `Stopped`, if it was aborted.
            ExecutorError: contact was lost, or the instance is not on its source.
        """
        instance = self._cluster.instance(vm_id)
        if objects.node_of(instance) != source:
            msg = f"the VM {vm_id} is on {objects.node_of(instance) or 'no node'}, no longer on {source}"
            raise ExecutorError(msg)
        known = [one for one in self._cluster.all_of(path(MIGRATION, vm_id, named=False)) if objects.of(one, instance)]
        name = next((str(one["metadata"]["name"]) for one in known if not objects.over(one)), None)
        if name is None:
            if stop.is_set():
                msg = f"called back before the VM {vm_id} began to move"
                raise Stopped(msg)
            name = self._begin(vm_id, objects.attempt(instance, source, known), target)
        return self._watch(vm_id, source, name, stop)

    def redeploy(self, vm_id: str, source: str, target: str | None) -> Moved:
        """Start the VM anew elsewhere: by a restart after the node is cordoned, or once a dead node has been fenced.

        The scheduler chooses the node, for a VM's own rules of placement are its owner's. `pause_seconds` is the time
        from the making of the new instance until it runs.

        Raises:
            Impossible: it was refused, the VM is stopped, or its node neither answers nor is known to be off.
            ExecutorError: contact was lost, or the VM does not run elsewhere yet, or came back to its source.
        """
        del target
        instance = self._cluster.find(path(INSTANCE, vm_id))
        node = objects.node_of(instance)
        if instance is not None and node not in (None, source):
            return objects.arrived(instance, source)
        alive, machine = self._may_end(vm_id, source), self._cluster.machine(vm_id)
        if instance is not None and node == source:
            if alive:
                self._restart(vm_id, machine, instance, source)
        elif instance is not None and not objects.over(instance):
            instance = None  # it is on its way up, so the old one is gone
        elif not objects.comes_by_itself(machine):
            self._start(vm_id, machine, instance, alive=alive)
        return self._anew(vm_id, source, instance)

    def pause(self, vm_id: str) -> None:
        """Pause the instance: its memory stays on the node."""
        self._stand(vm_id, "pause", still=True)

    def resume(self, vm_id: str) -> None:
        """Unpause the instance; virt-launcher asks the guest's agent to set the clock right."""
        self._stand(vm_id, "unpause", still=False)

    def shut(self) -> None:
        """Close the connections."""
        self._cluster.close()

    # Moves

    def _begin(self, vm_id: str, name: str, target: str | None) -> str:
        """The name of the migration, which is new, or was made under the same name by somebody just as far."""
        spec: dict[str, Any] = {"vmiName": split(vm_id)[1]}
        if target is not None:
            label = self._cluster.node(target)["metadata"].get("labels", {}).get(HOSTNAME)
            if label is None:
                msg = f"the node {target} has no label {HOSTNAME}, by which a migration is led there"
                raise Impossible(msg)
            spec["addedNodeSelector"] = {HOSTNAME: label}
        body = {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstanceMigration",
            "metadata": {"name": name},
            "spec": spec,
        }
        try:
            self._cluster.ask(f"to migrate {vm_id}", "POST", path(MIGRATION, vm_id, named=False), body)
        except Declined as error:
            if error.status != 409 or self._cluster.find(migration(vm_id, name)) is None:
                raise
        return name

    def _watch(self, vm_id: str, source: str, name: str, stop: Event) -> Moved:
        """Wait for a migration to end, deleting it, which aborts it, if it is called back or takes too long."""
        until, aborted, ours = time.monotonic() + self._section.timeout_seconds, False, name.startswith(OURS)
        while (found := self._cluster.find(migration(vm_id, name))) is not None and not objects.over(found):
            over = time.monotonic() - until
            if ours and not aborted and (over > 0 or stop.is_set()):
                self._abort(vm_id, name)
                aborted = True
                continue
            if over > ABORT_SECONDS or (over > 0 and not ours):
                msg = f"the VM {vm_id} has not arrived in {self._section.timeout_seconds:g} s, nor been held back"
                raise ExecutorError(msg)
            if aborted or stop.is_set():
                time.sleep(self._poll_seconds)
            else:
                stop.wait(self._poll_seconds)
        late = f"it was aborted after {self._section.timeout_seconds:g} s" if aborted and not stop.is_set() else None
        return self._ended(vm_id, source, found, late, aborted=aborted)

    def _ended(self, vm_id: str, source: str, found: Thing | None, late: str | None, *, aborted: bool) -> Moved:
        """Where the VM is after its migration has ended, or why it is still on its source."""
        instance = self._cluster.find(path(INSTANCE, vm_id))
        node, phase = objects.node_of(instance), objects.status(found).get("phase", "deleted")
        if instance is None or node is None:
            msg = f"the migration of the VM {vm_id} ended as {phase}, and the VM does not run; look at kubectl get vmi"
            raise ExecutorError(msg)
        if node != source:
            return Moved(node, pause_seconds=0.0)
        if phase == "Succeeded":
            msg = f"the migration of the VM {vm_id} ended as {phase}, and the VM is still said to be on {source}"
            raise ExecutorError(msg)
        if aborted and late is None:
            msg = f"the migration of the VM {vm_id} was aborted; it runs on {source}"
            raise Stopped(msg)
        msg = f"KubeVirt did not move the VM {vm_id}: {late or objects.why(found, instance)}"
        raise Impossible(msg)

    def _abort(self, vm_id: str, name: str) -> None:
        """Delete the migration; where it has ended meanwhile, there is nothing to abort."""
        try:
            self._cluster.ask(f"to abort the migration of {vm_id}", "DELETE", migration(vm_id, name))
        except Declined as error:
            if error.status not in (404, 409):
                raise ExecutorError(str(error)) from error  # it goes on

    def _may_end(self, vm_id: str, source: str) -> bool:
        """Whether the source answers; if not, it must be fenced."""
        node = self._cluster.node(source)
        if objects.ready(node):
            return True
        if not any(taint["key"] == OUT_OF_SERVICE for taint in node["spec"].get("taints", [])):
            msg = (
                f"the node {source} is not ready, but nobody has said that it is off, and the VM {vm_id} might still "
                f"run there; fence the node, then: kubectl taint nodes {source} {OUT_OF_SERVICE}=nodeshutdown:NoExecute"
            )
            raise Impossible(msg)
        return False

    def _restart(self, vm_id: str, machine: Thing, instance: Thing, source: str) -> None:
        """Ask for a restart, unless one is under way; the cordon keeps the VM from coming back."""
        self.close(source, f"VM {vm_id} is started anew elsewhere")
        if not objects.status(machine).get("stateChangeRequests") and "deletionTimestamp" not in instance["metadata"]:
            self._cluster.ask(f"to restart {vm_id}", "PUT", f"{path(MACHINE, vm_id, ASKED)}/restart", {})

    def _start(self, vm_id: str, machine: Thing, instance: Thing | None, *, alive: bool) -> None:
        """Start a VM that its dead node took down, and that is started by hand; any other is as its owner left it."""
        strategy = objects.strategy(machine)
        if alive or instance is None or strategy != "Manual":
            msg = f"the VM {vm_id} is stopped, and runs on no node; its run strategy is {strategy}"
            raise Impossible(msg)
        self._cluster.ask(f"to start {vm_id}", "PUT", f"{path(MACHINE, vm_id, ASKED)}/start", {})

    def _anew(self, vm_id: str, source: str, old: Thing | None) -> Moved:
        """Wait for another instance than the old one."""
        until = time.monotonic() + self._section.timeout_seconds
        while True:
            found = self._cluster.find(path(INSTANCE, vm_id))
            other = found is not None and (old is None or found["metadata"]["uid"] != old["metadata"]["uid"])
            if found is not None and other and (node := objects.node_of(found)) is not None:
                if node == source:
                    msg = f"the VM {vm_id} was started anew and came back to {source}"
                    raise ExecutorError(msg)
                return objects.arrived(found, source)
            if time.monotonic() > until:
                phase = objects.status(found).get("phase", "no instance")
                msg = f"the VM {vm_id} does not run elsewhere after {self._section.timeout_seconds:g} s: {phase}"
                raise ExecutorError(msg)
            time.sleep(self._poll_seconds)

    def _stand(self, vm_id: str, verb: str, *, still: bool) -> None:
        """Pause or unpause, and wait until the instance's condition says so."""
        if self._stands_still(self._cluster.instance(vm_id)) == still:
            return
        self._cluster.ask(f"to {verb} {vm_id}", "PUT", f"{path(INSTANCE, vm_id, ASKED)}/{verb}", {})
        until = time.monotonic() + self._section.timeout_seconds
        while (found := self._cluster.find(path(INSTANCE, vm_id))) is None or self._stands_still(found) != still:
            if found is None or time.monotonic() > until:
                state = "its condition has not changed since" if found else "it is gone"
                msg = f"the VM {vm_id} took the {verb}, and {state}"
                raise ExecutorError(msg)
            time.sleep(self._poll_seconds)

    @staticmethod
    def _stands_still(instance: Thing) -> bool:
        return objects.condition(instance, "Paused") is not None


def _contended(host_id: str) -> ExecutorError:
    return ExecutorError(f"the node {host_id} is changed by others all the time; it is tried again")
