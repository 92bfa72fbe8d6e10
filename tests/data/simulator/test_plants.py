"""Planted causes: who has them, and that they hasten failures from their day on and not before."""

from dataclasses import replace
from datetime import timedelta

import pytest

from data.errors import UsageError
from data.simulator.fleet import FleetSpec, plan
from data.simulator.plants import Plant, members, parse
from data.simulator.truth import failures

SPEC = FleetSpec(hosts=200, vms=1_000, days=100, flaw_factor=1, gpus_per_host=0)
FEED = Plant((("power_feed", "sim-f001"),), 20.0, 60.0)


def test_a_plant_is_written_as_it_is_read() -> None:
    """What the command takes is what the ground truth says."""
    text = "firmware=3.2.1+model=ST8000SIM1*15@60"
    assert str(parse(text)) == text


@pytest.mark.parametrize("text", ["rack=sim-r004", "colour=red*3@1", "rack=*3@1", "rack=r*0.5@1", "rack=r*1.2.3@1"])
def test_a_plant_that_makes_no_sense_is_refused(text: str) -> None:
    """An unknown name, a missing value, a factor that protects."""
    with pytest.raises(UsageError, match="plant"):
        parse(text)


def test_a_plant_hastens_failures_from_its_day_on() -> None:
    """Before its day the same parts fail as without it; after it, those on the feed fail far more often."""
    plain, planted = plan(SPEC), plan(replace(SPEC, planted=(FEED,)))
    starts = SPEC.start_at + timedelta(days=FEED.from_day)
    before = [[r for r in failures(fleet).to_pylist() if r["failed_at"] < starts] for fleet in (plain, planted)]
    assert [(r["entity_id"], r["failed_at"]) for r in before[0]] == [
        (r["entity_id"], r["failed_at"]) for r in before[1]
    ]
    inside = set(planted.entities.filter(members(FEED, planted.hosts, planted.entities))["entity_id"].to_pylist())
    later = [
        [r for r in failures(f).to_pylist() if r["failed_at"] >= starts and r["entity_id"] in inside]
        for f in (plain, planted)
    ]
    assert len(later[1]) > 5 * len(later[0])


def test_what_announces_a_planted_failure_comes_after_the_cause() -> None:
    """No part of a planted cause shows signs of it before its day."""
    fleet = plan(replace(SPEC, planted=(FEED,)))
    starts = SPEC.start_at + timedelta(days=FEED.from_day)
    inside = set(fleet.entities.filter(members(FEED, fleet.hosts, fleet.entities))["entity_id"].to_pylist())
    signs = [
        r["precursor_from"]
        for r in failures(fleet).to_pylist()
        if r["entity_id"] in inside and r["failed_at"] >= starts and r["precursor_from"] is not None
    ]
    assert signs
    assert min(signs) >= starts


def test_a_pair_needs_both() -> None:
    """Parts with one of two named things are not in the plant."""
    fleet = plan(SPEC)
    one, other = Plant((("kernel", "6.1.90"),), 2, 0), Plant((("model", "ST8000SIM1"),), 2, 0)
    both = Plant((*one.shared, *other.shared), 2, 0)
    masks = [members(each, fleet.hosts, fleet.entities) for each in (one, other, both)]
    assert ((masks[0] & masks[1]) == masks[2]).all()
    assert 0 < masks[2].sum() < min(masks[0].sum(), masks[1].sum())
