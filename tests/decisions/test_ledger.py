"""The ledger: what is recorded once, who may decide, how orders go their way, and what the history proves."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from data.errors import ExecutorError, LedgerError, Refused, UsageError
from decisions.decide import decide
from decisions.domain import OrderState
from decisions.ledger import Ledger, schema, store
from decisions.ledger.orders import follows
from decisions.ledger.values import Standing, dump_proposal, load_proposal
from tests.decisions.fleets import ASOF, fleet, host, situation, unknown, vm
from tests.decisions.ledgers import NOW, POLICY, answer, automatic, by_hand, dump
from tests.decisions.populations import feed_incident

LATE = ASOF + timedelta(hours=31)


@pytest.fixture
def url(ledger_url: str) -> str:
    """The URL of an empty ledger."""
    return ledger_url


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger(url) as opened:
        yield opened


def test_recording_a_cycle_twice_changes_nothing(ledger: Ledger, url: str) -> None:
    """Every table holds the same rows after the second time, even when the situation has changed in between."""
    first = ledger.record(automatic(), NOW)
    before = dump(url)
    found = fleet(50, {"h001": 0.8, "h022": 0.6}, owned_hosts=ledger.owned_hosts(NOW))
    second = ledger.record(decide(found, POLICY), NOW + timedelta(hours=1))
    assert dump(url) == before
    assert (len(first.new), len(first.orders)) == (2, 2)
    assert (second.new, second.existing, second.orders) == ((), first.new, ())


def test_what_a_cycle_recorded_itself_can_be_left_out(ledger: Ledger) -> None:
    """A repeated cycle sees the ledger as the first one did; the next cycle sees the orders under way."""
    cycle_id = ledger.record(automatic(), NOW).cycle_id
    assert ledger.owned_hosts(NOW) == {"h001", "h022"} == ledger.recent_actions(ASOF).keys()
    assert (ledger.owned_hosts(NOW, cycle_id), ledger.recent_actions(ASOF, cycle_id)) == (frozenset(), {})
    assert (ledger.open_orders(cycle_id), ledger.attempts(cycle_id)) == ([], {})
    assert ledger.attempts() == {"h001": 1, "h022": 1}


def test_a_host_with_an_open_order_gets_no_second_one(ledger: Ledger) -> None:
    """A cycle that knew nothing of the open orders is recorded, its moves without orders, and history says why."""
    first = ledger.record(automatic(), NOW)
    unaware = replace(POLICY, version="another")
    second = ledger.record(decide(fleet(50, {"h022": 0.6, "h033": 0.7}), unaware), NOW)
    assert (len(first.orders), len(second.new), len(second.orders)) == (2, 2, 1)
    assert sorted(listed.order.host_id for listed in ledger.orders()) == ["h001", "h022", "h033"]
    assert ledger.verify().ok
    undecided = [each for each in ledger.proposals(NOW, cycle_id=second.cycle_id) if each.decision is None]
    assert {each.proposal.host_id for each in undecided} == {"h022"}


def test_the_database_itself_forbids_two_open_orders_of_a_host(ledger: Ledger, url: str) -> None:
    """Whatever a program does, a second open order of one host is refused by an index."""
    ledger.record(automatic(), NOW)
    engine = create_engine(url)
    with pytest.raises(DBAPIError), engine.begin() as con:
        con.execute(text("update orders set host_id = 'h001'"))
    engine.dispose()


def test_proposals_come_back_as_they_were(ledger: Ledger) -> None:
    """Nothing is lost between a verdict and the ledger: prices, risks, plans and reasons."""
    verdict = automatic()
    ledger.record(verdict, NOW)
    listed = ledger.proposals(NOW)
    assert [each.proposal for each in listed] == list(verdict.proposals)
    assert {each.standing for each in listed} == {Standing.APPROVED}
    assert ledger.cycles()[0].proposals == 2


def test_a_proposal_of_an_older_program_is_read() -> None:
    """One that was written down before it carried what calls have earned carries nothing."""
    (proposal, *_) = automatic().proposals
    written = dump_proposal(proposal)
    assert written.pop("earned")
    assert load_proposal(json.dumps(written)) == replace(proposal, earned=())


def test_an_approval_makes_an_order_and_starts_no_earlier_than_now(ledger: Ledger) -> None:
    """Until a person approves there is no order; then there is one, with the owners' notice from that moment on."""
    ledger.record(by_hand(), NOW)
    (waiting,) = ledger.proposals(NOW, standing=Standing.WAITING)
    assert ledger.lease(NOW, 10, 60) == []
    order = ledger.approve(waiting.proposal.proposal_id, "ana", "looks right", NOW)
    assert order is not None
    assert order.not_before == NOW + timedelta(minutes=POLICY.notice.live_migrate_usual_minutes)
    assert ledger.lease(NOW, 10, 60) == [order]
    assert ledger.proposal(waiting.proposal.proposal_id, NOW).decision.by == "ana"


