"""The same moment asked about again: by the same policy and models, and by others."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from decisions.actions import MOVES
from decisions.decide import decide
from decisions.domain import Verdict
from decisions.ledger import Ledger
from decisions.policy import Policy
from pipelines.steps.decide import remembering, stored
from tests.decisions.fleets import fleet
from tests.decisions.ledgers import NOW, POLICY

AT_RISK = {"h001": 0.8, "h022": 0.6}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


def night(ledger: Ledger, policy: Policy) -> Verdict:
    """One cycle of the same moment, recorded."""
    verdict = decide(remembering(fleet(50, AT_RISK), ledger, policy), policy)
    ledger.record(verdict, NOW)
    return verdict


def test_a_cycle_that_is_held_reports_what_was_decided_then(ledger: Ledger) -> None:
    """Decided under the kill switch, asked again after its release: the stored verdict, and that it was stopped."""
    ledger.stop("ann", "storm", NOW)
    first = night(ledger, POLICY)
    ledger.start("ann", NOW)
    anew = decide(remembering(fleet(50, AT_RISK), ledger, POLICY), POLICY)
    again = ledger.record(anew, NOW)
    assert again.repeated
    assert moved(anew)
    found = stored(ledger, anew, again.cycle_id)
    assert found == replace(first, blocked=dict(first.blocked))
    assert moved(found) == set()
    assert "kill_switch" in found.blocked


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
