"""Replaying a home: its own fleet, models trained on the way, nothing in it touched, and a kill made good."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from data.errors import UsageError
from pipelines import cli
from pipelines.replay.period import Period
from pipelines.settings import Settings
from pipelines.steps import replay as step
from tests.pipelines import nights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PERIOD = Period(nights.UNTIL - timedelta(days=12), nights.UNTIL - timedelta(days=1), every=4)
"""Within one month, so that one model is trained."""


@pytest.fixture(scope="module")
def settings(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A small simulated fleet, ingested."""
    return nights.copied(untrained, tmp_path_factory.mktemp("replayed") / "home")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where models and risks are kept, for all tests."""
    return tmp_path_factory.mktemp("cache")


def report(settings: Settings, cache: Path, tell: Callable[[str], None] = lambda _: None) -> Mapping[str, Any]:
    """A replay without the time it took."""
    want = step.asked(settings, PERIOD, None, None, "disk", "monthly")
    return {name: told for name, told in step.replay(settings, want, cache, tell).items() if name != "seconds"}


def test_a_replay_changes_no_file_of_the_home(
    settings: Settings, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command answers with every arm, and the home is byte for byte what it was."""
    monkeypatch.setenv("FORESHOCK_HOME", str(settings.home))
    before = nights.hashes(settings.home)
    dates = ["--from", str(PERIOD.first), "--to", str(PERIOD.last)]
    more = ["--retrain", "monthly", "--every", str(PERIOD.every), "--cache", str(cache)]
    assert cli.main(["replay", *dates, *more, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["air"]) >= set(step.ARMS)
    assert told["regret"]["value"] >= 0
    assert told["simulated"] is True
    assert told["placement"] == "inventory"
    assert nights.hashes(settings.home) == before


def test_a_killed_replay_that_is_run_again_gives_the_same(
    settings: Settings, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the second decision, and with half a file left behind, the next run ends as an undisturbed one."""
    calm = report(settings, cache)
    (tmp_path / "models").symlink_to(cache / "models")

    def die(night: str) -> None:
        if night == str(PERIOD.nights[5]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report(settings, tmp_path, die)
    kept = sorted(tmp_path.rglob("*.parquet"))
    assert kept
    kept[0].rename(kept[0].with_name(f"{kept[0].name}.part"))
    assert report(settings, tmp_path) == calm


def test_a_cache_in_the_home_is_refused(settings: Settings) -> None:
    """A replay does not touch the home, so its cache lies elsewhere."""
    with pytest.raises(UsageError, match="elsewhere"):
        report(settings, settings.home / "cache")


def test_days_that_are_not_held_are_refused(settings: Settings, cache: Path) -> None:
    """What became of days to come is not known."""
    later = Period(nights.UNTIL, nights.UNTIL + timedelta(days=30))
    with pytest.raises(UsageError, match="last day held"):
        step.replay(settings, step.asked(settings, later, None, None, "disk", "monthly"), cache)
