"""A cloud of Nova's own code in another process, for the tests of one module."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

ENVIRONMENT: Final = Path(os.environ.get("FORESHOCK_NOVA_ENV", Path(__file__).parents[3] / ".nova-venv"))
HOSTS: Final = ("host1", "host2", "host3")
IMAGES: Final = ("a2459075-d96c-40d5-893e-577ff92e721c", "155d900f-4e14-4e4c-a73d-069cbf4541e6")
"""Two of those that the stub of glance has; the second has a property, its architecture."""


@dataclass(frozen=True)
class Site:
    """Where Nova answers, and what a test does behind its back."""

    url: str
    connection: Any

    def server(self, host: str, name: str = "vm", *, flavor: str = "m1.tiny", image: str = IMAGES[0]) -> str:
        """A new server that runs on a host."""
        compute = self.connection.compute
        made = compute.create_server(
            name=name, flavor_id=compute.find_flavor(flavor).id, image_id=image, networks="none", host=host
        )
        return str(compute.wait_for_server(made, interval=0.1, wait=60).id)

    def host(self, vm_id: str) -> str:
        """Where Nova's database has the server."""
        return str(self._ask("GET", "servers")[vm_id]["host"])

    def meet(self, vm_id: str, **how: object) -> None:
        """Let the hypervisors meet the server's live migrations so: `refuses`, `fails`, or takes `seconds`."""
        self._ask("POST", "hypervisor", vm=vm_id, **how)

    def migrations(self, vm_id: str) -> list[str]:
        """Where Nova's migrations of the server stand, the latest first."""
        return [str(one.status) for one in self.connection.compute.migrations(server_id=vm_id)]

    def clear(self) -> None:
        """Delete all servers, and let all hosts take new ones."""
        for service in list(self.connection.compute.services(binary="nova-compute")):
            self.connection.compute.enable_service(service)
        for one in list(self.connection.compute.servers(all_projects=True)):
            self.connection.compute.delete_server(one)
            self.connection.compute.wait_for_delete(one, interval=0.1, wait=30)

    def force_down(self, host: str) -> None:
        """Say that the host is fenced."""
        self.connection.compute.update_service_forced_down(None, host, "nova-compute", forced=True)

    @contextmanager
    def silent(self, host: str) -> Iterator[None]:
        """The host's service does not report."""
        self._ask("POST", f"silence/{host}")
        yield
        self._ask("POST", f"wake/{host}")

    def until(self, vm_id: str, state: str) -> None:
        """Wait until Nova says that the server is in that state."""
        eventually(lambda: self.connection.compute.get_server(vm_id).status == state)

    def _ask(self, method: str, route: str, **query: object) -> Any:
        request = Request(f"{self.url}/control/{route}?{urlencode(query)}", method=method)  # noqa: S310 - loopback
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def running() -> Iterator[Site]:
    """The cloud, until the test is over; skips the test, saying so, where Nova is not installed."""
    pytest.importorskip("openstack", reason="the extra nova is not installed: make test-hypervisors")
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no Nova at {ENVIRONMENT}: make test-hypervisors")
    serve = [str(python), str(Path(__file__).with_name("nova_cloud.py")), *HOSTS]
    with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = json.loads(process.stdout.readline())["url"]
            yield Site(url, connect(url))
        finally:
            process.stdin.close()
            process.wait(timeout=30)


def connect(url: str) -> Any:
    """A connection to the cloud there."""
    import openstack

    return openstack.connect(load_yaml_config=False, load_envvars=False, **credentials(url))


def credentials(url: str) -> dict[str, Any]:
    """What `clouds.yaml` says of it."""
    endpoint = f"{url}/v2.1"
    return {
        "auth_type": "admin_token",
        "auth": {"endpoint": endpoint, "token": "any"},
        "compute_endpoint_override": endpoint,
    }


def eventually(holds: Any, seconds: float = 60.0) -> None:
    """Wait until it holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.1)
