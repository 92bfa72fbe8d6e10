"""With a real Prefect server on loopback: the deployments register, and a scheduled run is created and finishes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.clock import end_of
from pipelines.settings import load
from pipelines.steps import simulate
from pipelines.steps.world import ingest_world
from tests.pipelines.nights import SPEC
from tests.prefect_server import ask, prefect, serving, wait

pytestmark = pytest.mark.slow

FORESHOCK = str(Path(sys.executable).with_name("foreshock"))
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
    with serving(folder, _small_home(folder / "home")) as env:
        yield env


def test_every_deployment_registers(server: dict[str, str]) -> None:
    """`prefect deploy --all` leaves each flow with its schedule, one run at a time, the second one cancelled."""
    flows = {flow["id"]: flow["name"] for flow in ask(server, "/flows/filter", {})}
    found = {f"{flows[one['flow_id']]}/{one['name']}": one for one in ask(server, "/deployments/filter", {})}
    assert found.keys() == DEPLOYED
    assert found["run/nightly"]["schedules"][0]["schedule"]["cron"] == "30 2 * * *"
    assert {one["global_concurrency_limit"]["limit"] for one in found.values()} == {1}
    assert {one["concurrency_options"]["collision_strategy"] for one in found.values()} == {"CANCEL_NEW"}


def test_a_single_command_reports_to_the_server(server: dict[str, str]) -> None:
    """With PREFECT_API_URL set, `foreshock ingest` is a flow run that the server knows."""
    said = _said(server, "ingest", "--on", SPEC.start.isoformat(), "--json", seconds=120)
    assert json.loads(said)["rows_loaded"] == 0
    runs = ask(server, "/flow_runs/filter", {"flows": {"name": {"any_": ["ingest"]}}})
    assert "COMPLETED" in {run["state"]["type"] for run in runs if not run["auto_scheduled"]}


def test_orders_are_handed_over_while_another_step_has_the_turn_of_writers(server: dict[str, str]) -> None:
    """A training, or whatever holds the warehouse, is nothing that dispatch waits for; what writes does."""
    turn = {"names": ["warehouse"], "slots": 1, "mode": "concurrency"}
    began = datetime.now(UTC).isoformat()

    def ingest_is(state: str) -> bool:
        runs = ask(server, "/task_runs/filter", {"task_runs": {"start_time": {"after_": began}}}) or []
        return [run["state"]["type"] for run in runs if run["name"].startswith("ingest")] == [state]

    ask(server, "/v2/concurrency_limits/increment", turn)
    with subprocess.Popen([FORESHOCK, "ingest", "--json"], env=server, cwd=server["FORESHOCK_HOME"]) as writing:
        try:
            wait(lambda: ingest_is("RUNNING"), 120, "ingest to begin")
            assert json.loads(_said(server, "dispatch", "--json", seconds=120))["sent"] == 0
            assert ingest_is("RUNNING")
        finally:
            ask(server, "/v2/concurrency_limits/decrement", turn)
        assert writing.wait(120) == 0
    wait(lambda: ingest_is("COMPLETED"), 30, "ingest to end")


def test_a_scheduled_run_is_created_and_finishes(server: dict[str, str]) -> None:
    """The scheduler makes a run of a deployment by itself, a worker takes it, and it ends completed with its report."""
    (flow,) = ask(server, "/flows/filter", {"flows": {"name": {"any_": ["settle"]}}})
    prefect(server, "deployment", "schedule", "create", "settle/hourly", "--interval", "30")

    def finished() -> bool:
        runs = ask(server, "/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}}})
        mine = [run for run in runs or [] if run["auto_scheduled"] and run["flow_id"] == flow["id"]]
        assert [run["state"]["message"] for run in mine if run["state"]["type"] == "FAILED"] == []
        return bool(mine)

    wait(finished, 240, "a scheduled run to finish")
    artifacts = ask(server, "/artifacts/filter", {})
    assert "settle" in {artifact["key"] for artifact in artifacts}


def _said(server: dict[str, str], *words: str, seconds: float) -> str:
    """What a command of ours says that reports to the server."""
    done = subprocess.run(
        [FORESHOCK, *words],
        env=server,
        cwd=server["FORESHOCK_HOME"],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds,
    )
    return done.stdout


def _small_home(home: Path) -> Path:
    home.mkdir()
    settings = load(home=home)
    simulate.fleet(settings, type(SPEC)(hosts=4, vms=12, days=2, start=SPEC.start))
    ingest_world(settings, end_of(SPEC.start))
    return home
