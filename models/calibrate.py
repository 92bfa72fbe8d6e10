"""From one booster score to honest risks: a monotone map per horizon, and what calls have earned so far.

The map is beta calibration (Kull, Silva Filho and Flach, AISTATS 2017): logit p = c + a ln s - b ln(1 - s), with
a, b >= 0 so that a higher score never means a lower risk. Three numbers a horizon stay honest with few failures, and a
pull towards a = b = 1 (the identity) decides when the window holds hardly any.

Months of failures shape the maps, but how often things fail moves faster than that: so all maps are raised or lowered
together to the level of the newest weeks, whose short-horizon labels are known first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize
from scipy.special import expit, log_expit, logit
from scipy.stats import beta, betabinom

from models.earned import Earned

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SCORE_EDGE: Final = 1e-7
PULL: Final = 2.0
"""Strength of the pull of a and b towards 1, in log-likelihood per squared unit: a handful of failures outweigh it."""
SHIFT_EDGE: Final = 5.0
"""How far a map may be shifted when it is carried over to another booster, in log-odds."""
HALF_LIFE_DAYS: Final = 14.0
"""Failures so long ago count half in the level."""
LEVEL_PULL: Final = 5.0
"""Strength of the pull of the level towards 1: so many failures, just as foretold, stand beside those of late."""
THRESHOLDS: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
"""Lower edges of the risk bands whose precision is measured."""
NEXT_DAYS: Final = 30
"""For so many days ahead it is foretold how many calls of a band will come true."""
LEAST_ALERTS: Final = 20
"""A band holds at least this many calls, if need be by merging: with fewer, its interval is too wide to earn much."""


@dataclass(frozen=True)
class BetaMap:
    """One horizon's map from score to risk."""

    horizon_days: int
    a: float
    b: float
    c: float

    def risk(self, score: Floats) -> Floats:
        """Return the probability of failure within the horizon for scores in [0, 1]; same shape."""
        clipped = np.clip(score, SCORE_EDGE, 1 - SCORE_EDGE)
        return np.asarray(expit(self.c + self.a * np.log(clipped) - self.b * np.log1p(-clipped)))


@dataclass(frozen=True)
class Calibration:
    """The maps of all horizons, shortest first."""

    maps: tuple[BetaMap, ...]

    def risks(self, score: Floats) -> Floats:
        """Return risks of shape (n, horizons), never decreasing along a row."""
        each = np.stack([one.risk(score) for one in self.maps], axis=1)
        return np.asarray(np.maximum.accumulate(each, axis=1))

    def as_mapping(self) -> dict[str, Any]:
        """Return JSON-ready values that `from_mapping` reads back exactly."""
        return {"kind": "beta", "maps": [vars(one) for one in self.maps]}

    @classmethod
    def from_mapping(cls, raw: dict[str, Any]) -> "Calibration":
        """Return the calibration that `as_mapping` wrote."""
        return cls(tuple(BetaMap(**one) for one in raw["maps"]))


def fit_map(score: Floats, failed: Bools, weight: Floats, horizon_days: int) -> BetaMap:
    """Return the beta map that makes the weighted log-likelihood highest, pulled towards the identity.

    Without any failure (or any survivor) half a row of the missing class stands in at the average score; without any
    row the map is the identity.
    """
    if not score.size:
        return BetaMap(horizon_days, 1.0, 1.0, 0.0)
    place, held, hit = _gathered(np.clip(score, SCORE_EDGE, 1 - SCORE_EDGE), weight, failed)
    hits, total = float(hit.sum()), float(held.sum())
    if hits == 0 or hits == total:
        place = np.append(place, float(held @ place) / total)
        hit, held = np.append(hit, 0.5 * float(hits == 0)), np.append(held, 0.5)
        hits, total = float(hit.sum()), total + 0.5
    log_s, log_1s = log_expit(place), log_expit(-place)

    def loss(theta: Floats) -> tuple[float, Floats]:
        a, b, c = theta
        z = c + a * log_s - b * log_1s
        off = held * expit(z) - hit
        value = float(held @ np.logaddexp(0, z) - hit @ z) + PULL / 2 * ((a - 1) ** 2 + (b - 1) ** 2)
        return value, np.array([off @ log_s + PULL * (a - 1), -(off @ log_1s) + PULL * (b - 1), off.sum()])

    start = math.log(hits / (total - hits)) - float(held @ (log_s - log_1s)) / total
    found = minimize(
        loss, np.array([1.0, 1.0, start]), jac=True, method="L-BFGS-B", bounds=[(1e-3, 20), (0, 20), (-40, 40)]
    )
    a, b, c = (float(value) for value in found.x)
    return BetaMap(horizon_days, a, b, c)


def level(risk: Floats, failed: Bools, weight: Floats, days_ago: Floats) -> float:
    """Return how many times as often as foretold things have failed of late; 1 where nothing is known.

    The posterior mean of a Poisson rate with a Gamma prior whose evidence fades, as in Harvey and Fernandes (1989).

    Args:
        risk: what was foretold within a short horizon; shape (n,), as the others.
        failed: within that horizon.
        weight: what each row counts, so that all rows of one failure count one together.
        days_ago: how long before the newest row each was asked.
    """
    kept = weight * 0.5 ** (days_ago / HALF_LIFE_DAYS)
    return float((kept @ failed + LEVEL_PULL) / (kept @ risk + LEVEL_PULL))


