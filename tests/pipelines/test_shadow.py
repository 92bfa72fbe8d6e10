"""A challenger is scored beside the champion every night, and nothing is ever decided on it."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from pipelines import cycle
from pipelines.cycle import CycleReport
from pipelines.settings import Settings
from pipelines.steps import promote
from pipelines.steps.train import train
from tests.pipelines import nights

pytestmark = pytest.mark.slow


def _told(home: Path) -> Mapping[str, int]:
    with duckdb.connect(str(home / "published.duckdb"), read_only=True) as con:
        return dict(con.execute("select model_version, count(*) from risk group by 1 order by 1").fetchall())


def test_the_challenger_is_told_and_not_believed(champion: Path, tmp_path: Path) -> None:
    """Both versions' risks are stored, the decision is the champion's; with the setting off only it is told."""
    settings = nights.copied(champion, tmp_path / "home")
    again = train(settings, "disk", nights.UNTIL - timedelta(days=7))
    assert (again.version, again.champion) == ("2", "1")
    lit: CycleReport = cycle.run(settings, nights.NIGHTS[0])
    assert [(one.model_version, one.shadow) for one in lit.score] == [("1", False), ("2", True)]
    told = _told(settings.home)
    assert told["1"] == told["2"] > 0
    assert lit.decide.model_version == "1"
    dark: Settings = settings.model_copy(update={"models": settings.models.model_copy(update={"shadow": False})})
    assert [one.model_version for one in cycle.run(dark, nights.NIGHTS[1]).score] == ["1"]
    assert _told(settings.home)["2"] == told["2"]
    gates = promote.gates(settings, "disk", "2")
    assert gates[-1].name == "holds_in_shadow"
    assert "0 nights that are over" in gates[-1].sentence
    assert gates[-1].passed
