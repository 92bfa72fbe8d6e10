"""Ranking metrics: ties at their expectation, weights as copies, budgets per day."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from models import metrics

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=2, max_size=6).filter(
    lambda rows: any(failed for failed, _ in rows) and not all(failed for failed, _ in rows)
)


def _arrays(rows: list[tuple[bool, int]]) -> tuple[metrics.Bools, metrics.Floats]:
    return np.array([failed for failed, _ in rows]), np.array([float(score) for _, score in rows])


def _plain_average_precision(failed: metrics.Bools) -> float:
    hits = np.flatnonzero(failed)
    return float(np.mean((np.arange(hits.size) + 1) / (hits + 1)))


@given(ROWS)
def test_average_precision_is_the_mean_over_all_orders_of_tied_rows(rows: list[tuple[bool, int]]) -> None:
    """A tie is worth what a coin that breaks it would give on average."""
    failed, score = _arrays(rows)
    orders = (np.array(order) for order in itertools.permutations(range(len(rows))))
    allowed = [order for order in orders if np.all(np.diff(score[order]) <= 0)]
    expected = np.mean([_plain_average_precision(failed[order]) for order in allowed])
    found = metrics.average_precision(metrics.weigh(metrics.rank(failed, score), np.ones(len(rows))))
    assert found == pytest.approx(expected)


@given(ROWS, st.data())
def test_a_weight_acts_as_that_many_copies(rows: list[tuple[bool, int]], data: st.DataObject) -> None:
    """A bootstrap weight of three is the row three times, of zero the row left out."""
    failed, score = _arrays(rows)
    weight = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows))))
    copies = np.repeat(np.arange(len(rows)), weight)
    ranking = metrics.rank(failed, score)
    copied = metrics.rank(failed[copies], score[copies])
    for figure in (metrics.average_precision, metrics.roc_auc):
        found = figure(metrics.weigh(ranking, weight.astype(float)))
        assert found == pytest.approx(figure(metrics.weigh(copied, np.ones(copies.size))), nan_ok=True)


def test_without_ties_the_figures_are_scikit_learns() -> None:
    """On distinct scores nothing but the usual definition remains."""
    random = np.random.default_rng(0)
    failed, score = random.random(500) < 0.1, random.permutation(500).astype(float)
    blocks = metrics.weigh(metrics.rank(failed, score), np.ones(500))
    assert metrics.average_precision(blocks) == pytest.approx(average_precision_score(failed, score))
    assert metrics.roc_auc(blocks) == pytest.approx(roc_auc_score(failed, score))


def test_unknown_rows_rank_last() -> None:
    """NaN is not a high score: a failure among the unknown is the last one found."""
    ranking = metrics.rank(np.array([True, False, False]), np.array([np.nan, 0.1, 0.2]))
    assert metrics.average_precision(metrics.weigh(ranking, np.ones(3))) == pytest.approx(1 / 3)


def _cells(day: list[int], score: list[float], failed: list[bool], budget: float) -> metrics.Confusion:
    days, hits = np.array(day), np.array(failed)
    table = metrics.desk(days, np.array(score), budget)
    ones = np.ones(days.size)
    totals = (np.bincount(days).astype(float), float(hits.sum()))
    return metrics.confusion(table, metrics.reach(table, hits, ones), totals, budget)


def test_a_budget_is_spent_each_day() -> None:
    """A quarter of four rows a day is one alert on each day, however the days' scores compare."""
    cells = _cells([0] * 4 + [1] * 4, [9, 8, 7, 6, 4, 3, 2, 1], [True, True, False, False] + [True] + [False] * 3, 0.25)
    assert (cells.true_positive, cells.false_positive) == (2, 0)
    assert cells.recall == pytest.approx(2 / 3)


def test_a_tie_at_the_budgets_edge_counts_in_expectation() -> None:
    """One alert among two tied rows, one of which fails, is half a hit."""
    cells = _cells([0, 0, 0, 0], [5, 5, 1, 0], [True, False, False, False], 0.25)
    assert cells.true_positive == pytest.approx(0.5)
    assert cells.precision == pytest.approx(0.5)


@given(ROWS, st.floats(0.01, 1))
def test_the_four_cells_add_up_to_all_rows(rows: list[tuple[bool, int]], budget: float) -> None:
    """No row is lost or counted twice, and no cell is negative."""
    failed, score = _arrays(rows)
    cells = _cells([0] * len(rows), score.tolist(), failed.tolist(), budget)
    parts = [cells.true_positive, cells.false_positive, cells.false_negative, cells.true_negative]
    assert sum(parts) == pytest.approx(len(rows))
    assert min(parts) >= -1e-9


def test_virr_is_recall_less_the_price_of_alerts() -> None:
    """Recall 0.5 at precision 0.25 with one VM in twenty interrupted: 0.5 x (1 - 0.05/0.25) = 0.4."""
    assert metrics.Confusion(1, 3, 1, 95).virr(0.05) == pytest.approx(0.4)
    assert metrics.Confusion(0, 4, 2, 94).virr(0.05) == pytest.approx(-0.1)