def raised(calibration: Calibration, factor: float) -> Calibration:
    """Return the maps with all odds multiplied by a factor."""
    return Calibration(tuple(replace(one, c=one.c + math.log(factor)) for one in calibration.maps))


def carried_over(calibration: Calibration, learned_on: Floats, served: Floats) -> Calibration:
    """Return the maps for another booster's scores: on the same rows they foretell as many failures as before.

    A booster that has learned newer labels scores the fleet higher or lower as a whole; what the maps know of how many
    fail is kept, by a shift of each on the log-odds scale.

    Args:
        calibration: maps of the first booster's scores.
        learned_on: its scores of some rows, today's fleet at best; shape (n,).
        served: the other booster's scores of the same rows.
    """
    if not served.size:
        return calibration
    return Calibration(tuple(_shifted(one, served, float(one.risk(learned_on).mean())) for one in calibration.maps))


def _shifted(one: BetaMap, score: Floats, wanted: float) -> BetaMap:
    """The map whose mean risk of the scores is the wanted one, or the nearest within a factor of e^5 in odds."""

    def over(by: float) -> float:
        return float(replace(one, c=one.c + by).risk(score).mean()) - wanted

    low, high = -SHIFT_EDGE, SHIFT_EDGE
    if over(low) >= 0 or over(high) <= 0:
        return replace(one, c=one.c + (low if over(low) >= 0 else high))
    return replace(one, c=one.c + float(brentq(over, low, high)))


def _gathered(score: Floats, weight: Floats, failed: Bools) -> tuple[Floats, Floats, Floats]:
    """Distinct places on the log-odds scale, to a thousandth, with the weight and the failed weight at each."""
    places, at = np.unique(np.round(logit(score), 3), return_inverse=True)
    held = weight.astype(np.float64)
    totals = [np.asarray(np.bincount(at, each, places.size), dtype=np.float64) for each in (held, held * failed)]
    return places, totals[0], totals[1]


def earned(
    entity: npt.NDArray[np.int64],
    risk: Floats,
    failed: Bools,
    thresholds: Sequence[float] = THRESHOLDS,
    least_alerts: int = LEAST_ALERTS,
    *,
    span_days: float = NEXT_DAYS,
) -> tuple[Earned, ...]:
    """Return the precision of calls in each band of risk, lowest first; rows must be in order of time.

    `span_days` is how long the rows were gathered: where it was longer than 30 days, fewer calls are expected within
    the next 30, in proportion, and otherwise as many as were measured.

    Bands are disjoint, so that a low risk earns nothing by what high ones did. The unit is the entity: its first call
    in the band, right when it failed within 30 days of that call. Repeated calls of one entity are one piece of
    evidence, so the interval is the exact binomial one (Clopper and Pearson 1934), which also stays wide where few were
    called.

    From the top down, a band with fewer than `least_alerts` entities is merged with the one below, until there are
    enough: so it is the high risks that answer for lower ones. What is left thin at the bottom stays thin, and its wide
    interval earns little. An empty band is merged with empty ones only: risks on its two sides have little in common.
    """
    band = np.searchsorted(np.asarray(thresholds), risk, side="right") - 1
    table = []
    for first, last in _merged(entity, band, len(thresholds), least_alerts):
        called = np.flatnonzero((band >= first) & (band <= last))
        _, at = np.unique(entity[called], return_index=True)
        alerts, hits = int(at.size), int(np.count_nonzero(failed[called[at]]))
        low, high = clopper_pearson(hits, alerts)
        calls = round(alerts * NEXT_DAYS / max(span_days, NEXT_DAYS))
        ahead = (calls, *prediction_interval(hits, alerts, calls))
        table.append(Earned(float(thresholds[first]), hits / alerts if alerts else 0.0, low, high, alerts, *ahead))
    return tuple(table)


def _merged(
    entity: npt.NDArray[np.int64], band: npt.NDArray[np.int64], bands: int, least_alerts: int
) -> list[tuple[int, int]]:
    """First and last band of each group that `earned` merges, lowest first."""

    def alerts(first: int, last: int) -> int:
        return int(np.unique(entity[(band >= first) & (band <= last)]).size)

    groups: list[tuple[int, int]] = []
    for at in reversed(range(bands)):
        held = alerts(*groups[-1]) if groups else least_alerts
        if held < least_alerts and (held == 0) == (alerts(at, at) == 0):
            groups[-1] = (at, groups[-1][1])
        else:
            groups.append((at, at))
    return groups[::-1]


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a proportion; (0, 1) without trials."""
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return low, high


def prediction_interval(hits: int, trials: int, calls: int, confidence: float = 0.95) -> tuple[int, int]:
    """Return the least and the most of the next `calls` that come true, as `hits` of `trials` did.

    The beta-binomial predictive distribution under Jeffreys' prior, Beta(1/2, 1/2): it knows both how uncertain the
    share is and how chance scatters so few calls, and holds for calls that come true as often as those measured. Its
    tails hold at most (1 - confidence) / 2 each, so that, numbers being whole, it covers more rather than less.
    """
    tail = (1 - confidence) / 2
    chance = np.cumsum(betabinom.pmf(np.arange(calls), calls, hits + 0.5, trials - hits + 0.5))
    return int(np.searchsorted(chance, tail)), int(np.searchsorted(chance, 1 - tail))
