"""The policy file: what ships, what is refused, and what makes a version."""

from pathlib import Path

import pytest

from data.errors import SettingsError
from decisions.actions import MOVES, PRICED, ladder
from decisions.domain import Action, Autonomy
from decisions.policy import load


def write(tmp_path: Path, text: str) -> Path:
    """A policy file with the text."""
    file = tmp_path / "policy.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_shipped_policy_is_careful() -> None:
    """As shipped, nothing is redeployed without a person, and only actions with a price are on."""
    autonomy = load().autonomy
    assert autonomy[Action.EVACUATE] is Autonomy.APPROVE
    assert {a for a, level in autonomy.items() if level is not Autonomy.NEVER} == set(PRICED)


def test_durations_are_what_people_would_say() -> None:
    """Predictions hold a bit over a day, telemetry a day and a half, and two weeks are looked ahead."""
    policy = load()
    assert policy.prediction_life.total_seconds() == 30 * 3600
    assert (policy.freshness.telemetry_hours, policy.horizon.decision_days) == (1.5 * 24, 14)


def test_a_file_changes_only_what_it_names(tmp_path: Path) -> None:
    """The rest stays as shipped, and the version changes with the content."""
    own = load(write(tmp_path, "[risk]\nminimum_risk = 0.2\n"))
    assert own.risk.minimum_risk == 0.2
    assert own.moves == load().moves
    assert own.version != load().version


def test_the_version_is_of_the_content_not_the_file(tmp_path: Path) -> None:
    """Comments and the spelling of a number do not make another policy."""
    assert load(write(tmp_path, "# mine\n[risk]\nminimum_risk = 5e-2\n")).version == load().version


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[risk]\nminimum_rsik = 0.1", "unknown key risk.minimum_rsik. Did you mean risk.minimum_risk?"),
        ("[risks]\nminimum_risk = 0.1", "unknown key risks. Did you mean risk?"),
        ("[risk]\nminimum_risk = 1.5", "risk.minimum_risk = 1.5 must be a number between 0.0 and 1.0."),
        ("[risk]\nminimum_risk = nan", "risk.minimum_risk = nan must be a number between 0.0 and 1.0."),
        ("[risk]\nminimum_risk = true", "risk.minimum_risk = True must be a number"),
        ("[people]\nlooks_per_cycle = 1.5", "people.looks_per_cycle = 1.5 must be a whole number between 0 and"),
        ("[earned]\nrequired = 1", "earned.required = 1 must be true or false."),
        ("risk = 1", "risk must be a section"),
        ("[autonomy]\nevacuate = 'always'", "must be one of never, propose, approve, auto."),
        ("[autonomy]\nhot_patch = 'auto'", "hot_patch has no price yet and cannot be chosen."),
        ("[autonomy]\nmonitor = 'never'", 'autonomy.monitor must be "auto"'),
        ("[limits]\nlive_moves_at_once_per_target = 1", "must be at least limits.live_moves_at_once_per_source = 2."),
        ("[risk", "is not valid TOML"),
    ],
)
def test_mistakes_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file, the key, and what would be right."""
    file = write(tmp_path, text)
    with pytest.raises(SettingsError) as error:
        load(file)
    assert message in str(error.value)
    assert str(file) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A policy that is not there is not silently the shipped one."""
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "none.toml")


def test_the_ladder_has_every_action_once_in_order() -> None:
    """Ten rungs, from watching to asking; memory-preserving maintenance is not for the series M, N and H."""
    assert list(ladder()) == list(Action)
    assert [rung.rung for rung in ladder().values()] == list(range(1, 11))
    assert ladder()[Action.PRESERVE_MEMORY].incompatible_series == {"M", "N", "H"}


def test_priced_actions_stand_in_the_order_of_their_protection() -> None:
    """The order in which prices are compared is the ladder's own, and moves are what acts on VMs among them."""
    assert sorted(PRICED, key=lambda action: ladder()[action].protection) == list(PRICED)
    assert {action for action in PRICED if ladder()[action].acts_on_vms} == MOVES
