"""Models that a real MLflow server keeps, with its records in PostgreSQL and its files in a folder."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.errors import ModelError, Refused, RegistryError
from models import registry
from models import store as stores
from models.store import Store
from models.train import Trained
from pipelines import check
from pipelines.settings import MlflowSettings, Settings
from pipelines.steps.train import champion
from tests.mlflow_server import MlflowServer

pytestmark = pytest.mark.slow


@pytest.fixture
def store(mlflow_server: MlflowServer, tmp_path: Path) -> Store:
    """The server's store, as a machine sees it whose home is empty."""
    return Store(tmp_path, mlflow_server.uri)


def test_a_model_goes_its_way_through_a_server(
    store: Store, trained: Trained, world: tuple[pa.Table, object], tmp_path: Path
) -> None:
    """Trained, promoted, loaded on another machine to the last bit, and rolled back; the home stays empty."""
    first, second = registry.log(store, trained), registry.log(store, trained)
    registry.promote(store, "disk", first.version)
    assert registry.promote(store, "disk", second.version).replaced == first.version
    elsewhere = Store(tmp_path / "elsewhere", store.server)
    loaded = registry.load(elsewhere, "disk")
    assert loaded.version == second.version
    np.testing.assert_array_equal(loaded.predict(world[0]), trained.predictor.predict(world[0]))
    assert registry.rollback(elsewhere, "disk").champion == first.version
    assert registry.load(store, "disk").version == first.version
    assert {"champion"} <= set(registry.versions(store, "disk")[1].aliases)
    weak = registry.log(store, replace(trained, metrics={**trained.metrics, "rule_average_precision": 0.99}))
    with pytest.raises(Refused, match=r"the rule's 0\.99"):
        registry.promote(store, "disk", weak.version)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_files_that_are_gone_are_named(store: Store, trained: Trained, mlflow_server: MlflowServer) -> None:
    """The server knows the version and has lost its files: the error says so, and nothing is made up."""
    version = registry.log(store, trained).version
    client = stores.client(store)
    model_id = client.get_model_version("foreshock-disk", version).source.removeprefix("models:/")
    for folder in (mlflow_server.folder / "files").rglob(model_id):
        shutil.rmtree(folder)
    with pytest.raises((ModelError, RegistryError)):
        registry.load(store, "disk", version)


def test_a_server_that_is_away_is_no_fleet_without_a_model(
    store: Store, trained: Trained, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for the champion gets an error, not none; the doctor says so; afterwards all is as before."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings = Settings(home=store.home, mlflow=MlflowSettings(tracking_uri=store.server))
    before = registry.log(store, trained)
    mlflow_server.stop()
    try:
        with pytest.raises(RegistryError, match="cannot be used"):
            champion(settings, "disk")
        with pytest.raises(RegistryError, match="cannot be used"):
            registry.log(store, trained)
        (finding,) = check._models(settings)
        assert (finding.what, finding.state) == ("model store", "wrong")
    finally:
        mlflow_server.start()
    assert registry.versions(store, "disk")[0].version == before.version
    found = {each.what: each for each in check._models(settings)}
    assert found["model store"].says == f"MLflow at {store.server}"