def test_the_second_to_decide_is_told_who_was_first(ledger: Ledger) -> None:
    """A veto after an approval is refused, with the name, the time and the reason of the first."""
    ledger.record(by_hand(), NOW)
    proposal_id = ledger.proposals(NOW)[0].proposal.proposal_id
    ledger.approve(proposal_id, "ana", "looks right", NOW)
    with pytest.raises(Refused, match="was approved by ana at 2026-03-01 00:05 UTC: looks right"):
        ledger.veto(proposal_id, "ben", "no", NOW)


def test_of_many_who_decide_at_once_exactly_one_wins(ledger: Ledger) -> None:
    """Eight people press approve or veto at the same time; one decision stands and at most one order exists."""
    ledger.record(by_hand(), NOW)
    proposal_id = ledger.proposals(NOW)[0].proposal.proposal_id

    def press(person: int) -> bool:
        decide_ = ledger.approve if person % 2 else ledger.veto
        try:
            decide_(proposal_id, f"p{person}", "because", NOW)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as people:
        won = list(people.map(press, range(8)))
    assert sum(won) == 1
    assert len(ledger.orders()) == won.index(True) % 2


def test_an_expired_proposal_cannot_be_approved(ledger: Ledger) -> None:
    """An old warning does not age into a removal."""
    ledger.record(by_hand(), NOW)
    (listed,) = ledger.proposals(LATE)
    assert listed.standing is Standing.EXPIRED
    with pytest.raises(Refused, match="expired at"):
        ledger.approve(listed.proposal.proposal_id, "ana", "late", LATE)


def test_a_veto_holds_the_host_until_it_ends(ledger: Ledger) -> None:
    """A person's no keeps the host out of the next cycle for as long as was said."""
    ledger.record(by_hand(), NOW)
    proposal_id = ledger.proposals(NOW)[0].proposal.proposal_id
    ledger.veto(proposal_id, "ana", "disk was swapped", NOW, until=NOW + timedelta(days=7))
    assert ledger.owned_hosts(NOW + timedelta(days=6)) == {"h001"}
    assert ledger.owned_hosts(NOW + timedelta(days=8)) == frozenset()


def test_a_snoozed_proposal_can_still_be_approved(ledger: Ledger) -> None:
    """Not now is not no."""
    ledger.record(by_hand(), NOW)
    proposal_id = ledger.proposals(NOW)[0].proposal.proposal_id
    ledger.snooze(proposal_id, "ana", "after lunch", NOW, until=NOW + timedelta(hours=1))
    assert ledger.proposal(proposal_id, NOW).standing is Standing.SNOOZED
    assert ledger.proposal(proposal_id, NOW + timedelta(hours=2)).standing is Standing.WAITING
    assert ledger.approve(proposal_id, "ana", "now", NOW + timedelta(hours=2)) is not None


def test_what_is_only_for_show_cannot_be_approved(ledger: Ledger) -> None:
    """A host of unknown risk is shown to people, and no approval turns that into an order."""
    ledger.record(decide(situation([host()], [vm()], [unknown()]), POLICY), NOW)
    (listed,) = ledger.proposals(NOW)
    assert listed.standing is Standing.SHOWN
    with pytest.raises(Refused, match="only for show"):
        ledger.approve(listed.proposal.proposal_id, "ana", "go", NOW)
    assert ledger.episodes() == []


