"""What only a ledger on PostgreSQL can meet: many programs at once, servers that go away, settings of others."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from data.errors import LedgerError
from decisions.domain import Answer, OrderState
from decisions.ledger import Ledger, store
from decisions.opt_outs import opt_out
from tests.daemons import until
from tests.decisions.ledgers import NOW, automatic, change
from tests.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]
WRITERS, EACH = 8, 15


@pytest.fixture
def url(ledger_on_postgres: str) -> str:
    """The URL of an empty ledger."""
    return ledger_on_postgres


def keep_out(ledger: Ledger, name: str) -> None:
    """Something small to write."""
    ledger.opt_out(opt_out("host", name, (), by="ann", reason="demo", at=NOW, days=7, longest_days=90))


def halted(ledger: Ledger, meanwhile: Callable[[], None]) -> None:
    """A transaction that goes on after something else has happened."""
    with store.writing(ledger._engine) as con:
        con.execute(text("insert into opt_out (opt_out_id, body) values ('x', '{}')"))
        meanwhile()
        con.execute(text("select 1"))


@pytest.mark.parametrize("level", ["read committed", "serializable"])
def test_many_writers_at_once_make_one_unbroken_chain(url: str, level: str) -> None:
    """Eight programs write at the same time, whatever isolation the server gives by itself: no record is lost."""
    change(url, f"alter database {make_url(url).database} set default_transaction_isolation = '{level}'")

    def write(writer: int) -> None:
        with Ledger(url) as ledger:
            for turn in range(EACH):
                keep_out(ledger, f"h{writer}-{turn}")
                ledger.record(replace(automatic(), policy_version=f"{writer}-{turn}", proposals=()), NOW)

    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(write, range(WRITERS)))
    with Ledger(url) as ledger:
        checked = ledger.verify()
    assert (checked.ok, checked.records) == (True, 2 * WRITERS * EACH)


def test_programs_that_start_at_once_make_one_ledger(postgres: Postgres) -> None:
    """Four open an empty database at the same moment; the migrations run once."""
    url = postgres.empty()
    with ThreadPoolExecutor(4) as programs:
        for ledger in programs.map(Ledger, [url] * 4):
            assert ledger.verify().ok
            ledger.close()


def test_a_database_that_cannot_keep_every_text_is_refused(postgres: Postgres) -> None:
    """A database of another encoding than UTF-8 gets no ledger, and the error says how to make one that does."""
    url = postgres.empty("encoding 'LATIN1' locale 'C'")
    with pytest.raises(LedgerError, match=r"LATIN1.*create database"):
        Ledger(url)


def test_a_server_that_was_away_is_used_again(url: str, postgres: Postgres) -> None:
    """While it is down every call says so; once it is back, the same program goes on where it was."""
    with Ledger(url) as ledger:
        keep_out(ledger, "h1")
        postgres.stop()
        try:
            with pytest.raises(LedgerError, match=r"cannot be used.*Repeat once it can"):
                keep_out(ledger, "h2")
            with pytest.raises(LedgerError, match="cannot be used"):
                ledger.stopped()
            with pytest.raises(LedgerError, match=r"cannot be opened.*Check the URL"):
                Ledger(url)
        finally:
            postgres.start()
        keep_out(ledger, "h2")
        assert len(ledger.opt_outs()) == 2


def test_a_session_that_dies_in_the_middle_leaves_nothing(url: str, postgres: Postgres) -> None:
    """Thrown out by the server between two statements: all of the transaction is undone, and writing goes on."""
    with Ledger(url) as ledger:
        with pytest.raises(LedgerError, match="cannot be used"):
            halted(ledger, lambda: thrown_out(postgres, url))
        assert ledger.opt_outs() == []
        keep_out(ledger, "h1")


def test_a_writer_that_is_kept_waiting_for_too_long_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another holds the ledger: the error says that it is busy, and to try again."""
    with Ledger(url) as one, Ledger(url) as other, store.writing(one._engine):
        monkeypatch.setattr(store, "_WRITES", store._WRITES.replace("30000", "200"))
        with pytest.raises(LedgerError, match="ledger is busy"):
            keep_out(other, "h1")


def test_a_writer_that_falls_silent_does_not_keep_the_others_out(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is halted in the middle of a transaction is thrown out by the server, and loses all of it."""
    with Ledger(url) as other:
        silence = "session_timeout = 30000"
        assert silence in store._WRITES
        monkeypatch.setattr(store, "_WRITES", store._WRITES.replace(silence, "session_timeout = 300"))
        with Ledger(url) as ledger, pytest.raises(LedgerError, match="idle-in-transaction"):
            halted(ledger, lambda: keep_out(other, "h1"))
        assert [each.opt_out.name for each in other.opt_outs()] == ["h1"]


def test_a_text_that_postgresql_cannot_keep_stops_nothing(url: str) -> None:
    """An executor's answer with a NUL in it is taken; the character is replaced, and the history holds."""
    with Ledger(url) as ledger:
        order_id = ledger.record(automatic(), NOW).orders[0]
        assert ledger.apply(Answer(order_id, OrderState.FAILED, NOW, "out of\x00 memory"))
        assert ledger.order(order_id).reason == "out of\ufffd memory"
        ledger.stop("ana", "a\x00b", NOW)
        assert ledger.verify().ok


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:hush@127.0.0.1:1/x",
        "postgresql+psycopg://me:hu/sh@127.0.0.1:1/x",
        "postgresql+psycopg://me:tohu@hush@127.0.0.1:1/x",
        "postgresql+psycopg://me:hush@127.0.0.1:port/x",
        "postgresql+psycopg://me@/x?host=127.0.0.1&port=1&password=hush",
        "postgresql+nodriver://me:hush@127.0.0.1/x",
    ],
)
def test_a_password_is_in_no_error(url: str) -> None:
    """However badly the URL is written, whoever reads the error does not learn the password."""
    with pytest.raises(LedgerError) as error:
        Ledger(url)
    assert "hush" not in str(error.value)


# Turns of dispatchers


def test_one_dispatcher_at_a_time_has_the_turn(url: str) -> None:
    """The second waits until the first has ended."""
    order: list[str] = []

    def second() -> None:
        with Ledger(url) as ledger, ledger.turn():
            order.append("second")

    with Ledger(url) as ledger:
        with ledger.turn() as still:
            waiting = threading.Thread(target=second)
            waiting.start()
            waiting.join(0.5)
            still()
            order.append("first")
        waiting.join(30)
    assert order == ["first", "second"]


def test_a_dispatcher_that_is_killed_frees_its_turn(url: str) -> None:
    """SIGKILL in the middle of a turn: the next one has it at once."""
    hold = f"with Ledger({url!r}) as one, one.turn(): print(1, flush=True), input()"
    program = f"from decisions.ledger import Ledger\n{hold}"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        os.kill(holder.pid, signal.SIGKILL)
    with Ledger(url) as ledger, ledger.turn() as still:
        still()


def test_a_dispatcher_whose_turn_the_server_has_ended_stops(url: str, postgres: Postgres) -> None:
    """When its session is gone, another may be at work: the check before each hand-over says so."""
    with Ledger(url) as ledger, ledger.turn() as still:
        thrown_out(postgres, url)
        with pytest.raises(LedgerError, match="turn to hand orders over is lost"):
            still()


def thrown_out(postgres: Postgres, url: str) -> None:
    """Have the server end every session of the database."""
    name = make_url(url).database
    postgres.administer(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")
    until(lambda: not postgres.ask(f"select 1 from pg_stat_activity where datname = '{name}'"), "sessions are gone")
