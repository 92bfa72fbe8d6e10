"""The contract with an executor: what goes over the wire comes back whole, and only signed requests have an effect."""

import json
import os
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import ExecutorError, InputError, Refused, SettingsError
from decisions.domain import Action, Answer, Change, Order, OrderState, VmOutcome, VmPlan
from pipelines.contract import described, messages, signing
from pipelines.executors import owners
from pipelines.executors.driven import Driven
from pipelines.executors.dry_run import DryRun
from pipelines.executors.jobs import Jobs
from pipelines.executors.seen import Seen
from pipelines.executors.server import MOST_BYTES, create
from pipelines.executors.simulated import Simulated
from pipelines.executors.webhook import ANSWERS, ORDERS, Webhook
from tests.data.simulator.worlds import START, host, vm, world
from tests.pipelines.cloud import Cloud
from tests.pipelines.signatures import signatures

NOW = datetime(2026, 11, 1, 2, tzinfo=UTC)
KEY = b"not a secret, only as long as one"
OTHER = b"another secret of the same kind.."
SCHEMAS = Path(messages.__file__).with_name("schemas")

STRANGE = b'{"specversion":"1.0","id":"1","type":"t","source":"s"}'

names = st.text(string.ascii_letters + string.digits + "-/ü", min_size=1, max_size=20)
moments = st.integers(0, 15 * 366 * 86_400).map(
    lambda seconds: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
plans = st.builds(
    VmPlan, names, st.sampled_from(Action), st.none() | names, st.floats(0, 1e6), deadline=st.none() | moments
)
orders = st.builds(
    Order,
    order_id=names,
    proposal_id=names,
    host_id=names,
    action=st.sampled_from(Action),
    vms=st.lists(plans, max_size=4, unique_by=lambda plan: plan.vm_id).map(tuple),
    not_before=moments,
    expires_at=moments,
    reasons=st.lists(st.text(max_size=30), max_size=3).map(tuple),
    policy_version=st.text(max_size=10),
    model_version=st.text(max_size=10),
    remedy=st.none() | st.builds(Change, names, names, names, names),
)
outcomes = st.builds(
    VmOutcome,
    names,
    st.sampled_from(["moved", "redeployed", "chosen", "paused", "stayed", "failed", "lost"]),
    st.none() | names,
    st.floats(0, 1e5),
    st.booleans(),
)
answers = st.builds(
    Answer,
    names,
    st.sampled_from([state for state in OrderState if state is not OrderState.REQUESTED]),
    moments,
    st.none() | st.text(max_size=30),
    st.lists(outcomes, max_size=4, unique_by=lambda vm: vm.vm_id).map(tuple),
)


def order(**changes: object) -> Order:
    """An order to move one VM."""
    plain = {
        "order_id": "o1",
        "proposal_id": "p1",
        "host_id": "h1",
        "action": Action.LIVE_MIGRATE,
        "vms": (VmPlan("v1", Action.LIVE_MIGRATE, "h2", 12.0),),
        "not_before": NOW,
        "expires_at": NOW + timedelta(hours=6),
        "reasons": ("it is dying",),
        "policy_version": "p",
        "model_version": "m",
    }
    return Order(**{**plain, **changes})  # type: ignore[arg-type]


@given(orders)
@settings(deadline=None)
def test_an_order_comes_back_whole(sent: Order) -> None:
    """What is written as an event and read again is the same order, and fits the schema that ships."""
    body = messages.order_event(sent, NOW)
    assert messages.read_order(messages.read_event(body)) == sent
    jsonschema.validate(json.loads(body)["data"], json.loads((SCHEMAS / "order.requested.v1.json").read_text()))


@given(answers)
@settings(deadline=None)
def test_an_answer_comes_back_whole(sent: Answer) -> None:
    """So is an answer, with what became of each VM."""
    body = messages.answer_event(sent)
    assert messages.read_answer(body) == sent
    jsonschema.validate(json.loads(body)["data"], json.loads((SCHEMAS / "order.answer.v1.json").read_text()))


@pytest.mark.parametrize("name", sorted(messages.SCHEMAS))
def test_the_schemas_that_ship_are_those_that_are_checked_by(name: str) -> None:
    """A change of the contract is a change of the file that others validate with."""
    assert (SCHEMAS / f"{name}.json").read_text() == messages.schema(name)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"specversion":"1.0","type":"t","source":"s"}',
        b'{"specversion":"0.3"}',
    ],
)
def test_what_is_no_event_is_named_as_such(body: bytes) -> None:
    """An empty body, a list, another version, an event without an id: refused with a sentence."""
    with pytest.raises(InputError, match=r"CloudEvent 1\.0"):
        messages.read_event(body)


