"""Learning from a record on which whatever was called in time never failed; simulated, so the truth is known."""

from collections.abc import Mapping
from functools import partial

import pytest

from benchmarks.mitigated_labels import Draws, Plan, fleet, lost, pooled, share_of_loss, table, workers

SEEDS = (21, 22, 23, 24)
AGGRESSIVE, SPARING = 2.0, 0.5
"""Hosts emptied a day, of 400."""

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def learned() -> Mapping[float, Draws]:
    """What models learn on four fleets, by how many of their hosts were emptied each day for four months."""
    budgets = [AGGRESSIVE, SPARING]
    with workers(2) as pool:
        fleets = list(pool.map(partial(fleet, plan=Plan(), budgets=budgets, arms=("naive", "ours")), SEEDS))
    found = {budget: pooled([each[budget] for each in fleets]) for budget in budgets}
    for budget, draws in found.items():
        print(f"{budget:g} hosts a day", *table(draws), sep="\n")  # noqa: T201 - the figures are the point
    return found


@pytest.mark.parametrize("hosts_a_day", [AGGRESSIVE, SPARING])
def test_counting_what_was_told_keeps_two_thirds_of_what_naive_labels_lose(
    learned: Mapping[float, Draws], hosts_a_day: float
) -> None:
    """After four months of emptying hosts early ours loses at most a third of that, and surely less than half.

    Four fleets are too few to tell a third from a little more; docs/lab/mitigation.md has ten.
    """
    draws = learned[hosts_a_day]
    naive, ours = lost(draws, "naive"), share_of_loss(draws, "ours")
    assert naive.low is not None
    assert naive.low > 0
    assert ours.value is not None
    assert ours.value <= 1 / 3
    assert ours.high is not None
    assert ours.high < 1 / 2


@pytest.mark.parametrize("hosts_a_day", [AGGRESSIVE, SPARING])
def test_counting_what_was_told_foretells_the_number_of_failures_better(
    learned: Mapping[float, Draws], hosts_a_day: float
) -> None:
    """Observed over predicted on the untouched fleet is nearer to one than with naive labels, and within 0.5 and 2."""
    ratio = {arm: figures[0, 3] for arm, figures in learned[hosts_a_day].items()}
    assert abs(ratio["ours"] - 1) < abs(ratio["naive"] - 1)
    assert 0.5 < ratio["ours"] < 2
