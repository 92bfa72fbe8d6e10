"""The same moment asked about again: by the same policy and models, and by others."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from decisions.actions import MOVES
from decisions.decide import decide
from decisions.domain import Action, Answer, Autonomy, OrderState, Verdict
from decisions.ledger import Ledger
from decisions.policy import Policy
from models.earned import Earned
from pipelines.steps.decide import remembering, stored, woken
from tests.decisions.fleets import ASOF, earned, fleet, risk
from tests.decisions.ledgers import BY_HAND, NOW, POLICY

AT_RISK = {"h001": 0.8, "h022": 0.6}


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger(ledger_url) as opened:
        yield opened


def night(ledger: Ledger, policy: Policy) -> Verdict:
    """One cycle of the same moment, recorded."""
    verdict = decide(remembering(fleet(50, AT_RISK), ledger, policy), policy)
    ledger.record(verdict, NOW)
    return verdict


def test_a_cycle_that_is_held_reports_what_was_decided_then(ledger: Ledger) -> None:
    """Decided, and asked again from other figures: the stored verdict is what counts."""
    first = night(ledger, POLICY)
    anew = decide(remembering(fleet(50, {"h003": 0.9}), ledger, POLICY), POLICY)
    again = ledger.record(anew, NOW)
    assert again.repeated
    assert stored(ledger, anew, again.cycle_id) == replace(first, blocked=dict(first.blocked), placement=None)


def test_a_night_under_the_kill_switch_is_decided_anew_after_its_release(ledger: Ledger) -> None:
    """While it is thrown nothing is moved, and a repeat adds nothing; released, the same night moves VMs."""
    ledger.stop("ann", "storm", NOW)
    held = night(ledger, POLICY)
    assert "kill_switch" in held.blocked
    assert night(ledger, POLICY) == held
    assert ledger.orders() == []
    ledger.start("ann", NOW)
    assert moved(night(ledger, POLICY)) == {"h001", "h022"}
    assert len(ledger.orders()) == 2


def test_a_kill_switch_thrown_later_does_not_decide_the_night_again(ledger: Ledger) -> None:
    """The verdict that stood before the switch still stands, and no second cycle hides what waits in it."""
    first = night(ledger, POLICY)
    ledger.stop("ann", "storm", NOW)
    assert night(ledger, POLICY) == first
    assert len(ledger.cycles()) == 1


def moved(verdict: Verdict) -> set[str]:
    """Hosts that the verdict moves VMs off."""
    return {proposal.host_id for proposal in verdict.proposals if proposal.action in MOVES}


def test_another_policy_does_not_repeat_the_moves(ledger: Ledger) -> None:
    """A second cycle of the same moment under another policy sees the first one's orders, and moves nothing twice."""
    assert moved(night(ledger, POLICY)) == {"h001", "h022"}
    assert moved(night(ledger, replace(POLICY, version="another"))) == set()
    assert len(ledger.orders()) == 2


def test_the_same_cycle_is_blind_to_itself(ledger: Ledger) -> None:
    """Repeated as it was, the cycle gives the same verdict again."""
    assert night(ledger, POLICY) == night(ledger, POLICY)


def faulty(ledger: Ledger, number: int, hours: float) -> Verdict:
    """The night so many hours later, in which h001 is at risk by its drive or its DIMM in turn; a move fails."""
    at = ASOF + timedelta(hours=hours)
    part = ("disk", "memory")[number % 2]
    ill = risk("h001", 0.8, entity_id=f"h001-{part}", component=part, asof_at=at)
    seen = fleet(50, {}, asof_at=at, telemetry_at=at)
    others = tuple(replace(each, asof_at=at) for each in seen.risks if each.host_id != "h001")
    verdict = decide(remembering(replace(seen, risks=(ill, *others)), ledger, POLICY), POLICY)
    for order_id in ledger.record(verdict, at).orders:
        ledger.apply(Answer(order_id, OrderState.FAILED, at, "out of luck"))
    return verdict


def test_two_faults_in_turn_do_not_reset_the_attempts(ledger: Ledger) -> None:
    """Drive, DIMM, drive, DIMM: the host is one, so after three orders a person must look."""
    nights = [faulty(ledger, number, 25 * number) for number in range(4)]
    assert [moved(verdict) for verdict in nights] == [{"h001"}, {"h001"}, {"h001"}, set()]
    (last,) = nights[-1].proposals
    assert last.action is Action.INVESTIGATE
    assert any(line.startswith("attempt_cap: host h001 has had 3 orders") for line in last.blocked)


def test_another_fault_does_not_cut_the_cool_down_short(ledger: Ledger) -> None:
    """Twelve hours after a move for the drive, the DIMM is no reason to move again."""
    assert moved(faulty(ledger, 0, 0)) == {"h001"}
    (proposal,) = faulty(ledger, 1, 12).proposals
    assert any(line.startswith("cool_down: host h001 was acted on 12.0 h ago") for line in proposal.blocked)


def snoozed(ledger: Ledger, days: float) -> None:
    """The first night, in which a person puts off the only proposal."""
    verdict = decide(remembering(fleet(50, {"h001": 0.8}), ledger, BY_HAND), BY_HAND)
    ledger.record(verdict, NOW)
    ledger.snooze(verdict.proposals[0].proposal_id, "ana", "owner asked", NOW, NOW + timedelta(days=days))


def next_night(ledger: Ledger, policy: Policy, bands: tuple[Earned, ...]) -> list[str]:
    """What binds the host in the night after, when its risk is much the same."""
    at = ASOF + timedelta(days=1)
    seen = fleet(50, {"h001": 0.82}, asof_at=at, telemetry_at=at, earned=bands)
    seen = replace(seen, risks=tuple(replace(each, asof_at=at) for each in seen.risks))
    (found,) = decide(woken(remembering(seen, ledger, policy), ledger, policy), policy).proposals
    return [line.split(":")[0] for line in found.blocked]


def test_a_snooze_holds_as_long_as_nothing_changes(ledger: Ledger) -> None:
    """The same action at a risk of the same band is not asked about again before the time has passed."""
    snoozed(ledger, 7)
    assert "one_owner" in next_night(ledger, BY_HAND, earned())


def test_a_snooze_ends_when_the_band_of_the_risk_changes(ledger: Ledger) -> None:
    """The risk has come into a band of its own: a person is asked although the snooze has days to go."""
    snoozed(ledger, 7)
    assert "one_owner" not in next_night(ledger, BY_HAND, (Earned(0.5, 0.9, 0.8, 1.0, 200), *earned()))


def test_a_snooze_ends_when_the_action_changes(ledger: Ledger) -> None:
    """What was to be moved is now to be looked at: a person is asked."""
    snoozed(ledger, 7)
    never = dict.fromkeys(MOVES, Autonomy.NEVER)
    policy = replace(BY_HAND, autonomy={**BY_HAND.autonomy, **never}, version="no moves")
    assert "one_owner" not in next_night(ledger, policy, earned())


def test_a_veto_holds_whatever_changes(ledger: Ledger) -> None:
    """A no is a no until its time has passed."""
    verdict = decide(remembering(fleet(50, {"h001": 0.8}), ledger, BY_HAND), BY_HAND)
    ledger.record(verdict, NOW)
    ledger.veto(verdict.proposals[0].proposal_id, "ana", "never", NOW, NOW + timedelta(days=7))
    assert "one_owner" in next_night(ledger, BY_HAND, (Earned(0.5, 0.9, 0.8, 1.0, 200), *earned()))