def test_an_unknown_key_in_the_data_is_refused_by_name() -> None:
    """Data is checked key by key: a misspelt one is not taken for an optional one left out."""
    event = json.loads(messages.order_event(order(), NOW))
    event["data"]["not_befor"] = event["data"].pop("not_before")
    with pytest.raises(InputError, match="not_befor"):
        messages.read_order(messages.read_event(json.dumps(event)))


def test_a_signature_is_good_for_its_own_body_only() -> None:
    """Another body, another id or a forged signature is refused; so is none at all."""
    at = datetime.now(UTC)
    heads = signing.headers(KEY, "m1", b"body", at)
    assert signing.check(KEY, heads, b"body") == "m1"
    forged = {**heads, "webhook-signature": "v1,AAAA"}
    for wrong, body in ((heads, b"other"), ({**heads, "webhook-id": "m2"}, b"body"), (forged, b"body"), ({}, b"body")):
        with pytest.raises(Refused, match="not signed"):
            signing.check(KEY, wrong, body)


def test_an_old_signature_is_refused() -> None:
    """After five minutes a recorded request is worthless."""
    heads = signing.headers(KEY, "m1", b"body", datetime.now(UTC) - timedelta(minutes=6))
    with pytest.raises(Refused, match="too old"):
        signing.check(KEY, heads, b"body")


def test_a_short_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that can be guessed protects nothing; the error says how to make one."""
    monkeypatch.setenv(signing.SECRET, "short")
    with pytest.raises(SettingsError, match="has 5 bytes"):
        signing.secret()


@contextmanager
def serving() -> Iterator[TestClient]:
    """The executor's side on a dry run, in this process."""
    seen = Seen(":memory:")
    app = create(lambda _: DryRun(NOW), seen.first_time, KEY, lambda: datetime.now(UTC))
    with TestClient(app, base_url="http://executor", raise_server_exceptions=False) as client:
        yield client


def webhook(client: httpx.Client) -> Webhook:
    """Foreshock's side of the same wire."""
    return Webhook("http://executor", KEY, NOW, client)


def test_orders_go_over_the_wire_and_answers_come_back() -> None:
    """Handed over, refused with its reason, called back, asked about: each as if the executor were here."""
    with serving() as client:
        away = webhook(client)
        assert away.submit(order()) == Answer("o1", OrderState.ACCEPTED, NOW, "dry run")
        assert away.submit(order(order_id="o2", expires_at=NOW)).state is OrderState.REFUSED
        assert away.cancel("o1", "recovered").state is OrderState.CANCELLED
        assert [answer.order_id for answer in away.poll([f"o{n}" for n in range(450)], NOW)] == [
            f"o{n}" for n in range(450)
        ]


def test_a_vm_is_started_over_the_wire(tmp_path: Path) -> None:
    """The event comes to the executor behind; where nothing is left to start it is 409, and a refusal here too."""
    jobs = Jobs(tmp_path / "executor.db")
    executor = Driven(Cloud({"v1": {"h1"}}), jobs, clock=lambda: NOW)
    app = create(lambda _: executor, Seen(":memory:").first_time, KEY, lambda: datetime.now(UTC))
    plan = VmPlan("v1", Action.SELF_SERVICE, "h2", 12.0, NOW + timedelta(hours=3))
    with TestClient(app, base_url="http://executor") as client:
        away = webhook(client)
        away.submit(order(host_id="h1", action=Action.SELF_SERVICE, vms=(plan,)))
        away.start_vm("o1", "v1", "maria: its owner rang")
        executor.tick()
        (answer,) = away.poll(["o1"], NOW)
        assert [vm.result for vm in answer.vms] == ["moved"]
        with pytest.raises(Refused, match="VM v1 has nothing left to start in order o1"):
            away.start_vm("o1", "v1", "maria: its owner rang")


