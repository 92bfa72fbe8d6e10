"""Rows whose host was emptied: what they count as when a model learns."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from models import mitigated
from models.examples import Fate, Floats

NAN = float("nan")
HORIZON = 14.0


def fate(failed_in: float, observed: float, mitigated_in: float) -> Fate:
    """One row's fate."""
    return Fate(np.array([failed_in]), np.array([observed]), np.array([mitigated_in]))


@pytest.mark.parametrize(
    ("failed_in", "observed", "mitigated_in", "chance", "expected"),
    [
        (NAN, 5.0, 4.0, 0.3, [(True, 3.0), (False, 7.0)]),
        (NAN, 30.0, 4.0, 0.3, [(True, 3.0), (False, 7.0)]),
        (NAN, 5.0, 4.0, NAN, []),
        (6.0, 6.0, 4.0, 0.3, [(True, 10.0)]),
        (6.0, 6.0, 4.0, NAN, []),
        (3.0, 3.0, 4.0, 0.3, [(True, 10.0)]),
        (NAN, 30.0, 15.0, 0.3, [(False, 10.0)]),
        (NAN, 30.0, -4.0, NAN, []),
        (NAN, 5.0, 4.0, 0.0, [(False, 10.0)]),
    ],
)
def test_what_an_emptied_host_makes_of_a_row(
    failed_in: float, observed: float, mitigated_in: float, chance: float, expected: list[tuple[bool, float]]
) -> None:
    """Uncertain, it fails with the chance told; seen to fail, it fails; of one untold or at rest nothing is known."""
    one = mitigated.count(fate(failed_in, observed, mitigated_in), np.array([10.0]), np.array([chance]), HORIZON)
    counted = zip(one.failed.tolist(), one.weight.tolist(), strict=True)
    assert [(failed, pytest.approx(weight)) for failed, weight in counted] == expected


def test_failures_seen_at_rest_leave_less_to_impute() -> None:
    """Two failures told among four watched parts and one seen: of the others one is left to expect, not two."""
    nan = np.full(4, NAN)
    watched = Fate(np.array([9.0, NAN, NAN, NAN]), np.full(4, 30.0), np.full(4, 2.0))
    counted = mitigated.count(watched, np.ones(4), np.full(4, 0.5), HORIZON)
    failing = counted.weight[counted.failed].sum()
    assert counted.uncertain.seen_failing == 1
    assert failing == pytest.approx(1 + 3 * 0.25 / 0.75)
    pulled = Fate(nan, np.full(4, 2.0), np.full(4, 2.0))
    alone = mitigated.count(pulled, np.ones(4), np.full(4, 0.5), HORIZON)
    assert alone.weight[alone.failed].sum() == pytest.approx(2.0)


days = st.one_of(st.just(NAN), st.floats(0.01, 60))
rows = st.lists(
    st.tuples(days, st.floats(0, 60), days, st.one_of(st.just(NAN), st.floats(0, 1)), st.floats(0.1, 10)),
    min_size=1,
    max_size=30,
)


@given(rows, st.sampled_from([0.0, 2.0]))
def test_weights_are_positive_and_add_up_to_what_each_row_stands_for(
    given_rows: list[tuple[float, ...]], lead_days: float
) -> None:
    """However fates fall, a row that counts counts once in all, and rows stay in order."""
    failed_in, observed, mitigated_in, chance, weight = (np.array(each) for each in zip(*given_rows, strict=True))
    fates = Fate(failed_in, observed, mitigated_in)
    counted = mitigated.count(fates, weight, chance, HORIZON, lead_days)
    assert (counted.weight > 0).all()
    assert (np.diff(counted.row) >= 0).all()
    for row in np.unique(counted.row):
        assert counted.weight[counted.row == row].sum() == pytest.approx(weight[row])
    certain = np.flatnonzero(fates.within(HORIZON, lead_days)[1])
    assert np.isin(certain, counted.row).all()


@given(rows)
def test_without_a_mitigation_nothing_changes(given_rows: list[tuple[float, ...]]) -> None:
    """The rows are those that count within the horizon, to the last bit."""
    failed_in, observed, _, chance, weight = (np.array(each) for each in zip(*given_rows, strict=True))
    fates = Fate(failed_in, observed, np.full(failed_in.size, NAN))
    counted = mitigated.count(fates, weight, chance, HORIZON)
    failed, kept = fates.within(HORIZON)
    np.testing.assert_array_equal(counted.row, np.flatnonzero(kept))
    np.testing.assert_array_equal(counted.failed, failed[kept])
    np.testing.assert_array_equal(counted.weight, weight[kept])
    assert counted.uncertain == mitigated.Uncertain()


def _risks(*each: float) -> Floats:
    return np.array([each])


@pytest.mark.parametrize(
    ("ahead", "risk"), [(-1.0, 0.0), (0.0, 0.0), (1.0, 0.1), (2.0, 0.15), (14.0, 0.5), (22.0, 0.55), (60.0, 0.6)]
)
def test_a_told_risk_is_read_at_any_number_of_days(ahead: float, risk: float) -> None:
    """Nothing happens in no time; between two horizons it is interpolated; past the longest no more is known."""
    assert mitigated.within(_risks(0.1, 0.2, 0.3, 0.5, 0.6), np.array([ahead]))[0] == pytest.approx(risk)
