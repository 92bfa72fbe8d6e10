"""Is a group hit more often than its share of the time watched? Exact, and within strata of unlike base rates.

Given how many events fell into a stratum, those that fell into the group are binomial with the group's share of the
stratum's time, if the group is like the rest. Over several strata their sum is compared: the exact conditional test of
a common rate ratio (Breslow and Day, Statistical Methods in Cancer Research, volume II, chapter 3).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log, log1p
from typing import Final

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtrc, gammaln

from decisions.incidents.population import Floats, Ints

TAIL: Final = 0.025
"""Outside either end of a 95 % interval."""
NEGLIGIBLE: Final = 1e-250
"""Chances below this are left out of sums, in which they do not change a digit."""
_LOG_RATIOS: Final = (-12.0, 12.0)


@dataclass(frozen=True)
class Group:
    """A group and the rest, stratum by stratum."""

    events: Ints
    """In group and rest together."""
    inside: Floats
    """Time watched in the group."""
    outside: Floats
    hits: int
    """Events in the group, over all strata."""

    @property
    def expected(self) -> float:
        """Events that the group would have if it were like the rest of each stratum."""
        return float((self.events * _share(self, 1.0)).sum())


def p_value(group: Group) -> float:
    """The chance of at least so many hits if the group is like the rest: one-sided."""
    return _at_least(group, 1.0)


def tails(group: Group) -> Floats:
    """The chances of at least 0, 1, ... events in the group if it is like the rest, up to all there are."""
    first, mass = _total(group.events, _share(group, 1.0))
    chances: Floats = np.zeros(int(group.events.sum()) + 1)
    chances[first : first + len(mass)] = np.minimum(1.0, np.cumsum(mass[::-1])[::-1])
    chances[:first] = chances[first]
    return chances


def gain(group: Group) -> float:
    """How much likelier, as a logarithm, the hits are at their own rate ratio than if the group were like the rest."""
    times = estimate(group)
    shares = _share(group, 1.0)
    if times is None:
        return -float((group.events * np.log(shares, out=np.zeros(len(shares)), where=shares > 0)).sum())
    whole = float((group.events * np.log1p(shares * (times - 1.0))).sum())
    return group.hits * log(times) - whole if times > 0 else 0.0


def estimate(group: Group) -> float | None:
    """The rate ratio of group to rest; null where nothing bounds it from above."""
    least, most = _extremes(group)
    if group.hits <= least:
        return 0.0
    if group.hits >= most:
        return None
    return _solve(lambda theta: float((group.events * _share(group, theta)).sum()) - group.hits)


def ratio(group: Group) -> tuple[float | None, float, float | None]:
    """The rate ratio of group to rest and its exact 95 % interval; null for what nothing bounds from above."""
    times, (least, _) = estimate(group), _extremes(group)
    if group.hits <= least:
        return 0.0, 0.0, None
    low = _solve(lambda theta: _at_least(group, theta) - TAIL)
    if times is None:
        return None, low, None
    high = _solve(lambda theta: TAIL - (1.0 - _at_least(group, theta, more=1)))
    return times, low, high


def _extremes(group: Group) -> tuple[int, int]:
    """The fewest and the most hits that the group can have."""
    inside = group.inside > 0
    return int(group.events[(group.outside <= 0) & inside].sum()), int(group.events[inside].sum())


def _share(group: Group, theta: float) -> Floats:
    """The group's share of each stratum's events when it is hit `theta` times as often as the rest."""
    weight = theta * group.inside
    whole = weight + group.outside
    share: Floats = np.divide(weight, whole, out=np.zeros(len(whole)), where=whole > 0)
    return share


def _at_least(group: Group, theta: float, more: int = 0) -> float:
    """The chance of at least `hits` + `more` events in the group."""
    hits, shares = group.hits + more, _share(group, theta)
    open_ = (group.events > 0) & (shares > 0) & (shares < 1)
    hits -= int(group.events[shares >= 1].sum())
    if hits <= 0:
        return 1.0
    events, shares = group.events[open_], shares[open_]
    if len(events) <= 1:
        return float(bdtrc(hits - 1, int(events[0]), float(shares[0]))) if len(events) else 0.0
    first, mass = _total(events, shares)
    return min(1.0, float(mass[max(0, hits - first) :].sum()))


def _total(events: Ints, shares: Floats) -> tuple[int, Floats]:
    """The chances of so many events in all, from a first number on; beyond either end none is above `NEGLIGIBLE`."""
    first, mass = 0, np.ones(1)
    for count, share in zip(events.tolist(), shares.tolist(), strict=True):
        if count:
            begins, chances = _told(_mass(count, share))
            skipped, mass = _told(np.convolve(mass, chances))
            first += begins + skipped
    return first, mass


def _told(mass: Floats) -> tuple[int, Floats]:
    """Where the chances above `NEGLIGIBLE` begin, and they alone."""
    told = np.flatnonzero(mass > NEGLIGIBLE)
    return int(told[0]), mass[told[0] : told[-1] + 1]


def _mass(count: int, share: float) -> Floats:
    """The binomial chances of 0 to `count` events."""
    hits = np.arange(count + 1)
    if not 0.0 < share < 1.0:
        sure: Floats = (hits == (count if share else 0)).astype(np.float64)
        return sure
    ways = gammaln(count + 1) - gammaln(hits + 1) - gammaln(count - hits + 1)
    mass: Floats = np.exp(ways + hits * log(share) + (count - hits) * log1p(-share))
    return mass


def _solve(rising: Callable[[float], float]) -> float:
    """The ratio at which a function that rises with it is zero; the end of what is looked at, if it is nowhere."""
    least, most = _LOG_RATIOS
    if rising(exp(least)) >= 0.0:
        return 0.0
    if rising(exp(most)) <= 0.0:
        return exp(most)
    return exp(float(brentq(lambda at: rising(exp(at)), least, most, xtol=1e-4)))
