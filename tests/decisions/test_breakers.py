"""Breakers' shares, asked for many hosts one after the other."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from decisions.breakers import ration, usable
from decisions.domain import Situation
from tests.decisions.fleets import ASOF, situations
from tests.decisions.ledgers import POLICY


@given(situations(), st.integers(0, 29))
@settings(max_examples=50, deadline=None)
def test_hosts_in_use_may_be_counted_once_for_many_questions(situation: Situation, at: int) -> None:
    """Asked about a host without risks, the answer with the count at hand is the one without it."""
    wanting = [sorted(situation.hosts)[at % len(situation.hosts)]]
    moved = tuple((host_id, ASOF) for host_id in sorted(situation.hosts)[::3])
    asked, limits = replace(situation, recent_evacuations=moved), replace(POLICY.breaker, floor_hosts=1)
    in_use = usable(asked.hosts, asked.vms)
    assert ration(asked, {}, wanting, limits, in_use) == ration(asked, {}, wanting, limits)
