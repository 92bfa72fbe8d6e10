"""Calibration put to the test: risks of the later window by maps that saw neither the row's day nor its entity.

A map with a free intercept always agrees with the rows it was fitted to, so agreement there proves nothing. The window
is therefore split in time: maps fitted to its earlier half are judged on its later half. As a label reaches a month
ahead, one failure can lie within reach of both halves; so entities are split too, by the parity of their key, and the
maps that judge one half of them were fitted to the other (cross-fitting: every later row is judged, none by a map that
knew its entity). Where either half of the window holds fewer than `LEAST_FAILING` failing entities, there is too little
for a split in time: the whole window is judged, by entities alone, and `ahead` says that it was.

The maps that are served are fitted again to the whole window: three numbers a horizon gain from twice the failures and
from the newest days, and what is measured here is that way of fitting, not one of its results.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from models.calibrate import Calibration, fit_map
from models.examples import Bools, Fate, Floats, Ints
from models.measure import Outcomes
from models.spec import Spec

LEAST_FAILING: Final = 10
"""Failing entities that each half of the window must hold for a split in time."""


@dataclass(frozen=True)
class Held:
    """Rows of the calibration window that can be judged, in order of (day, entity)."""

    entity: Ints
    day: Ints
    score: Floats
    rule: Floats
    champion: Floats
    fate: Fate

    def outcomes(self, failed: Bools, rows: Bools) -> Outcomes:
        """Return what became of the rows chosen, with entities and days numbered anew."""
        _, entity = np.unique(self.entity[rows], return_inverse=True)
        _, day = np.unique(self.day[rows], return_inverse=True)
        return Outcomes(entity, day, failed[rows], self.fate.failed_in_days[rows])


@dataclass(frozen=True)
class Checked:
    """The rows on which calibration and earned precision are measured, in order of (day, entity)."""

    outcomes: Outcomes
    risk: Floats
    """Within the longest horizon, by maps that saw neither day nor entity; shape (n,)."""
    first_day: int
    """The first day measured, a number into the window's days."""
    ahead: bool
    """Measured ahead in time; false where the window was too short of failures and only entities were split."""


def calibrated(held: Held, spec: Spec, rows: Bools | None = None) -> Calibration:
    """Return one map per horizon, fitted to the rows (all, unless chosen) that count at that horizon."""
    maps = []
    for days in spec.horizon_days:
        failed, counted = held.fate.within(days)  # a risk is of any failure, also one too soon to help
        counted = counted if rows is None else counted & rows
        maps.append(fit_map(held.score[counted], failed[counted], np.ones(int(counted.sum())), days))
    return Calibration(tuple(maps))


def check(held: Held, spec: Spec) -> Checked:
    """Return the later half of the window with risks from maps that did not see it; `held` has at least one row."""
    failed, counted = held.fate.within(spec.longest_days, spec.minimum_lead_days)
    days = np.unique(held.day)
    middle = int(days[days.size // 2])
    later = held.day >= middle
    ahead = all(np.unique(held.entity[failed & half]).size >= LEAST_FAILING for half in (later, ~later))
    learned, judged = (~later, later) if ahead else (np.ones_like(later), np.ones_like(later))
    risk = np.empty(held.score.size)
    for parity in (0, 1):
        own = held.entity % 2 == parity
        risk[own] = calibrated(held, spec, learned & ~own).risks(held.score[own])[:, -1]
    rows = counted & judged
    return Checked(held.outcomes(failed, rows), risk[rows], middle if ahead else int(days[0]), ahead)
