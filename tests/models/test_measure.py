"""A model's figures: clustered intervals, lead time, calibration by tenth."""

import numpy as np
import pytest

from models.measure import Measured, Outcomes, Settings, first_alerts, measure, paired_difference, plain
from models.metrics import Floats, desk


def _fleet(days: int = 4, drives: int = 1500, seed: int = 1) -> tuple[Outcomes, Floats]:
    random = np.random.default_rng(seed)
    risk = random.beta(0.2, 5, drives)
    entity, day = np.tile(np.arange(drives), days), np.repeat(np.arange(days), drives)
    failed = random.random(drives * days) < risk[entity]
    failed_in = np.where(failed, random.uniform(0.1, 30, drives * days), np.nan)
    return Outcomes(entity, day, failed, failed_in), risk[entity]


def test_every_interval_holds_its_figure() -> None:
    """Low, value and high stand in order for all that is a mean or a rank."""
    outcomes, risk = _fleet()
    figures = measure(outcomes, risk, Settings(replicates=80), probability=True)
    for one in (figures.average_precision, figures.roc_auc, figures.fdr, figures.fpr, *figures.recall_at.values()):
        assert one.low is not None
        assert one.value is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high


def test_repeated_rows_of_one_entity_do_not_narrow_the_interval() -> None:
    """Asking each drive five times over is no new evidence: the clustered interval stays as wide."""
    once, risk = _fleet(days=1)
    five = Outcomes(
        np.tile(once.entity, 5),
        np.repeat(np.arange(5), once.entity.size),
        np.tile(once.failed, 5),
        np.tile(once.failed_in_days, 5),
    )
    widths = []
    for outcomes, score in ((once, risk), (five, np.tile(risk, 5))):
        found = measure(outcomes, score, Settings(), probability=False).roc_auc
        assert found.high is not None
        assert found.low is not None
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(widths[0], rel=0.02)


def test_honest_risks_are_observed_as_predicted() -> None:
    """In every tenth the interval of the observed share holds the mean prediction, nine times in ten."""
    outcomes, risk = _fleet(drives=4000)
    tenths = measure(outcomes, risk, Settings(replicates=80), probability=True).calibration
    assert tenths is not None
    inside = [
        one.observed.low <= one.predicted <= one.observed.high
        for one in tenths
        if one.observed.low is not None and one.observed.high is not None
    ]
    assert sum(inside) >= 8
    assert sum(one.rows for one in tenths) == risk.size


def test_lead_time_counts_from_the_first_alert_of_the_last_episode() -> None:
    """Alerted on days 0, 2 and 3 and failing after day 3: the episode began on day 2."""
    day = np.repeat(np.arange(4), 2)
    entity = np.tile([0, 1], 4)
    failed_in = np.array([28, np.nan, 21, np.nan, 14, np.nan, 7, np.nan])
    score = np.array([2, 1, 1, 2, 2, 1, 2, 1], dtype=float)
    outcomes = Outcomes(entity, day, ~np.isnan(failed_in), failed_in)
    _, lead_days, share = first_alerts(outcomes, desk(day, score, 0.5), 0.5)
    assert lead_days.tolist() == [14]
    assert share.tolist() == [1]


@pytest.mark.parametrize(("drain_days", "share"), [(0.4, 1.0), (0.5, 0.75), (1.0, 0.5), (3.0, 0.0)])
def test_lead_time_says_which_share_leaves_time_to_drain(drain_days: float, share: float) -> None:
    """Of leads of 0.5, 1, 2 and 3 days, half are longer than one day; one as long as the drain comes too late."""
    outcomes = Outcomes(np.arange(4), np.zeros(4, dtype=np.int64), np.ones(4, dtype=bool), np.array([0.5, 1, 2, 3]))
    settings = Settings(operating_budget=1.0, drain_days=drain_days, replicates=20)
    found = measure(outcomes, np.array([0.1, 0.2, 0.3, 0.4]), settings, probability=False)
    assert found.lead_days["share_over_drain"].value == share


def test_a_model_is_no_better_than_itself() -> None:
    """The paired difference of a score with itself is exactly nothing; against chance it is above zero."""
    outcomes, risk = _fleet()
    same = paired_difference(outcomes, risk, risk, Settings(replicates=20))
    assert (same.low, same.value, same.high) == (0, 0, 0)
    chance = paired_difference(outcomes, risk, np.zeros(risk.size), Settings(replicates=50))
    assert chance.low is not None
    assert chance.low > 0


def test_a_fleet_without_failures_has_no_figures_but_no_crash() -> None:
    """Precision is nothing known, not zero or one."""
    outcomes = Outcomes(np.arange(100), np.zeros(100, dtype=np.int64), np.zeros(100, dtype=bool), np.full(100, np.nan))
    figures = measure(outcomes, np.linspace(0, 1, 100), Settings(replicates=5), probability=True)
    assert figures.average_precision.value is None
    assert figures.lead_days["median"].value is None
    assert plain(figures)["roc_auc"] == {"value": None, "low": None, "high": None}


def test_no_hit_among_few_failures_is_no_certainty() -> None:
    """Neither of two failures caught: recall may still be over a half, and of ten alerts one in four may be right."""
    failed = np.arange(1000) >= 998
    outcomes = Outcomes(np.arange(1000), np.zeros(1000, dtype=np.int64), failed, np.where(failed, 20.0, np.nan))
    settings = Settings(budgets=(0.01,), operating_budget=0.01)
    none = measure(outcomes, np.arange(1000, 0, -1.0), settings, probability=False)
    both = measure(outcomes, np.arange(1000.0), Settings(budgets=(0.002,), operating_budget=0.002), probability=False)
    assert none.recall_at["0.01"] == Measured(0.0, 0.0, pytest.approx(0.84, abs=0.01))
    assert none.precision_at["0.01"] == Measured(0.0, 0.0, pytest.approx(0.31, abs=0.01))
    assert none.fdr == Measured(1.0, pytest.approx(0.69, abs=0.01), 1.0)
    assert both.recall_at["0.002"] == Measured(1.0, pytest.approx(0.16, abs=0.01), 1.0)
    assert both.lead_days["share_over_drain"] == Measured(1.0, pytest.approx(0.16, abs=0.01), 1.0)
