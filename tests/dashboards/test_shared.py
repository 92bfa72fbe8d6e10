"""Pages that many read: made once for each state, new as soon as anything changes, and nobody's own parts in them."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

import dashboards.app
from dashboards.app import create_app
from dashboards.evidence import evidence
from dashboards.host import HostView, host
from dashboards.host_facts import gather_hosts
from dashboards.ledger_view import LedgerView
from dashboards.queue import Look, Room
from dashboards.ready import make_ready
from data.warehouse import Warehouse
from decisions.domain import Verdict
from decisions.ledger import Ledger
from tests.dashboards.conftest import ASOF, BASE, Night, verdict
from tests.dashboards.people import Browser, field, token
from tests.dashboards.test_looking import NOW, tell

PATHS = ("/", "/proposals/id-r12-08", "/fleet", "/hosts/r04-11", "/maintenance", "/audit", "/v1/proposals", "/v1/fleet")


@contextmanager
def counted() -> Iterator[list[str]]:
    """Every statement that any database engine of this process is asked meanwhile."""
    asked: list[str] = []

    def note(_con: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield asked
    event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("path", PATHS)
def test_the_second_reader_costs_no_question_to_a_database(night: Night, path: str) -> None:
    """Nothing has changed since the first: the same answer, and neither ledger nor snapshot is asked."""
    with night.client(ASOF) as client, counted() as asked:
        first = client.get(path)
        assert asked
        asked.clear()
        assert client.get(path).text.count("<") == first.text.count("<")
    assert asked == []


def test_a_decision_is_seen_at_once_by_who_made_it_and_by_all_others(night_on_each: Night) -> None:
    """Two servers have shown the pages before; after the decision at one, both show it, on the queue and by itself."""
    night = night_on_each
    with night.client(ASOF) as here, night.client(ASOF) as there:
        for client in (here, there):
            assert "put off" not in client.get("/").text + client.get("/proposals/id-r12-08").text
        browser = Browser(here)
        browser.log_in(token(night))
        page = here.get("/proposals/id-r12-08").text
        answer = browser.decide("id-r12-08", page, verdict="snooze", reason="the owner asked", hours="2")
        assert answer.status_code == 303
        for client in (here, there):
            for path in ("/", "/proposals/id-r12-08"):
                assert "Put off by maria" in client.get(path).text
            assert client.get("/v1/proposals/id-r12-08").json()["standing"] == "snoozed"


def test_nothing_of_one_asker_is_on_anothers_page(night: Night) -> None:
    """Name, token of the forms and name of the request are each asker's own, though the rest was made once."""
    app = create_app(night.home, night.url, clock=lambda: ASOF)
    pages = {}
    for name in ("maria", "jo", ""):
        client = TestClient(app, base_url=BASE)
        if name:
            Browser(client).log_in(token(night, name))
        pages[name] = [client.get("/proposals/id-r12-08").text for _ in range(2)]
    mine, others = pages["maria"], [*pages["jo"], *pages[""]]
    assert field(mine[0], "csrf") == field(mine[1], "csrf")
    assert field(mine[0], "key") != field(mine[1], "key")
    assert all(field(mine[0], name) not in page for name in ("csrf", "key") for page in others)
    assert all("maria" not in page for page in others)
    assert not re.search(r"<form[^>]*(decisions|logout)", pages[""][0])


def test_the_ledgers_version_changes_with_every_commit_and_not_with_reading(night_on_each: Night) -> None:
    """Whoever writes, the version is another one; as long as nobody does, it stays."""
    view = LedgerView(night_on_each.url)
    before = view.version()
    with view.open() as book:
        assert book is not None
        assert book.newest() is not None
    assert view.version() == before
    with night_on_each.ledger() as ledger:
        ledger.veto("id-r10-02", "jo", "false alarm", ASOF)
    assert view.version() != before


def test_another_ledger_in_its_place_is_another_version(night: Night) -> None:
    """A file that is put where the ledger was is read, and not what was kept of the one before."""
    with night.client(ASOF) as client:
        assert "false alarm" not in client.get("/").text
        shutil.copyfile(night.home / "ledger.db", night.home / "other.db")
        with Ledger(f"sqlite:///{night.home / 'other.db'}") as other:
            other.veto("id-r10-02", "jo", "false alarm", ASOF)
        (night.home / "other.db").replace(night.home / "ledger.db")
        assert "false alarm" in client.get("/").text


def _until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    ended = monotonic() + seconds
    while not holds():
        assert monotonic() < ended, "it never came"
        sleep(0.02)


