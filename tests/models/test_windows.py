"""The forward split: a gap of the label's horizon, and windows that shrink sensibly."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import ModelError
from data.snapshots import empty
from models import windows
from models.spec import Spec, load

DISK = replace(load("disk"), not_before=None)
FIRST = date(2026, 1, 1)


@given(st.integers(51, 900), st.sampled_from([7, 14, 30]), st.integers(7, 200), st.integers(1, 30))
def test_no_label_reaches_over_a_border(days: int, rank: int, calibration: int, every: int) -> None:
    """Labels learned from are known before the later window asks; all labels are known by `until`."""
    spec = replace(DISK, rank_horizon_days=rank, calibration_days=calibration, snapshot_every_days=every)
    until = FIRST + timedelta(days=days)
    made = windows.plan(spec, FIRST, until)
    gap = timedelta(days=made.rank_horizon_days)
    assert made.fit_days[0] >= FIRST
    assert made.fit_days[-1] + gap <= made.calibration_days[0]
    assert made.calibration_days[-1] + timedelta(days=30) <= until
    assert made.rank_horizon_days <= rank


@given(st.integers(51, 900), st.integers(1, 30))
def test_the_newest_days_go_on_as_the_window_does(days: int, every: int) -> None:
    """They follow it at its own pace, up to the last day whose week is known by `until`."""
    until = FIRST + timedelta(days=days)
    made = windows.plan(replace(DISK, snapshot_every_days=every), FIRST, until)
    asked = (*made.calibration_days, *made.newest_days)
    steps = {(after - before).days for before, after in pairwise(asked)}
    (step,) = steps
    assert windows.LEVEL_DAYS <= (until - asked[-1]).days < windows.LEVEL_DAYS + step


def test_three_years_use_the_spec_as_it_stands() -> None:
    """Weekly snapshots, the full calibration window and the chosen horizon."""
    made = windows.plan(DISK, FIRST, FIRST + timedelta(days=1000))
    assert made.rank_horizon_days == DISK.rank_horizon_days
    assert made.fit_days[1] - made.fit_days[0] == timedelta(days=7)
    span = (made.calibration_days[-1] - made.calibration_days[0]).days
    assert DISK.calibration_days - 7 <= span <= DISK.calibration_days


def test_seventy_five_days_are_enough() -> None:
    """A short history is asked about more often, with a shorter later window."""
    made = windows.plan(DISK, FIRST, FIRST + timedelta(days=75))
    assert len(made.fit_days) >= 8
    assert len(made.calibration_days) >= 4


@pytest.mark.parametrize("rank", [7, 14, 30])
def test_too_little_history_says_how_many_days_are_needed(rank: int) -> None:
    """Thirty for the label, seven for the gap, fourteen to learn and calibrate."""
    spec = replace(DISK, rank_horizon_days=rank)
    windows.plan(spec, FIRST, FIRST + timedelta(days=51))
    with pytest.raises(ModelError, match=r"50 days of history .* at least 51 are needed"):
        windows.plan(spec, FIRST, FIRST + timedelta(days=50))


def test_an_end_before_the_first_day_names_the_first_day() -> None:
    """No negative length of history; where the spec cuts the history off, it says so."""
    with pytest.raises(ModelError, match="until 2025-12-31: the first day held is 2026-01-01; choose a later --until"):
        windows.plan(DISK, FIRST, FIRST - timedelta(days=1))
    with pytest.raises(ModelError, match="its spec learns from nothing before 2026-06-01"):
        windows.plan(replace(DISK, not_before=date(2026, 6, 1)), FIRST, date(2026, 3, 1))


def test_nothing_before_not_before_is_asked() -> None:
    """`not_before` cuts the history off."""
    spec: Spec = replace(DISK, not_before=date(2026, 6, 1))
    made = windows.plan(spec, FIRST, FIRST + timedelta(days=1000))
    assert made.fit_days[0] >= date(2026, 6, 1)


def test_the_served_booster_learns_from_all_whose_labels_are_known() -> None:
    """Its last snapshot is the rank horizon before `until`, later than any that was measured on, and no later."""
    found = windows.plan(DISK, date(2014, 1, 1), date(2015, 12, 31))
    assert found.refit_days[-1] == date(2015, 12, 31) - timedelta(days=found.rank_horizon_days)
    assert found.refit_days[-1] > found.calibration_days[-1] > found.fit_days[-1]


@pytest.mark.parametrize(
    ("known", "said"), [(0, "the warehouse knows of none"), (2, "none of the 2 .* sits in a host")]
)
def test_nothing_to_train_on_is_told_from_nothing_that_has_a_place(known: int, said: str) -> None:
    """DIMMs of which errors were read, but no inventory says where they are, are not said to be unknown."""
    with empty() as con:
        for key in range(known):
            con.execute(
                "insert into entity by name select $key as entity_key, 'memory' as component, "
                "$key::varchar as entity_id, 'test' as source, false as simulated",
                {"key": key},
            )
        with pytest.raises(ModelError, match=said):
            windows.first_day(con, "memory")
