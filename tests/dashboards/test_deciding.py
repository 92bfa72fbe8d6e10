"""Deciding by page, by API and by command: the same decision, once, on what was seen, under the right name."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy.engine import make_url

from decisions.domain import Action, Autonomy
from decisions.ledger.values import Standing
from pipelines import remote
from pipelines.cli import main
from tests.dashboards.conftest import ASOF, SCRIPT, Night, proposal, verdict
from tests.dashboards.people import Browser, bearer, token

PROPOSAL = "id-r12-08"
DECISIONS = f"/v1/proposals/{PROPOSAL}/decisions"
WORDS = {"verdict": "approve", "reason": "seen it before"}
TURNS = {"sqlite": 200, "postgresql": 25}


@pytest.fixture
def night(night_on_each: Night) -> Night:
    """The night with its ledger on each database."""
    return night_on_each


@pytest.fixture
def client(night: Night) -> Iterator[TestClient]:
    """A browser without a screen, at the moment of the night."""
    with night.client(ASOF) as client:
        yield client


@pytest.fixture
def headers(night: Night) -> dict[str, str]:
    """Headers of an operator called maria."""
    return bearer(token(night))


def etag(client: TestClient) -> str:
    """The proposal's ETag as it stands."""
    return client.get(f"/v1/proposals/{PROPOSAL}").headers["etag"]


def automatic(night: Night) -> None:
    """A proposal that policy lets happen by itself, which waits in the outbox."""
    fresh = proposal("r09-01", Action.LIVE_MIGRATE, Autonomy.AUTO, proposal_id="id-auto")
    at = ASOF + timedelta(minutes=1)
    with night.ledger() as ledger:
        ledger.record(replace(verdict(), asof_at=at, proposals=(fresh,), incidents=()), ASOF)


def test_an_approval_makes_the_order_under_the_tokens_name(
    night: Night, client: TestClient, headers: dict[str, str]
) -> None:
    """The answer names who, what, why and when, the order and its start; the ledger and its history hold the same."""
    answer = client.post(DECISIONS, json=WORDS, headers={**headers, "if-match": etag(client)})
    assert answer.status_code == 201
    told = answer.json()
    assert (told["verdict"], told["by"], told["reason"]) == ("approved", "maria", "seen it before")
    assert answer.headers["etag"] == etag(client)
    with night.ledger() as ledger:
        assert ledger.order(told["order_id"]).order.host_id == "r12-08"
        assert ledger.verify().ok


def test_deciding_says_what_was_seen(client: TestClient, headers: dict[str, str]) -> None:
    """Without If-Match it is 428, and nothing happens."""
    assert client.post(DECISIONS, json=WORDS, headers=headers).status_code == 428


def test_the_second_is_told_who_was_first_and_why(client: TestClient, night: Night, headers: dict[str, str]) -> None:
    """412 names the decision that stands, for people and for programs."""
    seen = etag(client)
    with night.ledger() as ledger:
        ledger.veto(PROPOSAL, "jo", "disk was swapped", ASOF)
    answer = client.post(DECISIONS, json=WORDS, headers={**headers, "if-match": seen})
    problem = answer.json()
    assert answer.status_code == 412
    assert "jo was first" in problem["detail"]
    assert "disk was swapped" in problem["detail"]
    assert (problem["decision"]["by"], problem["decision"]["verdict"]) == ("jo", "vetoed")
    assert f'"{problem["etag"]}"' == etag(client)


def test_a_request_that_is_sent_twice_happens_once(night: Night, client: TestClient, headers: dict[str, str]) -> None:
    """The same key and body get the same answer; another body under the key is 422."""
    sent = {**headers, "if-match": etag(client), "idempotency-key": "k1"}
    first = client.post(DECISIONS, json=WORDS, headers=sent)
    again = client.post(DECISIONS, json=WORDS, headers=sent)
    other = client.post(DECISIONS, json={**WORDS, "reason": "another"}, headers=sent)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert other.status_code == 422
    with night.ledger() as ledger:
        assert sum(each.order.host_id == "r12-08" for each in ledger.orders()) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"verdict": "approve"},
        {"verdict": "approve", "reason": "  "},
        {"verdict": "approve", "reason": "a\x00b"},
        {"verdict": "perhaps", "reason": "x"},
        {"verdict": "approve", "reason": "x", "hours": 2},
        {"verdict": "veto", "reason": "x", "hours": -1},
        {"verdict": "veto", "reason": "x", "hours": 24 * 365},
        {"verdict": "veto", "reason": "x", "expires_at": "2020-01-01T00:00:00Z"},
        {"verdict": "veto", "reason": "x", "expires_at": "2026-03-04T00:00:00"},
        {"verdict": "hand_over", "reason": "x"},
        {"verdict": "approve", "reason": "x", "by": "somebody else"},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_nonsense_is_refused(client: TestClient, headers: dict[str, str], body: dict[str, object]) -> None:
    """No reason, no such verdict, ends that make no sense, nobody to hand to, another's name: 422, with a sentence."""
    answer = client.post(DECISIONS, json=body, headers={**headers, "if-match": "*"})
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_what_cannot_be_done_now_is_said(night: Night, headers: dict[str, str]) -> None:
    """An expired proposal, and one that policy only shows, are 409."""
    for path, at in ((PROPOSAL, ASOF + timedelta(days=2)), ("id-r09-01", ASOF)):
        with night.client(at) as client:
            sent = {**headers, "if-match": "*"}
            assert client.post(f"/v1/proposals/{path}/decisions", json=WORDS, headers=sent).status_code == 409


