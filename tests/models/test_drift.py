"""Whether the fleet is still the one that was learned from."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from math import log
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UsageError
from data.snapshots import read
from models import train
from models.drift import drift, psi, psi_of_kinds
from models.predictor import Predictor
from models.spec import DriftLimits, load

UNTIL = date(2016, 1, 1) + timedelta(days=79)
VALUES = st.lists(st.floats(-1e6, 1e6, width=32) | st.just(float("nan")), min_size=1, max_size=60)


@given(VALUES, VALUES)
def test_the_index_is_zero_for_equals_and_never_negative(one: list[float], other: list[float]) -> None:
    """The same sample in any order has not shifted; any two samples give a finite, non-negative number."""
    first, second = np.array(one), np.array(other)
    assert psi(first, first[::-1]) == pytest.approx(0)
    assert 0 <= psi(first, second) < 100


def test_the_index_is_what_a_hand_computes() -> None:
    """Half of the fleet was of each model, now one quarter and three quarters."""
    then, now = ["A", "B"] * 50, ["A"] * 25 + ["B"] * 75
    assert psi_of_kinds(then, now) == pytest.approx(-0.25 * log(0.5) + 0.25 * log(1.5))
    assert psi_of_kinds(then, ["C"] * 10) > 5


def test_values_that_went_missing_are_a_shift() -> None:
    """An attribute that vanishes shows, however its values were spread."""
    values = np.arange(1000.0)
    assert psi(values, np.full(1000, np.nan)) > 5
    assert psi(values, values + 500) > 1
    assert psi(values, values + 1) < 0.01


@pytest.fixture(scope="module")
def con(warehouse_home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection on the published fleet."""
    with read(warehouse_home) as connection:
        yield connection


@pytest.fixture(scope="module")
def predictor(con: duckdb.DuckDBPyConnection) -> Predictor:
    """A small model of that fleet."""
    spec = replace(load("disk"), boosters=1, threads=1, rounds=20)
    return replace(train.fit(con, spec, UNTIL).predictor, version="1")


def test_a_month_later_predictions_have_matured(con: duckdb.DuckDBPyConnection, predictor: Predictor) -> None:
    """The days since the model was made are judged by what happened, and none of them that is not over yet."""
    soon, later = (drift(con, predictor, UNTIL + timedelta(days=days)) for days in (20, 55))
    assert soon.matured is None
    assert later.matured is not None
    assert later.matured.days[-1] == later.day - timedelta(days=30)
    assert min(later.matured.days) > UNTIL
    assert later.matured.failing_entities > 0
    assert list(later.features.values()) == sorted(later.features.values(), reverse=True)
    assert later.as_mapping()["day"] == later.day.isoformat()


def test_what_lies_beyond_its_threshold_is_an_alarm(con: duckdb.DuckDBPyConnection, predictor: Predictor) -> None:
    """With thresholds that nothing meets every measure is said; with ones that everything meets none is."""
    day = UNTIL + timedelta(days=55)
    strict = DriftLimits(psi=-1, shifted_features=0, least_observed_ratio=1e6, most_observed_ratio=1e7)
    lenient = DriftLimits(psi=1e6, least_observed_ratio=0, most_observed_ratio=1e6)
    assert len(drift(con, predictor, day, strict).alarms) == 4
    assert drift(con, predictor, day, lenient).alarms == ()


def test_each_measure_is_kept_with_its_threshold(con: duckdb.DuckDBPyConnection, predictor: Predictor) -> None:
    """One row a feature and one a measure, each with value, threshold and, beyond it, the alarm."""
    seen = drift(con, predictor, UNTIL + timedelta(days=55), shown_precision=0.5)
    rows = {(row["measure"], row["part"]): row for row in seen.as_table().to_pylist()}
    assert sum(measure == "feature_psi" for measure, _ in rows) == len(predictor.feature_names)
    assert rows["precision", ""]["threshold"] == 0.5 * load("disk").drift.least_precision_share
    assert rows["model_mix_psi", ""]["value"] == seen.model_mix
    assert {row["alarm"] for row in rows.values() if row["alarm"]} == set(seen.alarms)


def test_calls_that_come_true_far_less_often_than_shown_are_an_alarm(
    con: duckdb.DuckDBPyConnection, predictor: Predictor
) -> None:
    """Only when the whole interval lies below the share of what the model showed when it was made."""
    day = UNTIL + timedelta(days=55)
    quiet = DriftLimits(psi=1e6, least_observed_ratio=0, most_observed_ratio=1e6, least_precision_share=1)
    seen = drift(con, predictor, day, quiet)
    assert seen.matured is not None
    assert seen.matured.precision.high is not None
    assert seen.alarms == ()
    assert drift(con, predictor, day, quiet, seen.matured.precision.high * 0.99).alarms == ()
    (said,) = drift(con, predictor, day, quiet, seen.matured.precision.high + 0.01).alarms
    assert "of calls came true" in said


def test_a_day_that_the_model_knew_is_refused(con: duckdb.DuckDBPyConnection, predictor: Predictor) -> None:
    """There is no drift before the day the model was made."""
    with pytest.raises(UsageError, match="knew everything until 2016-03-20"):
        drift(con, predictor, UNTIL)
