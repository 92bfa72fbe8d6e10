"""Two models on the same later rows."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from data.errors import ModelError, UsageError
from data.snapshots import read
from models import compare, train
from models.measure import Outcomes, Settings, paired_differences
from models.predictor import Predictor
from models.spec import load

UNTIL = date(2016, 1, 1) + timedelta(days=79)
FEW = Settings(replicates=20)


@pytest.fixture(scope="module")
def con(warehouse_home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection on the published fleet."""
    with read(warehouse_home) as connection:
        yield connection


@pytest.fixture(scope="module")
def two(con: duckdb.DuckDBPyConnection) -> tuple[Predictor, Predictor]:
    """A model, and one that learned from a tenth as many rounds."""
    spec = replace(load("disk"), boosters=1, threads=1, rounds=20)
    first, second = (train.fit(con, replace(spec, rounds=rounds), UNTIL).predictor for rounds in (20, 2))
    return replace(first, version="1"), replace(second, version="2")


def test_two_models_are_compared_on_the_same_rows(
    con: duckdb.DuckDBPyConnection, two: tuple[Predictor, Predictor]
) -> None:
    """Differences and ratios follow from the figures, and the parameter that differs is named."""
    found = compare.compare(con, *two, UNTIL + timedelta(days=1), UNTIL + timedelta(days=20), FEW)
    first, second = (found.models[version].average_precision.value for version in ("1", "2"))
    assert first is not None
    assert second
    assert found.differences["average_precision"].value == pytest.approx(first - second)
    assert found.ratios["average_precision"] == pytest.approx(first / second)
    assert found.differences.keys() == found.ratios.keys()
    assert found.parameters == {"rounds": (20, 2)}


def test_a_model_that_has_seen_the_days_cannot_be_compared(
    con: duckdb.DuckDBPyConnection, two: tuple[Predictor, Predictor]
) -> None:
    """Neither may have seen a label of the days asked about."""
    newer = replace(two[1], until=(UNTIL + timedelta(days=9)).isoformat())
    with pytest.raises(ModelError, match="cannot compare from 2016-03-21: version 2 has seen labels"):
        compare.compare(con, two[0], newer, UNTIL + timedelta(days=1), UNTIL + timedelta(days=1), FEW)


def test_a_version_is_not_compared_with_itself(
    con: duckdb.DuckDBPyConnection, two: tuple[Predictor, Predictor]
) -> None:
    """The same version twice is a mistake of the person asking, and so are two components."""
    with pytest.raises(UsageError, match="given twice"):
        compare.compare(con, two[0], two[0], UNTIL, UNTIL, FEW)
    with pytest.raises(UsageError, match="model of disk with one of node"):
        compare.compare(con, two[0], replace(two[1], component="node"), UNTIL, UNTIL, FEW)


def test_equal_scores_differ_by_nothing_and_better_ones_surely() -> None:
    """Under the same replicates, equal rankings give zero in each of them; a perfect one beats chance in all."""
    random = np.random.default_rng(1)
    failed = np.arange(2_000) % 50 == 0
    outcomes = Outcomes(np.arange(2_000), np.zeros(2_000, dtype=np.int64), failed, np.where(failed, 5.0, np.nan))
    noise = random.random(2_000)
    same = paired_differences(outcomes, noise, noise, FEW)
    better = paired_differences(outcomes, failed + noise, noise, FEW)
    assert all((one.value, one.low, one.high) == (0, 0, 0) for one in same.values() if one.value is not None)
    assert better["average_precision"].low is not None
    assert better["average_precision"].low > 0.5
    assert better["recall_at_0.02"].value is not None
    assert better["recall_at_0.02"].value > 0.5