def test_an_order_is_called_back_by_the_api(night: Night, client: TestClient, headers: dict[str, str]) -> None:
    """What starts by itself is stopped, once."""
    automatic(night)
    order_id = client.get("/v1/proposals/id-auto").json()["order_id"]
    answers = [
        client.post(f"/v1/orders/{order_id}/cancellation", json={"reason": "owner asked"}, headers=headers)
        for _ in range(2)
    ]
    assert [each.status_code for each in answers] == [201, 409]
    assert answers[0].json()["reason"] == "maria: owner asked"
    (asked,) = (each for each in client.get("/v1/audit?person=maria").json()["entries"] if each["subject"] == order_id)
    assert (asked["what"], asked["why"], asked["host_id"]) == ("Called the order back", "owner asked", "r09-01")
    assert client.post("/v1/orders/nope/cancellation", json={"reason": "x"}, headers=headers).status_code == 404


# On the page


def test_two_clicks_and_a_reason(night: Night, client: TestClient) -> None:
    """From the queue to the page, from the page to approved; and the page says what was done."""
    browser = Browser(client)
    browser.log_in(token(night))
    assert f'href="/proposals/{PROPOSAL}"' in client.get("/").text
    sent = browser.decide(PROPOSAL, client.get(f"/proposals/{PROPOSAL}").text, **WORDS)
    assert sent.status_code == 303
    page = client.get(sent.headers["location"]).text
    assert "Approved. It starts at 04:00 UTC (in 4 h)." in page
    with night.ledger() as ledger:
        assert ledger.proposal(PROPOSAL, ASOF).standing is Standing.APPROVED


def test_a_form_that_is_sent_twice_decides_once(night: Night, client: TestClient) -> None:
    """A double click is not a race with oneself."""
    browser = Browser(client)
    browser.log_in(token(night))
    page = client.get(f"/proposals/{PROPOSAL}").text
    assert [browser.decide(PROPOSAL, page, **WORDS).status_code for _ in range(2)] == [303, 303]


def test_the_loser_keeps_what_was_typed(night: Night, client: TestClient) -> None:
    """Who was first and why is on top; the reason is still there, as text."""
    browser = Browser(client)
    browser.log_in(token(night))
    page = client.get(f"/proposals/{PROPOSAL}").text
    with night.ledger() as ledger:
        ledger.snooze(PROPOSAL, "jo", SCRIPT, ASOF)
    answer = browser.decide(PROPOSAL, page, verdict="veto", reason=SCRIPT)
    assert answer.status_code == 412
    assert "jo was first" in answer.text
    assert SCRIPT not in answer.text
    assert answer.text.count("&lt;script&gt;document.title") >= 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"verdict": "veto", "hours": "24"}, "Vetoed. The host is left alone until Wed 4 Mar 00:00 UTC."),
        ({"verdict": "snooze"}, "Put off until it changes, or until Wed 4 Mar 06:00 UTC."),
        ({"verdict": "hand_over", "to": SCRIPT}, "It can still be decided by anybody who may, until it expires."),
    ],
    ids=["veto", "snooze", "hand over"],
)
def test_every_button_says_what_it_did(night: Night, client: TestClient, fields: dict[str, str], said: str) -> None:
    """A veto, a snooze and a hand-over are told back in a sentence, with their end; markup in them is text."""
    browser = Browser(client)
    browser.log_in(token(night))
    sent = browser.decide(PROPOSAL, client.get(f"/proposals/{PROPOSAL}").text, reason=SCRIPT, **fields)
    page = client.get(sent.headers["location"]).text
    assert said in page
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page


def test_a_form_without_a_reason_comes_back(night: Night, client: TestClient) -> None:
    """Blanks are no reason, and an end that is no number is no end: the page says so and nothing is decided."""
    browser = Browser(client)
    browser.log_in(token(night))
    page = client.get(f"/proposals/{PROPOSAL}").text
    assert browser.decide(PROPOSAL, page, verdict="veto", reason=" ").status_code == 422
    assert browser.decide(PROPOSAL, page, verdict="veto", reason="x", hours="soon").status_code == 422
    with night.ledger() as ledger:
        assert ledger.proposal(PROPOSAL, ASOF).decision is None


