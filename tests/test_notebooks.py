"""The notebooks run from their first cell to their last on a small simulated fleet, and show their figures."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jupytext
import pytest
from nbclient import NotebookClient

from data.simulator.fleet import FleetSpec
from data.snapshots import read
from models import registry, spec, train
from pipelines.clock import end_of
from pipelines.settings import Settings
from pipelines.steps import simulate
from pipelines.steps.world import ingest_world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
PICTURES = {
    "which_features_carry": 1,
    "is_it_calibrated": 2,
    "another_alert_budget": 1,
    "challenger_against_champion": 1,
    "has_the_fleet_drifted": 1,
    "why_was_this_flagged": 1,
}
SPEC = FleetSpec(hosts=60, vms=100, days=130, acceleration=60, dimms_per_host=0, gpus_per_host=0, disks_per_host=8)


@pytest.fixture(scope="module", autouse=True)
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with a model that has three weeks left to be judged on, which the notebooks find in FORESHOCK_HOME."""
    home = tmp_path_factory.mktemp("notebooks") / "home"
    settings = Settings(home=home)
    simulate.fleet(settings, SPEC)
    ingest_world(settings, end_of(SPEC.start + timedelta(days=SPEC.days - 1)))
    disk = spec.load("disk")
    light = replace(disk, rounds=60, boosters=1, threads=1, raw=replace(disk.raw, trees=20))
    with read(home) as con:
        fitted = train.fit(con, light, SPEC.start + timedelta(days=75))
    registry.log(home, fitted, simulated=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORESHOCK_HOME", str(home))
        yield home


def test_every_notebook_is_run_here() -> None:
    """None is added without being run."""
    assert {path.stem for path in NOTEBOOKS.glob("*.py")} == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_a_notebook_runs_and_shows_its_figures(name: str, tmp_path: Path) -> None:
    """Every code cell is executed, none of them fails, and the pictures that answer its question are there."""
    notebook: Any = jupytext.read(NOTEBOOKS / f"{name}.py")
    NotebookClient(notebook, timeout=1000, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    shown = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(shown) == PICTURES[name]
    assert all(len(output["data"]["image/png"]) > 5_000 for output in shown)
