"""The policy file: what ships, what is refused, and what makes a version."""

from pathlib import Path

import pytest

from data.errors import SettingsError
from decisions.actions import MOVES, PRICED, ladder
from decisions.domain import Action, Autonomy
from decisions.policy import load

REMEDY = "[[remedies]]\nname = 'fix'\nattribute = 'kernel'\nvalue = '1'\nbecomes = '2'\n"


def write(tmp_path: Path, text: str) -> Path:
    """A policy file with the text."""
    file = tmp_path / "policy.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_shipped_policy_is_careful() -> None:
    """As shipped, nothing that can interrupt a VM happens without a person, but for a live move."""
    autonomy = load().autonomy
    alone = {action for action, level in autonomy.items() if level is Autonomy.AUTO}
    assert alone == {Action.MONITOR, Action.NOTIFY, Action.BLOCK_PLACEMENTS, Action.LIVE_MIGRATE}


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
    assert load(write(tmp_path, "# mine\n[risk]\nminimum_risk = 2e-2\n")).version == load().version


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
        (
            "[owners]\noffer_days_least = 30\noffer_days_most = 7",
            "offer_days_least must not be above owners.offer_days_most",
        ),
        ("[[remedies]]\nname = 'a'", "remedies.0.attribute is missing."),
        (REMEDY + "colour = 1", "remedies.0.colour is unknown; known are name, attribute"),
        (
            REMEDY + "techniques = ['evacuate']",
            "techniques = ['evacuate'] must be a list of hot_patch, preserve_memory.",
        ),
        (REMEDY + "cured_share = 2", "remedies.0.cured_share = 2 must be a number between 0 and 1."),
        (REMEDY + "due = 'soon'", "remedies.0.due = 'soon' must be a day such as 2026-12-31."),
        (REMEDY + REMEDY, "two remedies are called 'fix'"),
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
    assert set(ladder()[Action.PRESERVE_MEMORY].incompatible_series) == {"M", "N", "H"}


def test_priced_actions_stand_in_the_order_of_their_protection() -> None:
    """The order in which prices are compared is the ladder's own; moves act on VMs, and are no recovery."""
    assert sorted(PRICED, key=lambda action: ladder()[action].protection) == list(PRICED)
    assert set(PRICED) == set(Action)
    assert all(ladder()[action].acts_on_vms and not ladder()[action].recovery for action in MOVES)


POOL = """
[autonomy]
evacuate = "never"
[pool."c1".autonomy]
live_migrate = "approve"
[pool."c1".windows]
days_utc = ["sun", "sat"]
from_hour_utc = 22
to_hour_utc = 6
[pool."c1".notice]
evacuate_usual_minutes = 120
"""


def test_a_pool_lays_its_own_over_everybodys(tmp_path: Path) -> None:
    """What the pool names is its own, the rest is as everywhere, and other pools see nothing of it."""
    policy = load(write(tmp_path, POOL))
    own, other = policy.of("c1"), policy.of("c2")
    assert own.autonomy[Action.LIVE_MIGRATE] is Autonomy.APPROVE
    assert own.autonomy[Action.EVACUATE] is other.autonomy[Action.EVACUATE] is Autonomy.NEVER
    assert (own.windows.days_utc, own.windows.from_hour_utc, own.windows.to_hour_utc) == (("sat", "sun"), 22, 6)
    assert (own.notice.evacuate_usual_minutes, other.notice.evacuate_usual_minutes) == (120, 60)
    assert other.autonomy[Action.LIVE_MIGRATE] is Autonomy.AUTO
    assert policy.autonomy_key("c1", Action.LIVE_MIGRATE) == 'pool."c1".autonomy.live_migrate'
    assert policy.autonomy_key("c1", Action.EVACUATE) == "autonomy.evacuate"


def test_a_pools_own_settings_make_another_version(tmp_path: Path) -> None:
    """A change for one pool is a change of the policy."""
    assert load(write(tmp_path, POOL)).version != load(write(tmp_path, POOL.replace("120", "121"))).version


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[pool."c1".autonomy]\nevacuate = "maybe"', "pool.\"c1\".autonomy.evacuate = 'maybe' must be one of never,"),
        ('[pool."c1".autonomy]\nevacaute = "auto"', 'unknown key pool."c1".autonomy.evacaute. Did you mean'),
        ('[pool."c1".autonomy]\nmonitor = "never"', 'pool."c1".autonomy.monitor must be "auto"'),
        ('[pool."c1".limits]\nx = 1', 'unknown key pool."c1".limits.'),
        ('[pool."c1"]\nwindows = 1', 'pool."c1".windows must be a section'),
        ('[pool]\n"c1" = 1', 'unknown key pool."c1".= 1'),
        ("pool = 1", "pool must be a section for each pool"),
        ('[pool."c1".windows]\nto_hour_utc = 25', "to_hour_utc = 25 must be a number between 0.0 and 24.0."),
        ('[windows]\ndays_utc = ["monday"]', "days_utc = ['monday'] must be a list of some of mon, tue, wed"),
        ("[windows]\ndays_utc = []", "days_utc = [] must be a list of some of mon"),
        ("[windows]\nto_hour_utc = 0", "windows.from_hour_utc and windows.to_hour_utc are both 0, which never opens"),
        ("[notice]\nevacuate_usual_minutes = 1", "must be at least notice.evacuate_minimum_minutes = 15."),
        ("[opt_outs]\nlongest_days = 0", "opt_outs.longest_days = 0 must be a number between 0.1 and"),
    ],
)
def test_mistakes_about_pools_windows_and_notice_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    """The error names the pool's key and what would be right."""
    with pytest.raises(SettingsError) as error:
        load(write(tmp_path, text))
    assert message in str(error.value)


def test_recovery_is_never_above_the_floor(tmp_path: Path) -> None:
    """A floor lowered below the shipped threshold of recovery takes that with it."""
    assert load().risk.recovery == 0.01 < load().risk.minimum_risk
    assert load(write(tmp_path, "[risk]\nminimum_risk = 0.005\n")).risk.recovery == 0.005
