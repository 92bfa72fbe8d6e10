"""Ledgers for a dry run: a copy to do things to, or nothing at all."""

import json
from pathlib import Path

import pytest

from data.errors import LedgerError
from decisions.domain import OrderState
from decisions.ledger import Ledger, store
from decisions.ledger.values import Standing
from pipelines import check, ledgers
from pipelines.cli import main
from pipelines.settings import LedgerSettings, Settings
from tests.decisions.ledgers import NOW, answer, automatic, by_hand, change, dump
from tests.postgres import Postgres


def settings_of(home: Path, url: str) -> Settings:
    """Settings of that home with that ledger."""
    return Settings(home=home).model_copy(update={"ledger": LedgerSettings(url=url)})


def test_a_scratch_ledger_leaves_the_real_one_alone(tmp_path: Path, ledger_url: str) -> None:
    """What is done to the scratch ledger reaches the copy only, which holds all that the real one does."""
    settings = settings_of(tmp_path, ledger_url)
    with Ledger(ledger_url) as ledger:
        ledger.record(automatic(), NOW)
        with ledgers.scratch(settings) as copy:
            assert copy.verify() == ledger.verify()
            assert len(copy.lease(NOW, 10, 60)) == 2
        assert {listed.outbox_state for listed in ledger.orders()} == {"pending"}


def test_the_doctor_counts_dead_letters(tmp_path: Path, ledger_url: str) -> None:
    """Orders whose handing over was given up are wrong, with how many there are and what to do."""
    settings = settings_of(tmp_path, ledger_url)
    with Ledger(ledger_url) as ledger:
        ledger.record(automatic(), NOW)
        assert [one for one in check.examine(settings) if one.what == "dead letters"] == []
        for order in ledger.lease(NOW, 10, 60):
            ledger.mark_dead(order.order_id, NOW, "no answer")
    (found,) = [one for one in check.examine(settings) if one.what == "dead letters"]
    assert (found.state, found.says.split(" given up")[0]) == ("wrong", "2 orders were")
    assert "foreshock orders list --delivery dead" in found.says
    assert "foreshock orders retry" in found.says


def test_the_doctor_counts_bad_answers(tmp_path: Path, ledger_url: str) -> None:
    """Orders of which the executor's answer is of no use are wrong, with how many there are and what to do."""
    settings = settings_of(tmp_path, ledger_url)
    with Ledger(ledger_url) as ledger:
        ledger.record(automatic(), NOW)
        for order in ledger.lease(NOW, 10, 60):
            ledger.mark_sent(order.order_id, NOW)
        assert [one for one in check.examine(settings) if one.what == "bad answers"] == []
        ledger.bad_answer(order.order_id, "it tells of a VM elsewhere", NOW)
    (found,) = [one for one in check.examine(settings) if one.what == "bad answers"]
    assert (found.state, found.says.split(" is of no use")[0]) == ("wrong", "what the executor says of 1 order")
    assert "foreshock orders list" in found.says


def test_an_sqlite_ledger_is_known_by_any_driver(tmp_path: Path) -> None:
    """However the URL of an SQLite file is written, a scratch ledger is a copy of that file."""
    settings = settings_of(tmp_path, f"sqlite+pysqlite:///{tmp_path / 'ledger.db'}")
    assert ledgers.sqlite_file(settings) == tmp_path / "ledger.db"


@pytest.mark.slow
@pytest.mark.postgresql
def test_looking_makes_no_ledger(tmp_path: Path, postgres: Postgres) -> None:
    """On a server where there is none yet, a copy is empty, and the database stays so."""
    url = postgres.empty()
    for look in (ledgers.copied, ledgers.scratch):
        with look(settings_of(tmp_path, url)) as ledger:
            assert ledger.cycles() == []
    assert not store.is_there(url)


