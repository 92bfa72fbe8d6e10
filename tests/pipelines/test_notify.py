"""Who is told what, by a real receiver on loopback: once, by severity, and never silently not."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, update

from data.errors import ForeshockError, LedgerError, SettingsError, WarehouseError
from decisions.domain import Action, Answer, Autonomy, Proposal, Verdict
from decisions.ledger.moving import take_over
from decisions.ledger.schema import notification_channel
from pipelines import check, cycle
from pipelines.cli import main
from pipelines.notifications import words
from pipelines.notifications.settings import NotifySettings
from pipelines.settings import Settings, load
from pipelines.steps.notify import and_tell, notify
from tests.dashboards.conftest import ASOF, Night, copied, make_night, proposal
from tests.decisions.ledgers import dump
from tests.pipelines import nights
from tests.pipelines.nights import command

NOW = ASOF + timedelta(hours=1)
TOKEN = "a-very-secret-token-0123456789"


@dataclass
class Receiver:
    """What came in, and what is answered."""

    port: int = 0
    status: int = 200
    heard: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last(self) -> str:
        """The last message, title and text."""
        return f"{self.heard[-1]['title']}\n{self.heard[-1]['message']}"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver of apprise's JSON on loopback, whose URL is in the environment."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if made.status == 200:
                made.heard.append(json.loads(body))
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parent's name for it
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("PAGER", f"json://user:{TOKEN}@127.0.0.1:{made.port}/{TOKEN}")
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night with a breaker open, an incident, an order that failed, and hosts that start, wait and are shown."""
    return make_night(tmp_path_factory.mktemp("night"))


