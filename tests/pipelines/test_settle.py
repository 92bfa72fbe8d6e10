"""Settling: what the executor did becomes known, if late, and no episode ends without evidence."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text

from data.errors import ExecutorError
from data.warehouse import Warehouse
from decisions.domain import Answer, OrderState, Verdict
from decisions.ledger import Ledger
from pipelines import cycle
from pipelines.cli import main
from pipelines.contract import messages
from pipelines.contract.signing import SECRET
from pipelines.executors.webhook import Webhook
from pipelines.settings import ExecutorSettings, Settings
from pipelines.steps import settle
from tests.decisions.fleets import ASOF
from tests.decisions.ledgers import NOW, answer, automatic, by_hand
from tests.facts import entities, hosts, vms
from tests.pipelines import nights

LATE = NOW + timedelta(days=2)
NOBODY = ExecutorSettings(kind="webhook", url="http://127.0.0.1:9", attempts=1)


@pytest.fixture
def out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with an order under way on h022, a failure on h001, and an executor that nobody answers for."""
    monkeypatch.setenv(SECRET, "not a secret, but long enough for one")
    settings = Settings(home=tmp_path / "home", executor=NOBODY)
    with Warehouse.open(settings.home) as warehouse:
        _sit(warehouse, "h001", "h022")
        failed = ASOF + timedelta(days=1)
        warehouse.con.execute(
            "insert into failure by name select 1 as entity_key, $at as failed_at, 'test' as source, "
            "$at as ingested_at",
            {"at": failed},
        )
        warehouse.publish()
    with Ledger(settings.ledger_url) as ledger:
        ledger.record(automatic(), NOW)
        for lease in ledger.lease(NOW, 2, 0.0):
            ledger.apply(answer(lease.order_id, OrderState.STARTED))
    return settings