def test_what_starts_by_itself_is_stopped_on_its_page(night: Night, client: TestClient) -> None:
    """The page of an order under way has one form, which stops it, and then says that it did."""
    automatic(night)
    browser = Browser(client)
    browser.log_in(token(night))
    page = client.get("/proposals/id-auto").text
    assert "/proposals/id-auto/stop" in page
    assert 'value="approve"' not in page
    csrf = {"csrf": page.split('name="csrf" value="')[1].split('"')[0]}
    assert client.post("/proposals/id-auto/stop", data={**csrf, "reason": " "}).status_code == 422
    answer = client.post("/proposals/id-auto/stop", data={**csrf, "reason": "owner asked"})
    assert "The order is stopped" in answer.text
    with night.ledger() as ledger:
        assert ledger.proposal("id-auto", ASOF).order_state == "cancelled"


def test_the_page_answers_in_the_order_in_which_people_ask(client: TestClient) -> None:
    """What and when, why, how good such calls have been, what else, what could go wrong, each VM; then the buttons."""
    page = client.get(f"/proposals/{PROPOSAL}").text
    asked = [
        "Nothing happens until a person approves. Approved now, it starts at 04:00 UTC (in 4 h).",
        "31\N{NO-BREAK SPACE}% within 14 days",
        "28 of 50 came true, 56 % (95 % interval 43 % to 69 %)",
        "What each action is expected to cost",
        "What could go wrong",
        "What becomes of each VM",
        "Log in to decide",
    ]
    places = [page.index(said) for said in asked]
    assert places == sorted(places)


def test_under_the_kill_switch_the_page_says_so(night: Night, client: TestClient, headers: dict[str, str]) -> None:
    """Who stopped the fleet and why is above all else, and an approval is refused with the same."""
    with night.ledger() as ledger:
        ledger.stop("jo", "storm", ASOF)
    page = client.get(f"/proposals/{PROPOSAL}").text
    assert page.index("Kill switch is on.") < page.index("<h1")
    answer = client.post(DECISIONS, json=WORDS, headers={**headers, "if-match": "*"})
    assert answer.status_code == 409
    assert "jo has stopped all action (storm)" in answer.json()["detail"]


def test_what_could_go_wrong_names_capacity_and_racks(night: Night) -> None:
    """Where the targets are known, their room and racks are named."""
    (held,) = (each for each in verdict().proposals if each.host_id == "r12-08")
    plans = tuple(replace(plan, target_host_id="r04-11" if n % 2 else "r12-07") for n, plan in enumerate(held.vms))
    later = ASOF + timedelta(hours=1)
    moved = replace(held, proposal_id="id-later", vms=plans, asof_at=later, expires_at=later + timedelta(hours=30))
    with night.ledger() as ledger:
        ledger.record(replace(verdict(), asof_at=later, proposals=(moved,), incidents=()), later)
    with night.client(later) as client:
        page = client.get("/proposals/id-later").text
    assert "2 targets. The fullest, r04-11, keeps 16 GiB of memory free afterwards (6% of it)." in page
    assert "The targets stand in 2 racks; 1 of them in the rack of the host itself." in page
    assert "No VM that moves belongs to an availability set." in page


@pytest.mark.slow
def test_two_people_at_once_many_times(night: Night) -> None:
    """Two send their forms for the same proposal at the same moment: one wins, the other is told who and why."""
    with night.client(ASOF) as one, night.client(ASOF) as two, ThreadPoolExecutor(2) as people:
        browsers = {"maria": Browser(one), "jo": Browser(two)}
        for name, browser in browsers.items():
            browser.log_in(token(night, name))
        turns = TURNS[make_url(night.url).get_backend_name()]
        for turn in range(turns):
            proposal_id = _another(night, turn)
            answers = _at_once(people, browsers, proposal_id)
            (winner,) = (name for name, answer in answers.items() if answer.status_code == 303)
            (loser,) = set(answers) - {winner}
            assert answers[loser].status_code == 412
            assert f"{winner} was first" in answers[loser].text
            assert f"{winner} says so" in answers[loser].text
    with night.ledger() as ledger:
        assert sum(each.standing is Standing.VETOED for each in ledger.proposals(ASOF)) == turns
        assert ledger.verify().ok


def _at_once(people: ThreadPoolExecutor, browsers: dict[str, Browser], proposal_id: str) -> dict[str, Response]:
    """What each is answered who has looked, and vetoes in the same moment as the other."""
    pages = {name: browser.client.get(f"/proposals/{proposal_id}").text for name, browser in browsers.items()}
    sent = {
        name: people.submit(browser.decide, proposal_id, pages[name], verdict="veto", reason=f"{name} says so")
        for name, browser in browsers.items()
    }
    return {name: answer.result() for name, answer in sent.items()}


