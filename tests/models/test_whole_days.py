"""A day counts only if it has been seen for a whole horizon: else only its failures would be known."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.contracts import FAILURES, STAYS
from data.errors import ModelError
from data.warehouse import Warehouse
from features import build
from models import examples, holdout, learning, spec
from models.calibrate import Calibration
from models.examples import Fate
from models.predictor import Predictor

START = datetime(2016, 1, 1, tzinfo=UTC)
UNTIL = date(2016, 3, 31)
LAST = UNTIL - timedelta(days=30)


@pytest.fixture
def quiet_evening(tmp_path: Path) -> Iterator[Warehouse]:
    """Sixty GPUs, one of which fails each second day at noon, so that the news ends before the last day does."""
    with Warehouse.open(tmp_path) as warehouse:
        names = [f"g{number:03d}" for number in range(60)]
        stay = {"component": "gpu", "model": "K20X", "valid_from": START, "valid_until": None}
        warehouse.put_stays(pa.Table.from_pylist([stay | {"entity_id": n, "host_id": f"of {n}"} for n in names], STAYS))
        noons = [START + timedelta(days=2 * number, hours=12) for number in range(1, 46)]
        rows = [
            {"component": "gpu", "entity_id": name, "failed_at": noon, "ingested_at": noon, "cause": "dbe"}
            for name, noon in zip(names, noons, strict=False)
        ]
        warehouse.put_failures(pa.Table.from_pylist(rows, FAILURES))
        yield warehouse


def test_a_day_whose_horizon_was_not_seen_teaches_nothing(quiet_evening: Warehouse) -> None:
    """Its failures alone would teach that whatever was new that day foretells one; the days before have both kinds."""
    gpu = replace(spec.load("gpu"), negative_share=1.0)
    with pytest.raises(ModelError, match="none of 0 rows"):
        learning.learning_rows(quiet_evening.con, gpu, [LAST], 30, UNTIL)
    week = [LAST - timedelta(days=back) for back in (14, 7, 0)]
    learned = learning.learning_rows(quiet_evening.con, gpu, week, 30, UNTIL)
    assert learned.failed.size == build.spine(quiet_evening.con, "gpu", week[:2]).num_rows
    assert 0 < learned.failed.mean() < 1


def test_a_day_whose_horizon_was_not_seen_calibrates_nothing(quiet_evening: Warehouse) -> None:
    """Maps are fitted to the days that were seen to their end alone; where there is none, that is said."""
    gpu = spec.load("gpu")
    learned = learning.learning_rows(
        quiet_evening.con, gpu, [LAST - timedelta(days=back) for back in (21, 14)], 30, UNTIL
    )
    draft = Predictor("gpu", "draft", "2016-03-31", gpu, learned.names, learning.boost(learned, gpu), Calibration(()))
    held = holdout.gather(quiet_evening.con, draft, [LAST - timedelta(days=7), LAST], UNTIL, None)
    assert set(held.seen_for(30).day.tolist()) == {0}
    assert set(held.seen_for(7).day.tolist()) == {0, 1}
    with pytest.raises(ModelError, match="has been seen for 30 days"):
        holdout.gather(quiet_evening.con, draft, [LAST], UNTIL, None)


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 60)), min_size=1, max_size=30))
def test_rows_asked_together_count_together(rows: list[tuple[int, float]]) -> None:
    """All rows of a moment count or none does, and they do if half of them were seen for the horizon."""
    moment = np.array([each for each, _ in rows])
    seen = np.array([days for _, days in rows])
    nothing = np.full(len(rows), np.nan)
    kept = examples.on_whole_days(moment, Fate(nothing, seen, nothing), 30)
    for each in set(moment.tolist()):
        assert set(kept[moment == each].tolist()) == {bool((seen[moment == each] >= 30).mean() >= 0.5)}


def test_a_day_of_which_the_end_has_come_in_part_does_not_count() -> None:
    """Those that failed say nothing of how many were seen to live: one drive in twenty is not enough."""
    seen, failed = np.array([30.0] * 5 + [29.0] * 95 + [3.0] * 50), np.array([np.nan] * 100 + [3.0] * 50)
    fate = Fate(failed, seen, np.full(150, np.nan))
    assert not examples.on_whole_days(np.zeros(150), fate, 30).any()
    assert examples.on_whole_days(np.zeros(150), fate, 29).all()
