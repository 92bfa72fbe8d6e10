"""A cluster in memory behind a real socket: it keeps the documented objects, and moves them on as KubeVirt does.

Each look at a migration or an instance takes it one phase further. It is no KubeVirt: what it does not know, a test
with it cannot find.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

START = datetime(2026, 11, 1, 2, tzinfo=UTC)
PHASES = ("Pending", "Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running")
HOSTNAME = "kubernetes.io/hostname"
NAMESPACED = re.compile(r"/apis/kubevirt\.io/v1/(?:namespaces/([^/]+)/)?([a-z]+)(?:/([^/]+))?")
SUBRESOURCE = re.compile(r"/apis/subresources\.kubevirt\.io/v1/namespaces/([^/]+)/([a-z]+)/([^/]+)/([a-z]+)")
NODE = re.compile(r"/api/v1/nodes/([^/]+)")


class Refusal(Exception):
    """A Status object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.body = code, {"kind": "Status", "code": code, "reason": reason, "message": message}


@dataclass
class FakeCluster:
    """Nodes, machines, instances and migrations, and what is to go wrong with them."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """By kind and `namespace/name`."""
    fails: dict[str, str] = field(default_factory=dict)
    """Names of instances whose migrations fail while they run, and why."""
    stuck: set[str] = field(default_factory=set)
    """Names of instances whose migrations never come to an end by themselves."""
    prunes: bool = False
    """Whether the cluster's KubeVirt is too old to know `addedNodeSelector`."""
    before: list[tuple[str, str, Callable[[], None]]] = field(default_factory=list)
    after: list[tuple[str, str, Callable[[], None]]] = field(default_factory=list)
    """What is done once before or after a request of a method to a path that holds a text."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    lock: threading.RLock = field(default_factory=threading.RLock)

    def node(self, name: str, *, ready: bool = True, **spec: Any) -> None:
        """A node; its host name is its name in capitals, as it may be."""
        metadata = {"name": name, "labels": {HOSTNAME: name.upper()}, "annotations": {}}
        conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
        self.put("nodes", name, {"metadata": metadata, "spec": spec, "status": {"conditions": conditions}})

    def vm(self, vm_id: str, node: str | None, strategy: str = "Always", *, bare: bool = False) -> None:
        """A machine with an instance that runs on the node, or without one."""
        if not bare:
            self.put("virtualmachines", vm_id, {"metadata": {}, "spec": {"runStrategy": strategy}, "status": {}})
        if node is not None:
            conditions = [{"type": "LiveMigratable", "status": "True"}]
            status = {"phase": "Running", "nodeName": node, "conditions": conditions}
            self.put("virtualmachineinstances", vm_id, {"metadata": {}, "spec": {}, "status": status})

    def put(self, kind: str, key: str, thing: dict[str, Any]) -> dict[str, Any]:
        """Keep an object, which gets what every object has."""
        namespace, _, name = key.rpartition("/")
        thing["metadata"] |= {"name": name, "uid": f"uid-{next(self.numbers)}", "resourceVersion": "1"}
        thing["metadata"] |= {"namespace": namespace} if namespace else {}
        thing["metadata"].setdefault("creationTimestamp", f"{START:%Y-%m-%dT%H:%M:%SZ}")
        self.objects[kind, key] = thing
        return thing

    def instance(self, vm_id: str) -> dict[str, Any]:
        """The instance of a VM."""
        return self.objects["virtualmachineinstances", vm_id]

    def migrations(self) -> list[dict[str, Any]]:
        """All migrations there are."""
        return [thing for (kind, _), thing in self.objects.items() if kind == "virtualmachineinstancemigrations"]

    def answer(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        """What the API answers."""
        if found := SUBRESOURCE.fullmatch(path):
            return self._subresource(f"{found[1]}/{found[3]}", found[2], found[4])
        if found := NODE.fullmatch(path):
            return self._node(method, found[1], body)
        if not (found := NAMESPACED.fullmatch(path)):
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        namespace, kind, name = found.groups()
        if name is None and method == "GET":
            return 200, self._page(kind, namespace, query)
        if name is None:
            return 201, self._migrate(namespace, body)
        key = (kind, f"{namespace}/{name}")
        if method == "DELETE":
            self._known(key)["metadata"]["deletionTimestamp"] = "now"
            return 200, {"kind": "Status"}
        self._go_on(key)
        return 200, self._known(key)

    def _known(self, key: tuple[str, str]) -> dict[str, Any]:
        if key not in self.objects:
            raise Refusal(404, "NotFound", f'{key[0]}.kubevirt.io "{key[1]}" not found')
        return self.objects[key]

    def _page(self, kind: str, namespace: str | None, query: str) -> dict[str, Any]:
        """One object a page, so that clients must turn it."""
        held = [thing for (its, key), thing in self.objects.items() if its == kind]
        held = [thing for thing in held if namespace in (None, thing["metadata"]["namespace"])]
        at = int((re.search(r"continue=(\d+)", query) or [0, 0])[1])
        more = {"continue": str(at + 1)} if at + 1 < len(held) else {}
        return {"metadata": more, "items": held[at : at + 1]}

    def _node(self, method: str, name: str, body: Any) -> tuple[int, Any]:
        node = self._known(("nodes", name))
        if method == "PATCH":
            if body["metadata"].pop("resourceVersion") != node["metadata"]["resourceVersion"]:
                raise Refusal(409, "Conflict", "the object has been modified; please apply your changes to the latest")
            _merge(node, body)
            node["metadata"]["resourceVersion"] = str(int(node["metadata"]["resourceVersion"]) + 1)
        return 200, node

    def _migrate(self, namespace: str, body: Any) -> dict[str, Any]:
        """The admission webhooks, and then a new migration."""
        name, vm_id = body["metadata"]["name"], f"{namespace}/{body['spec']['vmiName']}"
        kind = "virtualmachineinstancemigrations"
        if (kind, f"{namespace}/{name}") in self.objects:
            raise Refusal(409, "AlreadyExists", f'{kind}.kubevirt.io "{name}" already exists')
        instance = self.instance(vm_id)
        if instance["status"]["conditions"][0]["status"] == "False":
            message = "Cannot migrate VMI, Reason: DisksNotLiveMigratable, Message: PVC disk is not shared"
            raise Refusal(422, "Invalid", message)
        if self.prunes:
            body["spec"].pop("addedNodeSelector", None)
        return self.put(kind, f"{namespace}/{name}", {**body, "status": {}})

    def _subresource(self, vm_id: str, kind: str, verb: str) -> tuple[int, Any]:
        thing = self._known((kind, vm_id))
        if verb in {"pause", "unpause"}:
            conditions = thing["status"]["conditions"]
            paused = [one for one in conditions if one["type"] == "Paused"]
            if bool(paused) == (verb == "pause"):
                raise Refusal(409, "Conflict", f"VMI is already {verb}d")
            thing["status"]["conditions"] = [one for one in conditions if one not in paused]
            if verb == "pause":
                thing["status"]["conditions"].append({"type": "Paused", "status": "True", "reason": "PausedByUser"})
        elif verb == "restart":
            if thing["spec"]["runStrategy"] in {"Halted", "Once"}:
                raise Refusal(409, "Conflict", "RunStategy Halted does not support manual restart requests")
            thing["status"]["stateChangeRequests"] = [{"action": "Stop"}, {"action": "Start"}]
            self.instance(vm_id)["metadata"]["deletionTimestamp"] = "now"
        else:
            thing["status"]["stateChangeRequests"] = [{"action": "Start"}]
            self.objects.pop(("virtualmachineinstances", vm_id), None)
        return 202, None

    def _go_on(self, key: tuple[str, str]) -> None:
        if key[0] == "virtualmachineinstancemigrations" and key in self.objects:
            self._migration_goes_on(key)
        elif key[0] == "virtualmachineinstances":
            self._instance_goes_on(key)

    def _migration_goes_on(self, key: tuple[str, str]) -> None:
        """The next phase, by the controller; what is deleted is aborted, and then its finalizer is taken away."""
        migration = self.objects[key]
        status, name = migration["status"], migration["spec"]["vmiName"]
        instance = self.instance(f"{migration['metadata']['namespace']}/{name}")
        if status.get("phase") in {"Succeeded", "Failed"}:
            if "deletionTimestamp" in migration["metadata"]:
                del self.objects[key]
        elif "deletionTimestamp" in migration["metadata"]:
            self._end(migration, instance, failed=True, abortRequested=True, abortStatus="Succeeded")
        elif status.get("phase") != "Running":
            target = self._scheduled(instance, migration["spec"].get("addedNodeSelector", {}))
            if status.get("phase") != "Scheduling" or target is not None:
                status["phase"] = PHASES[PHASES.index(status["phase"]) + 1] if "phase" in status else PHASES[0]
                instance["status"]["migrationState"] = {
                    "migrationUid": migration["metadata"]["uid"],
                    "sourceNode": instance["status"]["nodeName"],
                    "targetNode": target,
                    "startTimestamp": f"{START:%Y-%m-%dT%H:%M:%SZ}",
                }
        elif name in self.fails:
            self._end(migration, instance, failed=True, failureReason=self.fails[name])
        elif name not in self.stuck:
            instance["status"]["nodeName"] = instance["status"]["migrationState"]["targetNode"]
            self._end(migration, instance, failed=False)

    def _end(self, migration: dict[str, Any], instance: dict[str, Any], *, failed: bool, **told: Any) -> None:
        state = instance["status"].setdefault("migrationState", {"migrationUid": migration["metadata"]["uid"]})
        state |= {"completed": True, "failed": failed, "endTimestamp": f"{START:%Y-%m-%dT%H:%M:%SZ}", **told}
        migration["status"] |= {"phase": "Failed" if failed else "Succeeded", "migrationState": dict(state)}

    def _instance_goes_on(self, key: tuple[str, str]) -> None:
        """A deleted instance goes, and its machine makes another, which is scheduled and runs."""
        instance, machine = self.objects.get(key), self.objects.get(("virtualmachines", key[1]))
        if instance is not None and "deletionTimestamp" in instance["metadata"]:
            del self.objects[key]
        elif instance is not None and instance["status"]["phase"] == "Scheduling":
            target = self._scheduled(instance, {})
            if target is not None:
                ran = f"{START + timedelta(seconds=9):%Y-%m-%dT%H:%M:%SZ}"
                times = [{"phase": "Running", "phaseTransitionTimestamp": ran}]
                instance["status"] |= {"phase": "Running", "nodeName": target, "phaseTransitionTimestamps": times}
        elif instance is None and machine is not None and machine["status"].get("stateChangeRequests"):
            machine["status"].clear()
            status = {"phase": "Scheduling", "conditions": [{"type": "LiveMigratable", "status": "True"}]}
            self.put(*key, {"metadata": {}, "spec": {}, "status": status})

    def _scheduled(self, instance: dict[str, Any], labels: dict[str, str]) -> str | None:
        for (kind, name), node in self.objects.items():
            fits = kind == "nodes" and labels.items() <= node["metadata"]["labels"].items()
            free = (
                fits and not node["spec"].get("unschedulable") and node["status"]["conditions"][0]["status"] == "True"
            )
            if free and name != instance["status"].get("nodeName"):
                return name
        return None

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The address of the API."""
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def _handle(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"null")
                path, _, query = self.path.partition("?")
                with cluster.lock:
                    cluster.asked.append((self.command, path))
                    try:
                        cluster.happen(cluster.before, self.command, path)
                        code, told = cluster.answer(self.command, path, query, body)
                        cluster.happen(cluster.after, self.command, path)
                    except Refusal as refusal:
                        code, told = refusal.code, refusal.body
                    except ConnectionError:
                        self.close_connection = True
                        return
                    text = b"" if told is None else json.dumps(told).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - names of http.server

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
            yield f"http://127.0.0.1:{server.server_address[1]}"
            server.shutdown()

    def happen(self, events: list[tuple[str, str, Callable[[], None]]], method: str, path: str) -> None:
        """Do what is to be done at this request, once."""
        for event in [event for event in events if event[0] == method and event[1] in path]:
            events.remove(event)
            event[2]()


def dropped() -> None:
    """The connection breaks."""
    raise ConnectionError


def refused(code: int, reason: str, message: str) -> Callable[[], None]:
    """The API refuses."""

    def refuse() -> None:
        raise Refusal(code, reason, message)

    return refuse


def _merge(thing: dict[str, Any], patch: dict[str, Any]) -> None:
    """A JSON merge patch (RFC 7396)."""
    for key, value in patch.items():
        if value is None:
            thing.pop(key, None)
        elif isinstance(value, dict):
            _merge(thing.setdefault(key, {}), value)
        else:
            thing[key] = value
