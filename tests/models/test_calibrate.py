"""Calibration: honest, monotone, calm with few failures; earned precision."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binom, binomtest

from models import calibrate
from models.calibrate import SHIFT_EDGE, BetaMap, Calibration, carried_over


def _world(rows: int, seed: int) -> tuple[calibrate.Floats, calibrate.Bools]:
    random = np.random.default_rng(seed)
    score = random.beta(0.3, 6, rows)
    return score, random.random(rows) < score**1.5


def test_a_miscalibrated_score_becomes_honest() -> None:
    """Mean risk equals the failure rate, overall and in the riskiest tenth of fresh rows."""
    score, failed = _world(40_000, 1)
    made = calibrate.fit_map(score, failed, np.ones(score.size), 30)
    fresh, fresh_failed = _world(40_000, 2)
    risk = made.risk(fresh)
    top = fresh >= np.quantile(fresh, 0.9)
    assert risk.mean() == pytest.approx(fresh_failed.mean(), rel=0.05)
    assert risk[top].mean() == pytest.approx(fresh_failed[top].mean(), rel=0.05)


def test_weights_stand_for_rows() -> None:
    """A row of weight three pulls like three rows."""
    score, failed = _world(2000, 3)
    weight = np.random.default_rng(4).integers(1, 4, 2000)
    weighted = calibrate.fit_map(score, failed, weight.astype(float), 30)
    copied = calibrate.fit_map(np.repeat(score, weight), np.repeat(failed, weight), np.ones(weight.sum()), 30)
    assert (weighted.a, weighted.b, weighted.c) == pytest.approx((copied.a, copied.b, copied.c), abs=1e-2)


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_few_failures_give_a_small_and_finite_risk(failures: int) -> None:
    """With next to nothing to learn from, the map stays near the base rate and keeps the order."""
    score = np.linspace(0.001, 0.2, 1000)
    failed = np.arange(1000) >= 1000 - failures
    risk = calibrate.fit_map(score, failed, np.ones(1000), 1).risk(score)
    assert np.all(np.diff(risk) > 0)
    assert 0 < risk.mean() < 0.005


@given(
    st.lists(st.tuples(st.floats(0.001, 5), st.floats(0, 5), st.floats(-8, 8)), min_size=5, max_size=5),
    st.lists(st.floats(0, 1), min_size=2, max_size=20),
)
def test_risk_never_falls_with_the_horizon_or_with_the_score(
    maps: list[tuple[float, float, float]], scores: list[float]
) -> None:
    """Whatever the maps are, a longer horizon or a higher score is never a lower risk."""
    days = (1, 3, 7, 14, 30)
    made = Calibration(tuple(BetaMap(day, *one) for day, one in zip(days, maps, strict=True)))
    risks = made.risks(np.sort(np.array(scores)))
    assert np.all(np.diff(risks, axis=1) >= 0)
    assert np.all(np.diff(risks, axis=0) >= -1e-12)
    assert np.all((risks >= 0) & (risks <= 1))


def test_json_loses_nothing() -> None:
    """A calibration read back from JSON is equal, to the last bit."""
    made = Calibration((BetaMap(1, 1 / 3, 0.1, -2.7), BetaMap(3, 0.7, 1e-9, 3.3)))
    assert Calibration.from_mapping(json.loads(json.dumps(made.as_mapping()))) == made


def test_an_entity_called_again_and_again_is_one_call() -> None:
    """Earned precision counts entities by their first call, not rows."""
    entity = np.array([1, 2, 1, 1, 3])
    risk = np.array([0.3, 0.3, 0.4, 0.5, 0.1])
    failed = np.array([False, True, True, True, True])
    (one,) = calibrate.earned(entity, risk, failed, thresholds=[0.2])
    assert (one.alerts, one.precision) == (2, 0.5)


def test_a_low_risk_earns_nothing_by_high_ones() -> None:
    """Thirty right calls at 0.9 and thirty wrong ones at 0.1 are two bands, not one of mixed fame."""
    risk = np.repeat([0.9, 0.1], 30)
    low, high = calibrate.earned(np.arange(60), risk, risk > 0.5, thresholds=[0.1, 0.5])
    assert (low.risk_from, low.alerts, low.precision) == (0.1, 30, 0.0)
    assert (high.risk_from, high.alerts, high.precision) == (0.5, 30, 1.0)


def test_a_band_begins_at_its_edge() -> None:
    """A risk on the edge belongs to the band above."""
    made = calibrate.earned(np.arange(2), np.array([0.49, 0.5]), np.array([False, True]), [0.1, 0.5], least_alerts=1)
    assert [one.precision for one in made] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([30, 30, 30, 30], [(0.1, 30), (0.2, 30), (0.3, 30), (0.4, 30)]),
        ([30, 5, 16, 30], [(0.1, 30), (0.2, 21), (0.4, 30)]),
        ([30, 30, 5, 5], [(0.1, 30), (0.2, 40)]),
        ([9, 30, 9, 30], [(0.1, 9), (0.2, 39), (0.4, 30)]),
        ([5, 5, 5, 2], [(0.1, 17)]),
        ([9, 0, 0, 30], [(0.1, 9), (0.2, 0), (0.4, 30)]),
        ([0, 30, 9, 0], [(0.1, 0), (0.2, 39), (0.4, 0)]),
        ([0, 0, 0, 0], [(0.1, 0)]),
    ],
)
def test_thin_bands_are_merged(calls: list[int], expected: list[tuple[float, int]]) -> None:
    """Downward until twenty entities are called, never into a full band above, nor across risks that nobody had."""
    edges = [0.1, 0.2, 0.3, 0.4]
    risk = np.repeat(np.array(edges) + 0.05, calls)
    made = calibrate.earned(np.arange(risk.size), risk, np.zeros(risk.size, dtype=bool), edges)
    assert [(one.risk_from, one.alerts) for one in made] == expected


def test_two_right_calls_out_of_two_earn_little() -> None:
    """A perfect record of two calls has a lower bound of 0.16: too little for an automatic action."""
    (one,) = calibrate.earned(np.array([1, 2]), np.array([0.9, 0.8]), np.array([True, True]), thresholds=[0.5])
    assert one.precision == 1
    assert one.precision_low == pytest.approx(0.158, abs=0.001)


def test_the_level_follows_the_newest_failures() -> None:
    """A thousand rows failing twice as often as foretold double the risks; a hundred days ago they would not."""
    failed, risk, once = np.arange(1000) < 200, np.full(1000, 0.1), np.ones(1000)
    assert calibrate.level(risk, failed, once, np.zeros(1000)) == pytest.approx(2, abs=0.1)
    assert calibrate.level(risk, failed, once, np.full(1000, 100.0)) == pytest.approx(1, abs=0.15)


@given(st.integers(0, 20), st.floats(0, 20))
def test_few_failures_move_the_level_little(failures: int, foretold: float) -> None:
    """It lies between 1 and what was observed over predicted, and one failure never moves it by more than a fifth."""
    rows = np.ones(20)
    found = calibrate.level(rows * foretold / 20, np.arange(20) < failures, rows, np.zeros(20))
    off = failures - foretold
    assert (found - 1) * off >= 0
    assert abs(found - 1) <= abs(off) / calibrate.LEVEL_PULL + 1e-9


def test_raised_maps_multiply_the_odds() -> None:
    """Twice the odds at each horizon."""
    before = Calibration((BetaMap(7, 1.0, 1.0, -1.0), BetaMap(30, 0.9, 1.1, 0.0)))
    score = np.array([0.01, 0.3, 0.9])
    assert logit(calibrate.raised(before, 2.0).risks(score)) == pytest.approx(logit(before.risks(score)) + np.log(2))


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_interval_is_the_exact_binomial_one(hits: int, misses: int) -> None:
    """Clopper and Pearson's bounds, as SciPy has them; everything is possible without a trial."""
    low, high = calibrate.clopper_pearson(hits, hits + misses)
    if hits + misses == 0:
        assert (low, high) == (0, 1)
    else:
        expected = binomtest(hits, hits + misses).proportion_ci(method="exact")
        assert (low, high) == pytest.approx((expected.low, expected.high))


