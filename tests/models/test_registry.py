"""The registry: versions, aliases, gates, one step back."""

import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pytest

from data.errors import ModelError, Refused
from models import registry
from models.measure import Measured
from models.train import Trained
from models.tune import Tried, Tuned


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, trained: Trained) -> Path:
    """A store with one version, registered by `log`."""
    folder = tmp_path_factory.mktemp("home")
    registry.log(folder, trained)
    return folder


def test_the_first_version_that_passes_its_gates_is_champion(home: Path) -> None:
    """Without a champion the first passing version becomes it, and is challenger too."""
    assert registry.versions(home, "disk")[-1].aliases[0] == "challenger" or registry.load(home, "disk").version == "1"
    assert registry.load(home, "disk", "champion").version == "1"


def test_a_loaded_predictor_predicts_the_same_bits(
    home: Path, trained: Trained, world: tuple[pa.Table, object]
) -> None:
    """Text and JSON lose nothing on the way through the store."""
    table = world[0]
    np.testing.assert_array_equal(registry.load(home, "disk").predict(table), trained.predictor.predict(table))


def test_mlflow_serves_the_same_risks(home: Path, trained: Trained, world: tuple[pa.Table, object]) -> None:
    """The models-from-code model agrees with ours to the last few bits."""
    registry.versions(home, "disk")
    served = mlflow.pyfunc.load_model("models:/foreshock-disk@champion")
    frame = world[0].select(list(trained.predictor.feature_names)).to_pandas().astype(float)
    np.testing.assert_allclose(served.predict(frame).to_numpy(), trained.predictor.predict(world[0]), rtol=1e-9)


def test_the_run_keeps_what_a_reviewer_needs(home: Path, trained: Trained) -> None:
    """Metrics, hashes, model card and plots are with the run."""
    entry = registry.versions(home, "disk")[-1]
    run = mlflow.MlflowClient(registry.store_uri(home)).get_run(entry.run_id)
    assert run.data.metrics["average_precision"] == pytest.approx(trained.metrics["average_precision"])
    assert run.data.tags["sql_sha256"] == "1" * 64
    assert {f"horizon/{days}d/average_precision" for days in (1, 3, 7, 14, 30)} <= set(run.data.metrics)
    assert {"slice/model/M1/average_precision", "slice/model/M2/over_rival"} <= set(run.data.metrics)
    folder = mlflow.artifacts.download_artifacts(run_id=entry.run_id)
    names = {path.name for path in Path(folder).rglob("*") if path.is_file()}
    assert "| model M1 |" in next(Path(folder).rglob("model_card.md")).read_text(encoding="utf-8")
    assert {"model_card.md", "precision_recall.png", "calibration.png", "lead_time.png"} <= names


def test_a_search_is_kept_with_the_run(home: Path, trained: Trained) -> None:
    """Every trial is a row of a table beside the model, and the card says that its parameters were searched for."""
    tried = (Tried(0, {"rounds": 2}, (0.1, 0.2), False, 1.0), Tried(1, {"rounds": 9}, (0.3, 0.4), False, 1.0))
    found = Tuned(trained.predictor.spec, tried, 1, Measured(0.2, 0.1, 0.3))
    run_id = registry.log(home, replace(trained, tuned=found)).run_id
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run_id))
    assert (folder / "trials.csv").read_text(encoding="utf-8").splitlines()[
        2
    ] == "1,0.35000,0.30000 0.40000,False,1.0,9"
    assert "best of 2 tried" in (folder / "model_card.md").read_text(encoding="utf-8")
    run = mlflow.MlflowClient(registry.store_uri(home)).get_run(run_id)
    assert run.data.metrics["tune_over_untuned_low"] == 0.1
    assert run.data.params["tune_trials"] == "2"


def test_promotion_and_one_step_back(home: Path, trained: Trained) -> None:
    """A promoted version replaces the champion; rollback restores it, and the first champion has none before it."""
    second = registry.log(home, trained)
    assert registry.load(home, "disk").version == "1"
    assert registry.promote(home, "disk", second.version).replaced == "1"
    assert registry.load(home, "disk").version == second.version
    assert registry.rollback(home, "disk").champion == "1"
    with pytest.raises(Refused, match="first champion"):
        registry.rollback(home, "disk")


def test_a_failed_gate_keeps_a_version_out(home: Path, trained: Trained) -> None:
    """Promotion is refused with the sentence of the gate that failed, and the champion stays."""
    before = registry.load(home, "disk").version
    weak = replace(trained, metrics={**trained.metrics, "rule_average_precision": 0.99})
    logged = registry.log(home, weak)
    assert [gate.name for gate in logged.gates if not gate.passed] == ["beats_rule"]
    with pytest.raises(Refused, match=r"the rule's 0\.99"):
        registry.promote(home, "disk", logged.version)
    assert registry.load(home, "disk").version == before


def test_a_run_that_was_killed_leaves_nothing_to_load(
    home: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Death before the version is made changes no alias; the next training makes the next version."""
    before = registry.versions(home, "disk")

    def die(one: Trained) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(registry, "_log_model", die)
        with pytest.raises(KeyboardInterrupt):
            registry.log(home, trained)
    assert registry.versions(home, "disk") == before
    assert int(registry.log(home, trained).version) == int(before[0].version) + 1


def test_an_unknown_version_names_those_that_exist(home: Path) -> None:
    """Asking for what is not there says what is."""
    with pytest.raises(ModelError, match=r"no disk model '99' \(versions: 1"):
        registry.load(home, "disk", "99")


def test_a_home_that_was_moved_still_has_its_models(home: Path, tmp_path: Path) -> None:
    """The champion loads from a copy of the home after the first one is gone."""
    away, moved = tmp_path / "away", tmp_path / "moved"
    shutil.copytree(home, moved)
    home.rename(away)
    try:
        assert registry.load(moved, "disk").booster_text == registry.load(moved, "disk", "1").booster_text
    finally:
        away.rename(home)