def test_a_recorded_request_has_no_second_effect() -> None:
    """The same request, signature and all, is refused the second time."""
    body = messages.order_event(order(), NOW)
    heads = {**signing.headers(KEY, "once", body, datetime.now(UTC)), "content-type": messages.CONTENT_TYPE}
    with serving() as client:
        first, second = (client.post(ORDERS, content=body, headers=heads) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 401)
    assert "taken before" in second.json()["detail"]


def handed(client: TestClient, body: bytes, **signed: Any) -> httpx.Response:
    """The answer to a body that is handed over with good signatures, or with others."""
    heads = {"content-type": messages.CONTENT_TYPE, **signatures(KEY, body), **signed}
    return client.post(ORDERS, content=body, headers=heads)


def changed(**changes: object) -> bytes:
    """The event of an order, with some of its attributes changed; null takes one away."""
    event = {**json.loads(messages.order_event(order(), NOW)), **changes}
    return json.dumps({name: value for name, value in event.items() if value is not None}).encode()


def data(**changes: object) -> bytes:
    """The event of an order, with some of its data changed."""
    return changed(data={**json.loads(messages.order_event(order(), NOW))["data"], **changes})


VM = {"vm_id": "v1", "technique": "live_migrate", "target_host_id": "h2", "seconds": 12.0}
BROKEN = {
    "no JSON": (b"nothing", "CloudEvent"),
    "no event": (b"{}", "specversion"),
    "another kind of event": (STRANGE, "nothing that an executor takes"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "recursion"),
    "deep data": (data(reasons=[]).replace(b"[]", b"[" * 5_000 + b"]" * 5_000), "recursion"),
    "not a number": (data(vms=[{**VM, "seconds": float("nan")}]), "seconds"),
    "infinite": (data(vms=[{**VM, "seconds": float("inf")}]), "seconds"),
    "huge": (data(vms=[{**VM, "seconds": 10**400}]), "seconds"),
    "large": (data(vms=[{**VM, "seconds": 1e300}]), "seconds"),
    "number as text": (data(vms=[{**VM, "seconds": "12"}]), "seconds"),
    "naive start": (data(not_before="2026-11-01T02:00:00"), "not_before"),
    "start as a number": (data(not_before=1_793_505_600), "not_before"),
    "end of days": (data(expires_at="9999-12-31T23:59:59-12:00"), "expires_at"),
    "naive time of the event": (changed(time="2026-11-01T02:00:00"), "time"),
    "the same VM twice": (data(vms=[VM, VM]), "twice"),
    "another precondition": (
        data(precondition={"vm_ids": [], "no_later_than": "2026-11-01T08:00:00Z"}),
        "precondition",
    ),
    "unknown action": (data(action="reboot"), "action"),
    "unknown key": (data(force=True), "force"),
    "unknown type": (changed(type="io.foreshock.order.doubled.v1"), "order.doubled.v1"),
    "another version of the type": (changed(type="io.foreshock.order.requested.v2"), "order.requested.v2"),
    "another version of CloudEvents": (changed(specversion="0.3"), "specversion"),
    "another version of the schema": (changed(dataschema="https://foreshock/order.requested.v2.json"), "requested.v2"),
    "data in base64": (changed(data=None, data_base64="e30="), "data_base64"),
    "no data": (changed(data=None), "should be an object"),
    "long id": (changed(id="x" * 201), "200 characters"),
    "id with a line break": (changed(id="a\nb"), "id"),
    "id that is no text": (changed(id="?").replace(b'"?"', b'"\\ud800"'), "hex escape"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_orders_are_refused_clearly(what: str) -> None:
    """Well signed and senseless: problem+json that names what is wrong, never a 500, and nothing is carried out."""
    body, named = BROKEN[what]
    with serving() as client:
        answer = handed(client, body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert named in answer.json()["detail"]


def test_the_schema_that_is_named_may_be_ours() -> None:
    """An event that says which schema its data follow, and extensions that nobody reads here, are no hindrance."""
    with serving() as client:
        answer = handed(
            client, changed(dataschema="https://foreshock/order.requested.v1.json", traceparent="00-1-2-03")
        )
    assert answer.status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(chunked: bool) -> None:
    """Announced or sent in pieces: more than that is not kept of it."""

    def pieces() -> Iterator[bytes]:
        for _ in range(6):
            yield b"x" * (MOST_BYTES // 4)

    with serving() as client:
        answer = client.post(ORDERS, content=pieces() if chunked else b"x" * (MOST_BYTES + 1))
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert "1,048,576 bytes" in answer.json()["detail"]


def test_what_an_owner_asks_for_wrongly_is_refused_clearly(tmp_path: Path) -> None:
    """The routes beside the contract's keep to the same: a sentence in problem+json, and no endless bodies."""
    jobs, secret = Jobs(tmp_path / "jobs.db"), b"a secret of the proxies"
    app = create(lambda _: DryRun(NOW), Seen(":memory:").first_time, KEY, lambda: NOW)
    owners.serve(app, jobs, secret, lambda: NOW)
    known = {"X-Instance-ID": "v1", "X-Instance-ID-Signature": owners.signature(secret, "v1")}
    with TestClient(app, raise_server_exceptions=False) as client:
        rushed = client.get(owners.PATH, headers={**known, "Metadata": "no"})
        long = client.post(owners.PATH, headers={**known, "Metadata": "true"}, content=b" " * (MOST_BYTES + 1))
        right = client.get(owners.PATH, headers={**known, "Metadata": "true"})
    jobs.close()
    assert [answer.status_code for answer in (rushed, long, right)] == [400, 413, 200]
    assert {answer.headers["content-type"] for answer in (rushed, long)} == {"application/problem+json"}
    assert "Metadata: true" in rushed.json()["detail"]


def test_another_content_type_is_refused() -> None:
    """An order is taken in one form only; parameters of the type and its case do not matter."""
    with serving() as client:
        answers = [
            handed(client, messages.order_event(order(), NOW), **{"content-type": kind})
            for kind in ("application/json", "", "Application/CloudEvents+JSON; charset=utf-8")
        ]
    assert [answer.status_code for answer in answers] == [415, 415, 200]
    assert answers[0].json()["detail"] == "an order comes as application/cloudevents+json, not as application/json"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: {"webhook-signature": "v1,AAAA"}, "No matching signature"),
        (lambda: {"webhook-signature": "nonsense"}, "not signed as it must be"),
        (lambda: {"webhook-id": "another"}, "No matching signature"),
        (lambda: {"webhook-timestamp": "nan"}, "not signed as it must be"),
        (lambda: {"webhook-timestamp": "inf"}, "not signed as it must be"),
        (lambda: signatures(KEY, b"another body"), "No matching signature"),
        (lambda: signatures(KEY, messages.order_event(order(), NOW), at=time.time() - 400), "too old"),
        (lambda: signatures(KEY, messages.order_event(order(), NOW), at=time.time() + 4_000), "too new"),
        (lambda: signatures(OTHER, messages.order_event(order(), NOW)), "No matching signature"),
    ],
)
def test_wrong_signatures_are_refused(wrong: Callable[[], dict[str, str]], named: str) -> None:
    """Of another body, id, moment or secret, or none at all: refused before anybody reads the order."""
    with serving() as client:
        answer = handed(client, messages.order_event(order(), NOW), **wrong())
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert named in answer.json()["detail"]


def test_a_body_that_is_no_text_is_refused() -> None:
    """Bytes that are not UTF-8, signed as bytes can be: the sentence says which byte."""
    with serving() as client:
        answer = handed(client, messages.order_event(order(), NOW).replace(b"dying", b"d\xffing"))
    assert (answer.status_code, answer.json()["detail"][:35]) == (401, "the request's body is no UTF-8 text")


def test_a_question_is_refused_unless_it_is_signed_whatever_it_asks() -> None:
    """The signature is looked at before the question; then the question is."""
    with serving() as client:
        unsigned = client.get(ANSWERS)
        unasked = client.get(ANSWERS, headers=signatures(KEY, ANSWERS.encode()))
        naive = f"{ANSWERS}?order_id=o1&at=2026-11-01T02:00:00"
        timeless = client.get(naive, headers=signatures(KEY, naive.encode()))
        elsewhere = client.get("/v1/vms")
    assert [one.status_code for one in (unsigned, unasked, timeless, elsewhere)] == [401, 422, 422, 404]
    assert "RFC 3339" in timeless.json()["detail"]
    assert elsewhere.json()["detail"].startswith("there is no GET /v1/vms here")


def test_calling_back_an_order_that_nobody_has_is_an_error_of_the_executor() -> None:
    """The simulated executor says so as its protocol has it, not as a mistake of the command line."""
    executor = Simulated(world([host("a")], []), START)
    with pytest.raises(ExecutorError, match="never submitted"):
        executor.cancel("o1", "recovered")


def test_an_order_that_does_not_fit_the_contract_stays_here() -> None:
    """It is an error of handing over, which makes it a dead letter, and not the end of the dispatcher."""
    away = Webhook("http://127.0.0.1:9", KEY, NOW)
    twice = (VmPlan("v1", Action.LIVE_MIGRATE, "h2", 12.0),) * 2
    with pytest.raises(ExecutorError, match="o1 does not fit the contract: Value error, a VM stands in it twice"):
        away.submit(order(vms=twice))


def test_the_openapi_holds_the_schemas_that_ship() -> None:
    """Whoever generates from the OpenAPI and whoever validates with the files follow the same contract."""
    held = described.components()
    for name, model in messages.SCHEMAS.items():
        shipped = json.loads((SCHEMAS / f"{name}.json").read_text().replace("#/$defs/", "#/components/schemas/"))
        parts = shipped.pop("$defs", {})
        assert {key: held[model.__name__].get(key) for key in shipped if key not in ("$schema", "title")} == {
            key: value for key, value in shipped.items() if key not in ("$schema", "title")
        }
        assert parts == {part: held[part] for part in parts}
    with serving() as client:
        assert client.get("/openapi.json").json()["components"]["schemas"].items() >= held.items()


def test_an_unsigned_request_has_no_effect() -> None:
    """Without a good signature nobody learns even whether the order makes sense."""
    with serving() as client:
        posted = client.post(ORDERS, content=messages.order_event(order(), NOW))
        asked = client.get("/v1/answers", params={"order_id": "o1"})
    assert (posted.status_code, asked.status_code) == (401, 401)


def saying(*told: Answer) -> Webhook:
    """An executor that says this, whatever it is asked."""
    events = [messages.answer_event(answer) for answer in told]

    def answered(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=events[0] if request.method == "POST" else messages.batch(events))

    return webhook(httpx.Client(transport=httpx.MockTransport(answered)))


def test_an_answer_about_another_order_is_none() -> None:
    """An executor that answers for an order it was not asked about changes nothing there, and is at fault by name."""
    away = saying(Answer("o9", OrderState.COMPLETED, NOW))
    for asked in (
        lambda: away.submit(order()),
        lambda: away.cancel("o1", "recovered"),
        lambda: away.start_vm("o1", "v1", "now"),
        lambda: away.poll(["o1"], NOW),
    ):
        with pytest.raises(ExecutorError, match="about order o9, which it was not asked about"):
            asked()


@pytest.mark.parametrize(
    ("status", "told", "seconds"),
    [
        (429, "20", 20.0),
        (503, "Sun, 01 Nov 2026 02:00:30 GMT", 30.0),
        (503, "Sun, 01 Nov 2026 01:00:00 GMT", 0.0),
        (503, "9" * 400, 3_600.0),
        (429, "Fri, 31 Dec 2190 23:59:59 GMT", 3_600.0),
        (429, "soon", None),
        (429, "-5", None),
        (429, "Fri, 31 Dec 0001 23:59:59 +999999999999", None),
        (429, "", None),
        (500, "20", None),
    ],
)
def test_what_an_executor_says_of_when_to_come_back_is_read(status: int, told: str, seconds: float | None) -> None:
    """`Retry-After` in seconds or as a date, of those answers that mean it, and never longer than an hour."""
    client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(status, headers={"retry-after": told} if told else {}))
    )
    away = Webhook("http://executor", KEY, NOW, client, clock=lambda: NOW)
    with pytest.raises(ExecutorError, match=f"refused the request with {status}") as caught:
        away.submit(order())
    assert getattr(caught.value, "seconds", None) == seconds


