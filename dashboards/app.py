"""The review app: one page of a night's proposals with reasons, and the same as JSON. It only reads.

Every request opens the published snapshot and the ledger by itself, so no page ever waits for the pipeline.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, JSONResponse, Response

from dashboards import looking
from dashboards.api import Health, ProposalPage, page
from dashboards.ledger_view import LedgerView
from dashboards.pages import incident_page, queue_page, refusal_page
from dashboards.queue import Clock, Look, Room
from dashboards.security import SecurityHeaders
from dashboards.views import ProposalView
from dashboards.words import Section
from data.errors import ForeshockError
from decisions.incidents.values import Incident

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "::1", "[::1]")
PROBLEM: Final = "application/problem+json"
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, "content": {PROBLEM: {}}}
    for status, description in (
        (404, "There is no such thing"),
        (422, "A parameter makes no sense"),
        (503, "Unreadable"),
    )
}


def create_app(home: Path, ledger_url: str, *, clock: Clock | None = None, policy: Path | None = None) -> FastAPI:
    """The app on the snapshot under `home` and the ledger at the SQLAlchemy URL; neither has to exist yet.

    Args:
        home: State folder, `FORESHOCK_HOME`.
        ledger_url: SQLAlchemy URL; opened to read only.
        clock: Whose time it is; by default the wall's, or the end of the last day held where the fleet is simulated.
        policy: The policy file, for limits and thresholds; by default the policy that ships.

    Raises:
        LedgerError: The URL makes no sense.
    """
    room = Room(home, LedgerView(ledger_url), clock, policy)
    app = FastAPI(
        title="Foreshock review",
        summary="Tonight's proposals with their reasons. Reads only.",
        version="1",
        docs_url=None,
        redoc_url=None,
        responses=_PROBLEMS,
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_NAMES, www_redirect=False)
    app.add_middleware(SecurityHeaders)
    kept = StaticFiles(directory=Path(__file__).parent / "static", packages=[("plotly", "package_data")])
    app.mount("/static", kept, name="static")
    _refusals(app)
    _pages(app, room)
    looking.routes(app, room)
    _api(app, room)
    return app


def _pages(app: FastAPI, room: Room) -> None:
    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def queue(on: date | None = None, show: Section | None = None) -> HTMLResponse:
        with room.look() as look:
            return HTMLResponse(queue_page(look.queue(on), room.home, on, show))

    @app.get("/incidents/{incident_id}", response_class=HTMLResponse, include_in_schema=False)
    def incident(incident_id: str) -> HTMLResponse:
        with room.look() as look:
            return HTMLResponse(incident_page(_incident(look, incident_id), look.now))

    @app.get("/healthz", tags=["service"])
    def healthz() -> Health:
        """Whether snapshot and ledger are there and can be read."""
        with room.look() as look:
            return Health(status="ok", snapshot=look.fleet is not None, ledger=look.book is not None)


def _api(app: FastAPI, room: Room) -> None:
    @app.get("/v1/proposals", tags=["proposals"])
    def proposals(
        on: Annotated[date | None, Query(description="The day asked about; by default the newest cycle.")] = None,
        after: Annotated[str | None, Query(description="`next` of the page before.", max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> ProposalPage:
        """Proposals of one cycle in the order of its verdict: the most interruptions to avoid first.

        A cursor stays with its cycle, so paging gives each proposal once even when a newer cycle comes in between.
        """
        with room.look() as look:
            return page(look, on, after, limit)

    @app.get("/v1/incidents", tags=["incidents"])
    def incidents(
        on: Annotated[date | None, Query(description="The day asked about; by default the newest cycle.")] = None,
    ) -> list[Incident]:
        """What hosts that fail had in common when the cycle was decided, the most telling first, with evidence."""
        with room.look() as look:
            cycle = look.cycle(on)
            return look.book.incidents(cycle.cycle_id) if look.book and cycle else []

    @app.get("/v1/proposals/{proposal_id}", tags=["proposals"])
    def proposal(proposal_id: str) -> ProposalView:
        """One proposal with its reasons, prices, VMs and what became of it."""
        with room.look() as look:
            listed = look.book.proposal(proposal_id, look.now) if look.book else None
            if listed is None:
                raise HTTPException(404, f"There is no proposal {proposal_id}. /v1/proposals lists them.")
            return look.views([listed])[0]


def _incident(look: Look, incident_id: str) -> Incident:
    found = look.book.incident(incident_id) if look.book else None
    if found is None:
        raise HTTPException(404, f"There is no incident {incident_id}. /v1/incidents lists those of the newest cycle.")
    return found


def _refusals(app: FastAPI) -> None:
    """Errors as problem+json under /v1, as a page elsewhere."""

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        return _refusal(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    def _nonsense(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return _refusal(request, 422, f"{said}. /openapi.json says what is allowed.")

    @app.exception_handler(ForeshockError)
    def _ours(request: Request, error: ForeshockError) -> Response:
        return _refusal(request, 503, str(error))


_TITLES: Final = {404: "Not found", 405: "Reads only", 422: "That makes no sense", 503: "Cannot be read now"}


def _refusal(request: Request, status: int, detail: str) -> Response:
    title = _TITLES.get(status, "Refused")
    path = request.url.path
    if not path.startswith(("/v1/", "/healthz")):
        return HTMLResponse(refusal_page(title, detail), status)
    instance = path + (f"?{urlencode(request.query_params.multi_items())}" if request.query_params else "")
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": instance}
    return JSONResponse(body, status, media_type=PROBLEM)
