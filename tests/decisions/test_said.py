"""What a person says to a proposal: on condition that it is as it was seen, once under one key, with a reason."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from data.errors import Changed, LedgerError, UsageError
from decisions.ledger import Ledger
from decisions.ledger.said import Condition, Said, Say
from decisions.ledger.values import Standing
from tests.decisions.ledgers import NOW, by_hand

LATER = NOW + timedelta(hours=1)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A ledger with one proposal that waits for a person."""
    with Ledger(ledger_url) as opened:
        opened.record(by_hand(), NOW)
        yield opened


def words(ledger: Ledger, say: Say = Say.APPROVE, by: str = "ana", **changes: object) -> Said:
    """What a person says to the only proposal."""
    (listed,) = ledger.proposals(NOW)
    return replace(Said(listed.proposal.proposal_id, say, by, "seen it before", LATER), **changes)


def test_the_second_of_two_is_told_who_was_first_and_why(ledger: Ledger) -> None:
    """Decided on what was seen before another decided: nothing happens, and the refusal names who, what, why, when."""
    (seen,) = ledger.proposals(NOW)
    ledger.say(words(ledger, Say.SNOOZE, "bo", reason="owner asked"), Condition(seen.etag))
    with pytest.raises(Changed, match=r"bo was first: .* snoozed at 2026-03-01 01:05 UTC: owner asked"):
        ledger.say(words(ledger), Condition(seen.etag))
    assert ledger.orders() == []


def test_the_same_request_under_the_same_key_gets_the_same_answer(ledger: Ledger) -> None:
    """A request that is sent again, hours later, neither fails nor happens twice."""
    on = Condition(key="k1", request="approve it")
    first = ledger.say(words(ledger), on)
    assert first.order_id == ledger.orders()[0].order.order_id
    assert ledger.say(words(ledger, at=LATER + timedelta(hours=2)), on) == first
    assert len(ledger.orders()) == 1


def test_a_key_names_one_request_only(ledger: Ledger) -> None:
    """Another request under the same key is refused; the same key of another person is another key."""
    ledger.say(words(ledger, Say.SNOOZE), Condition(key="k1", request="snooze it"))
    with pytest.raises(UsageError, match="has named another request"):
        ledger.say(words(ledger), Condition(key="k1", request="approve it"))
    assert ledger.say(words(ledger, by="bo"), Condition(key="k1", request="approve it")).by == "bo"


def test_what_is_handed_to_a_person_can_still_be_decided(ledger: Ledger) -> None:
    """A hand-over names whom it waits for and why, ends nothing, and is in the history."""
    told = ledger.say(words(ledger, Say.HAND_OVER, to="cy"))
    (listed,) = ledger.proposals(LATER)
    assert (told.assignee, listed.standing) == ("cy", Standing.HANDED_OVER)
    assert listed.decision is not None
    assert (listed.decision.assignee, listed.decision.reason) == ("cy", "seen it before")
    assert ledger.say(words(ledger, by="cy"), Condition(listed.etag)).order_id
    assert ledger.verify().ok


@pytest.mark.parametrize("say", Say)
def test_a_decision_needs_a_reason(ledger: Ledger, say: Say) -> None:
    """Blanks are no reason."""
    with pytest.raises(UsageError, match="needs a reason"):
        ledger.say(words(ledger, say, reason=" \n", to="cy"))


def test_nonsense_is_refused(ledger: Ledger) -> None:
    """A hand-over to nobody or to a name without end, a hold that has passed, and a proposal that is not there."""
    with pytest.raises(UsageError, match="Nobody is named"):
        ledger.say(words(ledger, Say.HAND_OVER, to=" "))
    with pytest.raises(UsageError, match="at most 200 characters, not 201"):
        ledger.say(words(ledger, Say.HAND_OVER, to="m" * 201))
    assert ledger.say(words(ledger, Say.HAND_OVER, to=f" {'m' * 200} ")).assignee == "m" * 200
    with pytest.raises(UsageError, match="which has passed"):
        ledger.say(words(ledger, Say.VETO, until=NOW))
    with pytest.raises(LedgerError, match="There is no proposal nope"):
        ledger.say(words(ledger, proposal_id="nope"), Condition("an etag"))