def test_an_answer_that_names_a_vm_twice_is_the_executors_fault() -> None:
    """Whoever reads the error looks at the executor, and not at a database that is sound."""
    twice = [vars(VmOutcome("v1", result, "h2", 0.0, interrupted=False)) for result in ("moved", "stayed")]
    event = json.loads(messages.answer_event(Answer("o1", OrderState.COMPLETED, NOW)))
    event["data"]["vms"] = twice
    with pytest.raises(InputError, match="a VM stands in it twice"):
        messages.read_answer(json.dumps(event))


def test_an_executor_that_is_down_is_named() -> None:
    """The error says which address did not answer, and what to look at."""
    away = Webhook("http://127.0.0.1:9", KEY, NOW, httpx.Client(timeout=1))
    with pytest.raises(ExecutorError, match=r"127\.0\.0\.1:9 did not answer"):
        away.submit(order())


def test_a_password_in_the_executors_address_is_not_told() -> None:
    """What is said of an executor that is down or refuses goes into history, pages and messages, without a password."""
    down = httpx.Client(timeout=1)
    refusing = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(503)))
    for client, says in ((down, "did not answer"), (refusing, "refused the request with 503")):
        away = Webhook("http://foreshock:hunter2@127.0.0.1:9", KEY, NOW, client)
        with pytest.raises(ExecutorError, match=says) as raised:
            away.submit(order())
        assert "127.0.0.1:9" in str(raised.value)
        assert "hunter2" not in str(raised.value)


