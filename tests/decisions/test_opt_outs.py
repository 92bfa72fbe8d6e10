"""Opt-outs: given with a reason and an end, respected, ended, and proved by the history."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from data.errors import LedgerError, Refused, UsageError
from decisions import guardrails
from decisions.decide import decide
from decisions.domain import Action, OptOut
from decisions.ledger import Ledger
from decisions.opt_outs import opt_out
from tests.decisions.fleets import ASOF, fleet
from tests.decisions.ledgers import BY_HAND, NOW, POLICY, by_hand, change


def given_out(
    scope: str = "host", name: str = "h001", *actions: Action, days: float = 7, reason: str = "demo"
) -> OptOut:
    """Ann's opt-out."""
    return opt_out(scope, name, actions, by="ann", reason=reason, at=ASOF, days=days, longest_days=90)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger(ledger_url) as opened:
        yield opened


def refused(action: Action, *outs: OptOut, hours: float = 1) -> str | None:
    """What the guardrail says of host h001 in pool c0, so many hours later."""
    return guardrails.opted_out(action, "h001", "c0", outs, ASOF + timedelta(hours=hours))


def test_the_sentence_says_who_why_and_until_when() -> None:
    """Whoever reads it at night knows whom to ask, and when it ends."""
    assert refused(Action.LIVE_MIGRATE, given_out(reason="runs the sale")) == (
        "ann keeps host h001 out of everything that acts until 2026-03-08 00:00 UTC: runs the sale"
    )


def test_an_opt_out_covers_what_it_names_or_all_that_becomes_an_order() -> None:
    """Named actions only, else every order; people may still be asked to look, and it ends by itself."""
    named, everything = given_out("pool", "c0", Action.EVACUATE), given_out()
    assert refused(Action.EVACUATE, named) is not None
    assert refused(Action.LIVE_MIGRATE, named) is None
    assert refused(Action.BLOCK_PLACEMENTS, everything) is not None
    assert refused(Action.INVESTIGATE, everything) is None
    assert refused(Action.LIVE_MIGRATE, everything, hours=7 * 24) is None
    assert refused(Action.LIVE_MIGRATE, given_out("pool", "c1"), given_out("host", "h002")) is None


@pytest.mark.parametrize(
    ("days", "reason", "actions", "message"),
    [
        (91, "demo", (), r"at most 90 days \(opt_outs.longest_days in the policy\), not 91"),
        (0, "demo", (), "more than 0"),
        (1, "  ", (), "needs a reason"),
        (1, "demo", (Action.MONITOR,), "Nobody can opt out of being watched"),
    ],
)
def test_an_opt_out_has_a_reason_and_an_end(days: float, reason: str, actions: tuple[Action], message: str) -> None:
    """Forever, for no reason, or of being watched: refused."""
    with pytest.raises(UsageError, match=message):
        given_out("host", "h001", *actions, days=days, reason=reason)


def test_no_order_is_decided_for_a_host_that_is_kept_out() -> None:
    """The host is not moved, the other one is, and the proposal names the opt-out."""
    verdict = decide(fleet(50, {"h001": 0.8, "h022": 0.6}, opt_outs=(given_out(),)), POLICY)
    by_host = {p.host_id: p for p in verdict.proposals}
    assert by_host["h022"].action is Action.LIVE_MIGRATE
    assert by_host["h001"].action is Action.INVESTIGATE
    assert any(line.startswith("opt_out: ann keeps host h001 out") for line in by_host["h001"].blocked)


def test_an_approval_does_not_overrule_an_opt_out(ledger: Ledger) -> None:
    """Whoever approves is told who keeps the host out; once that is ended, the approval goes."""
    ledger.record(by_hand(), NOW)
    (waiting,) = ledger.proposals(NOW)
    out = given_out()
    assert ledger.opt_out(out) == out
    with pytest.raises(Refused, match="ann keeps host h001 out"):
        ledger.approve(waiting.proposal.proposal_id, "bob", "looks right", NOW)
    ledger.remove_opt_out(out.opt_out_id, "ann", "sale is over", NOW)
    assert ledger.approve(waiting.proposal.proposal_id, "bob", "looks right", NOW) is not None