def _another(night: Night, turn: int) -> str:
    """A proposal that nobody has seen."""
    (held,) = (each for each in verdict().proposals if each.host_id == "r12-08")
    at = ASOF + timedelta(seconds=turn + 1)
    fresh = replace(held, proposal_id=f"id-{turn}", asof_at=at, incident_id=None, earned=())
    with night.ledger() as ledger:
        ledger.record(replace(verdict(), asof_at=at, proposals=(fresh,), incidents=()), ASOF)
    return fresh.proposal_id


# By the command line


@pytest.fixture
def by_api(night: Night, monkeypatch: pytest.MonkeyPatch) -> Night:
    """The command line, set to go by the API with maria's token."""

    def served(*, headers: dict[str, str], **_: object) -> TestClient:
        client = night.client(ASOF)
        client.headers.update(headers)
        return client

    monkeypatch.setenv("FORESHOCK_HOME", str(night.home))
    monkeypatch.setenv("FORESHOCK__REVIEW__URL", "http://127.0.0.1:8484")
    monkeypatch.setenv(remote.TOKEN, token(night))
    monkeypatch.setattr(httpx, "Client", served)
    return night


def command(capfd: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, object]]:
    """Exit code and answer of a command."""
    code = main(["decisions", *argv, "--json"])
    told: dict[str, object] = json.loads(capfd.readouterr().out)
    return code, told


def test_the_command_line_goes_by_the_api(by_api: Night, capfd: pytest.CaptureFixture[str]) -> None:
    """With an address and a token it lists, shows and decides there, under the token's name."""
    code, told = command(capfd, "list", "--standing", "waiting")
    assert code == 0
    assert [each["host_id"] for each in told["proposals"]] == ["r12-07", "r12-08"]
    assert command(capfd, "show", PROPOSAL)[1]["standing"] == "waiting"
    code, told = command(capfd, "approve", PROPOSAL, "--reason", "seen it before")
    assert (code, told["by"], told["standing"]) == (0, "maria", "approved")
    code, told = command(capfd, "veto", PROPOSAL, "--reason", "no")
    assert code == 3
    assert "was approved by maria" in str(told["error"])


def test_the_command_line_lists_the_same_by_the_api(
    by_api: Night, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """All proposals of all cycles, or those that are wanted, row by row as the ledger here tells them."""
    _another(by_api, 1)
    asked = (["list"], ["list", "--standing", "waiting"], ["list", "--host", "r12-08", "--limit", "1"])
    away = [command(capfd, *words)[1] for words in asked]
    monkeypatch.delenv(remote.TOKEN)
    monkeypatch.setattr("pipelines.cycle.now_of", lambda _: ASOF)
    assert _alike(away) == _alike([command(capfd, *words)[1] for words in asked])
    assert [len(each["proposals"]) for each in away] == [10, 3, 1]


def _alike(told: object) -> str:
    """The same text for the same moments, which JSON writes in either way."""
    return json.dumps(told).replace("+00:00", "Z")


def test_the_command_line_calls_an_order_back_by_the_api(by_api: Night, capfd: pytest.CaptureFixture[str]) -> None:
    """Under the token's name, and what it tells is what it tells without the API."""
    automatic(by_api)
    with by_api.ledger() as ledger:
        order_id = next(each.order.order_id for each in ledger.orders() if each.outbox_state == "pending")
    assert main(["orders", "cancel", order_id, "--reason", "owner asked", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert main(["orders", "list", "--state", "cancelled", "--json"]) == 0
    assert _alike(json.loads(capfd.readouterr().out)["orders"]) == _alike([told])
    assert told["reason"] == "maria: owner asked"
    assert main(["orders", "cancel", order_id, "--reason", "again", "--json"]) == 3


def test_by_the_api_the_name_is_the_tokens(by_api: Night, capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody decides under another's name."""
    code, told = command(capfd, "approve", PROPOSAL, "--reason", "x", "--by", "jo")
    assert code == 2
    assert "the name is the token's" in str(told["error"])


def test_a_token_does_not_go_in_the_clear(by_api: Night, capfd: pytest.CaptureFixture[str]) -> None:
    """A server elsewhere that is not https gets no token."""
    code, told = command(capfd, "list", "--server", "http://review.example")
    assert code == 2
    assert "in the clear" in str(told["error"])


def test_the_command_line_hands_over_without_the_api(
    night: Night, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a token it writes into the ledger by itself, as ever."""
    monkeypatch.setenv("FORESHOCK_HOME", str(night.home))
    code, told = command(capfd, "hand-over", PROPOSAL, "--to", "cy", "--reason", "knows the rack", "--by", "ana")
    assert (code, told["standing"], told["by"]) == (0, "handed_over", "ana")