@pytest.mark.slow
def test_an_order_moves_vms_at_an_executor_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`foreshock executor` serves a simulated world: the order goes over a real socket, and its VM moves."""
    monkeypatch.setenv(signing.SECRET, KEY.decode())
    made = world([host("a"), host("b", 1)], [vm("v1", "a")], path=tmp_path / "world.db")
    made.close()
    command = "from pipelines.cli import main; raise SystemExit(main(['executor', '--port', '0', '--json']))"
    with subprocess.Popen(
        [sys.executable, "-c", command],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "FORESHOCK_HOME": str(tmp_path)},
    ) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            away = Webhook(url, KEY, START)
            asked = order(host_id="a", not_before=START, expires_at=START + timedelta(days=1))
            asked = replace(asked, vms=(VmPlan("v1", Action.LIVE_MIGRATE, "b", 12.0),))
            assert away.submit(asked).state is OrderState.ACCEPTED
            (answer,) = away.poll(["o1"], START + timedelta(hours=1))
        finally:
            process.terminate()
    assert (answer.state, [one.result for one in answer.vms]) == (OrderState.COMPLETED, ["moved"])


def test_ids_of_requests_survive_a_restart(tmp_path: Path) -> None:
    """An executor that died remembers what it has taken; half an hour later the id is forgotten."""
    first = Seen(tmp_path / "seen.db")
    assert first.first_time("a", NOW)
    first.close()
    again = Seen(tmp_path / "seen.db")
    assert not again.first_time("a", NOW)
    assert again.first_time("a", NOW + timedelta(hours=1))
