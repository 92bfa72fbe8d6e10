"""Whole nights of a small fleet with the ledger on PostgreSQL and the models kept by an MLflow server, both real."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

from dashboards.app import create_app
from decisions.ledger import Ledger
from decisions.ledger.moving import copy
from models import registry
from models import store as stores
from pipelines import check
from pipelines.clock import end_of
from pipelines.settings import Settings, load
from tests.mlflow_server import MlflowServer
from tests.pipelines.nights import DRIVER, NIGHTS, TRAIN, command, copied, differences, night, state
from tests.postgres import Postgres
from tests.prefect_server import ask, prefect, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

KILL = "pipelines.executors.simulated:Simulated.submit:after:1"
"""While handing over, when the executor has the order and the ledger does not know it yet."""


def keep_at(home: Path, ledger: str, models: str) -> Settings:
    """The settings of a home whose ledger and models are kept there."""
    text = (
        f'home = "."\n[policy]\npath = "policy.toml"\n[ledger]\nurl = "{ledger}"\n[mlflow]\ntracking_uri = "{models}"\n'
    )
    (home / "foreshock.toml").write_text(text, encoding="utf-8")
    return load(home / "foreshock.toml")


@pytest.fixture(scope="module")
def first(
    untrained: Path, postgres: Postgres, mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """A home after its first night; the training before it was killed when its files had arrived, and repeated."""
    home = tmp_path_factory.mktemp("first") / "home"
    copied(untrained, home)
    settings = keep_at(home, postgres.empty(), mlflow_server.uri)
    before = len(registry.versions(settings.model_store, "disk"))
    assert command(home, TRAIN, kill="models.registry:_log_model:after:1") == -9
    assert len(registry.versions(settings.model_store, "disk")) == before
    command(home, TRAIN)
    (made, *_) = registry.versions(settings.model_store, "disk")
    stores.client(settings.model_store).set_registered_model_alias("foreshock-disk", "champion", made.version)
    command(home, night(NIGHTS[0]))
    return settings


@pytest.fixture
def second(first: Settings, postgres: Postgres, tmp_path: Path) -> Iterator[Settings]:
    """A copy of that home and of its ledger, for a second night."""
    home = tmp_path / "home"
    shutil.copytree(first.home, home)
    url = postgres.copy(first.ledger_url)
    yield keep_at(home, url, first.mlflow.tracking_uri)
    postgres.drop(url)


@pytest.fixture(scope="module")
def on_sqlite(first: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The state after the second night where its ledger is an SQLite file."""
    home = tmp_path_factory.mktemp("sqlite") / "home"
    shutil.copytree(first.home, home)
    settings = keep_at(home, "", first.mlflow.tracking_uri)
    Ledger(settings.ledger_url).close()
    copy(first.ledger_url, settings.ledger_url)
    command(home, night(NIGHTS[1]))
    return state(home)


def test_a_killed_training_leaves_no_open_run(first: Settings) -> None:
    """The run of the one that was killed is closed by the next training, on the server as at home."""
    client = stores.client(first.model_store)
    experiment = client.get_experiment_by_name("foreshock-disk")
    assert client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'") == []
    assert not (first.home / "mlflow.db").exists()


def test_a_night_comes_out_the_same_on_both_databases(second: Settings, on_sqlite: dict[str, list[Any]]) -> None:
    """Warehouse, ledger and the executor's world are equal, row for row; pages show it, the doctor finds no fault."""
    command(second.home, night(NIGHTS[1]))
    assert differences(on_sqlite, state(second.home)) == {}
    assert len(on_sqlite["ledger.orders"]) > 2
    with TestClient(create_app(second.home, second.ledger_url, settings=second), base_url="http://127.0.0.1") as client:
        shown, page = client.get("/v1/proposals").text, client.get("/").text
        assert client.get("/audit").status_code == 200
    with Ledger(second.ledger_url) as ledger:
        hosts = {each.proposal.host_id for each in ledger.proposals(end_of(NIGHTS[1]), cycle_id=newest(ledger))}
    assert all(host in shown for host in hosts)
    assert any(host in page for host in hosts)
    found = {(each.what, each.state) for each in check.examine(second)}
    assert {("model store", "ok"), ("ledger", "ok")} <= found


def newest(ledger: Ledger) -> str:
    """The id of the newest cycle."""
    return ledger.cycles(1)[0].cycle_id


def test_a_killed_night_ends_like_an_undisturbed_one(second: Settings, on_sqlite: dict[str, list[Any]]) -> None:
    """Killed and run again with the ledger on PostgreSQL: nothing is lost and nothing is done twice."""
    assert command(second.home, night(NIGHTS[1]), kill=KILL) == -9
    command(second.home, night(NIGHTS[1]))
    assert differences(on_sqlite, state(second.home)) == {}


def test_two_dispatchers_at_once_end_like_one(second: Settings, on_sqlite: dict[str, list[Any]]) -> None:
    """Two programs dispatch the same night at the same moment: each order is handed over once, all else is equal."""
    *before, dispatch, settle = night(NIGHTS[1])
    command(second.home, before)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FORESHOCK", "PREFECT"))}
    env |= {"FORESHOCK_HOME": str(second.home), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(DRIVER), "", " ".join(dispatch)]
    both = [subprocess.Popen(words, env=env, cwd=second.home, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    with Ledger(second.ledger_url) as ledger:
        assert {listed.attempts for listed in ledger.orders()} == {1}
    command(second.home, [settle])
    assert differences(on_sqlite, state(second.home)) == {}


def test_prefect_runs_the_night_with_its_own_records_on_postgresql(
    second: Settings, postgres: Postgres, on_sqlite: dict[str, list[Any]], tmp_path: Path
) -> None:
    """The deployment of the nightly cycle, run once by a worker of a real server: what comes of it is the same."""
    database = postgres.empty().replace("+psycopg", "+asyncpg")
    with serving(
        tmp_path, second.home, "run/nightly", PREFECT_API_DATABASE_CONNECTION_URL=database, OMP_NUM_THREADS="1"
    ) as env:
        prefect(env, "deployment", "run", "run/nightly", "--param", f"on={NIGHTS[1]}", "--watch")
        runs = ask(env, "/flow_runs/filter", {"flows": {"name": {"any_": ["run"]}}})
        assert [run["state"]["type"] for run in runs if not run["auto_scheduled"]] == ["COMPLETED"]
    engine = create_engine(database.replace("+asyncpg", "+psycopg"))
    with engine.connect() as con:
        assert con.execute(text("select count(*) from flow_run where state_type = 'COMPLETED'")).scalar_one() >= 1
    engine.dispose()
    assert differences(on_sqlite, state(second.home)) == {}
