"""The API of a cluster: objects as JSON, and refusals in the cluster's own words."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from kubernetes.client import ApiClient, ApiException
from urllib3.exceptions import HTTPError

from data.errors import ExecutorError
from pipelines.drivers import Impossible
from pipelines.drivers.kubevirt.objects import Thing

NODES: Final = "/api/v1/nodes"
KUBEVIRT: Final = "/apis/kubevirt.io/v1"
ASKED: Final = "/apis/subresources.kubevirt.io/v1"
INSTANCE, MACHINE, MIGRATION = "virtualmachineinstances", "virtualmachines", "virtualmachineinstancemigrations"
REFUSALS: Final = frozenset({400, 403, 404, 405, 409, 422})
"""What the API answers when it will not; after any other error it may have begun."""
PAGE: Final = 500
REQUEST_SECONDS: Final = (5.0, 30.0)
"""To connect, and to hear more of an answer."""
NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class Declined(Impossible):
    """The API said no, with an HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        """The sentence, and the status."""
        super().__init__(message)
        self.status = status


class Cluster:
    """What is asked of the API; several threads may ask at once."""

    def __init__(self, api: ApiClient) -> None:
        """A cluster, as the client's configuration reaches it."""
        self._api = api

    def close(self) -> None:
        """Close the connections."""
        self._api.close()  # type: ignore[no-untyped-call]

    def changed(self, node: Thing, annotations: Mapping[str, str | None], *, unschedulable: bool | None) -> bool:
        """Whether the node was changed; not if somebody else changed it since it was read."""
        metadata = {"annotations": annotations, "resourceVersion": node["metadata"]["resourceVersion"]}
        body = {"metadata": metadata, "spec": {"unschedulable": unschedulable}}
        name = node["metadata"]["name"]
        try:
            self.ask(f"to change the node {name}", "PATCH", f"{NODES}/{name}", body, kind="merge-patch+json")
        except Declined as error:
            if error.status == 409:
                return False
            raise
        return True

    def node(self, host_id: str) -> Thing:
        """The node; one that is not there is `Impossible`, as are instances and machines below."""
        found = self.find(f"{NODES}/{checked(host_id)}")
        if found is None:
            msg = f"the cluster knows no node {host_id}; host ids of the inventory must be names of nodes"
            raise Impossible(msg)
        return found

    def instance(self, vm_id: str) -> Thing:
        """The VirtualMachineInstance."""
        found = self.find(path(INSTANCE, vm_id))
        if found is None:
            msg = f"there is no instance of the VM {vm_id}: it is stopped, or gone"
            raise Impossible(msg)
        return found

    def machine(self, vm_id: str) -> Thing:
        """The VirtualMachine, which makes instances."""
        found = self.find(path(MACHINE, vm_id))
        if found is None:
            msg = f"{vm_id} is an instance without a VirtualMachine: nothing would start it anew"
            raise Impossible(msg)
        return found

    def all_of(self, path: str) -> list[Thing]:
        """All of them, page by page."""
        found: list[Thing] = []
        going = ""
        while True:
            query = [("limit", str(PAGE)), *([("continue", going)] if going else [])]
            page = self.ask(f"for {path}", "GET", path, query=query)
            found += page["items"]
            going = page["metadata"].get("continue", "")
            if not going:
                return found

    def find(self, path: str) -> Thing | None:
        """The object, or null; not to be allowed to look says nothing of the VM."""
        try:
            found: Thing = self.ask(f"for {path}", "GET", path)
        except Declined as error:
            if error.status == 404:
                return None
            raise ExecutorError(str(error)) from error
        return found

    def ask(
        self,
        what: str,
        method: str,
        path: str,
        body: Thing | None = None,
        *,
        kind: str = "json",
        query: list[tuple[str, str]] | None = None,
    ) -> Any:
        """The answer; what the cluster refuses is `Declined`, and what it did not hear or finish `ExecutorError`."""
        heads = {"Accept": "application/json", "Content-Type": f"application/{kind}"}
        try:
            request = self._api.param_serialize(
                method, path, query_params=query, header_params=heads, body=body, auth_settings=["BearerToken"]
            )
            answer = self._api.call_api(*request, _request_timeout=REQUEST_SECONDS)
            answer.read()  # type: ignore[no-untyped-call]
        except (ApiException, HTTPError, OSError) as error:
            msg = f"the cluster was asked {what}, and did not answer: {error}"
            raise ExecutorError(msg) from error
        if answer.status < 300:
            return json.loads(answer.data) if answer.data else None
        msg = f"the cluster was asked {what}, and answered {answer.status}: {_said(answer.data)}"
        raise Declined(msg, answer.status) if answer.status in REFUSALS else ExecutorError(msg)


def split(vm_id: str) -> tuple[str, str]:
    """The namespace and the name that a VM's id is made of."""
    namespace, slash, name = vm_id.partition("/")
    if not slash:
        msg = f"the VM {vm_id} is not called NAMESPACE/NAME, as the inventory of a KubeVirt cluster must have it"
        raise Impossible(msg)
    return checked(namespace), checked(name)


def checked(name: str) -> str:
    """The name, if objects may be called so."""
    if not NAME.fullmatch(name):
        msg = f"{name!r} is no name of an object in Kubernetes"
        raise Impossible(msg)
    return name


def path(plural: str, vm_id: str, group: str = KUBEVIRT, *, named: bool = True) -> str:
    """The path of a VM's object of that kind, or of all of its kind in its namespace."""
    namespace, name = split(vm_id)
    return f"{group}/namespaces/{namespace}/{plural}" + (f"/{name}" if named else "")


def migration(vm_id: str, name: str) -> str:
    """The path of a migration of the VM."""
    return f"{path(MIGRATION, vm_id, named=False)}/{name}"


def _said(data: bytes | None) -> str:
    """The message of a Status object, or the beginning of whatever else came."""
    text = (data or b"").decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:300] or "nothing more"
