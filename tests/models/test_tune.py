"""The search for parameters: before the days that judge it, repeatable, never worse than what it began with."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import ModelError, SettingsError, UsageError
from models import spec as specs
from models import tune, windows
from models.spec import Space, Spec
from models.tune import Tuned, folds
from tests.models.conftest import DAY_ZERO

FULL = specs.load("disk")
UNTIL = DAY_ZERO + timedelta(days=139)


@given(st.integers(250, 1500), st.integers(30, 120), st.sampled_from([7, 14, 30]), st.integers(1, 30))
def test_folds_lie_before_the_window_that_judges(days: int, calibration: int, rank: int, every: int) -> None:
    """Each fold's labels to learn from are known before it asks, and its own before the later window begins."""
    spec = replace(
        FULL, calibration_days=calibration, rank_horizon_days=rank, snapshot_every_days=every, not_before=None
    )
    made = windows.plan(spec, date(2014, 1, 1), date(2014, 1, 1) + timedelta(days=days))
    try:
        found = folds(spec, made)
    except ModelError as error:
        assert "too short for 3 folds" in str(error)  # noqa: PT017
        return
    assert len(found) == 3
    for fold in found:
        assert fold.fit_days[-1] + timedelta(days=made.rank_horizon_days) < fold.asked_days[0]
        assert fold.asked_days[-1] + timedelta(days=spec.longest_days) < made.calibration_days[0]
    assert all(one.asked_days[-1] < later.asked_days[0] for one, later in pairwise(found))


@pytest.fixture(scope="module")
def quick(small_spec: Spec) -> Spec:
    """A recipe that is quick to learn, poor on purpose, with a small search space."""
    space = {"learning_rate": Space(0.001, 0.3, log=True), "rounds": Space(2, 30, whole=True)}
    poor = {**small_spec.lightgbm, "learning_rate": 0.001}
    return replace(
        small_spec, tune=space, rounds=2, boosters=1, lightgbm=poor, negative_share=0.5, not_before=None,
        calibration_days=7, rank_horizon_days=7, snapshot_every_days=3,
    )  # fmt: skip


def _search(home: Path, spec: Spec, trials: int) -> Tuned:
    with duckdb.connect(str(home / "published.duckdb"), read_only=True) as con:
        con.execute("set time zone 'UTC'")
        return tune.tune(con, spec, UNTIL, trials)


@pytest.fixture(scope="module")
def searched(warehouse_home: Path, quick: Spec) -> Tuned:
    """Sixteen trials."""
    return _search(warehouse_home, quick, 16)


def _without_time(found: Tuned) -> list[tuple[Any, ...]]:
    return [(one.number, dict(one.parameters), one.values, one.pruned) for one in found.trials]


def test_the_same_facts_and_seed_give_the_same_trials(searched: Tuned, warehouse_home: Path, quick: Spec) -> None:
    """A search that is repeated tries the same, finds the same, and gives up the same."""
    again = _search(warehouse_home, quick, 7)
    assert _without_time(again) == _without_time(searched)[:7]


def test_the_first_trial_is_the_recipe_as_it_stands(searched: Tuned, quick: Spec) -> None:
    """So the search never ends with less than it began with."""
    assert dict(searched.trials[0].parameters) == {"learning_rate": 0.001, "rounds": 2}
    assert searched.trials[searched.best].value >= searched.trials[0].value
    assert searched.spec == tune.with_parameters(quick, searched.trials[searched.best].parameters)


def test_a_poor_recipe_is_bettered(searched: Tuned) -> None:
    """Two rounds at a rate of a thousandth rank less well than what sixteen trials find."""
    assert searched.best > 0
    assert searched.trials[searched.best].value > searched.trials[0].value


def test_trials_that_fall_behind_are_given_up_and_kept_on_record(searched: Tuned) -> None:
    """Every trial is listed; one that was given up has fewer folds and is never the best."""
    assert [one.number for one in searched.trials] == list(range(16))
    given_up = [one for one in searched.trials if one.pruned]
    assert given_up
    assert all(0 < len(one.values) < 3 for one in given_up)
    assert all(len(one.values) == 3 for one in searched.trials if not one.pruned)
    assert searched.best not in {one.number for one in given_up}


def test_one_trial_changes_nothing(warehouse_home: Path, quick: Spec) -> None:
    """Only the recipe itself was tried, so it is what comes out, with nothing gained."""
    found = _search(warehouse_home, quick, 1)
    assert found.spec == quick
    assert found.over_untuned.value == 0


def test_nothing_to_search_is_refused(warehouse_home: Path, quick: Spec) -> None:
    """No table, or no sensible number of trials: said before anything is computed."""
    with pytest.raises(UsageError, match=r"no \[tune\] table"):
        _search(warehouse_home, replace(quick, tune={}), 3)
    with pytest.raises(UsageError, match="give 1 to 1000"):
        _search(warehouse_home, quick, 1001)


def test_too_short_a_history_says_what_is_missing(warehouse_home: Path, quick: Spec) -> None:
    """A fit window that cannot hold three folds names its days."""
    with pytest.raises(ModelError, match="too short for 3 folds"):
        _search(warehouse_home, replace(quick, not_before=DAY_ZERO + timedelta(days=50)), 3)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"leaves": {"low": 1, "high": 2}}, r"tune\.leaves cannot be searched for"),
        ({"bagging_freq": {"low": 3, "high": 2}}, r"tune\.bagging_freq\.low = 3 must be below high = 2"),
        ({"lambda_l2": {"low": 0, "high": 2, "log": True}}, "above zero where log = true"),
        ({"lambda_l2": {"low": 0}}, r"tune\.lambda_l2\.high is missing"),
        ({"lambda_l2": {"low": 0, "high": 2, "step": 1}}, r"unknown key tune\.lambda_l2\.step"),
        ({"lambda_l2": {"low": 0, "high": 2, "whole": 1}}, r"tune\.lambda_l2\.whole = 1 must be true or false"),
    ],
)
def test_a_bad_search_space_is_refused(space: dict[str, Any], said: str) -> None:
    """The error names file and key."""
    raw = {**specs.as_mapping(FULL), "tune": space}
    with pytest.raises(SettingsError, match=said) as caught:
        specs.parse(raw, "disk.toml")
    assert "disk.toml" in str(caught.value)


def test_a_spec_with_a_search_space_survives_the_model_file() -> None:
    """What is written beside a model reads back equal."""
    assert specs.parse(specs.as_mapping(FULL), "model 1") == FULL
    assert FULL.tune["num_leaves"].whole
