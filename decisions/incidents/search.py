"""The factors that chance does not explain, with how small the smallest p value gets by chance.

Most of the hundreds of factors are much alike, or too small ever to have a small p value; counting each as a test of
its own hides real causes. So the same failures are drawn anew many times from who was watched, each stratum keeping its
number, and all factors are tested on each draw: the smallest p values of the draws are what chance gives in a fleet
where nothing is shared (Westfall and Young, Resampling-Based Multiple Testing, 1993). Single factors and pairs have a
half each of the chance that anything at all is named. Failures are drawn among stays of which the same is told: more
may be told of parts that fail than of others, or less, and that is no cause.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import log
from typing import Final

import numpy as np

from decisions.incidents.population import Floats, Ints
from decisions.incidents.rates import Group, estimate, gain, tails
from decisions.incidents.study import Factors, Study, summed
from decisions.incidents.values import Shared
from decisions.incidents.words import NAMES
from decisions.sections import Incidents

PAIRED: Final = ("hardware_model", "firmware", "kernel", "model", "part_firmware", "batch", "age")
"""Attributes of which two at a time are looked at."""
DRAWS: Final = 1_000
SEED: Final = 20_130_410
"""Of the draws: the same population always gets the same answer."""


@dataclass(frozen=True)
class Found:
    """A factor that chance does not explain: in which strata it was most telling, and how."""

    shared: Shared
    scope: int
    """Position among the kinds of parts, or -1: all of them together."""
    group: Group
    p: float
    """The smallest over its scopes."""
    p_adjusted: float
    """The chance that any factor has so small a p value where nothing is shared."""
    score: float
    """Its log-likelihood gain less the logarithm of how many such factors were looked at (Chen and Chen, Extended
    Bayesian information criteria, Biometrika 95, 2008): a pair must tell more than a half of it to be preferred."""


@dataclass(frozen=True)
class _Draws:
    """The failures as they fell and, row by row, as they might have."""

    stays: Mapping[int, Ints]
    """Each row's stays, by kind of part."""


def telling(study: Study, held: Ints, policy: Incidents) -> list[Found]:
    """Factors that chance does not explain within the strata held fixed, the most telling first."""
    if not study.hit.any():
        return []
    draws = _draws(study, held)
    names = list(study.columns)
    pairs = combinations([name for name in PAIRED if name in names], 2)
    families = ([(name,) for name in names], list(pairs))
    found = [
        each
        for family in families
        for each in _family(study, [study.factors(one) for one in family], held, draws, policy)
    ]
    order = list(NAMES)
    return sorted(found, key=lambda each: (-each.score, len(each.shared), [order.index(n) for n, _ in each.shared]))


def _draws(study: Study, held: Ints) -> _Draws:
    """Row 0: the failures as they fell. After it, drawn in proportion to the time watched, each within its stratum.

    And among stays of which the same attributes are told, so that each factor is tested on as many failures as it was.
    """
    dice = np.random.default_rng(SEED)
    stays, kinds = [], []
    alike = held << len(study.columns) | study.told_of
    for stratum in np.unique(alike[study.hit]).tolist():
        inside = study.order[alike[study.order] == stratum]
        fell = inside[study.hit[inside]]
        ends = np.cumsum(study.days[inside])
        drawn = np.searchsorted(ends, dice.random((DRAWS, len(fell))) * ends[-1], side="right")
        stays.append(np.vstack([fell, inside[np.minimum(drawn, len(inside) - 1)]]))
        kinds.append(np.full(len(fell), study.components[inside[0]]))
    every, kind_of = np.hstack(stays), np.concatenate(kinds)
    return _Draws({kind: every[:, kind_of == kind] for kind in np.unique(kind_of).tolist()})


def _family(study: Study, family: list[Factors], held: Ints, draws: _Draws, policy: Incidents) -> Iterator[Found]:
    """Yield the factors of a family that are more telling than all but a few draws' most telling one."""
    smallest = np.ones(DRAWS + 1)
    best: dict[Shared, tuple[float, int, Group]] = {}
    for factors in family:
        for scope, nth, group, rows, p in _tested(study, factors, held, draws, policy):
            np.minimum.at(smallest, rows, p)
            if rows[0] == 0 and p[0] < best.get(factors.values[nth], (1.0,))[0]:
                best[factors.values[nth]] = (float(p[0]), scope, group)
    tests = _independent(smallest[1:], policy.false_incident_share / 2)
    looked_at = sum(int(factors.usable.sum()) for factors in family)
    for shared, (p_least, scope, group) in best.items():
        adjusted = min(1.0, 2 * tests * p_least)
        if adjusted <= policy.false_incident_share and (estimate(group) or np.inf) >= policy.minimum_relative_risk:
            yield Found(shared, scope, group, p_least, adjusted, round(gain(group) - log(looked_at), 6))


def _independent(smallest: Floats, share: float) -> float:
    """How many independent tests would have their smallest p value as low in that share of the draws."""
    lower = max(1, int(share * (DRAWS + 1)) - 1)
    return max(1.0, max(share, lower / (DRAWS + 1)) / float(np.sort(smallest)[lower - 1]))


def _tested(
    study: Study, factors: Factors, held: Ints, draws: _Draws, policy: Incidents
) -> Iterator[tuple[int, int, Group, Ints, Floats]]:
    """Yield scope and factor with the rows of the draws in which it has enough hits, and its p value in each."""
    count, told = len(factors.values), factors.codes >= 0
    strata = int(held.max(initial=0)) + 1
    cell = held[told] * count + factors.codes[told]
    days = summed(cell, study.days[told], strata * count).reshape(strata, count)
    events = np.bincount(held[told & study.hit], minlength=strata)
    kind_of = np.zeros(strata, dtype=np.int64)
    kind_of[held] = study.components
    by_kind = {kind: _hits(factors, draws, kind) for kind in draws.stays}
    together: Ints = np.sum(list(by_kind.values()), axis=0)
    scopes = {-1: together} | (by_kind if len(by_kind) > 1 else {})
    for scope, hits in scopes.items():
        among = slice(None) if scope < 0 else kind_of == scope
        enough = (hits >= policy.minimum_affected) & factors.usable
        whole = days[among].sum(axis=1)
        for nth in np.nonzero(enough.any(axis=0))[0].tolist():
            inside = days[among, nth]
            group = Group(events[among], inside, whole - inside, int(hits[0, nth]))
            rows = np.nonzero(enough[:, nth])[0]
            chances = tails(group)
            yield scope, nth, group, rows, chances[np.minimum(hits[rows, nth], len(chances) - 1)]


def _hits(factors: Factors, draws: _Draws, kind: int) -> Ints:
    """By row of the draws and factor, how many failures of that kind of part fell into it."""
    count, codes = len(factors.values), factors.codes + 1
    rows = [np.bincount(codes[stays], minlength=count + 1)[1:] for stays in draws.stays[kind]]
    hits: Ints = np.array(rows).reshape(len(rows), count)
    return hits
