"""What was earned in training is held against what came of later calls."""

import numpy as np
import pytest

from models.calibrate import earned, prediction_interval
from models.kept import kept
from models.measure import Outcomes


def outcomes(entity: list[int], failed: list[bool]) -> Outcomes:
    """Rows on one day each, in order of time."""
    rows = np.arange(len(entity))
    return Outcomes(np.array(entity), rows, np.array(failed), np.where(failed, 5.0, np.nan))


def test_a_band_that_comes_true_as_before_keeps_its_word_and_one_that_fails_does_not() -> None:
    """Half of sixty came true in training; fifteen of thirty is within what was foretold, none of thirty is not."""
    bought = earned(np.arange(60), np.full(60, 0.3), np.arange(60) < 30, [0.2])
    risk = np.full(30, 0.3)
    (good,) = kept(bought, outcomes(list(range(30)), [n < 15 for n in range(30)]), risk)
    (bad,) = kept(bought, outcomes(list(range(30)), [False] * 30), risk)
    assert (good.calls, good.hits, good.held) == (30, 15, True)
    assert (good.foretold_low, good.foretold_high) == prediction_interval(30, 60, 30)
    assert not bad.held
    assert good.precision.low == pytest.approx(0.313, abs=0.001)


def test_an_entity_is_one_call_and_the_unknown_are_none() -> None:
    """The first row in the band counts; a risk below all bands and a missing one are no calls."""
    bought = earned(np.arange(40), np.repeat([0.15, 0.6], 20), np.ones(40, dtype=bool), [0.1, 0.5])
    risk = np.array([0.15, 0.2, 0.7, np.nan, 0.01])
    found = kept(bought, outcomes([0, 0, 0, 1, 2], [False, True, True, True, True]), risk)
    assert [(one.risk_from, one.calls, one.hits) for one in found] == [(0.1, 1, 0), (0.5, 1, 1)]


def test_a_band_that_nobody_measured_foretells_nothing() -> None:
    """Neither one without calls in training nor one without later calls is listed."""
    bought = earned(np.arange(30), np.full(30, 0.3), np.zeros(30, dtype=bool), [0.2, 0.8])
    assert bought[1].alerts == 0
    assert kept(bought, outcomes([1], [True]), np.array([0.9])) == ()
