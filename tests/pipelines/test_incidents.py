"""Incidents by the command, on a fleet with a planted cause: named, with evidence, and nothing is written."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from data.simulator.fleet import FleetSpec
from data.simulator.plants import parse
from pipelines.cli import main
from pipelines.settings import load
from pipelines.steps import simulate
from pipelines.steps.world import ingest_world

PLANT = "power_feed=sim-f001*40@20"
SPEC = FleetSpec(
    hosts=180,
    vms=180,
    days=40,
    disks_per_host=6,
    dimms_per_host=2,
    gpus_per_host=0,
    flaw_factor=1,
    planted=(parse(PLANT),),
)
LAST = SPEC.start + timedelta(days=SPEC.days - 1)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the whole of a small fleet whose power feed sim-f001 goes bad on day 20; no model."""
    home = tmp_path_factory.mktemp("planted")
    (home / "foreshock.toml").write_text('home = "."\n', encoding="utf-8")
    settings = load(home / "foreshock.toml")
    simulate.fleet(settings, SPEC)
    ingest_world(settings, SPEC.start_at + timedelta(days=SPEC.days))
    return home


def ask(home: Path, capfd: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, object]]:
    """The command's exit code and its JSON."""
    code = main(["incidents", *argv, "--json", "--config", str(home / "foreshock.toml")])
    return code, json.loads(capfd.readouterr().out)


@pytest.mark.slow
def test_the_planted_cause_is_named_with_its_evidence(fleet: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The feed leads, its hosts are those of the ground truth, and the answer says that it is simulated."""
    before = sorted(path.name for path in fleet.iterdir())
    code, report = ask(fleet, capfd, "--on", LAST.isoformat())
    (planted,) = json.loads((fleet / "simulated" / "planted.json").read_text(encoding="utf-8"))
    incident = report["incidents"][0]
    assert code == 0
    assert incident["factors"][0]["shared"] == [["power_feed", planted["shared"]["power_feed"]]]
    assert {*incident["hosts_affected"], *incident["hosts_at_stake"]} <= set(planted["hosts"])
    assert incident["first_at"] >= planted["from_at"]
    assert (incident["kind"], incident["simulated"]) == ("facility", True)
    assert sorted(path.name for path in fleet.iterdir()) == before


@pytest.mark.slow
def test_before_the_cause_nothing_is_named(fleet: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Asked as of the day before, the same warehouse knows nothing of it."""
    code, report = ask(fleet, capfd, "--on", str(SPEC.start + timedelta(days=19)))
    assert (code, report["incidents"]) == (0, [])


@pytest.mark.slow
@pytest.mark.parametrize(("argv", "expected"), [(["--component", "engine"], 2), (["--on", str(date(2020, 1, 1))], 2)])
def test_a_question_without_an_answer_says_what_to_do(
    fleet: Path, capfd: pytest.CaptureFixture[str], argv: list[str], expected: int
) -> None:
    """A kind of part that is not there, and a time in which nothing was watched."""
    code, report = ask(fleet, capfd, *argv)
    assert code == expected
    assert report["error"]
