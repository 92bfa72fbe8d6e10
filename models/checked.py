"""Calibration put to the test: risks of the later window by maps that saw neither the row's day nor its entity.

A map with a free intercept always agrees with the rows it was fitted to, so agreement there proves nothing. The window
is therefore split in time: maps fitted to its earlier half are judged on its later half. As a label reaches a month
ahead, one failure can lie within reach of both halves; so entities are split too, by the parity of their key, and the
maps that judge one half of them were fitted to the other (cross-fitting: every later row is judged, none by a map that
knew its entity). Where either half of the window holds fewer than `LEAST_FAILING` failing entities, there is too little
for a split in time: the whole window is judged, by entities alone, and `ahead` says that it was.

The maps that are served are fitted again to the whole window, and their level to the days after it as well: three
numbers a horizon gain from twice the failures and from the newest days, and what is measured here is that way of
fitting, not one of its results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.calibrate import Calibration, fit_map, level, raised
from models.examples import Bools, Fate, Floats, Ints, on_whole_days
from models.examples import joined as fates
from models.measure import Outcomes
from models.slices import Members
from models.spec import Spec
from models.windows import LEVEL_DAYS

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
    members: Members
    every_days: int = 7
    """Days between two asked days."""

    def seen_for(self, horizon_days: float) -> "Held":
        """Return the rows of days after which someone was seen for the whole horizon."""
        return self.take(on_whole_days(self.day, self.fate, horizon_days))

    def outcomes(self, failed: Bools, rows: Bools) -> Outcomes:
        """Return what became of the rows chosen, with entities and days numbered anew."""
        return Outcomes(self.entity, self.day, failed, self.fate.failed_in_days).part(rows)

    def take(self, rows: Bools | Ints) -> "Held":
        """Return the rows chosen."""
        return Held(
            self.entity[rows],
            self.day[rows],
            self.score[rows],
            self.rule[rows],
            self.champion[rows],
            self.fate.take(rows),
            self.members.take(rows),
            self.every_days,
        )


def joined(parts: Sequence[Held]) -> Held:
    """Return the rows of several batches, one after the other."""
    return Held(
        np.concatenate([part.entity for part in parts]),
        np.concatenate([part.day for part in parts]),
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.rule for part in parts]),
        np.concatenate([part.champion for part in parts]),
        fates([part.fate for part in parts]),
        Members(*(np.concatenate([getattr(p.members, name) for p in parts]) for name in ("model", "age_days"))),
        parts[0].every_days,
    )


@dataclass(frozen=True)
class Checked:
    """The rows on which calibration and earned precision are measured, in order of (day, entity)."""

    outcomes: Outcomes
    risk: Floats
    """Within the longest horizon, by maps that saw neither day nor entity; shape (n,)."""
    every_risk: Floats
    """Within each horizon, on all rows of the window; NaN where calibration is not checked; shape (held, horizons)."""
    first_day: int
    """The first day measured, a number into the window's days."""
    ahead: bool
    """Measured ahead in time; false where the window was too short of failures and only entities were split."""


def calibrated(held: Held, spec: Spec, rows: Bools | None = None) -> Calibration:
    """Return one map per horizon, fitted to the rows (all, unless chosen) that count at that horizon, at today's level.

    Days that have not been seen for the longest horizon yet tell the level alone, so that all maps know the same days.
    """
    chosen = held if rows is None else held.take(rows)
    whole = chosen.seen_for(spec.longest_days)
    maps = []
    for days in spec.horizon_days:
        failed, counted = whole.fate.within(days)  # a risk is of any failure, also one too soon to help
        maps.append(fit_map(whole.score[counted], failed[counted], np.ones(int(counted.sum())), days))
    seen = chosen.seen_for(LEVEL_DAYS)
    failed, counted = seen.fate.within(LEVEL_DAYS)
    return at_level(Calibration(tuple(maps)), seen.take(counted), failed[counted], np.ones(int(counted.sum())))


def at_level(calibration: Calibration, seen: Held, failed: Bools, weight: Floats) -> Calibration:
    """Return the maps raised by how many times as often as foretold the entities have failed in the newest weeks.

    Args:
        calibration: the maps, that of `LEVEL_DAYS` among them.
        seen: rows of days whose labels within `LEVEL_DAYS` are known.
        failed: whether each failed within them.
        weight: what each counts, were the days so far apart that no failure counts twice.
    """
    if not seen.score.size:
        return calibration
    own = next(each for each in calibration.maps if each.horizon_days == LEVEL_DAYS)
    ago = (seen.day.max() - seen.day) * seen.every_days
    once = weight * min(1.0, seen.every_days / LEVEL_DAYS)
    return raised(calibration, level(own.risk(seen.score), failed, once, ago.astype(np.float64)))


def check(held: Held, spec: Spec) -> Checked:
    """Return the later half of the window with risks from maps that did not see it; `held` has at least one row."""
    failed, counted = held.fate.within(spec.longest_days, spec.minimum_lead_days)
    days = np.unique(held.day)
    middle = int(days[days.size // 2])
    later = held.day >= middle
    ahead = all(np.unique(held.entity[failed & half]).size >= LEAST_FAILING for half in (later, ~later))
    learned, judged = (~later, later) if ahead else (np.ones_like(later), np.ones_like(later))
    risk = np.full((held.score.size, len(spec.horizon_days)), np.nan)
    for parity in (0, 1):
        own = held.entity % 2 == parity
        risk[own & judged] = calibrated(held, spec, learned & ~own).risks(held.score[own & judged])
    rows = counted & judged
    return Checked(held.outcomes(failed, rows), risk[rows, -1], risk, middle if ahead else int(days[0]), ahead)
