"""What a model has to beat."""

from random import Random

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from models import baselines
from models.spec import Spec


def table(spec: Spec, **columns: list[float | None]) -> pa.Table:
    """Rows with these of the rule's attributes, zero in the others."""
    rows = len(next(iter(columns.values())))
    return pa.table({name: pa.array(columns.get(name, [0.0] * rows), pa.float32()) for name in spec.rule})


def test_ranks_are_told_within_a_day(small_spec: Spec) -> None:
    """A value that is the highest of its day ranks as high as a larger one of another day."""
    found = baselines.rule_ranks(table(small_spec, smart_5=[0, 7, 0, 900]), np.array([0, 0, 1, 1]), small_spec)
    assert found[1] == found[3] > found[0] == found[2]


def test_a_missing_value_ranks_as_zero(small_spec: Spec) -> None:
    """Nothing reported is no evidence of harm."""
    found = baselines.rule_ranks(table(small_spec, smart_5=[None, 0.0, 3.0]), np.zeros(3, dtype=np.int64), small_spec)
    assert found[0] == found[1] < found[2]


def test_observed_rates_are_the_logs_of_what_was_observed() -> None:
    """Rows with the value failed four times as often as all: the bucket says about so, and thin buckets say little."""
    value = np.repeat(np.array([[0.0], [5.0]], dtype=np.float32), [80_000, 20_000], axis=0)
    failed = np.zeros(100_000, dtype=bool)
    failed[:200] = failed[80_000:80_800] = True
    rates = baselines.learn_rates(value, failed, np.ones(100_000))
    low, high, unseen = rates.score(np.array([[0.0], [5.0], [np.nan]], dtype=np.float32))
    assert np.isclose(high, np.log(4), atol=0.05)
    assert np.isclose(low, np.log(0.25), atol=0.05)
    assert unseen == 0


@given(st.lists(st.floats(-1e6, 1e6, width=32) | st.just(float("nan")), min_size=2, max_size=50), st.randoms())
def test_observed_rates_score_whatever_comes(values: list[float], chance: Random) -> None:
    """Any value, seen in training or not, gets a finite score."""
    column = np.array(values, dtype=np.float32)[:, None]
    failed = np.array([chance.random() < 0.5 for _ in values])
    failed[0] = True
    rates = baselines.learn_rates(column, failed, np.ones(len(values)))
    asked = np.r_[column, np.array([[1e30], [-1e30], [np.nan]], dtype=np.float32)]
    assert np.isfinite(rates.score(asked)).all()
