"""The benchmarks run from end to end, at a small share of their size."""

from pathlib import Path

import pytest

from benchmarks import curves, night, placement
from benchmarks.bench import SCALE, Places, section

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A hundredth of the size, one round."""
    monkeypatch.setenv(SCALE, "0.01")
    return Places(tmp_path, tmp_path, 1)


@pytest.mark.slow
def test_placing_is_measured_beside_its_bound(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both amounts of room have a gap to the linear bound, and a row for each method."""
    monkeypatch.setattr(placement, "HIGHS_SECONDS", 1.0)
    found = placement.run(places, 2)
    assert all(found.ratios[name].middle >= 0 for name in ("placement_gap_slack", "placement_gap_tight"))
    assert section(found).count("\n| ") == 1 + 2 * (len(placement.METHODS) + 2)


@pytest.mark.heavy
def test_a_night_tells_the_share_of_each_stage(places: Places) -> None:
    """From an empty folder: a fleet in copies, a champion, a night with orders or without, and what each stage took."""
    found = night.run(places)
    stages = {row[0] for row in found.rows}
    assert stages >= {"ingest", "settle", "score", "decide", "dispatch", "settle, after", "of these: publish"}
    assert found.ratios.keys() == {"night_minutes", "night_cpu_minutes", "night_vs_scan"}
    assert found.peak_bytes["the night"] > 0


@pytest.mark.heavy
def test_curves_have_a_point_for_each_history_and_fleet(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lengths of history and two fleets: a row for each and each kind of work, and a picture of the fleets."""
    monkeypatch.setattr(curves, "HISTORY_DAYS", (20, 40))
    found = curves.run(places)
    assert len(found.rows) == 2 * (len(curves.DAILY) + len(curves.NIGHTLY))
    assert found.ratios.keys() == {"history_growth", "fleet_growth_exponent"}
    assert found.picture is not None
    assert {len(points) for points in found.picture.curves.values()} == {2}
