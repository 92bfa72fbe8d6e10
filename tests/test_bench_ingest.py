"""The job `ingest` of the benchmarks runs from nothing, and counts no time of a contestant that answers otherwise."""

from pathlib import Path

import pytest

from benchmarks import drive_files, ingest
from benchmarks.bench import Places, section
from benchmarks.contest import BenchmarkError

TINY = ingest.Sizes(drives=40, days=3, year_days=5, fleet=60, fleet_days=3)


@pytest.mark.slow
def test_the_job_runs_from_nothing(tmp_path: Path) -> None:
    """Without real telemetry it simulates days of its own, says so, and names every ratio."""
    found = ingest.run(Places(tmp_path / "absent", tmp_path, rounds=1), TINY)
    assert found.ratios.keys() >= {
        "ingest_vs_parse", "ingest_day_growth", "ingest_day_growth_after_year", "primary_key_vs_ingest",
        "ingest_vs_pandas", "runs_upkeep_seconds",
    }  # fmt: skip
    assert "3 simulated daily files of 40 drives" in section(found)


def test_a_contestant_that_answers_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that holds fewer rows than the others ends the job."""
    files = drive_files.simulated(tmp_path / "days", TINY.drives, 0, 2)
    monkeypatch.setattr(ingest, "PARSERS", {})
    monkeypatch.setattr(ingest, "LOADERS", {"forgetful": "arrow_parse_but_one"})
    monkeypatch.setattr(ingest, "_PEERS", "tests.test_bench_ingest")
    with pytest.raises(BenchmarkError, match="forgetful answers rows = 40, .* 80: neither time counts"):
        ingest.compare(tmp_path, files, rounds=1)