@pytest.mark.slow
@pytest.mark.postgresql
def test_an_older_ledger_on_a_server_is_not_changed_by_looking(tmp_path: Path, ledger_on_postgres: str) -> None:
    """Whoever only looks is told that the next cycle brings it up to date."""
    change(ledger_on_postgres, "update alembic_version set version_num = '0001'")
    with pytest.raises(LedgerError, match="run one cycle"), ledgers.copied(settings_of(tmp_path, ledger_on_postgres)):
        pass


def taken_over(file: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    """What the command that takes a file over says, and its exit code."""
    monkeypatch.setenv("FORESHOCK_HOME", str(file.parent))
    monkeypatch.setenv("FORESHOCK__LEDGER__URL", url)
    code = main(["ledger", "import", str(file), "--json"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def lived_in(tmp_path: Path) -> Path:
    """An SQLite ledger with orders on their way, a decision, a kill switch and an episode that ended."""
    file = tmp_path / "ledger.db"
    with Ledger(f"sqlite:///{file}") as ledger:
        order_id = ledger.record(automatic(), NOW).orders[0]
        ledger.record(by_hand(), NOW)
        ledger.stop("ana", "storm", NOW)
        ledger.start("ana", NOW)
        ledger.apply(answer(order_id, OrderState.COMPLETED))
        ledger.close_episode("h001", NOW, "drive replaced")
    return file


@pytest.mark.slow
@pytest.mark.postgresql
def test_a_ledger_moves_to_a_server_with_all_that_it_holds(
    lived_in: Path, ledger_on_postgres: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row and the history arrive; the file is as it was; the ledger goes on in its new place."""
    before, bytes_before = dump(f"sqlite:///{lived_in}"), lived_in.read_bytes()
    code, said = taken_over(lived_in, ledger_on_postgres, monkeypatch, capsys)
    assert (code, said["verified"]) == (0, True)
    assert dump(ledger_on_postgres) == before
    assert lived_in.read_bytes() == bytes_before
    with Ledger(ledger_on_postgres) as ledger:
        ledger.stop("ana", "again", NOW)
        ledger.veto(ledger.proposals(NOW, standing=Standing.WAITING)[0].proposal.proposal_id, "ben", "no", NOW)
        assert ledger.verify().ok
    assert taken_over(lived_in, ledger_on_postgres, monkeypatch, capsys)[0] == 3, "a second time is refused"


@pytest.mark.slow
@pytest.mark.postgresql
def test_a_ledger_whose_history_does_not_hold_stays_where_it_is(
    lived_in: Path, ledger_on_postgres: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was tampered with is not carried on; the new database stays empty."""
    change(f"sqlite:///{lived_in}", "update proposal set body = replace(body, 'h001', 'h009')")
    code, said = taken_over(lived_in, ledger_on_postgres, monkeypatch, capsys)
    assert (code, "history does not hold" in said["error"]) == (1, True)
    with Ledger(ledger_on_postgres) as ledger:
        assert ledger.cycles() == []


def test_a_ledger_is_not_taken_over_into_itself(
    lived_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A settings file that still names the old place is found out before anything is touched."""
    assert taken_over(lived_in, f"sqlite:///{lived_in}", monkeypatch, capsys)[0] == 2


@pytest.mark.slow
@pytest.mark.postgresql
def test_the_doctor_shows_where_the_ledger_is_and_no_password(
    tmp_path: Path, ledger_on_postgres: str, postgres: Postgres
) -> None:
    """There, not there yet, out of reach: each is told with the URL, never with what is secret in it."""
    secret = ledger_on_postgres.replace("://postgres@", "://postgres:hush@")
    away = "postgresql+psycopg://me:hush@127.0.0.1:1/x?password=hush"
    nothing_yet = postgres.empty().replace("://postgres@", "://postgres:hush@")
    for url, state in ((secret, "ok"), (nothing_yet, "missing"), (away, "wrong")):
        (found,) = check._ledger(settings_of(tmp_path, url))
        assert (found.state, "hush" in found.says) == (state, False)
        assert "postgres:***@" in found.says or state == "wrong"
    assert not store.is_there(nothing_yet)
