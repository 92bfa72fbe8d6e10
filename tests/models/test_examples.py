"""Labels: what counts as failed, healthy, or neither."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from data.errors import ModelError
from models import examples
from models.examples import Fate

NAN = float("nan")


@pytest.mark.parametrize(
    ("failed_in", "observed", "mitigated_in", "expected"),
    [
        (30.0, 30.0, NAN, "failed"),
        (30.1, 30.1, NAN, "healthy"),
        (NAN, 30.0, NAN, "healthy"),
        (NAN, 29.9, NAN, "neither"),
        (2.0, 2.0, NAN, "neither"),
        (2.1, 2.1, NAN, "failed"),
        (NAN, 90.0, 10.0, "neither"),
        (20.0, 20.0, 10.0, "neither"),
        (NAN, 90.0, 31.0, "healthy"),
    ],
)
def test_what_counts_within_thirty_days_with_a_lead_of_two(
    failed_in: float, observed: float, mitigated_in: float, expected: str
) -> None:
    """Failed in (2, 30], or healthy for 30 days, and not emptied meanwhile; else it does not count."""
    fate = Fate(np.array([failed_in]), np.array([observed]), np.array([mitigated_in]))
    failed, counted = fate.within(30, 2)
    assert {(True, True): "failed", (False, True): "healthy", (False, False): "neither"}[
        (bool(failed[0]), bool(counted[0]))
    ] == expected


def _table(keys: list[int], days: list[int], **columns: list[float | None]) -> pa.Table:
    start = datetime(2016, 1, 1, tzinfo=UTC)
    asof = pa.array([start + timedelta(days=day) for day in days], pa.timestamp("us", tz="UTC"))
    return pa.table({"entity_key": pa.array(keys, pa.int32()), "asof_at": asof, **columns})


def test_labels_are_matched_by_entity_and_moment() -> None:
    """The order of the label table does not matter."""
    spine = _table([1, 2, 1], [0, 0, 7])
    columns: dict[str, list[float | None]] = {
        "failed_in_days": [3.0, None, 10.0],
        "observed_days": [3.0, 50.0, 10.0],
        "mitigated_in_days": [None, None, None],
    }
    fate = examples.fates(spine, _table([1, 2, 1], [7, 0, 0], **columns))
    np.testing.assert_array_equal(fate.failed_in_days, [10, NAN, 3])
    with pytest.raises(ModelError, match="labels cover 2 of 3"):
        examples.fates(spine, _table([1, 2, 1], [7, 0, 0], **columns).slice(0, 2))


def test_infinite_and_null_become_missing() -> None:
    """Integers, booleans, nulls and infinities all end as numbers or NaN."""
    table = pa.table({"a": [1, None], "b": [True, False], "c": [float("inf"), 2.0], "d": pa.nulls(2)})
    expected = [[1, 1, NAN, NAN], [NAN, 0, 2, NAN]]
    np.testing.assert_array_equal(examples.matrix(table, ["a", "b", "c", "d"]), expected)