@pytest.fixture
def night(base: Night, home: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A copy of it, to write in, with its ledger on each database."""
    night = copied(base, home)
    if ledger_url.startswith("sqlite"):
        return night
    take_over(night.url, ledger_url)
    monkeypatch.setenv("FORESHOCK__LEDGER__URL", ledger_url)
    return replace(night, elsewhere=ledger_url)


def settings(home: Path, *severities: str, **changes: object) -> Settings:
    """One channel, for these severities or all, whose links go to a page elsewhere."""
    told = {"severities": severities} if severities else {"severities": ("page", "warn", "info")}
    pager = NotifySettings.model_validate(
        {"name": "pager", "url_from": "PAGER", "base_url": "https://review.example/", **told}
    )
    return Settings(home=home, notify=(pager,), **changes)


def later(night: Night, hours: float, *proposals: Proposal) -> datetime:
    """The moment at which a newer cycle with these proposals was decided; no breaker and no incident is left."""
    at = ASOF + timedelta(hours=hours)
    moved = [
        replace(p, proposal_id=f"{p.proposal_id}-{hours:g}", asof_at=at, expires_at=at + timedelta(hours=30))
        for p in proposals
    ]
    with night.ledger() as ledger:
        ledger.record(Verdict(at, "policy-7", "disk-4", tuple(moved), {}, ()), at)
    return at


def wait_out(night: Night) -> None:
    """Let the time pass until which no channel is tried again."""
    engine = create_engine(night.url)
    with engine.begin() as con:
        con.execute(update(notification_channel).values(next_attempt_at=datetime(2026, 1, 1, tzinfo=UTC)))
    engine.dispose()


def ask(host: str, **changes: object) -> Proposal:
    """An evacuation that a person must approve."""
    return proposal(host, Action.EVACUATE, Autonomy.APPROVE, **changes)


def test_a_night_is_one_message(night: Night, receiver: Receiver) -> None:
    """All that is new comes at once, the most severe first, the hosts of an incident as one; each part has its link."""
    report = notify(settings(night.home), NOW)
    assert report.told == {"pager": 6}
    assert len(receiver.heard) == 1
    said = receiver.last
    assert said.startswith("Foreshock page: Breaker open: rack r12 (and 5 more)")
    assert receiver.heard[0]["type"] == "failure"
    assert said.count("r12-08") == 0, "the host of the incident is told with its incident"
    (link,) = [line for line in said.splitlines() if "/incidents/" in line]
    assert link.startswith("https://review.example/incidents/")
    assert "https://review.example/proposals/id-r12-07" in said
    assert said.index("[page]") < said.index("[warn]") < said.index("[info]")


def test_it_is_quiet_when_nothing_changed(night: Night, receiver: Receiver) -> None:
    """The same state again is no news, an hour later neither."""
    notify(settings(night.home), NOW)
    again = notify(settings(night.home), NOW + timedelta(hours=1))
    assert (again.told, len(receiver.heard)) == ({}, 1)


def test_only_what_changed_is_told_again(night: Night, receiver: Receiver) -> None:
    """A host that joins makes its topic news, and no other; one that drops out makes none."""
    notify(settings(night.home), NOW)
    at = later(night, 2, ask("r07-09"))
    assert notify(settings(night.home), at).told == {"pager": 1}
    assert "3 hosts need approval" in receiver.last
    assert "Breaker" not in receiver.last
    with night.ledger() as ledger:
        ledger.veto("id-r12-07", "ana", "not now", at)
    assert notify(settings(night.home), at).told == {}


def test_what_comes_back_is_news(night: Night, receiver: Receiver) -> None:
    """A breaker that was closed for a night and opens again is told again."""
    notify(settings(night.home), NOW)
    notify(settings(night.home), later(night, 24))
    assert "Breaker" not in receiver.last
    with night.ledger() as ledger:
        assert "breaker" not in {each.notice.topic for each in ledger.notices.listed()}
    with night.ledger() as ledger:
        (old,) = [c for c in ledger.cycles() if c.breakers]
        at = ASOF + timedelta(hours=48)
        ledger.record(Verdict(at, "policy-7", "disk-4", (), {}, old.breakers), at)
    assert notify(settings(night.home), at).told == {"pager": 1}
    assert "Breaker open: rack r12" in receiver.last


def test_an_acknowledged_topic_is_quiet_until_it_changes(night: Night, receiver: Receiver) -> None:
    """The same host and action of the next night stay quiet, another host does not; the history says who and why."""
    notify(settings(night.home), NOW)
    with night.ledger() as ledger:
        ledger.veto("id-r12-08", "ana", "enough", NOW)
        notify(settings(night.home), NOW)
        ledger.notices.acknowledge("approval", "ana", "the drive is on its way", NOW)
        heard = len(receiver.heard)
        at = later(night, 31, ask("r12-07"))
        notify(settings(night.home), at)
        assert len(receiver.heard) == heard
        (listed,) = [n for n in ledger.notices.listed() if n.notice.topic == "approval"]
        assert listed.acknowledged is not None
        assert (listed.acknowledged.by, listed.acknowledged.holds) == ("ana", True)
        at = later(night, 32, ask("r01-01"))
        assert notify(settings(night.home), at).told == {"pager": 1}
        assert ledger.verify().ok
    acknowledged = [row for row in dump(night.url)["history"] if "acknowledged" in row]
    assert "the drive is on its way" in str(acknowledged)


def test_an_unanswered_question_of_another_night_is_news(night: Night, receiver: Receiver) -> None:
    """Not acknowledged, a proposal that expired and is made anew is asked again."""
    notify(settings(night.home), NOW)
    assert notify(settings(night.home), later(night, 31, ask("r12-07"))).told == {"pager": 1}
    assert "/proposals/id-r12-07-31" in receiver.last


def test_what_becomes_urgent_is_told_again(night: Night, receiver: Receiver) -> None:
    """Who is paged hears of an approval only when it is about to expire."""
    notify(settings(night.home, "page"), NOW)
    assert "approval" not in receiver.last
    assert notify(settings(night.home, "page"), ASOF + timedelta(hours=25)).told == {"pager": 2}
    assert "1 host needs approval, the first until Wed 4 Mar 06:00 UTC" in receiver.last


def test_an_order_of_which_nothing_is_known_pages_until_it_is_heard_of(night: Night, receiver: Receiver) -> None:
    """An answer that is of no use is told once, with why, and is news again when it comes back."""
    plain = settings(night.home, "page")
    notify(plain, NOW)
    with night.ledger() as ledger:
        (listed,) = [each for each in ledger.orders() if each.order.host_id == "r05-02"]
        for why in ("it tells of a VM elsewhere", "it is in no language"):
            ledger.bad_answer(listed.order.order_id, why, NOW)
            notify(plain, NOW)
        assert len(receiver.heard) == 2
        assert "What became of 1 order is not known" in receiver.last
        assert "r05-02, live migrate: it tells of a VM elsewhere" in receiver.last
        ledger.apply(Answer(listed.order.order_id, listed.state, NOW))
        notify(plain, NOW)
        ledger.bad_answer(listed.order.order_id, "it is in no language", NOW)
        notify(plain, NOW)
        assert len(receiver.heard) == 3


def test_an_empty_host_pages_nobody(night: Night, receiver: Receiver) -> None:
    """A repair that waits for an answer is a warning until it expires: no VM is at stake."""
    at = later(night, 40, proposal("r01-01", Action.DECOMMISSION, Autonomy.APPROVE))
    assert notify(settings(night.home, "page"), at + timedelta(hours=29)).told == {}
    assert notify(settings(night.home, "warn"), at + timedelta(hours=29)).told == {"pager": 1}


def test_severities_are_routed(night: Night, receiver: Receiver) -> None:
    """A channel for infos hears of hosts worth a look, and of nothing else."""
    assert notify(settings(night.home, "info"), NOW).told == {"pager": 1}
    assert "worth a look" in receiver.last
    assert receiver.heard[0]["type"] == "info"


def test_a_dry_run_sends_and_writes_nothing(night: Night, receiver: Receiver) -> None:
    """It says what would be sent; receiver and ledger are as they were."""
    before = (dump(night.url), (night.home / "ledger.db").read_bytes())
    report = notify(settings(night.home), NOW, dry_run=True)
    assert "Breaker open" in report.messages["pager"]
    assert receiver.heard == []
    assert (dump(night.url), (night.home / "ledger.db").read_bytes()) == before


def test_a_failing_channel_is_tried_again_and_shown(night: Night, receiver: Receiver) -> None:
    """Why it failed is reported; the page, the doctor and the list say so; the next try waits, then all is told."""
    receiver.status = 503
    report = notify(settings(night.home), NOW)
    assert "503" in report.failed["pager"]
    assert "pager has failed 1 time in a row" in night.client(NOW).get("/").text
    (found,) = [one for one in check.examine(settings(night.home)) if one.what == "notifications"]
    assert (found.state, "failed 1 times in a row" in found.says) == ("wrong", True)
    receiver.status = 200
    assert notify(settings(night.home), NOW) == replace(report, failed={}), "it is not time yet"
    wait_out(night)
    assert notify(settings(night.home), NOW).told == {"pager": 6}
    assert "pager has failed" not in night.client(NOW).get("/").text


def test_tries_grow_rarer(night: Night, receiver: Receiver) -> None:
    """Twice as late after each failure, an hour at most."""
    receiver.status = 500
    waits = []
    for _ in range(6):
        asked_at = datetime.now(UTC)
        notify(settings(night.home), NOW)
        with night.ledger() as ledger:
            (channel,) = ledger.notices.channels()
        waits.append(round((channel.next_attempt_at - asked_at).total_seconds() / 60))
        wait_out(night)
    assert waits == [5, 10, 20, 40, 60, 60]
    assert channel.failures == 6


def test_one_channel_does_not_wait_for_another(night: Night, receiver: Receiver) -> None:
    """A channel whose URL is missing is reported, and the other one hears all."""
    plain = settings(night.home)
    lost = NotifySettings(name="lost", url_from="NO_SUCH_VARIABLE")
    report = notify(plain.model_copy(update={"notify": (lost, *plain.notify)}), NOW)
    assert "NO_SUCH_VARIABLE is not set" in report.failed["lost"]
    assert report.told == {"pager": 6}


def test_the_url_stays_secret(night: Night, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """No report, ledger, log or page holds any of the URL's secrets, also when the channel fails."""
    receiver.status = 500
    report = notify(settings(night.home), NOW)
    findings = check.examine(settings(night.home))
    said = [report, findings, caplog.text, dump(night.url), night.client(NOW).get("/").text]
    assert TOKEN not in repr(said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "heard"),
    [
        ("pipelines.notifications.channels:send:before:1", 1),
        ("pipelines.notifications.channels:send:after:1", 2),
        ("decisions.ledger.notices:Notices.told:after:1", 1),
    ],
    ids=["before sending", "sent and not written down", "written down"],
)
def test_killed_with_sigkill_there_is_at_most_one_repeat(
    night: Night, receiver: Receiver, point: str, heard: int
) -> None:
    """Nothing is lost; what was sent and not written down is sent once more when its claim has run out, then quiet."""
    text = f'home = "."\n[ledger]\nurl = "{night.elsewhere}"\n[[notify]]\nname = "pager"\nurl_from = "PAGER"\n'
    (night.home / "foreshock.toml").write_text(text, encoding="utf-8")
    send = [["notifications", "send"]]
    assert command(night.home, send, kill=point) == -9
    before = len(receiver.heard)
    command(night.home, send)
    assert len(receiver.heard) == before, "the claim keeps others from sending too"
    for _ in range(2):
        wait_out(night)
        command(night.home, send)
    assert len(receiver.heard) == heard


