"""Killed with SIGKILL in the middle of a step: the next run ends in the same state as one that was never disturbed."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from decisions.ledger import Ledger
from models import registry
from tests.pipelines.nights import NIGHTS, TRAIN, command, copied, differences, night, state, warehouse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(champion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fleet with a champion and a night behind it, so that orders are under way and hosts watched."""
    home = tmp_path_factory.mktemp("trained") / "home"
    copied(champion, home)
    command(home, night(NIGHTS[0]))
    return home


@pytest.fixture(scope="module")
def undisturbed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The state after the second night, run without a kill."""
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    copied(trained, home)
    command(home, night(NIGHTS[1]))
    return state(home)


POINTS = {
    "ingest: in the transaction of a day": "data.frontier:Frontier.absorb:after:1",
    "ingest: before the inventory": "pipelines.steps.world:_take_picture:before:1",
    "ingest: before publishing": "data.warehouse:Warehouse.publish:before:1",
    "score: in the transaction": "data.warehouse:_inserted:after:4",
    "decide: in the transaction": "decisions.ledger.record:put_orders:after:1",
    "decide: after the transaction": "decisions.ledger:Ledger.record:after:1",
    "dispatch: after leasing": "decisions.ledger:Ledger.lease:after:1",
    "dispatch: before the executor has it": "pipelines.executors.simulated:Simulated.submit:before:1",
    "dispatch: after the executor has it": "pipelines.executors.simulated:Simulated.submit:after:1",
    "settle: between two answers": "decisions.ledger:Ledger.apply:after:1",
    "settle: before the mitigations": "data.warehouse:Warehouse.put_mitigations:before:1",
    "settle: after the mitigations": "data.warehouse:Warehouse.put_mitigations:after:1",
    "settle: between two episodes": "decisions.ledger:Ledger.close_episode:after:1",
}


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS.keys())
def test_a_killed_night_ends_like_an_undisturbed_one(
    point: str, trained: Path, undisturbed: dict[str, list[Any]], tmp_path: Path
) -> None:
    """Warehouse, ledger and the executor's world are equal, row for row: nothing is lost and nothing is done twice."""
    home = tmp_path / "home"
    copied(trained, home)
    assert command(home, night(NIGHTS[1]), kill=point) == -9
    command(home, night(NIGHTS[1]))
    assert differences(undisturbed, state(home)) == {}
    with Ledger(f"sqlite:///{home / 'ledger.db'}") as ledger:
        assert ledger.verify().ok


def test_a_second_night_of_the_same_day_changes_nothing(
    trained: Path, undisturbed: dict[str, list[Any]], tmp_path: Path
) -> None:
    """Repeating a finished night leaves every row as it was."""
    home = tmp_path / "home"
    copied(trained, home)
    command(home, [*night(NIGHTS[1]), *night(NIGHTS[1])])
    assert differences(undisturbed, state(home)) == {}


def test_dry_runs_write_nothing(trained: Path, tmp_path: Path) -> None:
    """After dry runs of decide and dispatch every file is the same, byte for byte, and there is no new one."""
    home = tmp_path / "home"
    copied(trained, home)
    day = NIGHTS[0].isoformat()
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    command(home, [["decide", "--dry-run", "--on", day], ["dispatch", "--dry-run", "--on", day]])
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert sorted(before) == sorted(after)
    assert [path for path in before if before[path] != after[path]] == []


def test_the_night_is_worth_killing(undisturbed: dict[str, list[Any]]) -> None:
    """The night of these tests really hands over orders, moves VMs, writes mitigations and closes episodes."""
    assert len(undisturbed["ledger.orders"]) > 2
    assert any(row[-1] is not None for row in undisturbed["ledger.episode"])
    assert len(undisturbed["published.duckdb.mitigation"]) > 1
    assert len({row[0] for row in undisturbed["world.work"]}) == len(undisturbed["ledger.orders"])


@pytest.mark.parametrize("point", ["models.learning:boost:before:1", "models.registry:_log_model:after:1"])
def test_a_killed_training_leaves_nothing_behind(point: str, untrained: Path, champion: Path, tmp_path: Path) -> None:
    """The next training is version 1, champion by its gates, and no run is left open."""
    killed = tmp_path / "killed"
    copied(untrained, killed)
    assert command(killed, TRAIN, kill=point) == -9
    command(killed, TRAIN)
    assert [(one.version, one.aliases) for one in registry.versions(killed, "disk")] == [
        (one.version, one.aliases) for one in registry.versions(champion, "disk")
    ]
    assert registry.load(killed, "disk") == registry.load(champion, "disk")
    with sqlite3.connect(killed / "mlflow.db") as con:
        assert con.execute("select count(*) from runs where status = 'RUNNING'").fetchone() == (0,)
    assert warehouse(killed) == warehouse(champion)
