"""Which actions are left to chance, how often each is drawn, and what is never drawn."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.actions import PRICED
from decisions.cases import cheapest
from decisions.chance import choose
from decisions.decide import decide
from decisions.domain import Action, Price, Proposal, Situation
from decisions.ledger import Ledger
from decisions.policy import Policy, load
from decisions.sections import Experiment
from tests.decisions.fleets import ASOF, fleet, policies, situations

OPEN = Experiment(share=0.5, most_extra_interruptions=0.2, seed=1)
POLICY = load()


def price(action: Action, interruptions: float) -> Price:
    """A price of which all is the failure."""
    return Price(action, interruptions, interruptions, 0.0, 0.0)


PRICES = {
    Action.MONITOR: price(Action.MONITOR, 0.3),
    Action.BLOCK_PLACEMENTS: price(Action.BLOCK_PLACEMENTS, 0.25),
    Action.LIVE_MIGRATE: price(Action.LIVE_MIGRATE, 0.1),
}


def policy(share: float, most: float = 10.0, seed: int = 1) -> Policy:
    """The shipped policy with an experiment."""
    return replace(POLICY, experiment=Experiment(share, most, seed))


def by_host(experiment: Policy, risk: float = 0.2) -> dict[str, Proposal]:
    """What becomes of thirty hosts alike."""
    seen = fleet(300, {f"h{n:03d}": risk for n in range(0, 300, 10)})
    return {one.host_id: one for one in decide(seen, experiment).proposals}


def test_each_action_is_drawn_as_often_as_its_propensity_says() -> None:
    """Of 20,000 hosts, each action's share is its probability, to a hundredth; the probabilities add up to one."""
    choices = [choose(PRICES, {}, f"h{n}", OPEN) for n in range(20_000)]
    chances = choices[0].chances
    assert chances == pytest.approx({a: 0.5 / 3 + 0.5 * (a is Action.LIVE_MIGRATE) for a in PRICES})
    drawn = Counter(choice.action for choice in choices)
    assert {action: drawn[action] / 20_000 for action in PRICES} == pytest.approx(chances, abs=0.01)
    assert all(choice.propensity == chances[choice.action] for choice in choices)


def test_what_is_forbidden_or_too_dear_is_never_drawn() -> None:
    """Only the allowed actions within the margin are open; where one alone is left, nothing is left to chance."""
    near = replace(OPEN, most_extra_interruptions=0.16)
    assert set(choose(PRICES, {}, "h1", near).chances) == {Action.BLOCK_PLACEMENTS, Action.LIVE_MIGRATE}
    alone = choose(PRICES, {Action.BLOCK_PLACEMENTS: ("opt_out", "no")}, "h1", near)
    assert (alone.action, alone.chances, alone.propensity) == (Action.LIVE_MIGRATE, {}, 1.0)


def test_a_host_keeps_its_draw_until_the_seed_changes() -> None:
    """The same host is drawn the same; another seed draws some of them anew."""
    one, again, other = (by_host(policy(0.5, seed=seed)) for seed in (1, 1, 2))
    assert one == again
    assert {name for name in one if one[name].action is not other[name].action}


def test_the_shipped_policy_leaves_nothing_to_chance() -> None:
    """Its share is nought: each host gets the cheapest action, with certainty."""
    assert POLICY.experiment.share == 0
    assert all((one.propensity, one.chances) == (1.0, {}) for one in by_host(POLICY).values())


def test_who_reads_a_drawn_action_is_told_that_it_was_drawn() -> None:
    """The reasons name the action that it would be without the experiment; those of the others say nothing of it."""
    plain, drawn = by_host(POLICY), by_host(policy(1.0))
    moved = {name for name, one in drawn.items() if one.action is not plain[name].action}
    assert moved
    for name, one in drawn.items():
        said = [line for line in one.reasons if "An experiment drew" in line]
        assert len(said) == (name in moved)
        assert all(line.endswith(f"without it this would be {plain[name].action}.") for line in said)
        assert not (said and any("nothing that is allowed costs less" in line for line in one.reasons))


def test_a_small_margin_leaves_urgent_moves_alone() -> None:
    """On hosts that are about to fail waiting costs whole VMs: the experiment has no part in it."""
    found = by_host(policy(1.0, most=0.1), risk=0.9).values()
    assert Action.LIVE_MIGRATE in {one.action for one in found}
    assert all(not one.chances for one in found)


@given(situations(), policies(), st.floats(0.0, 1.0), st.floats(0.0, 3.0), st.integers(0, 9))
def test_no_guardrail_gives_way_to_chance(seen: Situation, rules: Policy, share: float, most: float, seed: int) -> None:
    """Whatever is drawn is not blocked, costs at most the margin more than the cheapest, and has its probability."""
    experiment = replace(rules, experiment=Experiment(share, most, seed))
    for one in decide(seen, experiment).proposals:
        priced = {each.action: each for each in one.prices}
        if not one.chances:
            assert one.propensity == 1.0
            continue
        assert sum(one.chances.values()) == pytest.approx(1.0)
        assert one.propensity == one.chances[one.action]
        allowed = {action: each for action, each in priced.items() if action in one.chances}
        assert all(each.blocked_by is None for each in allowed.values())
        least = allowed[cheapest(allowed, {})].interruptions
        assert max(each.interruptions for each in allowed.values()) <= least + most + 1e-5
        assert set(one.chances) <= set(PRICED)


def test_the_ledger_gives_back_what_was_left_to_chance(ledger_url: str) -> None:
    """Those decisions alone, with all probabilities, up to the moment asked for."""
    seen = fleet(300, {f"h{n:03d}": 0.2 + 0.7 * (n < 20) for n in range(0, 300, 10)})
    verdict = decide(seen, policy(0.5, most=1.0))
    drawn = [one for one in verdict.proposals if one.chances]
    assert 0 < len(drawn) < len(verdict.proposals)
    with Ledger(ledger_url) as ledger:
        ledger.record(verdict, ASOF)
        assert ledger.left_to_chance(ASOF) == drawn
        assert ledger.left_to_chance(ASOF - timedelta(days=1)) == []
