"""The executor's side over HTTP: signed CloudEvents in, answers out.

Any `Executor` can stand behind it. A request is refused, and nothing happens, unless its signature is good, its time is
now and its id is new; a refusal is problem+json (RFC 9457).
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime
from starlette.exceptions import HTTPException

from data.errors import ExecutorError, InputError, Refused
from pipelines.contract import messages, signing
from pipelines.executors import Executor
from pipelines.executors.webhook import ANSWERS, AT_ONCE, ORDERS

MOST_BYTES: Final = 1_048_576
PROBLEM: Final = "application/problem+json"

Asked = Annotated[list[str], Query(max_length=AT_ONCE)]
"""Ids of orders."""
Opened = Callable[[datetime], Executor]
"""The executor as of the moment that a request speaks of; one of real hosts knows only its own now."""
FirstTime = Callable[[str, datetime], bool]
"""Whether a request of that id has not come before."""


def create(opened: Opened, first_time: FirstTime, key: bytes, clock: Callable[[], datetime]) -> FastAPI:
    """The app that takes orders.

    Args:
        opened: the executor that carries orders out.
        first_time: remembers the ids of requests.
        key: the secret that requests are signed with.
        clock: whose time it is.
    """
    app = FastAPI(title="Foreshock executor", version="1", docs_url=None, redoc_url=None)

    async def signed(request: Request, body: bytes) -> None:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        message_id = signing.check(key, request.headers, body or target.encode())
        if not first_time(message_id, clock()):
            msg = f"the request {message_id} has been taken before; sign a new one"
            raise Refused(msg)

    @app.middleware("http")
    async def _limited(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BYTES:
            return problem(413, f"a request holds at most {MOST_BYTES:,} bytes")
        return await call(request)

    @app.post(ORDERS, response_class=Response, responses=_RESPONSES, openapi_extra=_EVENT)
    async def take(request: Request) -> Response:
        """Take an order, or call one back."""
        body = await _body(request)
        await signed(request, body)
        event = messages.read_event(body)
        executor = opened(event.get_time() or clock())
        if event.get_type() == messages.REQUESTED:
            answer = executor.submit(messages.read_order(event))
        elif event.get_type() == messages.CANCELLED:
            wish = messages.read_cancel(event)
            answer = executor.cancel(wish.order_id, wish.reason)
        else:
            msg = f"an event of type {event.get_type()} is nothing that an executor takes"
            raise InputError(msg)
        return Response(messages.answer_event(answer), media_type=messages.CONTENT_TYPE)

    @app.get(ANSWERS, response_class=Response, responses=_RESPONSES)
    async def answers(request: Request, order_id: Asked, at: AwareDatetime | None = None) -> Response:
        """Where orders stand, as of a moment if the executor can; unknown ones are left out."""
        await signed(request, b"")
        now = at or clock()
        found = opened(now).poll(order_id, now)
        return Response(messages.batch([messages.answer_event(one) for one in found]), media_type=messages.BATCH_TYPE)

    @app.get("/health", include_in_schema=False)
    async def health() -> dict[str, str]:
        """Whether the executor is up."""
        return {"status": "ok"}

    _refusals(app)
    return app


async def _body(request: Request) -> bytes:
    """The request's body, as far as it may be long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"a request holds at most {MOST_BYTES:,} bytes")
    return body


def _refusals(app: FastAPI) -> None:
    """What went wrong, as problem+json."""

    @app.exception_handler(Refused)
    async def _(_request: Request, error: Refused) -> Response:
        return problem(401, str(error))

    @app.exception_handler(InputError)
    async def _(_request: Request, error: InputError) -> Response:
        return problem(422, str(error))

    @app.exception_handler(ExecutorError)
    async def _(_request: Request, error: ExecutorError) -> Response:
        return problem(404 if "never submitted" in str(error) else 502, str(error))

    @app.exception_handler(RequestValidationError)
    async def _(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return problem(422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def _(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail))


def problem(status: int, detail: str) -> JSONResponse:
    """A refusal as problem+json."""
    return JSONResponse({"type": "about:blank", "status": status, "detail": detail}, status, media_type=PROBLEM)


_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {messages.CONTENT_TYPE: {}}},
    **{code: {"description": "Refused", "content": {PROBLEM: {}}} for code in (401, 404, 413, 422, 502)},
}
_EVENT: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {messages.CONTENT_TYPE: {"schema": {"type": "object", "description": "docs/executor-contract.md"}}},
    },
    "parameters": [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in signing.HEADERS
    ],
}
