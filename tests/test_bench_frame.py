"""The jobs `frame` and `scoring` of the benchmarks run from nothing, and refuse a contestant that answers otherwise."""

from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest

from benchmarks import contest, drive_history, frame_contestants, scoring_day, training_frame
from benchmarks.bench import Places, section
from benchmarks.contest import BenchmarkError, Spent
from data.catalog import catalog
from features.history import WINDOW_DAYS
from tests.contestants import here

TINY = training_frame.Sizes(drives=120, days=150)


@pytest.mark.slow
def test_both_jobs_run_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without telemetry they simulate a history, say so, and name every ratio; all contestants give the same bytes."""
    monkeypatch.setattr(contest, "alone", here)
    places = Places(tmp_path / "absent", tmp_path, rounds=1)
    frame, scoring = training_frame.run(places, TINY), scoring_day.run(places, TINY)
    beside = {f"{kind}_vs_{peer}" for kind in ("training_frame", "training_frame_raw", "published_days")
              for peer in ("polars", "pandas", "windows")}  # fmt: skip
    to_scan = {f"training_frame{way}_vs_scan" for way in ("", "_raw", "_dense")}
    growth = {f"training_frame_growth{way}_vs_mlforecast" for way in ("", "_raw")}
    assert frame.ratios.keys() >= beside | to_scan | growth
    assert scoring.ratios.keys() == {"scoring_history_growth", "scoring_features_seconds", "scoring_all_seconds"}
    assert "histories are simulated" in section(frame)


def test_a_contestant_with_other_features_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cell that differs makes another digest, and with it no time counts."""
    ours = frame_contestants.digest([np.array([1, np.nan], np.float32)])()
    theirs = frame_contestants.digest([np.array([1, 0], np.float32)])()
    answers = iter([ours, ours, theirs])
    monkeypatch.setattr(contest, "alone", lambda *_: Spent(1.0, 1.0, 1, next(answers)))
    history = drive_history.History(tmp_path, 1, 1, 1)
    with pytest.raises(BenchmarkError, match="neither time counts"):
        training_frame._beside_peers(
            history, 1, training_frame._KEPT | {"polars": "benchmarks.frame_peers:with_polars"}
        )


def test_the_pass_over_days_is_what_looking_back_says() -> None:
    """Rises and means out of the ring are those of each drive's own rows, gaps and all."""
    rng = np.random.default_rng(7)
    rows = [(drive, day, float(rng.integers(0, 50))) for drive in range(3) for day in range(110) if rng.random() < 0.8]
    held = {(drive, day): value for drive, day, value in rows}
    with duckdb.connect() as con:
        con.execute("create table disk_day (entity_key integer, day date, smart_194_raw bigint)")
        con.executemany(
            "insert into disk_day values (?, date '1970-01-01' + ?::integer, ?)",
            sorted(rows, key=lambda row: row[1]),
        )
        asked = [(drive, day) for drive, day, _ in rows if day > 90]
        keys, days = (np.array(column, np.int32) for column in zip(*asked, strict=True))
        made = frame_contestants._streamed(con, ["smart_194_raw"], keys, days)
    for (drive, day), got in zip(asked, made, strict=True):
        last = [held.get((drive, day - back), np.nan) for back in range(91)]
        expected = [last[0] - last[window] for window in WINDOW_DAYS]
        expected += [float(np.nanmean(last[:window])) for window in WINDOW_DAYS]
        np.testing.assert_allclose(got, np.array(expected, np.float32), rtol=1e-6)


def test_the_simulated_history_has_what_is_measured(tmp_path: Path) -> None:
    """Some counters move, some drives fail, and every drive is asked about in whole weeks."""
    held = drive_history.history(tmp_path / "h", drive_history.simulated(tmp_path / "files", 40, 40))
    asked = drive_history.question(held.folder)
    assert frame_contestants.filled(held.folder) == ["smart_5", "smart_187", "smart_197"]
    assert held.drives == 40
    assert held.pairs > 0
    assert {(later - sooner).days for sooner, later in zip(asked.days, asked.days[1:], strict=False)} == {7}
    assert asked.days[0] > date(2015, 1, 1)
    assert set(catalog("disk").columns) >= {"smart_9_raw"}
