"""A model is judged on later days only, by a stand-in where none are left, and told what its ranking rests on."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from data.errors import ModelError
from data.snapshots import empty, read
from models import spec
from models.later import Asked, Later, ask, asked, last_day, later, learned
from models.measure import Settings
from models.predictor import Predictor
from models.reliance import lost_without, pieces

DAY_ZERO = date(2016, 1, 1)
LAST = DAY_ZERO + timedelta(days=139)
UNTIL = DAY_ZERO + timedelta(days=79)


@pytest.fixture(scope="module")
def con(warehouse_home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The fleet in which pending sectors foretell failures."""
    with read(warehouse_home) as connection:
        yield connection


@pytest.fixture(scope="module")
def predictor(con: duckdb.DuckDBPyConnection) -> Predictor:
    """A light model of the first eighty days."""
    disk = spec.load("disk")
    lighter = {**disk.lightgbm, "min_data_in_leaf": 20}
    return learned(con, replace(disk, rounds=15, boosters=1, threads=1, lightgbm=lighter), UNTIL)


@pytest.fixture(scope="module")
def rows(con: duckdb.DuckDBPyConnection, predictor: Predictor) -> Asked:
    """What it says of later days."""
    return asked(con, later(con, predictor, LAST))


def test_a_model_with_days_left_is_judged_itself(con: duckdb.DuckDBPyConnection, predictor: Predictor) -> None:
    """From the day after its `until` to the last whose horizon is over, or as far as asked for."""
    horizon_over = LAST - timedelta(days=30)
    assert later(con, predictor, LAST) == Later(predictor, UNTIL + timedelta(days=1), horizon_over, stand_in=False)
    assert later(con, predictor, LAST, most_days=20).last == UNTIL + timedelta(days=21)


def test_a_model_that_has_seen_it_all_has_a_stand_in(con: duckdb.DuckDBPyConnection, predictor: Predictor) -> None:
    """The same recipe, learned until two months before the last day, under a version that says so."""
    fresh = replace(predictor, version="4", until=(LAST - timedelta(days=20)).isoformat())
    found = later(con, fresh, LAST)
    assert found.stand_in
    assert found.predictor.spec == fresh.spec
    assert found.predictor.version == f"stand-in until {found.first - timedelta(days=1)}"
    assert date.fromisoformat(found.predictor.until) < found.first < found.last == LAST - timedelta(days=30)


def test_rows_are_later_than_the_labels_and_their_fate_is_known(rows: Asked) -> None:
    """All asked after `until`, each with its features, risk, members and outcome; a part keeps them together."""
    assert min(rows.frame["last_day"].to_pylist()) > UNTIL - timedelta(days=14)
    sizes = {rows.frame.num_rows, rows.risk.size, rows.outcomes.failed.size, rows.members.model.size, rows.rule.size}
    assert len(sizes) == 1
    part = rows.part(rows.outcomes.failed)
    assert part.frame.num_rows == part.risk.size == int(rows.outcomes.failed.sum()) > 0


def test_days_whose_horizon_is_not_over_are_refused(con: duckdb.DuckDBPyConnection, predictor: Predictor) -> None:
    """The error says what is missing."""
    with pytest.raises(ModelError, match="nothing has been seen for 30 days afterwards"):
        ask(con, predictor, [LAST - timedelta(days=3)])


def test_the_last_day_is_that_of_the_component(con: duckdb.DuckDBPyConnection) -> None:
    """Readings tell it for drives; where nothing is told at all, the error says so."""
    assert last_day(con, "disk") == LAST
    with empty() as blank, pytest.raises(ModelError, match="nothing is told of any node"):
        last_day(blank, "node")


def test_the_ranking_rests_on_what_foretells_failure(rows: Asked, predictor: Predictor) -> None:
    """Without the pending sectors much is lost, by an interval above zero; a piece it does not use costs nothing."""
    shares = pieces(predictor)
    assert sum(shares.values()) == pytest.approx(1)
    idle = next(name for name, share in shares.items() if share == 0)
    lost = lost_without(rows, predictor, ["smart_197", idle], Settings(replicates=50))
    assert lost["smart_197"].low is not None
    assert lost["smart_197"].low > 0
    assert lost[idle].value == 0
    assert np.isfinite(rows.risk).all()
