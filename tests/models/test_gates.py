"""What keeps a version out of production, gate by gate."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from models import gates
from models.gates import Gate
from models.spec import load

DISK = load("disk")
SOUND: Mapping[str, float] = {
    "window_failing_entities": 50,
    "observed_over_predicted": 1.1,
    "checked_ahead": 1,
    "average_precision": 0.1,
    "rule_average_precision": 0.02,
    "shifted_gain": 0.2,
    "booster_megabytes": 1.5,
    "microseconds_a_row": 20,
}


def _gates(**changed: float) -> dict[str, Gate]:
    named = {name.replace("__", "/"): value for name, value in changed.items()}
    return {gate.name: gate for gate in gates.check(DISK, {**SOUND, **named})}


def _champion(**gaps: float) -> dict[str, float]:
    """Figures against the champion: each gap with an interval of 0.01 to each side."""
    names = ["average_precision", *(f"recall_at_{budget:g}" for budget in DISK.gates.budgets)]
    found = dict.fromkeys(names, 0.0) | {name.replace("at_0_", "at_0."): gap for name, gap in gaps.items()}
    found = {f"{name}_over_champion": gap for name, gap in found.items()}
    return found | {f"{name}_high": gap + 0.01 for name, gap in found.items()}


def test_a_sound_version_passes_every_gate() -> None:
    """Nothing is held against figures within all limits."""
    assert all(gate.passed for gate in gates.check(DISK, {**SOUND, **_champion()}))


@pytest.mark.parametrize(
    ("name", "figure", "bad", "said"),
    [
        ("failures_seen", "window_failing_entities", 3, "3 entities failed"),
        ("calibrated", "observed_over_predicted", 2.5, "is 2.50"),
        ("beats_rule", "rule_average_precision", 0.2, "0.50 times the rule's"),
        ("features_steady", "shifted_gain", 0.8, "0.8 of its gain"),
        ("small", "booster_megabytes", 50, "50 MB"),
        ("fast", "microseconds_a_row", 900, "900 microseconds"),
    ],
)
def test_each_limit_stops_a_version_and_says_why(name: str, figure: str, bad: float, said: str) -> None:
    """One figure beyond its limit fails that gate alone, in words."""
    found = _gates(**{figure: bad})
    assert [gate.name for gate in found.values() if not gate.passed] == [name]
    assert said in found[name].sentence


@pytest.mark.parametrize(
    "missing", ["shifted_gain", "booster_megabytes", "microseconds_a_row", "rule_average_precision"]
)
def test_what_was_not_measured_does_not_pass(missing: str) -> None:
    """A figure that is missing fails its gate."""
    assert not all(one.passed for one in gates.check(DISK, {k: v for k, v in SOUND.items() if k != missing}))


def test_recalling_less_than_the_champion_at_one_budget_fails() -> None:
    """Average precision may be better: at a budget in use it may not be worse beyond the interval."""
    worse = {**SOUND, **_champion(average_precision=0.02, recall_at_0_001=-0.05)}
    gate = next(gate for gate in gates.check(DISK, worse) if gate.name == "holds_against_champion")
    assert not gate.passed
    assert "recall at 0.001 is -0.0500 against the champion, at most -0.0400" in gate.sentence
    within = {**SOUND, **_champion(recall_at_0_001=-0.005)}
    assert all(gate.passed for gate in gates.check(DISK, within))


def test_a_budget_that_nobody_uses_is_no_gate() -> None:
    """Only the budgets of the spec count."""
    unused = replace(DISK, gates=replace(DISK.gates, budgets=(0.005,)))
    worse = {**SOUND, **_champion(recall_at_0_001=-0.05)}
    assert all(gate.passed for gate in gates.check(unused, worse))


def test_a_champion_that_has_seen_the_window_is_named_by_its_way_of_learning() -> None:
    """The sentence says what was compared with what."""
    seen = {**SOUND, **_champion(), "champion_relearned": 1.0}
    gate = next(gate for gate in gates.check(DISK, seen) if gate.name == "holds_against_champion")
    assert "the champion's way of learning on the same days" in gate.sentence


def test_one_bad_hardware_model_fails_the_slices() -> None:
    """A part of the fleet that is ranked worse than before, beyond its interval, is named."""
    good = {"slice__model__A__over_rival": 0.05, "slice__model__A__over_rival_high": 0.1}
    bad = {"slice__model__B__over_rival": -0.05, "slice__model__B__over_rival_high": -0.01}
    assert _gates(**good)["slices_hold"].passed
    gate = _gates(**good, **bad)["slices_hold"]
    assert not gate.passed
    assert gate.sentence.startswith("model B is ranked worse: average precision -0.0500")
    assert "1 of 2 parts" in gate.sentence


def test_a_part_that_fails_far_more_than_predicted_fails_the_slices() -> None:
    """Only when the whole interval lies beyond the limits."""
    part = "slice__age__0 to 90 days__observed_over_predicted"
    assert _gates(**{part: 3.0, f"{part}_low": 1.5, f"{part}_high": 5.0})["slices_calibrated"].passed
    gate = _gates(**{part: 6.0, f"{part}_low": 4.0, f"{part}_high": 9.0})["slices_calibrated"]
    assert not gate.passed
    assert "age 0 to 90 days fails 6.00 times what is predicted (4.00 to 9.00)" in gate.sentence
