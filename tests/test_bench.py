"""The benchmarks run from end to end, at a small share of their size."""

from pathlib import Path

import pytest

from benchmarks import curves, night, placement
from benchmarks.bench import SCALE, Places, section

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A hundredth of the size, one round."""
    monkeypatch.setenv(SCALE, "0.01")
    return Places(tmp_path, tmp_path, 1)


def test_placing_is_measured_beside_its_bound(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both amounts of room have a gap to the linear bound, and a row for each method."""
    monkeypatch.setattr(placement, "HIGHS_SECONDS", 1.0)
    found = placement.run(places, 2)
    assert all(found.ratios[name].middle >= 0 for name in ("placement_gap_slack", "placement_gap_tight"))
    assert section(found).count("\n| ") == 1 + 2 * (len(placement.METHODS) + 2)
