"""Whether what a model earned held on later days: the calls of each band of risk against what was foretold of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.calibrate import clopper_pearson, prediction_interval
from models.earned import Earned
from models.examples import Floats
from models.measure import Measured, Outcomes


@dataclass(frozen=True)
class Kept:
    """One band: what was earned in training, and what came of the calls on later days."""

    risk_from: float
    earned: float
    """The precision that was measured in training, on `alerts` entities."""
    alerts: int
    calls: int
    """Distinct entities called on the later days."""
    hits: int
    foretold_low: int
    """The least of so many calls that were to come true (95 %)."""
    foretold_high: int
    precision: Measured
    """Of the later calls; exact binomial interval."""

    @property
    def held(self) -> bool:
        """Whether the prediction interval holds what came true."""
        return self.foretold_low <= self.hits <= self.foretold_high


def kept(earned: Sequence[Earned], outcomes: Outcomes, risk: Floats) -> tuple[Kept, ...]:
    """Return the bands, lowest first, that were measured in training and have a call among the rows.

    A call is an entity's first row in the band, as `models.calibrate.earned` counts them.

    Args:
        earned: of the model, lowest first.
        outcomes: rows in order of time.
        risk: of each row, within the longest horizon; NaN: unknown, no call; shape (n,).
    """
    edges = np.array([one.risk_from for one in earned])
    band = np.where(np.isnan(risk), -1, np.searchsorted(edges, risk, side="right") - 1)
    table = []
    for number, one in enumerate(earned):
        rows = np.flatnonzero(band == number)
        _, first = np.unique(outcomes.entity[rows], return_index=True)
        calls, hits = int(first.size), int(np.count_nonzero(outcomes.failed[rows[first]]))
        if not (calls and one.alerts):
            continue
        low, high = prediction_interval(round(one.precision * one.alerts), one.alerts, calls)
        share = Measured(hits / calls, *clopper_pearson(hits, calls))
        table.append(Kept(one.risk_from, one.precision, one.alerts, calls, hits, low, high, share))
    return tuple(table)
