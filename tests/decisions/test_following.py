"""Following a cycle's proposals through the history: the same as reading all of them again."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event

from decisions.decide import decide
from decisions.domain import OrderState
from decisions.ledger import Ledger, following, queries
from decisions.ledger.following import Following
from decisions.ledger.store import reading
from decisions.ledger.values import Brief, Standing
from tests.decisions.fleets import ASOF, fleet
from tests.decisions.ledgers import BY_HAND, NOW, answer, automatic

HELD = ASOF + timedelta(hours=3)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger(ledger_url) as opened:
        yield opened


def asked_by(ledger: Ledger, cycle_id: str) -> Following:
    """Nothing has been read yet."""
    with reading(ledger._engine) as con:
        return Following(cycle_id, queries.asked(con, cycle_id))


def told(ledger: Ledger, one: Following) -> dict[str, Brief]:
    """What it tells now."""
    with reading(ledger._engine) as con:
        return one.briefs(con, HELD)


def test_whatever_happens_to_an_order_is_followed(ledger: Ledger) -> None:
    """After each step that changes it, what was followed is what is read anew, and each step but the lease shows."""
    cycle = ledger.record(automatic(), NOW)
    first, second = cycle.orders
    one = asked_by(ledger, cycle.cycle_id)
    steps: list[Callable[[], object]] = [
        lambda: ledger.delay(first, HELD, NOW, "a rack is full"),
        lambda: ledger.mark_dead(first, NOW, "nobody answers"),
        lambda: ledger.retry(first, "jo", NOW),
        lambda: ledger.apply(answer(first, OrderState.STARTED)),
        lambda: ledger.bad_answer(first, "in no language", NOW),
        lambda: ledger.apply(answer(first, OrderState.STARTED)),
        lambda: ledger.apply(answer(first, OrderState.COMPLETED)),
        lambda: ledger.cancel(second, "jo", "not tonight", NOW),
        lambda: ledger.apply(answer(second, OrderState.COMPLETED, vm="h022-v0")),
    ]
    before = told(ledger, one)
    for step in steps:
        step()
        now = told(ledger, one)
        assert now == told(ledger, asked_by(ledger, cycle.cycle_id))
        assert now != before
        before = now
    assert {each.order_state for each in before.values()} == {OrderState.COMPLETED}


@pytest.mark.parametrize("most", [0, following.MOST])
def test_whatever_people_decide_is_followed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Decisions show as soon as they are made, however much the history has told of since; other cycles' do not."""
    monkeypatch.setattr(following, "MOST", most)
    cycle = ledger.record(decide(fleet(50, {"h001": 0.8, "h022": 0.6}), BY_HAND), NOW)
    snoozed, vetoed = cycle.new
    one = asked_by(ledger, cycle.cycle_id)
    assert told(ledger, one) == {}
    ledger.snooze(snoozed, "jo", "look first", NOW)
    assert {name: each.standing for name, each in told(ledger, one).items()} == {snoozed: Standing.SNOOZED}
    other = ledger.record(decide(fleet(50, {"h033": 0.7}), replace(BY_HAND, version="another")), NOW)
    ledger.veto(other.new[0], "jo", "false alarm", NOW)
    ledger.veto(vetoed, "jo", "false alarm", NOW)
    ledger.approve(snoozed, "kim", "go", NOW)
    found = told(ledger, one)
    assert {name: each.standing for name, each in found.items()} == {
        snoozed: Standing.APPROVED,
        vetoed: Standing.VETOED,
    }
    assert found == told(ledger, asked_by(ledger, cycle.cycle_id))


def test_where_nothing_has_happened_one_question_is_asked(ledger: Ledger) -> None:
    """Only the history's last record is looked at."""
    cycle = ledger.record(automatic(), NOW)
    one = asked_by(ledger, cycle.cycle_id)
    before, questions = told(ledger, one), list[str]()
    with reading(ledger._engine) as con:
        event.listen(con, "before_cursor_execute", lambda _con, _cur, statement, *_: questions.append(statement))
        assert one.briefs(con, HELD) == before
    assert len(questions) == 1


def test_a_look_at_an_older_state_is_not_told_of_a_newer_one(ledger: Ledger) -> None:
    """Who reads one state of the ledger while another has seen a later one is told of its own."""
    cycle = ledger.record(automatic(), NOW)
    one = asked_by(ledger, cycle.cycle_id)
    with reading(ledger._engine) as con:
        before = one.briefs(con, HELD)
        ledger.cancel(cycle.orders[0], "jo", "not tonight", NOW)
        assert told(ledger, one) != before
        assert one.briefs(con, HELD) == before
