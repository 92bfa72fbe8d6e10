"""What groups of rows weigh in all bootstrap replicates at once is what adding up row by row gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import measure, metrics
from models.replicates import Groups

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans(), st.integers(0, 3)), max_size=30)
SEEDS = st.integers(0, 2**32 - 1)


@given(ROWS, SEEDS)
def test_sums_are_those_of_the_rows(rows: list[tuple[int, int, bool, int]], seed: int) -> None:
    """Each group weighs in each replicate what its rows' entities weigh; a group without rows weighs nothing."""
    entity, group = (np.array([row[at] for row in rows], np.int64) for at in (0, 1))
    weights = np.random.default_rng(seed).poisson(1.0, (7, 5)).astype(np.uint8)
    expected = [np.bincount(group, row[entity].astype(float), minlength=4) for row in weights]
    assert Groups.of(entity, group, 4, 5).sums(weights).tolist() == np.array(expected).tolist()


def test_replicates_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few numbers are held at once, the figures are the same."""
    random = np.random.default_rng(1)
    entity, day, failed = np.tile(np.arange(90), 4), np.repeat(np.arange(4), 90), random.random(360) < 0.1
    outcomes = measure.Outcomes(entity, day, failed, np.where(failed, 3.0, np.nan))
    whole = measure.measure(outcomes, random.random(360), measure.Settings(replicates=25), probability=True)
    monkeypatch.setattr(measure, "_NUMBERS_AT_ONCE", 700)
    random = np.random.default_rng(1)
    random.random(360)
    assert measure.measure(outcomes, random.random(360), measure.Settings(replicates=25), probability=True) == whole


@given(ROWS.filter(lambda rows: len(rows) > 0), SEEDS)
def test_a_rankings_blocks_weigh_what_their_rows_do(rows: list[tuple[int, int, bool, int]], seed: int) -> None:
    """Average precision and the area under the curve come out the same, to the bit, as from weights of rows."""
    entity = np.array([row[0] for row in rows], np.int64)
    failed, score = np.array([row[2] for row in rows]), np.array([row[3] for row in rows], float)
    outcomes = measure.Outcomes(entity, np.zeros(len(rows), np.int64), failed, np.where(failed, 1.0, np.nan))
    weights = np.random.default_rng(seed).poisson(1.0, (7, outcomes.entities)).astype(np.uint8)
    ranking = metrics.rank(failed, score)
    for row, blocks in zip(weights, measure._blocks(outcomes, ranking)(weights), strict=True):
        alone = metrics.weigh(ranking, row[entity].astype(float))
        for figure in (metrics.average_precision, metrics.roc_auc):
            assert np.array_equal(figure(blocks), figure(alone), equal_nan=True)


@given(ROWS.filter(lambda rows: len(rows) > 0), SEEDS)
def test_all_figures_are_those_of_rows_that_weigh_as_their_entities(
    rows: list[tuple[int, int, bool, int]], seed: int
) -> None:
    """In each replicate every figure is that of a table in which each row stands as often as its entity counts."""
    rows = sorted({(day, entity): (entity, day, failed, score) for entity, day, failed, score in rows}.values(),
                  key=lambda row: (row[1], row[0]))  # fmt: skip
    _, entity = np.unique([row[0] for row in rows], return_inverse=True)
    _, day = np.unique([row[1] for row in rows], return_inverse=True)
    failed, score = np.array([row[2] for row in rows]), np.array([row[3] for row in rows], float)
    outcomes = measure.Outcomes(entity, day, failed, np.where(failed, 2.0, np.nan))
    settings = measure.Settings(budgets=(0.3, 0.7), operating_budget=0.5)
    weights = np.random.default_rng(seed).poisson(1.0, (5, outcomes.entities)).astype(np.uint8)
    desk = measure._reachable(outcomes, score, settings)
    draws = measure._question(outcomes, score, desk, settings)(weights)
    for row, draw in zip(weights, draws, strict=True):
        weight = row[entity].astype(float)
        held, totals = metrics.reach(desk, failed, weight), (np.bincount(day, weight), float(weight[failed].sum()))
        cells = [metrics.confusion(desk, held, totals, budget) for budget in (0.3, 0.7, 0.5)]
        ranked = metrics.weigh(metrics.rank(failed, score), weight)
        expected = [metrics.average_precision(ranked), metrics.roc_auc(ranked)]
        expected += [cell.precision for cell in cells[:2]] + [cell.recall for cell in cells[:2]]
        expected += [1 - cells[2].precision, cells[2].false_positive_rate, cells[2].virr(settings.interrupted_share)]
        assert np.array_equal(draw[: len(expected)], expected, equal_nan=True)
        assert np.isnan(draw[-3]) or draw[-3] == 2.0