@pytest.mark.slow
def test_two_runs_at_once_tell_once(night: Night, receiver: Receiver) -> None:
    """A cycle and a dispatch that end together share what there is to tell."""
    threads = [threading.Thread(target=notify, args=(settings(night.home), NOW)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.heard) == 1


def test_a_failing_step_is_told_until_it_has_run(night: Night, receiver: Receiver) -> None:
    """The error goes on to whoever ran the step; people hear of it once, and anew after it has succeeded meanwhile."""

    def settle(asked: Settings, now: datetime) -> str:
        if broken:
            msg = "the executor answers badly"
            raise LedgerError(msg)
        return "done"

    broken, plain = True, settings(night.home, "page")
    for _ in range(2):
        with pytest.raises(LedgerError):
            and_tell(settle, plain, NOW)
    assert len(receiver.heard) == 1
    assert "The step settle failed\nthe executor answers badly" in receiver.last
    broken = False
    assert and_tell(settle, plain, NOW) == "done"
    broken = True
    with pytest.raises(LedgerError):
        and_tell(settle, plain, NOW)
    assert len(receiver.heard) == 2


def test_a_cycle_that_fails_pages(home: Path, receiver: Receiver) -> None:
    """A whole cycle on a home without readings fails in its first step that needs some, and says which."""
    with pytest.raises(WarehouseError, match="FORESHOCK_HOME"):
        cycle.run(settings(home), ASOF.date())
    assert receiver.heard[0]["title"].startswith("Foreshock page: The step ")


def test_an_executor_that_does_not_answer_pages_until_it_does(night: Night, receiver: Receiver) -> None:
    """A cycle that had to do without answers says so once, and a settling that got them ends it."""
    plain = settings(night.home, "page")
    notify(plain, NOW)
    failing = words.unanswered("nobody is up")
    for _ in range(2):
        notify(plain, NOW, ran=["settle"], failing=failing)
    assert len(receiver.heard) == 2
    assert "The executor does not answer\nnobody is up" in receiver.last
    notify(plain, NOW, ran=["settle"])
    notify(plain, NOW, ran=["settle"], failing=failing)
    assert len(receiver.heard) == 3


@pytest.mark.slow
def test_a_cycle_without_a_model_pages_for_the_score(untrained: Path, home: Path, receiver: Receiver) -> None:
    """Readings are there and no champion is: the step that looks for one is named, not the one before it."""
    nights.copied(untrained, home)
    with pytest.raises(ForeshockError, match="model"):
        cycle.run(settings(home), nights.UNTIL)
    assert receiver.heard[0]["title"] == "Foreshock page: The step score failed"


def test_without_a_ledger_a_failing_step_is_told_all_the_same(
    night: Night, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that nobody can open is itself told of, by every run."""
    (night.home / "ledger.db").write_bytes(b"no database" * 1000)
    if night.elsewhere:
        gone = f"{night.elsewhere}/nowhere"
        monkeypatch.setenv("FORESHOCK__LEDGER__URL", gone)
        night = replace(night, elsewhere=gone)

    def dispatch(asked: Settings, now: datetime) -> None:
        with night.ledger():
            pass

    for _ in range(2):
        with pytest.raises(LedgerError):
            and_tell(dispatch, settings(night.home), NOW)
    assert [each["title"] for each in receiver.heard] == ["Foreshock page: The step dispatch failed"] * 2


def test_without_channels_nothing_is_remembered(night: Night) -> None:
    """Nobody to tell: the ledger is not even opened to write."""
    before = dump(night.url)
    assert notify(Settings(home=night.home), NOW).notices == 0
    assert dump(night.url) == before


def test_a_topic_that_is_not_told_cannot_be_acknowledged(night: Night) -> None:
    """The refusal says where the topics are."""
    with night.ledger() as ledger, pytest.raises(LedgerError, match="notifications list"):
        ledger.notices.acknowledge("nothing", "ana", "x", NOW)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[notify]]\nname = "a"\nurl_from = "slack://token"\n', "notify.0.url_from"),
        ('[[notify]]\nname = "a"\nurl_from = "A"\nseverities = ["loud"]\n', "'page', 'warn' or 'info'"),
        ('[[notify]]\nname = "a"\nurl_from = "A"\n[[notify]]\nname = "a"\nurl_from = "B"\n', "the same name"),
    ],
)
def test_senseless_channels_are_refused(tmp_path: Path, text: str, words: str) -> None:
    """A URL in the file, a severity that is none, a name given twice."""
    file = tmp_path / "foreshock.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=words):
        load(file)


@pytest.fixture
def run(night: Night, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command on the night's home, as a person types it, and gives back what it says as JSON."""
    text = 'home = "."\n[[notify]]\nname = "pager"\nurl_from = "PAGER"\nseverities = ["page", "warn", "info"]\n'
    (night.home / "foreshock.toml").write_text(text, encoding="utf-8")

    def run(*words: str) -> Any:
        assert main([*words, "--config", str(night.home / "foreshock.toml"), "--json"]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return run


def test_the_commands(run: Callable[..., Any], receiver: Receiver) -> None:
    """What would be sent, what is told, and taking note of it."""
    assert "Breaker open" in run("notifications", "send", "--dry-run")["messages"]["pager"]
    assert run("notifications", "list")["notifications"] == []
    assert run("notifications", "send")["told"] == {"pager": 6}
    run("notifications", "ack", "breaker", "--reason", "power is looked at", "--by", "ana")
    told = {row["topic"]: row for row in run("notifications", "list")["notifications"]}
    assert told["breaker"]["acknowledged_because"] == "power is looked at"
    assert told["breaker"]["told"][0].startswith("pager ")
    assert told["approval"]["acknowledged_by"] is None


def test_dispatch_tells_what_it_did(run: Callable[..., Any], receiver: Receiver) -> None:
    """The command that drains the outbox tells people at its end; its dry run does not."""
    run("dispatch", "--dry-run")
    assert receiver.heard == []
    run("dispatch")
    assert len(receiver.heard) == 1
