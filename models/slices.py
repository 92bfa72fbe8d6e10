"""Parts of a fleet, by hardware model and by age: what is good on the whole may be bad for some."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from models.examples import Bools, Floats, Ints
from models.measure import (
    Measured,
    Outcomes,
    Settings,
    average_precision,
    observed_over_predicted,
    paired_difference,
)

if TYPE_CHECKING:
    import duckdb

AGE_EDGES_DAYS: Final = (90, 365, 730, 1_095, 1_825)
FAMILY_ERROR: Final = 0.05
"""Chance that any slice of a kind looks worse than it is: each interval is widened accordingly (Bonferroni)."""

Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Members:
    """What tells a row's slices; each of shape (rows,)."""

    model: Texts
    """Hardware model; empty where nobody told it."""
    age_days: Floats
    """NaN where it is not known."""

    def take(self, rows: Bools | Ints) -> "Members":
        """Return the members of the rows chosen."""
        return Members(self.model[rows], self.age_days[rows])

    def slices(self) -> Iterator[tuple[str, str, Bools]]:
        """Yield kind, name and rows of each slice; a row is in one slice of each kind at most."""
        names, number = np.unique(self.model.astype(str), return_inverse=True)
        for at, name in enumerate(names):
            yield "model", name or "unknown", number == at
        edges = (0, *AGE_EDGES_DAYS, np.inf)
        for low, high in pairwise(edges):
            name = f"{low} to {high} days" if np.isfinite(high) else f"{low} days and older"
            yield "age", name, (self.age_days >= low) & (self.age_days < high)


@dataclass(frozen=True)
class Slice:
    """The figures of one part of the fleet, with intervals that hold for all parts of its kind together."""

    kind: str
    """`model` or `age`."""
    name: str
    rows: int
    failing_entities: int
    average_precision: Measured
    over_rival: Measured
    """Average precision minus the rival's (the champion's, or without one the rule's), under the same replicates."""
    observed_over_predicted: Measured
    """On those of the rows on which calibration is checked."""

    @property
    def key(self) -> str:
        """Return the name as a tracker takes it."""
        return f"slice/{self.kind}/{re.sub(r'[^A-Za-z0-9_. -]', '_', self.name)}"


def hardware_models(con: "duckdb.DuckDBPyConnection", keys: Ints) -> Texts:
    """Return the hardware model of each entity key, empty where nobody told it; same shape."""
    held = dict(con.execute("select entity_key, model from entity").fetchall())
    unique, at = np.unique(keys, return_inverse=True)
    return np.array([held.get(key) or "" for key in unique.tolist()], dtype=object)[at]


@dataclass(frozen=True)
class Scored:
    """Rows with the risks to be cut into slices, and the scores of two models."""

    outcomes: Outcomes
    members: Members
    score: Floats
    rival: Floats
    checked_risk: Floats
    """NaN on rows where calibration is not checked."""


def cut(scored: Scored, least_failing: int, settings: Settings) -> tuple[Slice, ...]:
    """Return the slices in which at least `least_failing` entities failed, the most failing first.

    Args:
        scored: at least one row.
        least_failing: fewer say nothing.
        settings: replicates and seed; the confidence is widened by the number of slices of a kind.
    """
    wanted = []
    for kind, name, rows in scored.members.slices():
        failing = np.unique(scored.outcomes.entity[rows & scored.outcomes.failed]).size
        if failing >= max(1, least_failing):
            wanted.append((kind, name, rows, int(failing)))
    found = []
    for kind, name, rows, failing in wanted:
        share = FAMILY_ERROR / sum(each[0] == kind for each in wanted)
        found.append(_slice(scored, (kind, name, failing), rows, settings.at_confidence(1 - share)))
    return tuple(sorted(found, key=lambda one: -one.failing_entities))


def _slice(scored: Scored, named: tuple[str, str, int], rows: Bools, settings: Settings) -> Slice:
    outcomes = scored.outcomes.part(rows)
    ours = average_precision(outcomes, scored.score[rows], settings)
    gap = paired_difference(outcomes, scored.score[rows], scored.rival[rows], settings)
    checked = rows & ~np.isnan(scored.checked_risk)
    ratio = Measured(None, None, None)
    if checked.any():
        ratio = observed_over_predicted(scored.outcomes.part(checked), scored.checked_risk[checked], settings)
    kind, name, failing = named
    return Slice(kind, name, int(rows.sum()), failing, ours, gap, ratio)