def test_a_large_snapshot_is_shown_once_it_is_ready_and_the_one_before_meanwhile(night: Night) -> None:
    """While a new snapshot is being made ready nobody waits, and everybody is told how old what they see is."""
    go_on = Event()

    def slow(_look: Look) -> None:
        go_on.wait(20)

    def seen() -> object:
        with room.look() as look:
            return look.freshness.published_at

    room = Room(night.home, LedgerView(night.url), lambda: ASOF, prepare=slow, at_once_bytes=0)
    with Warehouse.open(night.home) as warehouse:
        warehouse.publish()
        before = seen()
        warehouse.publish()
        began = monotonic()
        assert [seen() for _ in range(5)] == [before] * 5
        assert monotonic() - began < 5
    go_on.set()
    _until(lambda: seen() != before)


@pytest.mark.parametrize(("at_once_bytes", "times"), [(0, 1), (2**30, 2)])
def test_what_says_its_age_is_counted_anew_with_each_small_snapshot(
    night: Night, at_once_bytes: int, times: int
) -> None:
    """A large snapshot is shown without counting again what was counted a moment ago."""
    room, counted = Room(night.home, LedgerView(night.url), lambda: ASOF, at_once_bytes=at_once_bytes), list[object]()

    def seen() -> object:
        with room.look() as look:
            look.aged("weeks", lambda _look: counted.append(None), for_seconds=900)
            return look.freshness.published_at

    before = seen()
    with Warehouse.open(night.home) as warehouse:
        warehouse.publish()
    _until(lambda: seen() != before)
    assert len(counted) == times


def test_a_decision_of_a_new_cycle_says_what_is_still_being_gathered(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be read and decided at once; what is around its hosts comes as soon as it is known."""
    go_on = Event()

    def slow(look: Look) -> None:
        go_on.wait(20)
        make_ready(look)

    monkeypatch.setattr(dashboards.app, "Room", partial(Room, at_once_bytes=0))
    monkeypatch.setattr(dashboards.app, "make_ready", slow)
    with night.client(ASOF) as client:
        early = client.get("/proposals/id-r12-08").text
        assert "still being gathered" in early
        assert "not in the inventory" not in early
        assert "foreshock decisions approve id-r12-08" in early
        go_on.set()
        _until(lambda: "rack r12" in client.get("/proposals/id-r12-08").text)


@pytest.fixture
def past(made: Night, home: Path) -> Night:
    """The night with readings and risks."""
    home.mkdir()
    for name in ("ledger.db", "warehouse.duckdb"):
        shutil.copyfile(made.home / name, home / name)
    tell(home)
    return Night(home)


def test_what_is_asked_at_once_for_all_is_what_each_would_have_been_told(past: Night) -> None:
    """The evidence for every proposal is the same, whether it was gathered before or is asked for by itself."""
    proposals = [each for each in verdict().proposals if each.risk.entities or each.risk.unknown]

    def told(*, prepared: bool) -> list[object]:
        room = Room(past.home, LedgerView(past.url), lambda: NOW)
        with room.look() as look:
            if prepared:
                make_ready(look)
            return [evidence(look, each) for each in proposals]

    assert told(prepared=True) == told(prepared=False)


def test_hosts_that_are_asked_about_together_are_told_of_as_each_would_be(past: Night) -> None:
    """A host's page is the same, whether it was gathered with others, unknown ones among them, or asks by itself."""
    names = sorted({each.host_id for each in verdict().proposals})

    def told(*, together: bool) -> list[HostView]:
        room = Room(past.home, LedgerView(past.url), lambda: NOW)
        with room.look() as look:
            if together:
                gather_hosts(look, [*names, "nowhere", names[0]])
            return [host(look, each) for each in names]

    assert told(together=True) == told(together=False)
    assert any(view.timeline and view.risk and view.vms for view in told(together=True))


def test_pages_answer_while_a_writer_holds_everything(night: Night) -> None:
    """The warehouse is locked for as long as it takes, the ledger is being written to, and every page is there."""
    with night.client(ASOF) as client, Warehouse.open(night.home), night.ledger() as ledger:
        writer = ledger._engine.execution_options(writes=True).connect()
        with writer, writer.begin():
            writer.exec_driver_sql("update proposal set rank = rank")
            began = monotonic()
            assert [client.get(path).status_code for path in PATHS] == [200] * len(PATHS)
            assert monotonic() - began < 20
        later = ASOF + timedelta(days=1)
        again = replace(verdict().proposals[0], proposal_id="id-tomorrow", asof_at=later)
        ledger.record(Verdict(later, "policy-7", "disk-4", (again,), {}, ()), later)
        assert "id-tomorrow" in client.get("/").text


@pytest.mark.parametrize("path", [*PATHS[:6], "/login", "/nowhere"])
def test_no_page_tells_where_its_gaps_were(night: Night, path: str) -> None:
    """The mark that stands for each asker's own parts is not to be read in any page: who knew it could forge one."""
    with night.client() as client:
        assert "<!--" not in client.get(path, headers={"accept": "text/html"}).text