def test_an_order_whose_answer_was_lost_becomes_known(
    ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handed over, the answer lost, expired here and completed there: settling learns of it, its VMs and its host."""
    asked: list[str] = []

    class Executor:
        def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
            del now
            asked.extend(order_ids)
            return [replace(answer(name, OrderState.COMPLETED), host_state="empty") for name in order_ids]

    @contextmanager
    def opened(settings: Settings, now: datetime) -> Iterator[Executor]:
        del settings, now
        yield Executor()

    monkeypatch.setattr(settle, "opened", opened)
    with Ledger(ledger_url) as ledger:
        ledger.record(automatic(), NOW)
        lost = ledger.lease(NOW, 1, 0.0)[0].order_id
        ledger.expire(LATE)
        heard = settle._hear(Settings(home=tmp_path), ledger, LATE)
        assert asked == [lost]
        assert ledger.order(lost).state is OrderState.COMPLETED
        assert ledger.order(lost).host_state == "empty"
        assert ledger.verify().ok
    assert (heard.bad, heard.unanswered) == ([], None)
    assert (heard.orders, heard.outcomes, heard.hosts) == ({"completed": 1}, {"moved": 1}, {"empty": 1})


@pytest.mark.parametrize("strange", ["not to be read", "of another host's VM"])
def test_one_bad_answer_spoils_no_other(
    strange: str, out_of_reach: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are taken; of that order people learn that nobody knows, until an answer comes that is of use."""
    with Ledger(out_of_reach.ledger_url) as ledger:
        one, other = (listed.order for listed in ledger.orders())
    done = answer(one.order_id, OrderState.COMPLETED, vm=one.vms[0].vm_id)
    bad = answer(other.order_id, OrderState.COMPLETED, vm=one.vms[0].vm_id)
    event = messages.answer_event(bad).replace(b'"moved"', b'"vanished"' if strange == "not to be read" else b'"moved"')
    monkeypatch.setattr(settle, "opened", answering([event, messages.answer_event(done), b"7"]))
    report = settle.settle(out_of_reach, LATE)
    assert (dict(report.orders), report.unanswered) == ({"completed": 1}, None)
    assert [each.order_id for each in report.bad].count(other.order_id) == 1
    assert len(report.bad) == len(caplog.records) == 2
    with Ledger(out_of_reach.ledger_url) as ledger:
        assert ledger.order(other.order_id).bad_answer in [each.why for each in report.bad]
        assert [each.order for each in ledger.notices.seen(LATE, 48).unheard] == [other]
        assert ledger.outcomes(other.order_id) == []
    mended = messages.answer_event(answer(other.order_id, OrderState.STARTED))
    monkeypatch.setattr(settle, "opened", answering([mended]))
    assert settle.settle(out_of_reach, LATE).bad == ()
    with Ledger(out_of_reach.ledger_url) as ledger:
        assert ledger.order(other.order_id).bad_answer is None
        assert ledger.notices.seen(LATE, 48).unheard == ()
        assert ledger.verify().ok


def test_an_answer_that_stays_bad_is_written_down_once(out_of_reach: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An executor numbers its events anew whenever it is asked; the history does not grow with every time."""
    with Ledger(out_of_reach.ledger_url) as ledger:
        order_id = ledger.orders()[0].order.order_id
    for number in (b"event-1", b"event-2"):
        event = messages.answer_event(answer(order_id, OrderState.COMPLETED)).replace(b'"moved"', b'"vanished"')
        named = event.replace(f"{order_id}/completed".encode(), number)
        assert number in named
        monkeypatch.setattr(settle, "opened", answering([named]))
        assert len(settle.settle(out_of_reach, LATE).bad) == 1
    engine = create_engine(out_of_reach.ledger_url)
    with engine.connect() as con:
        assert con.execute(text("select count(*) from history where kind = 'bad_answer'")).scalar_one() == 1
    engine.dispose()


def test_the_command_says_that_an_answer_was_bad(
    out_of_reach: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`foreshock settle` tells what it took, what it could not take, and does not end well."""
    monkeypatch.setattr(settle, "opened", answering([b"{}"]))
    monkeypatch.setenv("FORESHOCK_HOME", str(out_of_reach.home))
    assert main(["settle", "--on", LATE.date().isoformat(), "--json"]) == 1
    (bad,) = json.loads(capfd.readouterr().out)["bad"]
    assert "cannot be read" in bad["why"]


def answering(events: list[bytes]) -> Callable[[Settings, datetime], AbstractContextManager[Webhook]]:
    """An executor elsewhere that says this, whatever it is asked."""
    told = httpx.MockTransport(lambda _: httpx.Response(200, content=messages.batch(events)))
    return lambda _, now: nullcontext(Webhook("http://executor", b"a" * 32, now, httpx.Client(transport=told)))


def test_without_answers_a_patient_settle_says_so_and_goes_on(
    out_of_reach: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """What has failed closes its episode; a host whose order nobody tells of stays as it is, however late it is."""
    report = settle.settle(out_of_reach, NOW + timedelta(days=60), patient=True)
    assert "127.0.0.1:9 did not answer" in str(report.unanswered)
    assert dict(report.why) == {"failed": 1}
    assert [(record.levelno, record.name) for record in caplog.records] == [(logging.WARNING, settle.__name__)]
    with Ledger(out_of_reach.ledger_url) as ledger:
        assert [episode.host_id for episode in ledger.episodes(only_open=True)] == ["h022"]


def test_the_command_fails_without_answers(out_of_reach: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """`foreshock settle` is about the answers: where none come, it says so and writes nothing."""
    with pytest.raises(ExecutorError):
        settle.settle(out_of_reach, LATE)
    config = out_of_reach.home / "foreshock.toml"
    config.write_text('home = "."\n[executor]\nkind = "webhook"\nurl = "http://127.0.0.1:9"\n', encoding="utf-8")
    assert main(["settle", "--on", LATE.date().isoformat(), "--json", "--config", str(config)]) == 1
    assert "did not answer" in json.loads(capfd.readouterr().out)["error"]


@pytest.mark.slow
def test_a_cycle_decides_without_the_executor(champion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With orders under way and nobody to ask, the night is scored and decided, and its report says what is missing."""
    monkeypatch.setenv(SECRET, "not a secret, but long enough for one")
    settings = nights.copied(champion, tmp_path / "home")
    cycle.run(settings, nights.NIGHTS[0])
    with Ledger(settings.ledger_url) as ledger:
        assert ledger.open_orders()
    report = cycle.run(settings.model_copy(update={"executor": NOBODY}), nights.NIGHTS[1])
    assert "did not answer" in str(report.settle.unanswered)
    assert report.score
    assert report.decide.recorded
    assert report.decide.proposals


DAYS = settle.QUIET_DAYS


@pytest.mark.parametrize(
    ("looks", "unknown", "closed_on"),
    [
        pytest.param(range(1, 12), (), DAYS, id="looked at every day"),
        pytest.param((), (), None, id="no cycle since"),
        pytest.param(range(10, 20), (), 9 + DAYS, id="after a pause the days begin to count"),
        pytest.param(range(1, 12), (2, 3), 2 + DAYS, id="a day of unknown risk does not count"),
        pytest.param(range(1, 20), range(1, 20), None, id="unknown all the time"),
    ],
)
def test_a_host_has_recovered_when_it_was_looked_at(
    looks: Sequence[int], unknown: Sequence[int], closed_on: int | None, ledger_url: str, tmp_path: Path
) -> None:
    """An episode ends on the seventh day on which a cycle knew the host's risk and did not propose it."""
    with Warehouse.open(tmp_path) as warehouse, Ledger(ledger_url) as ledger:
        _sit(warehouse, "h001")
        ledger.record(by_hand(), NOW)
        recovered = []
        for day in range(1, 25):
            if day in looks:
                at = ASOF + timedelta(days=day)
                _tell(warehouse, at, "unknown" if day in unknown else "ok")
                ledger.record(Verdict(at, "policy-1", "disk-1", (), {}, ()), at)
            now = ASOF + timedelta(days=day, hours=1)
            recovered += [day] if "h001" in settle._recovered(warehouse.con, ledger, now) else []
    assert recovered == ([] if closed_on is None else list(range(closed_on, 25)))


def test_a_host_that_no_cycle_was_told_of_has_not_recovered(ledger_url: str, tmp_path: Path) -> None:
    """Cycles that knew no risk of any of its parts have not looked at a host."""
    with Warehouse.open(tmp_path) as warehouse, Ledger(ledger_url) as ledger:
        _sit(warehouse, "h001")
        ledger.record(by_hand(), NOW)
        for day in range(1, 12):
            at = ASOF + timedelta(days=day)
            ledger.record(Verdict(at, "policy-1", "disk-1", (), {}, ()), at)
        assert not settle._recovered(warehouse.con, ledger, NOW + timedelta(days=30))


@pytest.mark.parametrize(
    ("pictures", "left_open"),
    [
        pytest.param({5: ("h022",)}, ["h001", "h022"], id="not yet for long"),
        pytest.param({1: ("h022",)}, ["h022"], id="for a week"),
        pytest.param({1: ("h022",), 4: ("h001", "h022")}, ["h001", "h022"], id="back again"),
        pytest.param({1: ("h001",)}, ["h001", "h022"], id="an order is under way"),
    ],
)
def test_the_episode_of_a_host_that_left_the_inventory_ends(
    pictures: dict[int, tuple[str, ...]], left_open: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can look at it any more, so it never recovers; one picture that lacks it by mistake ends nothing."""
    settings = Settings(home=tmp_path / "home")
    monkeypatch.setattr(settle, "_hear", lambda *_, **__: settle._Heard())
    with Warehouse.open(settings.home) as warehouse:
        for day, names in {0: ("h001", "h022"), **pictures}.items():
            at = ASOF + timedelta(days=day)
            warehouse.put_inventory(hosts(*names), vms(), entities().slice(0, 0), at)
        warehouse.publish()
    with Ledger(settings.ledger_url) as ledger:
        ledger.record(automatic(), NOW)
        for lease in ledger.lease(NOW, 2, 0.0):
            state = OrderState.REFUSED if ledger.order(lease.order_id).order.host_id == "h001" else OrderState.STARTED
            ledger.apply(answer(lease.order_id, state))
        settle.settle(settings, ASOF + timedelta(days=9))
        assert [episode.host_id for episode in ledger.episodes(only_open=True)] == left_open


def _sit(warehouse: Warehouse, *hosts: str) -> None:
    """Each host has one part, whose key is its place."""
    for key, host_id in enumerate(hosts, start=1):
        warehouse.con.execute(
            "insert into entity_host values ($key, $host, true, $at, null, true)",
            {"key": key, "host": host_id, "at": ASOF - timedelta(days=30)},
        )


def _tell(warehouse: Warehouse, at: datetime, status: str) -> None:
    """The risk of the only part, as of that moment."""
    warehouse.con.execute(
        "insert into risk by name select $at as asof_at, 1 as entity_key, 'disk' as component, "
        "'disk-1' as model_version, $status as status",
        {"at": at, "status": status},
    )