def test_a_leased_order_is_nobody_elses_until_the_lease_ends(ledger: Ledger) -> None:
    """Two dispatchers never hold the same order; one that dies frees it by letting its lease run out."""
    ledger.record(automatic(), NOW)
    assert len(ledger.lease(NOW, 1, 60)) == 1
    assert len(ledger.lease(NOW, 10, 60)) == 1
    assert ledger.lease(NOW, 10, 60) == []
    assert len(ledger.lease(NOW + timedelta(seconds=60), 10, 60)) == 2
    assert {each.attempts for each in ledger.orders()} == {2}


def test_a_failed_delivery_waits_and_a_dead_one_needs_a_person(ledger: Ledger) -> None:
    """Retries come when they are due; a dead letter comes back only when somebody says so."""
    ledger.record(automatic(), NOW)
    first, second = ledger.lease(NOW, 10, 600)
    ledger.mark_retry(first.order_id, NOW, "no answer", NOW + timedelta(minutes=2))
    ledger.mark_dead(second.order_id, NOW, "gone for good")
    assert ledger.lease(NOW + timedelta(minutes=1), 10, 60) == []
    assert ledger.lease(NOW + timedelta(minutes=2), 10, 600) == [first]
    ledger.retry(second.order_id, "ana", NOW + timedelta(minutes=3))
    assert ledger.lease(NOW + timedelta(minutes=3), 10, 60) == [second]
    with pytest.raises(Refused, match="only dead letters"):
        ledger.retry(first.order_id, "ana", NOW)


def test_a_sent_order_is_not_handed_over_again(ledger: Ledger) -> None:
    """Once the executor has it, neither a lease nor a late failure report brings it back."""
    ledger.record(automatic(), NOW)
    (order,) = ledger.lease(NOW, 1, 60)
    ledger.mark_sent(order.order_id, NOW)
    ledger.mark_retry(order.order_id, NOW, "lost answer", NOW)
    assert order not in ledger.lease(NOW + timedelta(hours=1), 10, 60)
    assert ledger.order(order.order_id).outbox_state == "sent"


def test_an_expired_order_is_never_handed_over(ledger: Ledger) -> None:
    """After a long pause nothing old is replayed: what expired ends, once."""
    recorded = ledger.record(automatic(), NOW)
    assert ledger.lease(LATE, 10, 60) == []
    assert ledger.expire(LATE) == sorted(recorded.orders)
    assert ledger.expire(LATE) == []
    assert {each.state for each in ledger.orders()} == {OrderState.EXPIRED}


def test_answers_move_an_order_forward_and_write_outcomes(ledger: Ledger) -> None:
    """Accepted, started, completed; each told twice, and the steps are written once."""
    order_id = ledger.record(automatic(), NOW).orders[0]
    states = [OrderState.ACCEPTED, OrderState.STARTED, OrderState.COMPLETED]
    for minutes, state in enumerate(states, start=10):
        assert ledger.apply(answer(order_id, state, minutes))
        assert not ledger.apply(answer(order_id, state, minutes + 0.5))
    assert [step.state for step in ledger.order_events(order_id)] == [OrderState.REQUESTED, *states]
    assert [outcome.result for outcome in ledger.outcomes(order_id)] == ["moved"]
    assert not ledger.apply(answer(order_id, OrderState.STARTED, 20))


def test_what_an_answer_tells_of_vms_that_are_not_in_the_order_is_refused(ledger: Ledger) -> None:
    """Another host's VM is named: nothing of the answer is kept, and the next one that fits is taken."""
    order_id = ledger.record(automatic(), NOW).orders[0]
    told = answer(order_id, OrderState.COMPLETED)
    strange = replace(told, vms=(*told.vms, replace(told.vms[0], vm_id="h022-v0")))
    with pytest.raises(ExecutorError, match=f"not in order {order_id}: h022-v0"):
        ledger.apply(strange)
    assert ledger.order(order_id).state is OrderState.REQUESTED
    assert ledger.outcomes(order_id) == []
    assert ledger.apply(told)
    assert ledger.verify().ok