def test_an_opt_out_is_written_once_and_ended_once(ledger: Ledger) -> None:
    """The same again is not new; ended, it holds no more and cannot be ended again; what is not there is named."""
    out = given_out()
    assert (ledger.opt_out(out), ledger.opt_out(out)) == (out, out)
    assert ledger.opted_out(NOW) == (out,)
    assert ledger.opted_out(out.expires_at) == ()
    ledger.remove_opt_out(out.opt_out_id, "bob", "over", NOW)
    assert ledger.opted_out(NOW) == ()
    (listed,) = ledger.opt_outs()
    assert listed.removal is not None
    assert (listed.removal.by, listed.removal.reason, listed.removal.at) == ("bob", "over", NOW)
    with pytest.raises(Refused, match="ended at 2026-03-01 00:05 UTC"):
        ledger.remove_opt_out(out.opt_out_id, "bob", "over", NOW)
    with pytest.raises(LedgerError, match="no opt-out nope"):
        ledger.remove_opt_out("nope", "bob", "over", NOW)


def test_an_opt_out_that_was_ended_holds_when_it_is_given_again(ledger: Ledger) -> None:
    """Given, ended and given again at one moment of the data's clock, it holds, under an id of its own each time."""
    held = []
    for _ in range(3):
        held.append(ledger.opt_out(given_out()))
        assert ledger.opt_out(given_out()) == held[-1]
        assert ledger.opted_out(ASOF) == (held[-1],)
        ledger.remove_opt_out(held[-1].opt_out_id, "bob", "over", ASOF)
    assert len({out.opt_out_id for out in held}) == len(ledger.opt_outs()) == 3
    assert ledger.verify().ok


def test_an_opt_out_in_force_is_extended(ledger: Ledger) -> None:
    """The same person says until later, or why, at the same moment: that holds too, and what was said before stays."""
    said = [given_out(), given_out(days=30), given_out(reason="runs the sale")]
    held = [ledger.opt_out(out) for out in said]
    assert [(out.expires_at, out.reason) for out in held] == [(out.expires_at, out.reason) for out in said]
    assert set(ledger.opted_out(ASOF)) == set(held)
    assert ledger.opted_out(said[0].expires_at) == (held[1],)


@pytest.mark.parametrize(
    "tampering",
    [
        "update opt_out set body = replace(body, '2026-03-08', '2036-03-08')",
        "update opt_out set removal = replace(removal, 'bob', 'eve')",
        "update opt_out set removal = null",
        "delete from opt_out",
        "insert into opt_out select 'other', body, null from opt_out",
    ],
)
def test_the_history_proves_every_opt_out(ledger: Ledger, ledger_url: str, tampering: str) -> None:
    """Prolonged, ended by another, revived, gone or slipped in: the check of the history finds it."""
    out = given_out()
    ledger.opt_out(out)
    ledger.remove_opt_out(out.opt_out_id, "bob", "over", NOW)
    assert ledger.verify().ok
    change(ledger_url, tampering)
    assert not ledger.verify().ok


def test_an_order_that_nobody_recorded_is_found(ledger: Ledger, ledger_url: str) -> None:
    """A row slipped into the proposals is named, though the chain itself is whole."""
    ledger.record(by_hand(), NOW)
    change(
        ledger_url,
        "insert into proposal (proposal_id, cycle_id, rank, asof_at, host_id, action, autonomy, expires_at, body) "
        "select 'forged', cycle_id, rank, asof_at, host_id, action, autonomy, expires_at, body from proposal",
    )
    found = ledger.verify()
    assert not found.ok
    assert found.reason == "forged stands in the ledger, and no record says how it came there"


def test_a_late_approval_that_leaves_no_notice_is_refused(ledger: Ledger) -> None:
    """Ten minutes before the prediction expires there is no time to tell the owners; an hour before there is."""
    ledger.record(by_hand(), NOW)
    (waiting,) = ledger.proposals(NOW)
    ends = waiting.proposal.expires_at
    with pytest.raises(Refused, match="approved too late"):
        ledger.approve(waiting.proposal.proposal_id, "bob", "late", ends - timedelta(minutes=10))
    order = ledger.approve(waiting.proposal.proposal_id, "bob", "in time", ends - timedelta(hours=1))
    assert order is not None
    assert order.not_before < order.expires_at == ends
    assert BY_HAND.prediction_life == ends - ASOF