def test_the_prediction_interval_holds_what_comes_in_95_of_100_cases() -> None:
    """Whatever share comes true and however few were called, of 4,000 bands about 95 % keep their promise."""
    random = np.random.default_rng(11)
    share = random.uniform(0.02, 0.9, 4000)
    trials, calls = random.integers(10, 200, share.size), random.integers(5, 80, share.size)
    hits, came = random.binomial(trials, share), random.binomial(calls, share)
    spans = np.array([calibrate.prediction_interval(*map(int, one)) for one in zip(hits, trials, calls, strict=True)])
    held = (spans[:, 0] <= came) & (came <= spans[:, 1])
    assert 0.94 < held.mean() < 0.98
    assert np.mean(came < spans[:, 0]) < 0.035
    assert np.mean(came > spans[:, 1]) < 0.035


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 100))
def test_a_prediction_interval_is_made_of_calls(hits: int, misses: int, calls: int) -> None:
    """It lies among the calls, holds what is likeliest, and moves up with the hits."""
    low, high = calibrate.prediction_interval(hits, hits + misses, calls)
    assert 0 <= low <= (hits + 0.5) / (hits + misses + 1) * calls <= high + 1
    assert high <= calls
    more = calibrate.prediction_interval(hits + 1, hits + misses + 1, calls)
    assert (low, high) <= more


