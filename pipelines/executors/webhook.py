"""The executor of somebody else: orders go to it as signed CloudEvents over HTTP, and its answers come back."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, TypeVar
from uuid import uuid4

import httpx

from data.errors import ExecutorError, InputError, Refused, hidden
from decisions.domain import Answer, BadAnswer, Order
from pipelines.contract import messages, signing
from pipelines.executors import AsksToWait, SomeUnusable

ORDERS: Final = "/v1/orders"
ANSWERS: Final = "/v1/answers"
AT_ONCE: Final = 200
"""Orders asked about in one request."""
LONGEST_WAIT_SECONDS: Final = 3_600.0
"""An executor that asks for more is asked again after so long."""
_LATER: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


_Told = TypeVar("_Told")


def wall() -> datetime:
    """The wall's time, by which requests are signed."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Webhook:
    """Hands orders over by HTTP. Requests that fail for want of an answer may have arrived: repeating is harmless."""

    url: str
    key: bytes
    now: datetime
    """The moment that events carry; signatures carry the wall's."""
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10.0))
    clock: Callable[[], datetime] = wall

    def submit(self, order: Order) -> Answer:
        """The executor's first answer; the same order again is the same event."""
        try:
            event = messages.order_event(order, self.now)
        except InputError as error:
            msg = f"The order cannot be handed over: {error}"
            raise ExecutorError(msg) from error
        return self._one(event, order.order_id)

    def cancel(self, order_id: str, reason: str) -> Answer:
        """What became of the order after asking to stop it."""
        return self._one(messages.cancel_event(order_id, reason, self.now), order_id)

    def start_vm(self, order_id: str, vm_id: str, reason: str) -> Answer:
        """Where the order stands after asking to begin with the VM."""
        return self._one(messages.start_event(order_id, vm_id, reason, self.now), order_id)

    def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
        """The latest answer to each order; those that the executor never had are left out."""
        found: list[Answer] = []
        bad: list[BadAnswer] = []
        for first in range(0, len(order_ids), AT_ONCE):
            asked = order_ids[first : first + AT_ONCE]
            names = [("order_id", name) for name in asked]
            target = str(httpx.URL(ANSWERS, params=[*names, ("at", now.isoformat())]))
            told, unread = _read(messages.read_batch, self._request("GET", target, b""))
            found += [answer for answer in told if answer.order_id in asked]
            bad += unread
            bad += [BadAnswer(None, _unasked(answer)) for answer in told if answer.order_id not in asked]
        if bad:
            raise SomeUnusable(found, bad)
        return found

    def _one(self, event: bytes, order_id: str) -> Answer:
        return _about([order_id], _read(messages.read_answer, self._request("POST", ORDERS, event)))

    def _request(self, method: str, target: str, body: bytes) -> bytes:
        """The body of a good answer.

        What is signed of a request without a body is its target, so that nobody can ask about other orders with it.
        """
        signed = body or target.encode()
        heads: Mapping[str, str] = signing.headers(self.key, str(uuid4()), signed, self.clock())
        kind = {"content-type": messages.CONTENT_TYPE} if body else {}
        try:
            answer = self.client.request(method, self.url.rstrip("/") + target, content=body, headers={**heads, **kind})
        except httpx.HTTPError as error:
            where = hidden(self.url)
            msg = f"The executor at {where} did not answer ({hidden(str(error))}). Is it up, and executor.url right?"
            raise ExecutorError(msg) from error
        if answer.is_success:
            return answer.content
        if answer.status_code == HTTPStatus.CONFLICT:
            raise Refused(_detail(answer))
        msg = f"The executor at {hidden(self.url)} refused the request with {answer.status_code}: {answer.text[:500]}"
        wait = _wait(answer.headers.get("retry-after", ""), self.clock()) if answer.status_code in _LATER else None
        raise AsksToWait(msg, wait) if wait is not None else ExecutorError(msg)


def _wait(told: str, now: datetime) -> float | None:
    """The seconds of a `Retry-After`, which is a number of them or a date (RFC 9110); null: it is neither."""
    if told.isascii() and told.isdigit():
        return min(float(told), LONGEST_WAIT_SECONDS)
    try:
        at = parsedate_to_datetime(told)
        left = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    except (ValueError, OverflowError):
        return None
    return min(max(left.total_seconds(), 0.0), LONGEST_WAIT_SECONDS)


def _about(order_ids: Collection[str], answer: Answer) -> Answer:
    """The answer, if it is about one of these orders: what an executor says unasked changes no other order."""
    if answer.order_id not in order_ids:
        raise ExecutorError(_unasked(answer))
    return answer


def _unasked(answer: Answer) -> str:
    return f"The executor's answer is about order {answer.order_id}, which it was not asked about."


def _detail(answer: httpx.Response) -> str:
    """The sentence of a refusal, or all of it."""
    try:
        return str(answer.json()["detail"])[:500]
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]


def _read(reader: Callable[[bytes], _Told], body: bytes) -> _Told:
    try:
        return reader(body)
    except InputError as error:
        msg = f"The executor's answer cannot be read: {error}"
        raise ExecutorError(msg) from error
