"""The watch over the models: it measures, keeps, trains a challenger on an alarm, and never promotes one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb
import pytest

from data.errors import ModelError, UsageError
from models import registry, spec
from models.spec import DriftLimits, Spec
from pipelines import flows
from pipelines.check import examine
from pipelines.settings import Settings
from pipelines.steps import watch as watching
from pipelines.steps.ingest import open_warehouse
from pipelines.steps.score import score
from pipelines.steps.train import train
from pipelines.steps.watch import Watched, watch
from tests.pipelines import nights

pytestmark = pytest.mark.slow

KNOWN = nights.UNTIL - timedelta(days=10)
EASY = DriftLimits(psi=0.0, shifted_features=0.0, cooldown_days=8)
CALM = DriftLimits(psi=1e6, shifted_features=1.0, least_observed_ratio=0.0, most_observed_ratio=1e3)


@pytest.fixture(scope="module")
def settings(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A small simulated fleet with a champion that is ten days old."""
    made = nights.copied(untrained, tmp_path_factory.mktemp("watched") / "home")
    assert train(made, "disk", KNOWN).champion == "1"
    return made


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[str, DriftLimits]:
    """The limits in force, to be changed by a test."""
    chosen = {"now": EASY}
    real = spec.load

    def load(component: str, path: Path | None = None) -> Spec:
        from dataclasses import replace

        return replace(real(component, path), drift=chosen["now"])

    monkeypatch.setattr(spec, "load", load)
    return chosen


def _rows(settings: Settings) -> list[Any]:
    with duckdb.connect(str(settings.home / "published.duckdb"), read_only=True) as con:
        return con.execute("select * from drift order by all").fetchall()


def _only(settings: Settings) -> Watched:
    (seen,) = watch(settings, nights.UNTIL).models
    return seen


def test_a_calm_fleet_trains_nothing(settings: Settings, limits: dict[str, DriftLimits]) -> None:
    """Within every threshold the measures are kept, and that is all."""
    limits["now"] = CALM
    before = len(registry.versions(settings.home, "disk"))
    seen = _only(settings)
    assert (seen.alarms, seen.trained) == ((), None)
    assert len(registry.versions(settings.home, "disk")) == before
    made = registry.load(settings.model_store, "disk", "champion").feature_names
    assert {part for _, _, _, measure, part, *_ in _rows(settings) if measure == "feature_psi"} == set(made)


def test_a_failed_training_is_said_and_tried_again(
    settings: Settings, limits: dict[str, DriftLimits], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured stays, no version appears, and the sentence says what to do."""

    def refuse(*_: object, **__: object) -> None:
        msg = "too little history"
        raise ModelError(msg)

    with monkeypatch.context() as patched:
        patched.setattr(watching, "train", refuse)
        seen = _only(settings)
    assert seen.trained is None
    assert "could not be trained, the next watch tries again: too little history" in seen.why


def test_an_alarm_trains_one_challenger_and_promotes_none(
    settings: Settings, limits: dict[str, DriftLimits], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between measuring and training and run again, it ends as one run; a third run rests."""

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(watching, "train", die)
        with pytest.raises(KeyboardInterrupt):
            watch(settings, nights.UNTIL)
    kept = _rows(settings)
    seen = _only(settings)
    assert seen.trained == "2"
    assert _rows(settings) == kept
    newest = registry.versions(settings.home, "disk")[0]
    assert (newest.version, newest.trigger) == ("2", seen.alarms[0])
    assert registry.load(settings.home, "disk").version == "1"
    found = [one for one in examine(settings) if one.what == "drift"]
    assert [(one.state, seen.alarms[0] in one.says) for one in found] == [("wrong", True)]
    again = _only(settings)
    assert again.trained is None
    assert "none is trained within 8 days" in again.why


def test_others_write_while_a_challenger_is_trained(
    settings: Settings, limits: dict[str, DriftLimits], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Prefect, the watch has the turn of writers for what it keeps, and not for the hours of a training."""
    turn, taken = Lock(), []

    @contextmanager
    def concurrency(name: str, occupy: int) -> Iterator[None]:
        assert turn.acquire(timeout=5), "another has the turn"
        taken.append((name, occupy))
        yield
        turn.release()

    def meanwhile(*_: object, **__: object) -> None:
        flows._limited(_another_writer)(settings)
        msg = "too little history"
        raise ModelError(msg)

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setattr("prefect.concurrency.sync.concurrency", concurrency)
    monkeypatch.setattr(watching, "train", meanwhile)
    monkeypatch.setattr(registry, "versions", lambda *_: [])
    (seen,) = flows._limited(watch)(settings, nights.UNTIL).models
    assert "could not be trained" in seen.why
    assert taken == [("warehouse", 1)] * 2


def _another_writer(settings: Settings) -> None:
    with open_warehouse(settings) as warehouse:
        warehouse.publish()


def test_a_model_that_knows_the_day_is_left_alone(settings: Settings, limits: dict[str, DriftLimits]) -> None:
    """Nothing can have drifted since a day that is not over."""
    (seen,) = watch(settings, KNOWN).models
    assert seen.why.startswith("Nothing to measure: ")
    assert seen.trained is None


def test_a_steady_fleet_raises_no_alarm_about_its_hardware_or_its_risks(settings: Settings) -> None:
    """Ten more days of the same simulated fleet are the same machines, and risks still come true, as limits ship."""
    seen = _only(settings)
    assert not [sentence for sentence in seen.alarms if "hardware models" in sentence or "came" in sentence]


def test_training_without_a_date_ends_with_the_readings(untrained: Path, tmp_path: Path) -> None:
    """A history that ended long before the wall's clock is learned from to its end."""
    made = nights.copied(untrained, tmp_path / "home")
    wall = made.model_copy(update={"clock": made.clock.model_copy(update={"source": "wall"})})
    assert train(wall, "disk").until == nights.UNTIL


def test_training_knows_nothing_of_days_to_come(untrained: Path, tmp_path: Path) -> None:
    """A version that claimed to know days of which nothing is held could never be judged on them."""
    made = nights.copied(untrained, tmp_path / "home")
    with pytest.raises(UsageError, match=f"give --until {nights.UNTIL}"):
        train(made, "disk", nights.UNTIL + timedelta(days=1))
    assert not (made.home / "mlflow.db").exists()


def test_a_day_is_scored_once_and_a_fleet_that_fell_silent_is_said(
    champion: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A day that is named twice counts once; on a day with nobody to score the report says why."""
    made = nights.copied(champion, tmp_path / "home")
    once, twice = score(made, "disk", [nights.UNTIL]), score(made, "disk", [nights.UNTIL, nights.UNTIL])
    assert twice.asof_at == once.asof_at
    assert twice.entities == once.entities > 0
    assert score(made, "disk", [nights.UNTIL + timedelta(days=40)]).entities == 0
    assert f"is of {nights.UNTIL}: no drive counts as live" in caplog.text
