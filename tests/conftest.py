"""What every test may use: a home of its own, a ledger, and the real telemetry where it is present."""

import atexit
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.mlflow_server import MlflowServer
from tests.object_store import ObjectStore, object_store
from tests.postgres import ON_POSTGRESQL, Postgres, migrated, server

settings.register_profile("no deadline", deadline=None)  # how long one example takes says how busy the machine is
settings.load_profile("no deadline")

# DuckDB's binding ends a process with pages about its own reference counts, after the runner's closing line.
atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line has it: spinning threads starve each other

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


gc.set_threshold(50_000)  # as the command line has it


def pytest_collection_finish() -> None:
    """What was imported for all tests is not gone through again whenever garbage is looked for."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with what takes longest come first, so that none of them begins when all else is done."""
    holding = {mark: {item.path for item in items if item.get_closest_marker(mark)} for mark in ("heavy", "slow")}
    items.sort(key=lambda item: [item.path not in paths for paths in holding.values()])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty state folder."""
    return tmp_path / "home"


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real telemetry; skips the test, saying so, where it is absent."""
    if not REAL.is_dir():
        pytest.skip(f"no real telemetry at {REAL}")
    return REAL


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; skips the test, saying so, where it is not installed."""
    with server() as running:
        yield running


@pytest.fixture(scope="session")
def empty_ledger(postgres: Postgres) -> str:
    """The URL of an empty ledger on PostgreSQL, to copy."""
    return migrated(postgres)


@pytest.fixture(params=["sqlite", ON_POSTGRESQL])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a ledger with nothing in it, on each of the databases that can hold one."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    yield request.getfixturevalue("ledger_on_postgres")


@pytest.fixture
def ledger_on_postgres(postgres: Postgres, empty_ledger: str) -> Iterator[str]:
    """The URL of a ledger with nothing in it on PostgreSQL."""
    url = postgres.copy(empty_ledger)
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def mlflow_server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """An MLflow server whose records are in PostgreSQL."""
    started = MlflowServer(postgres.empty(), tmp_path_factory.mktemp("mlflow"))
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    """An S3 server with one bucket, for who has its environment."""
    with object_store() as running:
        yield running
