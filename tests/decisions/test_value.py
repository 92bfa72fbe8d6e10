"""What off-policy values say of decisions whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from decisions.domain import Action
from decisions.value import AS_DECIDED, CHEAPEST, LEAST, Tried, policies, values
from models.measure import Measured, Settings

MOVE, WAIT = Action.LIVE_MIGRATE, Action.MONITOR
QUICK = Settings(replicates=200)
VMS, SHARE = 5, 0.4


def drawn(count: int, seed: int, bias: float, *, luck: bool = True) -> tuple[list[Tried], float, float]:
    """Decisions of which 40 % were drawn, and what always taking the cheapest, or waiting, costs in truth.

    The prices are wrong by `bias`, but for which action is the cheaper one. Without `luck` each costs what it does on
    average.
    """
    dice = np.random.default_rng(seed)
    found, truth = [], []
    for number in range(count):
        risk = dice.uniform(0.0, 0.3)
        cost = {WAIT: VMS * risk, MOVE: 0.1 + 0.1 * VMS * risk}
        foretold = {action: each * (1 + bias) for action, each in cost.items()}
        best = min(cost, key=lambda action: cost[action])
        chances = {action: SHARE / 2 + (1 - SHARE) * (action is best) for action in cost}
        action = best if dice.random() > SHARE else list(cost)[dice.integers(2)]
        came = float(VMS * (dice.random() < cost[action] / VMS)) if luck else cost[action]
        found.append(Tried(f"h{number // 2}", action, chances, foretold, foretold, came))
        truth.append((cost[best], cost[WAIT]))
    cheapest, waiting = np.mean(truth, axis=0)
    return found, float(cheapest), float(waiting)


def test_values_are_right_on_average_even_where_prices_are_wrong() -> None:
    """Prices are half too high; over 200 logs the mean error is nought but for chance, that of prices alone is not."""
    errors = []
    for seed in range(200):
        tried, cheapest, _ = drawn(400, seed, bias=0.5)
        one = values(tried, Settings(replicates=2))[CHEAPEST]
        errors.append([(each.value or 0.0) - cheapest for each in (one.ips, one.snips, one.dr, one.direct)])
    mean, chance = np.mean(errors, axis=0), 3 * np.std(errors, axis=0) / np.sqrt(len(errors))
    assert (np.abs(mean[:3]) < chance[:3]).all()
    assert mean[3] > 10 * chance[3]


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 200 intervals of 95 %, at least 88 % hold it: for the cheapest, and for what waiting costs over it."""
    held = np.zeros(4)
    for seed in range(200):
        tried, cheapest, waiting = drawn(400, 1_000 + seed, bias=0.3)
        found = values(tried, QUICK)
        asked = [(found[CHEAPEST].ips, cheapest), (found[CHEAPEST].snips, cheapest), (found[CHEAPEST].dr, cheapest)]
        asked.append((found["monitor_where_open"].over_cheapest, waiting - cheapest))
        held += [one.low is not None and one.high is not None and one.low <= truth <= one.high for one, truth in asked]
    assert (held >= 0.88 * 200).all()


def width(one: Measured) -> float:
    """How wide the interval is."""
    assert one.low is not None
    assert one.high is not None
    return one.high - one.low


def test_good_prices_steady_the_doubly_robust_value() -> None:
    """Where prices foretell what comes, its interval is far narrower than that of weights alone."""
    tried, _, _ = drawn(2_000, 3, bias=0.0, luck=False)
    one = values(tried, QUICK)["monitor_where_open"]
    assert width(one.dr) < 0.6 * width(one.ips)


def test_what_was_decided_is_valued_by_what_it_cost() -> None:
    """The value of what was drawn is the mean cost, over as many decisions as there are."""
    tried, _, _ = drawn(300, 5, bias=0.2)
    one = values(tried, QUICK)[AS_DECIDED]
    assert one.ips.value == pytest.approx(np.mean([each.cost for each in tried]))
    assert one.snips.value == one.ips.value
    assert (one.alike, one.effective) == (300, 300)


def test_decisions_of_one_host_count_as_one_witness() -> None:
    """The same decisions told of one host each, or ten alike of each host: the value stays, its interval widens."""
    tried, _, _ = drawn(400, 8, bias=0.2, luck=False)
    few = [replace(tried[number // 10], host_id=f"h{number // 10}") for number in range(400)]
    many = [replace(one, host_id=f"h{number}") for number, one in enumerate(few)]
    wide, narrow = (values(each, QUICK)[AS_DECIDED].ips for each in (few, many))
    assert wide.value == pytest.approx(narrow.value)
    assert width(wide) > 1.5 * width(narrow)


def test_each_way_to_choose_does_what_its_name_says() -> None:
    """The cheapest by price, the least protective by the ladder, and an action only where it was open."""
    both, one = {WAIT: 0.5, MOVE: 0.5}, {WAIT: 0.5, Action.NOTIFY: 0.5}
    cheap = {WAIT: 0.3, MOVE: 0.1, Action.NOTIFY: 0.4}
    tried = [Tried("h1", MOVE, both, cheap, cheap, 0.0), Tried("h2", WAIT, one, cheap, cheap, 1.0)]
    made = policies(tried)
    assert made == {
        AS_DECIDED: None,
        CHEAPEST: (MOVE, WAIT),
        LEAST: (WAIT, WAIT),
        "monitor_where_open": (WAIT, WAIT),
        "notify_where_open": (MOVE, Action.NOTIFY),
        "live_migrate_where_open": (MOVE, WAIT),
    }
    assert values(tried, QUICK)["notify_where_open"].alike == 1
