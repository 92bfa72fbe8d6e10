"""The job `ingest` of the benchmarks runs from nothing, and counts no time of a contestant that answers otherwise."""

from pathlib import Path

import pytest

from benchmarks import contest, drive_files, ingest, ingest_peers
from benchmarks.bench import Places, section
from benchmarks.contest import BenchmarkError
from data.warehouse import Warehouse
from tests.contestants import here

TINY = ingest.Sizes(drives=40, days=3, year_days=5, fleet=60, fleet_days=3)


@pytest.mark.slow
def test_the_job_runs_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without real telemetry it simulates days of its own, says so, and names every ratio; homes are made as always."""
    monkeypatch.setenv("FORESHOCK_HOME", str(tmp_path))  # one of the contestants sets it for itself
    monkeypatch.setattr(contest, "alone", here)
    found = ingest.run(Places(tmp_path / "absent", tmp_path, rounds=1), TINY)
    assert found.ratios.keys() >= {
        "ingest_vs_parse", "ingest_day_growth", "ingest_day_growth_after_year", "primary_key_vs_ingest",
        "ingest_vs_pandas", "runs_upkeep_seconds",
    }  # fmt: skip
    assert "3 simulated daily files of 40 drives" in section(found)


def test_changes_other_than_those_of_pandas_are_refused(tmp_path: Path) -> None:
    """The days and changes of the sample pass as loaded, and no longer once a total is off by one."""
    files = drive_files.simulated(tmp_path / "days", 40, 0, 20)
    home = tmp_path / "home"
    assert ingest_peers.foreshock(str(home), "", *map(str, files))() == {"rows": 800, "set_aside": 0}
    ingest.check(home, files)
    with Warehouse.open(home) as warehouse:
        warehouse.con.execute("update disk_current set smart_5_changes = smart_5_changes + 1")
    with pytest.raises(BenchmarkError, match="look at SIM0000000"):
        ingest.check(home, files)


def test_a_contestant_that_holds_other_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that drops what it should keep ends the job before any time counts."""
    answers = iter([{"rows": 2}, {"rows": 2}, {"rows": 2}, {"rows": 2}, {"rows": 1}])
    monkeypatch.setattr(contest, "alone", lambda *_: contest.Spent(1.0, 1.0, 1, next(answers)))
    monkeypatch.setattr(ingest, "PARSERS", {})
    monkeypatch.setattr(ingest, "LOADERS", {})
    with pytest.raises(BenchmarkError, match="answers rows = 1, foreshock ingest 2: neither time counts"):
        ingest.compare(tmp_path, [tmp_path / "day.csv"], [tmp_path / "day.csv"], rounds=1)