def test_where_much_was_measured_chance_alone_remains() -> None:
    """After a million calls the interval is the binomial one; after twenty it is wider."""
    few, many = calibrate.prediction_interval(6, 20, 40), calibrate.prediction_interval(300_000, 1_000_000, 40)
    assert many == (binom.ppf(0.025, 40, 0.3), binom.ppf(0.975, 40, 0.3))
    assert few[0] < many[0] < many[1] < few[1]


def test_the_next_month_is_as_long_as_a_month() -> None:
    """Ninety calls in ninety days make thirty in the next thirty; what took a day is not multiplied."""
    entity, risk, failed = np.arange(90), np.full(90, 0.6), np.arange(90) < 45
    (month,) = calibrate.earned(entity, risk, failed, [0.5], span_days=90)
    (day,) = calibrate.earned(entity, risk, failed, [0.5], span_days=1)
    assert (month.next_calls, day.next_calls) == (30, 90)
    assert (month.next_low, month.next_high) == calibrate.prediction_interval(45, 90, 30)


@given(st.integers(0, 10_000), st.floats(-3, 3))
def test_maps_carried_over_foretell_as_many_failures(seed: int, moved: float) -> None:
    """Whatever another booster's scores are as a whole, the sum of risks stays, and so does the order."""
    random = np.random.default_rng(seed)
    own = random.beta(1, 30, 300)
    other = expit(logit(own) + moved + random.normal(0, 0.2, 300))
    before = Calibration((BetaMap(7, 1.0, 1.0, -1.0), BetaMap(30, 0.9, 1.1, 0.0)))
    after = carried_over(before, own, other)
    assert after.risks(other).mean(axis=0) == pytest.approx(before.risks(own).mean(axis=0), rel=1e-3)
    assert np.array_equal(np.argsort(after.risks(other)[:, 1], kind="stable"), np.argsort(other, kind="stable"))


def test_scores_out_of_reach_are_met_as_far_as_may_be() -> None:
    """A booster whose scores lie far below shifts the maps by the most that is allowed, and no further."""
    before = Calibration((BetaMap(30, 1.0, 1.0, 0.0),))
    after = carried_over(before, np.full(10, 0.9), np.full(10, 1e-6))
    assert after.maps[0].c == pytest.approx(SHIFT_EDGE)
