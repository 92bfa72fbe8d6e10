"""Requests made up from the executor's own OpenAPI, signed and unsigned, sound and broken: what comes of each."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.transport import Response

from data.simulator.world import World
from decisions.domain import Answer, Order
from pipelines.contract import described, messages
from pipelines.executors.seen import Seen
from pipelines.executors.server import create
from pipelines.executors.simulated import Simulated
from pipelines.executors.webhook import ANSWERS, ORDERS
from tests.data.simulator.worlds import START, host, vm, world
from tests.pipelines.signatures import signatures

pytestmark = pytest.mark.slow

KEY = b"not a secret, only as long as one"
ROUNDS = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


FOLDER = TemporaryDirectory()
WORLD = Path(FOLDER.name) / "world.db"
world([host("a"), host("b", 1)], [vm("v1", "a"), vm("v2", "a")], path=WORLD).close()


@dataclass
class Watched:
    """A simulated world as executor, opened anew for each call as threads want it, and what it was made to do."""

    told: list[str] = field(default_factory=list)

    @contextmanager
    def behind(self, *order_ids: str) -> Iterator[Simulated]:
        """The world, once it is written down that it was asked."""
        self.told += order_ids
        with World.open(WORLD) as opened:
            yield Simulated(opened, START)

    def submit(self, order: Order) -> Answer:
        """What the world answers."""
        with self.behind(order.order_id) as executor:
            return executor.submit(order)

    def cancel(self, order_id: str, reason: str) -> Answer:
        """What the world answers."""
        with self.behind(order_id) as executor:
            return executor.cancel(order_id, reason)

    def start_vm(self, order_id: str, vm_id: str, reason: str) -> Answer:
        """What the world answers."""
        with self.behind(order_id) as executor:
            return executor.start_vm(order_id, vm_id, reason)

    def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
        """What the world answers."""
        with self.behind(*order_ids) as executor:
            return executor.poll(order_ids, now)


EXECUTOR = Watched()
APP = create(lambda _: EXECUTOR, Seen(":memory:").first_time, KEY, lambda: datetime.now(UTC))
API = schemathesis.openapi.from_asgi("/openapi.json", APP)
HANDED, ASKED = API[ORDERS]["POST"], API[ANSWERS]["GET"]
SOUND = jsonschema.Draft202012Validator(
    {
        "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("OrderRequested", "OrderCancelled", "VmStart")],
        "components": {"schemas": described.components()},
    }
)


class Signed(requests.auth.AuthBase):
    """Signs a request as it goes out, whatever stands in its headers, and keeps the body."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """The request with good signature headers."""
        body = request.body.encode() if isinstance(request.body, str) else request.body
        self.body = body if request.method == "POST" and isinstance(body, bytes) else b""
        request.headers.update(signatures(KEY, self.body or str(request.path_url).encode()))
        return request


def refused_well(answer: Response) -> None:
    """A refusal is no 500, and says why in a sentence."""
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == ["application/problem+json"]
    assert set(answer.json()) == {"type", "status", "detail"}
    assert len(answer.json()["detail"].split()) > 2


def agreeing(body: dict[str, Any], *, known: bool) -> None:
    """Put right what a JSON Schema cannot say; and let the order speak of a host of the world, where `known`."""
    data = body["data"]
    if "vms" not in data:
        return
    if known:
        data["host_id"] = "a"
        data["vms"] = [{**vm, "vm_id": f"v{n + 1}", "target_host_id": "b"} for n, vm in enumerate(data["vms"][:2])]
    data["vms"] = list({vm["vm_id"]: vm for vm in data["vms"]}.values())
    data["precondition"] = {"vm_ids": [vm["vm_id"] for vm in data["vms"]], "no_later_than": data["expires_at"]}


@given(case=HANDED.as_strategy(generation_mode=GenerationMode.POSITIVE), known=st.booleans())
@ROUNDS
def test_a_sound_order_reaches_the_executor_and_its_answer_fits_the_schema(case: Case, known: bool) -> None:
    """Whatever the OpenAPI allows is taken, and what comes back is what the OpenAPI promises."""
    agreeing(case.body, known=known)
    before = len(EXECUTOR.told)
    answer = case.call(auth=Signed())
    assert len(EXECUTOR.told) == before + 1
    case.validate_response(answer)
    if answer.status_code in (404, 409):
        assert case.body["type"] in (messages.CANCELLED, messages.START)
    else:
        assert messages.read_answer(answer.content).order_id == EXECUTOR.told[-1]


@given(case=HANDED.as_strategy(generation_mode=GenerationMode.NEGATIVE))
@ROUNDS
def test_a_broken_order_is_refused_and_nothing_is_carried_out(case: Case) -> None:
    """What the OpenAPI does not allow never reaches the executor, however well it is signed."""
    before, signed = len(EXECUTOR.told), Signed()
    answer = case.call(auth=signed)
    with suppress(ValueError):
        assume(not SOUND.is_valid(json.loads(signed.body)))
    refused_well(answer)
    assert len(EXECUTOR.told) == before


@given(case=ASKED.as_strategy(generation_mode=GenerationMode.POSITIVE))
@ROUNDS
def test_a_sound_question_is_answered_by_the_schema(case: Case) -> None:
    """Orders that nobody knows are left out; the answer is a batch."""
    answer = case.call(auth=Signed())
    case.validate_response(answer)
    assert answer.status_code == 200
    assert messages.read_batch(answer.content)[1] == []


@given(case=ASKED.as_strategy(generation_mode=GenerationMode.NEGATIVE))
@ROUNDS
def test_a_broken_question_is_refused(case: Case) -> None:
    """A question that makes no sense is refused with a sentence; one that does in spite of all is answered."""
    answer = case.call(auth=Signed())
    if answer.status_code != 200:
        refused_well(answer)


@given(case=API.as_strategy(generation_mode=GenerationMode.POSITIVE) | API.as_strategy(GenerationMode.NEGATIVE))
@ROUNDS
def test_an_unsigned_request_has_no_effect_whatever_it_says(case: Case) -> None:
    """Signatures that were made up open nothing, and nothing is learned from the refusal but that."""
    before = len(EXECUTOR.told)
    answer = case.call()
    refused_well(answer)
    assert answer.status_code in (401, 405)
    assert len(EXECUTOR.told) == before
