"""The executor's side over HTTP: signed CloudEvents in, answers out.

Any `Executor` can stand behind it. A request is refused, and nothing happens, unless its signature is good, its time is
now and its id is new; a refusal is problem+json (RFC 9457).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final

from cloudevents.core.v1.event import CloudEvent
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data.errors import ForeshockError, InputError, Refused, UsageError
from decisions.domain import Answer
from pipelines.contract import described, messages, signing
from pipelines.contract.described import PROBLEM
from pipelines.contract.messages import Id, Moment
from pipelines.executors import Executor
from pipelines.executors.webhook import ANSWERS, AT_ONCE, ORDERS

MOST_BYTES: Final = 1_048_576

Asked = Annotated[list[Id], Query(min_length=1, max_length=AT_ONCE)]
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

    app.add_middleware(_Bounded)

    async def signed(request: Request) -> bytes:
        """The body of a request that is signed as it must be; without one its path and query are signed."""
        body = await request.body() if request.method == "POST" else b""
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        message_id = signing.check(key, request.headers, body or target.encode())
        if not first_time(message_id, clock()):
            msg = f"the request {message_id} has been taken before; sign a new one"
            raise Refused(msg)
        return body

    @app.post(ORDERS, response_class=Response, responses=_TAKEN, openapi_extra=described.HANDED)
    async def take(request: Request, body: Annotated[bytes, Depends(signed)]) -> Response:
        """Take an order, call one back, or begin with one of its VMs."""
        _structured(request)
        answer = await run_in_threadpool(_taken, opened, messages.read_event(body), clock)
        return Response(messages.answer_event(answer), media_type=messages.CONTENT_TYPE)

    @app.get(
        ANSWERS,
        response_class=Response,
        responses=_TOLD,
        openapi_extra=described.ASKED,
        dependencies=[Depends(signed)],
    )
    async def answers(order_id: Asked, at: Moment | None = None) -> Response:
        """Where orders stand, as of a moment if the executor can; unknown ones are left out."""
        now = at or clock()
        found = await run_in_threadpool(lambda: opened(now).poll(order_id, now))
        return Response(messages.batch([messages.answer_event(one) for one in found]), media_type=messages.BATCH_TYPE)

    @app.get("/health", include_in_schema=False)
    async def health() -> dict[str, str]:
        """Whether the executor is up."""
        return {"status": "ok"}

    _refusals(app)
    _describe(app)
    return app


def _structured(request: Request) -> None:
    """Nothing, or a refusal of another form than the one that is read here."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != messages.CONTENT_TYPE:
        raise HTTPException(415, f"an order comes as {messages.CONTENT_TYPE}, not as {kind or 'no named type'}")


def _taken(opened: Opened, event: CloudEvent, clock: Callable[[], datetime]) -> Answer:
    """The executor's answer; it hears of nothing that is not sound as a whole."""
    kind, at = event.get_type(), event.get_time() or clock()
    if kind == messages.REQUESTED:
        order = messages.read_order(event)
        return opened(at).submit(order)
    if kind == messages.CANCELLED:
        wish = messages.read_cancel(event)
        return opened(at).cancel(wish.order_id, wish.reason)
    if kind == messages.START:
        begin = messages.read_start(event)
        try:
            return opened(at).start_vm(begin.order_id, begin.vm_id, begin.reason)
        except Refused as error:
            raise HTTPException(409, str(error)) from error
    msg = f"an event of type {kind} is nothing that an executor takes"
    raise InputError(msg)


def _describe(app: FastAPI) -> None:
    """The OpenAPI, with the schemas of the messages in it."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        held = schema.setdefault("components", {}).setdefault("schemas", {})
        held |= described.components()
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


class _Bounded:
    """No route reads more of a body than it may be long, whether it was announced or comes in pieces."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app's answer, unless it reads too much."""
        heads = dict(scope["headers"]) if scope["type"] == "http" else {}
        announced, came = heads.get(b"content-length", b"0"), 0
        too_long = not announced.isdigit() or len(announced) > 19 or int(announced) > MOST_BYTES

        async def bounded() -> Message:
            nonlocal came
            part = {} if too_long else await receive()
            came += len(part.get("body", b""))
            if too_long or came > MOST_BYTES:
                raise HTTPException(413, f"a request holds at most {MOST_BYTES:,} bytes")
            return part

        await self._app(scope, bounded, send)


def _refusals(app: FastAPI) -> None:
    """What went wrong, as problem+json."""

    @app.exception_handler(Refused)
    async def _(_request: Request, error: Refused) -> Response:
        return problem(401, str(error))

    @app.exception_handler(InputError)
    async def _(_request: Request, error: InputError) -> Response:
        return problem(422, str(error))

    @app.exception_handler(UsageError)
    async def _(_request: Request, error: UsageError) -> Response:
        return problem(400, str(error))

    @app.exception_handler(ForeshockError)
    async def _(_request: Request, error: ForeshockError) -> Response:
        return problem(404 if "never submitted" in str(error) else 502, str(error))

    @app.exception_handler(RequestValidationError)
    async def _(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return problem(422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        unknown = f"there is no {request.method} {request.url.path} here; /openapi.json says what there is"
        return problem(error.status_code, unknown if error.status_code in (404, 405) else str(error.detail))


def problem(status: int, detail: str) -> JSONResponse:
    """A refusal as problem+json."""
    return JSONResponse({"type": "about:blank", "status": status, "detail": detail}, status, media_type=PROBLEM)


_TAKEN: Final = described.answers(batch=False, refusals=(401, 404, 409, 413, 415, 422, 502))
_TOLD: Final = described.answers(batch=True, refusals=(401, 413, 422, 502))