def test_what_really_happened_overrules_our_giving_up(ledger: Ledger) -> None:
    """An order that we let expire and that the executor completed all the same is completed."""
    order_id = ledger.record(automatic(), NOW).orders[0]
    ledger.expire(LATE)
    assert not ledger.apply(answer(order_id, OrderState.ACCEPTED))
    assert ledger.apply(answer(order_id, OrderState.COMPLETED))
    assert ledger.order(order_id).state is OrderState.COMPLETED


def test_an_order_that_may_have_been_taken_unheard_is_asked_about(ledger: Ledger) -> None:
    """Handed over, no answer, then expired: it is listed for a while; one that never left is not."""
    ledger.record(automatic(), NOW)
    lost = ledger.lease(NOW, 1, 0.0)[0].order_id
    assert ledger.unanswered(NOW) == [lost]
    ledger.expire(LATE)
    assert ledger.unanswered(NOW) == [lost]
    assert ledger.unanswered(LATE + timedelta(days=8)) == []


@given(st.lists(st.sampled_from(list(OrderState)), max_size=12))
def test_no_run_of_answers_goes_backwards(told: list[OrderState]) -> None:
    """Whatever is told, in whatever order, an order comes to its end once, or once more by what really happened."""
    state, ends = OrderState.REQUESTED, []
    for each in told:
        if follows(state, each):
            assert each is not OrderState.REQUESTED
            state = each
            if state not in {OrderState.ACCEPTED, OrderState.STARTED}:
                ends.append(state)
    assert len(ends) <= 2
    if len(ends) == 2:
        assert ends[0] in {OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REFUSED}
        assert ends[1] in {OrderState.COMPLETED, OrderState.FAILED}


def test_a_cancelled_order_is_not_sent_and_the_host_left_alone(ledger: Ledger) -> None:
    """On-call stops a wrong one: it never goes out, and tonight's next cycle does not order it again."""
    ledger.record(automatic(), NOW)
    order_id = next(each.order.order_id for each in ledger.orders() if each.order.host_id == "h001")
    ledger.cancel(order_id, "ana", "wrong host", NOW)
    assert [order.host_id for order in ledger.lease(NOW, 10, 60)] == ["h022"]
    assert "h001" in ledger.owned_hosts(NOW)
    assert ledger.attempts() == {"h022": 1}
    with pytest.raises(Refused, match="is cancelled already"):
        ledger.cancel(order_id, "ben", "me too", NOW)


def test_an_order_is_called_back_for_a_reason(ledger: Ledger) -> None:
    """A blank reason calls nothing back, whether the order waits here or the executor has it."""
    ledger.record(automatic(), NOW)
    before = ledger.orders()
    for call_back in (ledger.cancel, ledger.call_back):
        with pytest.raises(UsageError, match="needs a reason"):
            call_back(before[0].order.order_id, "ana", " ", NOW)
    assert ledger.orders() == before


def test_an_order_handed_over_is_the_executors_to_cancel(ledger: Ledger) -> None:
    """While an order is being handed over nobody may pretend that it was stopped."""
    ledger.record(automatic(), NOW)
    (order,) = ledger.lease(NOW, 1, 60)
    with pytest.raises(Refused, match="only the executor"):
        ledger.cancel(order.order_id, "ana", "wrong", NOW)


def test_the_kill_switch_holds_orders_and_approvals(ledger: Ledger) -> None:
    """While stopped nothing is handed over or approved; afterwards it goes on."""
    ledger.record(automatic(), NOW)
    ledger.stop("ana", "storm", NOW)
    assert ledger.stopped().by == "ana"
    assert ledger.lease(NOW, 10, 60) == []
    ledger.start("ben", NOW)
    assert ledger.stopped() is None
    assert len(ledger.lease(NOW, 10, 60)) == 2


