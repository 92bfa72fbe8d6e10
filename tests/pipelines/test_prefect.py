"""With a real Prefect server on loopback: the deployments register, and a scheduled run is created and finishes."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from pipelines.clock import end_of
from pipelines.settings import load
from pipelines.steps import simulate
from pipelines.steps.world import ingest_world
from tests.pipelines.nights import SPEC

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PREFECT = str(Path(sys.executable).with_name("prefect"))
DEPLOYED = {
    "run/nightly",
    "ingest/hourly",
    "train/weekly",
    "watch/daily",
    "decide/on-demand",
    "dispatch/every-five-minutes",
    "settle/hourly",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a running server with a work pool, a worker and a home that has a small fleet."""
    folder = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FORESHOCK", "PREFECT"))}
    env |= {
        "FORESHOCK_HOME": str(_small_home(folder / "home")),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "DO_NOT_TRACK": "1",
    }
    with ExitStack() as stack:
        stack.enter_context(_process([PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)], env))
        _wait(lambda: _ask(env, "/health") is True, 180, "the server to answer")
        _prefect(env, "work-pool", "create", "foreshock", "--type", "process")
        _prefect(env, "gcl", "create", "warehouse", "--limit", "1")
        _prefect(env, "--no-prompt", "deploy", "--all")
        stack.enter_context(_process([PREFECT, "worker", "start", "--pool", "foreshock"], env))
        yield env


def test_every_deployment_registers(server: dict[str, str]) -> None:
    """`prefect deploy --all` leaves each flow with its schedule, one run at a time, the second one cancelled."""
    flows = {flow["id"]: flow["name"] for flow in _ask(server, "/flows/filter", {})}
    found = {f"{flows[one['flow_id']]}/{one['name']}": one for one in _ask(server, "/deployments/filter", {})}
    assert found.keys() == DEPLOYED
    assert found["run/nightly"]["schedules"][0]["schedule"]["cron"] == "30 2 * * *"
    assert {one["global_concurrency_limit"]["limit"] for one in found.values()} == {1}
    assert {one["concurrency_options"]["collision_strategy"] for one in found.values()} == {"CANCEL_NEW"}


def test_a_scheduled_run_is_created_and_finishes(server: dict[str, str]) -> None:
    """The scheduler makes a run of a deployment by itself, a worker takes it, and it ends completed with its report."""
    (flow,) = _ask(server, "/flows/filter", {"flows": {"name": {"any_": ["settle"]}}})
    _prefect(server, "deployment", "schedule", "create", "settle/hourly", "--interval", "30")

    def finished() -> bool:
        runs = _ask(server, "/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}}})
        mine = [run for run in runs or [] if run["auto_scheduled"] and run["flow_id"] == flow["id"]]
        assert [run["state"]["message"] for run in mine if run["state"]["type"] == "FAILED"] == []
        return bool(mine)

    _wait(finished, 240, "a scheduled run to finish")
    artifacts = _ask(server, "/artifacts/filter", {})
    assert "settle" in {artifact["key"] for artifact in artifacts}


def test_a_single_command_reports_to_the_server(server: dict[str, str]) -> None:
    """With PREFECT_API_URL set, `foreshock ingest` is a flow run that the server knows."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("foreshock")), "ingest", "--on", SPEC.start.isoformat(), "--json"],
        env=server,
        cwd=server["FORESHOCK_HOME"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["rows_loaded"] == 0
    runs = _ask(server, "/flow_runs/filter", {"flows": {"name": {"any_": ["ingest"]}}})
    assert "COMPLETED" in {run["state"]["type"] for run in runs if not run["auto_scheduled"]}


def _small_home(home: Path) -> Path:
    home.mkdir()
    settings = load(home=home)
    simulate.fleet(settings, type(SPEC)(hosts=4, vms=12, days=2, start=SPEC.start))
    ingest_world(settings, end_of(SPEC.start))
    return home


@contextmanager
def _process(command: list[str], env: dict[str, str]) -> Iterator[None]:
    started = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(timeout=30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def _prefect(env: dict[str, str], *words: str) -> None:
    done = subprocess.run([PREFECT, *words], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _ask(env: dict[str, str], path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(env["PREFECT_API_URL"] + path, data, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
            return json.loads(response.read())
    except (URLError, TimeoutError, ConnectionError):
        return None


def _wait(done: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(1)
