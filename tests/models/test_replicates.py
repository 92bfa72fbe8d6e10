"""What groups of rows weigh in all bootstrap replicates at once is what adding up row by row gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import measure, metrics, replicates
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


def test_weights_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few weights are turned into numbers at once, the sums are the same."""
    random = np.random.default_rng(1)
    groups = Groups.of(random.integers(0, 9, 200), random.integers(0, 6, 200), 6, 9)
    weights = random.poisson(1.0, (25, 9)).astype(np.uint8)
    whole = groups.sums(weights)
    monkeypatch.setattr(replicates, "_WEIGHTS_AT_ONCE", 20)
    assert groups.sums(weights).tolist() == whole.tolist()


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