def test_one_episode_for_a_host_until_it_is_closed(ledger: Ledger) -> None:
    """A second night at risk opens no second episode; after closing, the next alert opens a new one."""
    tomorrow = ASOF + timedelta(days=1)
    ledger.record(automatic(), NOW)
    ledger.record(replace(automatic(), asof_at=tomorrow, proposals=()), tomorrow)
    assert [each.host_id for each in ledger.episodes(only_open=True)] == ["h001", "h022"]
    assert ledger.close_episode("h001", tomorrow, "drive replaced")
    assert not ledger.close_episode("h001", tomorrow, "drive replaced")
    assert [each.host_id for each in ledger.episodes(only_open=True)] == ["h022"]


def test_the_history_cannot_be_changed_from_within(ledger: Ledger, url: str) -> None:
    """The database itself refuses to update or delete a record."""
    ledger.record(automatic(), NOW)
    engine = create_engine(url)
    for change in ("update history set kind = 'x'", "delete from history"):
        with pytest.raises(DBAPIError, match="append-only"), engine.begin() as con:
            con.execute(text(change))
    engine.dispose()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("update history set body = '{}' where record = 3", "record 3 was changed"),
        ("delete from history where record = 3", "record 3 is missing"),
        ("update history set hash = previous_hash where record = 2", "record 2 was changed"),
        ("update proposal set body = replace(body, 'h001', 'h009')", "is not what record"),
        ("update orders set body = replace(body, 'h022', 'h009')", "is not what record"),
    ],
)
def test_tampering_is_found(ledger: Ledger, url: str, change: str, reason: str) -> None:
    """Whoever gets past the database's own refusal is found by the chain, and the first bad record named."""
    ledger.record(automatic(), NOW)
    assert ledger.verify().ok
    engine = create_engine(url)
    with engine.begin() as con:
        if engine.dialect.name == "sqlite":
            con.execute(text("drop trigger history_no_update"))
            con.execute(text("drop trigger history_no_delete"))
        else:
            con.execute(text("drop trigger history_no_change on history"))
        con.execute(text(change))
    engine.dispose()
    verified = ledger.verify()
    assert not verified.ok
    assert verified.first_bad is not None
    assert reason in str(verified.reason)


