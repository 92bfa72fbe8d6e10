"""The test behind incidents: exact, monotone, and blind to differences between strata."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from decisions.incidents.rates import Group, gain, p_value, ratio, tails

strata = st.lists(st.tuples(st.integers(0, 12), st.floats(0.5, 50), st.floats(0.5, 50)), min_size=1, max_size=4)


def group(rows: list[tuple[int, float, float]], hits: int) -> Group:
    """A group from events, days inside and days outside, by stratum."""
    events, inside, outside = (np.array(column) for column in zip(*rows, strict=True))
    return Group(events, inside.astype(float), outside.astype(float), hits)


def test_one_stratum_is_the_binomial_test() -> None:
    """Seven of ten events in a fifth of the time: as scipy reckons it, interval and all."""
    one = group([(10, 20.0, 80.0)], 7)
    known = binomtest(7, 10, 0.2, alternative="greater")
    assert p_value(one) == pytest.approx(known.pvalue)
    interval = binomtest(7, 10).proportion_ci(method="exact")
    estimate, low, high = ratio(one)
    odds = [share / (1 - share) * 4 for share in (0.7, interval.low, interval.high)]
    assert [estimate, low, high] == pytest.approx(odds, rel=1e-3)


def test_unlike_base_rates_prove_nothing() -> None:
    """A group that is mostly in the stratum with many events is no worse for it."""
    mixed = group([(100, 90.0, 10.0), (2, 10.0, 90.0)], 90)
    assert p_value(mixed) > 0.4
    assert p_value(group([(102, 100.0, 100.0)], 90)) < 1e-12


def test_without_an_event_in_the_rest_nothing_bounds_the_ratio() -> None:
    """All events in the group: no estimate, a lower bound, no upper one."""
    estimate, low, high = ratio(group([(6, 10.0, 90.0)], 6))
    assert (estimate, high) == (None, None)
    assert low > 5


@given(strata, st.data())
def test_more_hits_are_never_likelier(rows: list[tuple[int, float, float]], data: st.DataObject) -> None:
    """The p value falls with the hits, from 1 at none; the interval holds the estimate and excludes 1 with the p."""
    total = sum(events for events, _, _ in rows)
    hits = data.draw(st.integers(0, total))
    p = [p_value(group(rows, n)) for n in range(total + 1)]
    assert p[0] == 1.0
    assert all(later <= before + 1e-12 for before, later in pairwise(p))
    estimate, low, high = ratio(group(rows, hits))
    assert low <= (estimate if estimate is not None else np.inf)
    assert high is None or estimate is None or estimate <= high * (1 + 1e-3)
    if p[hits] < 0.025:
        assert low > 0.999


@given(strata, st.data())
def test_the_sum_over_strata_is_a_sum_of_binomials(rows: list[tuple[int, float, float]], data: st.DataObject) -> None:
    """The same tail as counting every way in which the strata's events can fall."""
    hits = data.draw(st.integers(0, sum(events for events, _, _ in rows)))
    mass = np.ones(1)
    for events, inside, outside in rows:
        mass = np.convolve(mass, binom.pmf(np.arange(events + 1), events, inside / (inside + outside)))
    assert p_value(group(rows, hits)) == pytest.approx(min(1.0, mass[hits:].sum()), abs=1e-9)


@given(strata)
def test_the_tails_are_the_p_values_of_all_hits(rows: list[tuple[int, float, float]]) -> None:
    """Worked out at once or one by one, they are the same chances."""
    total = sum(events for events, _, _ in rows)
    assert tails(group(rows, 0)) == pytest.approx([p_value(group(rows, n)) for n in range(total + 1)], abs=1e-12)


def test_the_gain_is_the_ratio_of_the_likelihoods() -> None:
    """Seven of ten events in a fifth of the time, and all ten: as scipy reckons them."""
    seven, ten = (binom.logpmf(hits, 10, hits / 10) - binom.logpmf(hits, 10, 0.2) for hits in (7, 10))
    assert gain(group([(10, 20.0, 80.0)], 7)) == pytest.approx(seven, rel=1e-3)
    assert gain(group([(10, 20.0, 80.0)], 10)) == pytest.approx(ten)
