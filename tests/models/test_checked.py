"""Calibration is measured where the maps were not fitted, so that its gate can fail."""

from dataclasses import replace

import numpy as np
import pytest

from models import gates, holdout
from models.checked import Checked, Held, calibrated, check
from models.examples import Fate, Floats
from models.slices import Members
from models.spec import Spec, load

DISK = load("disk")
DAYS, ENTITIES = 10, 400


def _held(early: float, late: float, seed: int = 1) -> Held:
    """A window whose rows fail `early` times their score in its first half, and `late` times in its second."""
    random = np.random.default_rng(seed)
    day, entity = np.repeat(np.arange(DAYS), ENTITIES), np.tile(np.arange(ENTITIES), DAYS)
    score = random.beta(1, 12, day.size)
    fails = random.random(day.size) < score * np.where(day < DAYS // 2, early, late)
    fate = Fate(np.where(fails, random.uniform(0.1, 30, day.size), np.nan), np.full(day.size, 60.0), _never(day.size))
    return Held(entity, day, score, score, np.zeros(day.size), fate, _members(day.size))


def _members(rows: int) -> Members:
    return Members(np.full(rows, "M", dtype=object), np.full(rows, 400.0))


def _never(rows: int) -> Floats:
    return np.full(rows, np.nan)


def _gate(held: Held) -> tuple[Checked, gates.Gate]:
    seen = check(held, DISK)
    judged = holdout.judge(held, calibrated(held, DISK), seen, DISK, compared=False)
    found = {gate.name: gate for gate in gates.check(DISK, holdout.figures(judged))}
    return seen, found["calibrated"]


def test_steady_failures_pass() -> None:
    """Where the later half fails as the earlier did, observed is near predicted, and the gate says where it looked."""
    seen, gate = _gate(_held(0.4, 0.4))
    assert seen.ahead
    assert gate.passed
    assert gate.value == pytest.approx(1, abs=0.25)
    assert "on the later half of the window" in gate.sentence


@pytest.mark.parametrize(("early", "late"), [(0.2, 0.8), (0.8, 0.2)])
def test_failures_that_quadruple_or_vanish_fail_the_gate(early: float, late: float) -> None:
    """Maps of the earlier half are wrong about the later one, though maps of the whole window agree with it."""
    _, gate = _gate(_held(early, late))
    assert not gate.passed
    assert gate.value == pytest.approx(late / early, rel=0.35)


def test_no_risk_knows_its_own_day() -> None:
    """Turning the fates of later rows around changes no risk there."""
    held = _held(0.4, 0.4)
    seen = check(held, DISK)
    turned = np.where((held.day >= DAYS // 2) & np.isnan(held.fate.failed_in_days), 3.0, held.fate.failed_in_days)
    assert np.array_equal(check(_with(held, turned), DISK).risk, seen.risk)
    assert seen.risk.size == seen.outcomes.failed.size == ENTITIES * DAYS // 2
    assert seen.first_day == DAYS // 2


def test_no_risk_knows_its_own_entity() -> None:
    """Failing more of the even entities changes the risks of the odd ones only."""
    held = _held(0.4, 0.4)
    seen = check(held, DISK)
    more = (held.entity % 2 == 0) & (np.arange(held.day.size) % 3 == 0)
    changed = check(_with(held, np.where(more, 3.0, held.fate.failed_in_days)), DISK)
    even = seen.outcomes.entity % 2 == 0
    assert np.array_equal(changed.risk[even], seen.risk[even])
    assert np.all(changed.risk[~even] > seen.risk[~even])


def test_too_few_failures_in_a_half_are_said() -> None:
    """Without ten failing entities in each half the whole window is judged, by entities, and the gate says so."""
    seen, gate = _gate(_held(0.001, 0.4))
    assert not seen.ahead
    assert (seen.first_day, seen.risk.size) == (0, ENTITIES * DAYS)
    assert "the same days and other entities" in gate.sentence
    assert "fewer than 10 failing entities" in gate.sentence


@pytest.mark.parametrize(("times", "expected"), [(1, 1), (3, 2)])
def test_the_newest_week_sets_the_level(times: float, expected: float) -> None:
    """Days seen for a week only change no map's shape; where they fail more often, all risks rise towards that."""
    held = _held(0.4, 0.4)
    newest = held.day >= DAYS - 2
    week = np.full(held.day.size, np.nan)
    week[newest & (np.arange(held.day.size) % 60 < times)] = 3.0
    seen = Fate(np.where(newest, week, held.fate.failed_in_days), np.where(newest, 8.0, 60.0), _never(held.day.size))
    before, after = calibrated(held, DISK, ~newest), calibrated(replace(held, fate=seen), DISK)
    assert [(m.a, m.b) for m in after.maps] == [(m.a, m.b) for m in before.maps]
    assert after.risks(held.score).mean() / before.risks(held.score).mean() == pytest.approx(expected, rel=0.3)


def test_a_fleet_of_one_is_judged_by_its_score() -> None:
    """Without another entity to fit a map to, the score itself stands for the risk."""
    fate = Fate(np.array([3.0, np.nan]), np.full(2, 60.0), _never(2))
    one = Held(np.array([4, 4]), np.array([0, 1]), np.array([0.2, 0.3]), np.zeros(2), np.zeros(2), fate, _members(2))
    assert check(one, DISK).risk.tolist() == pytest.approx([0.2, 0.3])


def test_a_lead_too_short_is_left_out(small_spec: Spec) -> None:
    """A failure sooner than the minimum lead is neither hit nor miss here either."""
    held = _held(0.4, 0.4)
    kept = check(held, replace(small_spec, minimum_lead_days=5.0)).outcomes.failed_in_days
    assert np.nanmin(kept) > 5


def _with(held: Held, failed_in_days: Floats) -> Held:
    return replace(held, fate=replace(held.fate, failed_in_days=failed_in_days))