def test_nothing_is_kept_of_a_cycle_that_fails_halfway(
    ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proposals, orders and history are written together or not at all."""
    before = dump(url)

    def break_off(*_: object) -> None:
        msg = "power cut"
        raise OSError(msg)

    monkeypatch.setattr("decisions.ledger.chain.append", break_off)
    with pytest.raises(OSError, match="power cut"):
        ledger.record(automatic(), NOW)
    assert dump(url) == before


def test_moments_come_back_in_utc_and_need_a_zone(ledger: Ledger) -> None:
    """A moment without a time zone is refused, and all that come back have one."""
    ledger.record(automatic(), NOW)
    assert all(each.requested_at == NOW and each.requested_at.tzinfo is not None for each in ledger.orders())
    with pytest.raises(Exception, match="has none"):
        ledger.lease(NOW.replace(tzinfo=None), 1, 60)


def test_unknown_ids_are_named(ledger: Ledger) -> None:
    """A proposal or an order that does not exist is an error that says where to look."""
    with pytest.raises(LedgerError, match="no proposal nope"):
        ledger.approve("nope", "ana", "x", NOW)
    with pytest.raises(LedgerError, match="no order nope"):
        ledger.order("nope")


@pytest.mark.parametrize("bad", ["nonsense", "sqlite://", "sqlite:////proc/none/ledger.db", "oracle+none://x"])
def test_a_bad_url_is_refused_with_what_to_use(bad: str) -> None:
    """The error names the URL and a way out."""
    with pytest.raises(LedgerError, match="Ledger"):
        Ledger(bad)


@pytest.mark.parametrize("url", ["postgresql+asyncpg://ana@127.0.0.1/ledger", "sqlite+aiosqlite:////tmp/ledger.db"])
def test_a_driver_that_only_prefect_can_use_is_refused(url: str) -> None:
    """Prefect brings asynchronous drivers: a URL with one says that it is one, and what to use."""
    with pytest.raises(LedgerError, match=r"asynchronous driver.*Use sqlite:///FILE"):
        Ledger(url)


def test_migrations_end_where_the_schema_is(ledger: Ledger, url: str) -> None:
    """The migrations and the tables in code agree, and the newest migration is the one that code expects."""
    folder = Path(store.__file__).with_name("migrations")
    assert ScriptDirectory(str(folder)).get_current_head() == schema.HEAD
    written = {"history_by_person", "history_by_host"}  # by what a record's body says, which only the migrations know
    options = {"include_object": lambda _object, name, *_: name not in written}
    engine = create_engine(url)
    with engine.connect() as con:
        assert compare_metadata(MigrationContext.configure(con, opts=options), schema.METADATA) == []
    engine.dispose()


def test_orders_of_an_older_ledger_are_found_by_their_vms(ledger: Ledger, url: str) -> None:
    """Brought up to date, a ledger that kept VMs in orders alone finds the orders of each VM as a new one does."""
    ledger.record(automatic(), NOW)
    (first, *_), vms = ledger.orders(), {plan.vm_id for each in ledger.orders() for plan in each.order.vms}
    assert vms
    before = dump(url)
    engine = create_engine(url)
    with engine.begin() as con:
        for statement in ("drop table order_vm", "drop index cycle_by_moment"):
            con.execute(text(statement))
        con.execute(text("update alembic_version set version_num = '0007'"))
    engine.dispose()
    with Ledger(url) as brought, brought.services(NOW - timedelta(days=1)) as ask:
        mine = {plan.vm_id for plan in first.order.vms}
        assert {(one.order_id, one.vm_id) for one in ask(mine, None)} == {(first.order.order_id, name) for name in mine}
        assert list(ask({"no such VM"}, None)) == []
    assert dump(url) == before


def test_an_order_of_an_older_ledger_that_was_handed_over_late_is_not_troubled(ledger: Ledger, url: str) -> None:
    """Why the first try failed stayed with an order that was handed over since: it is no bad answer."""
    ledger.record(automatic(), NOW)
    sent, waits = (order.order_id for order in ledger.lease(NOW, 2, 0.0))
    ledger.mark_sent(sent, NOW)
    ledger.mark_retry(waits, NOW, "nobody answers", NOW)
    engine = create_engine(url)
    with engine.begin() as con:
        con.execute(text("update outbox set last_error = 'nobody answers'"))
        con.execute(text("update alembic_version set version_num = '0008'"))
    engine.dispose()
    with Ledger(url) as brought:
        assert brought.order(sent).bad_answer is None
        assert brought.order(waits).last_error == "nobody answers"
        assert brought.notices.seen(NOW, 48).unheard == ()


def test_a_ledger_of_a_newer_program_is_left_alone(ledger: Ledger, url: str) -> None:
    """An older program does not write into what it does not know."""
    engine = create_engine(url)
    with engine.begin() as con:
        con.execute(text("update alembic_version set version_num = '9999'"))
    engine.dispose()
    with pytest.raises(LedgerError, match="version 9999"):
        Ledger(url)


def test_readers_are_not_kept_waiting_by_a_writer(ledger: Ledger) -> None:
    """A page can list proposals while a cycle is being written."""
    ledger.record(automatic(), NOW)
    with store.writing(ledger._engine):
        assert len(ledger.proposals(NOW)) == 2


def test_incidents_are_kept_with_their_cycle(ledger: Ledger) -> None:
    """What was found before deciding comes back whole, is in the history, and is known to later nights for a while."""
    incident = feed_incident()
    verdict = replace(automatic(), incidents=(incident,))
    cycle_id = ledger.record(verdict, NOW).cycle_id
    assert ledger.incidents(cycle_id) == [incident]
    assert ledger.earlier_incidents(ASOF, 30) == []
    assert ledger.earlier_incidents(ASOF + timedelta(days=1), 30) == [incident]
    assert ledger.earlier_incidents(ASOF + timedelta(days=31), 30) == []
    ledger.record(replace(verdict, policy_version="another", proposals=()), NOW)
    assert ledger.verify().ok
