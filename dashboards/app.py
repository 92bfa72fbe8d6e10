"""The review app: a night's proposals with reasons, a page to decide on each, and the same as JSON.

Every request opens the published snapshot and the ledger by itself, so no page ever waits for the pipeline. What
changes something stands behind the gate (`dashboards.access.gate`) and goes into the ledger; all else only reads.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal
from urllib.parse import urlencode, urlsplit

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from dashboards import looking
from dashboards.access import kept, login, oidc
from dashboards.access.gate import ComeBack, Gate, LoginNeeded, OwnersFront, SentInVain, asked
from dashboards.access.login import Door
from dashboards.api import Health, ProposalPage, every, page
from dashboards.deciding import Desk, api, forms, found, windows
from dashboards.ledger_view import LedgerView
from dashboards.measures import measure
from dashboards.metrics import CONTENT_TYPE, exposition
from dashboards.pages import SHOWN_BESIDES, Sheet, incident_sheet, passing_page, queue_sheet, refusal_page
from dashboards.picking import Wanted
from dashboards.problem import PROBLEM, Problem, described
from dashboards.queue import Clock, Look, Room
from dashboards.ready import make_ready
from dashboards.security import ByTlsOnly, SecurityHeaders, SmallBodies
from dashboards.told import Written, told, written
from dashboards.views import ProposalView
from dashboards.words import Section
from data.errors import ForeshockError, UsageError
from decisions.incidents.values import Incident
from decisions.ledger.listing import Selection
from decisions.ledger.values import Standing
from decisions.policy import load as load_policy
from pipelines.settings import LedgerSettings, Settings

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "::1", "[::1]")


def create_app(home: Path, ledger_url: str, *, clock: Clock | None = None, settings: Settings | None = None) -> FastAPI:
    """The app on the snapshot under `home` and the ledger at the SQLAlchemy URL; neither has to exist yet.

    Args:
        home: State folder, `FORESHOCK_HOME`.
        ledger_url: SQLAlchemy URL; opened to read only, but for what a person decides.
        clock: Whose time it is; by default the wall's, or the end of the last day held where the fleet is simulated.
        settings: Who may do what, and how orders are called back; by default as shipped.

    Raises:
        LedgerError: The URL makes no sense.
        SettingsError: The identity provider is set up in part.
    """
    settings = (settings or Settings()).model_copy(update={"home": home, "ledger": LedgerSettings(url=ledger_url)})
    view = LedgerView(ledger_url)
    room = Room(home, view, clock, settings.policy.path, make_ready, memory_limit=settings.warehouse.memory_limit)
    gate = Gate(view, required=settings.review.authentication == "required")
    app = FastAPI(
        title="Foreshock review",
        summary="Tonight's proposals with their reasons, and what people say to them.",
        version="1",
        docs_url=None,
        redoc_url=None,
        responses=described(404, 422, 503),
        dependencies=gate.dependencies(),
    )
    door, desk = Door(view, settings), Desk(room, settings)
    login.routes(app, door)
    oidc.routes(app, door)
    names = [*LOOPBACK_NAMES, *filter(None, [urlsplit(settings.review.url).hostname])]
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)
    app.add_middleware(SmallBodies)
    if settings.review.proxy_addresses:
        app.add_middleware(ByTlsOnly)
    app.add_middleware(SecurityHeaders)
    files = StaticFiles(directory=Path(__file__).parent / "static", packages=[("plotly", "package_data")])
    app.mount("/static", files, name="static")
    _refusals(app, door)
    _pages(app, room)
    looking.routes(app, room)
    forms.routes(app, desk)
    windows.routes(app, desk)
    _api(app, room)
    api.routes(app, desk)
    _metrics(app, room, settings.policy.path)
    return app


def _pages(app: FastAPI, room: Room) -> None:
    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def queue(
        on: date | None = None,
        show: Section | None = None,
        incident: Annotated[str | None, Query(max_length=200)] = None,
        page: Annotated[int, Query(ge=1, le=10_000)] = 1,
    ) -> HTMLResponse:
        wanted = Wanted(on, show, incident, page)

        def made(look: Look) -> Sheet:
            return queue_sheet(look.queue(wanted), room.home, wanted)

        return HTMLResponse(room.shared(wanted, made).filled({}))

    @app.get("/incidents/{incident_id}", response_class=HTMLResponse, include_in_schema=False)
    def incident(incident_id: str) -> HTMLResponse:
        def made(look: Look) -> Sheet:
            listed = look.book.sharing(incident_id, look.now, SHOWN_BESIDES) if look.book else []
            return incident_sheet(_incident(look, incident_id), look.views(listed), look.now)

        return HTMLResponse(room.shared(("incident", incident_id), made).filled({}))

    @app.get("/healthz", tags=["service"])
    def healthz() -> Health:
        """Whether snapshot and ledger are there and can be read."""
        with room.look() as look:
            return Health(status="ok", snapshot=look.fleet is not None, ledger=look.book is not None)


def _metrics(app: FastAPI, room: Room, policy: Path | None) -> None:
    @app.get("/metrics", response_class=Response, include_in_schema=False)
    def metrics() -> Response:
        with room.look() as look:
            measures = measure(look, load_policy(policy), datetime.now(UTC))
        return Response(exposition(measures), media_type=CONTENT_TYPE)


def _api(app: FastAPI, room: Room) -> None:
    @app.get("/v1/proposals", tags=["proposals"], response_model=ProposalPage)
    def proposals(
        on: Annotated[date | None, Query(description="The day asked about; by default the newest cycle.")] = None,
        after: Annotated[str | None, Query(description="`next` of the page before.", max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cycle: Annotated[Literal["one", "all"], Query(description="All: whichever cycle made them.")] = "one",
        host: Annotated[str | None, Query(description="Only of that host; with `cycle=all`.", max_length=200)] = None,
        standing: Annotated[Standing | None, Query(description="Only those; with `cycle=all`.")] = None,
    ) -> Response:
        """Proposals of one cycle in the order of its verdict: the most interruptions to avoid first.

        A cursor stays with its cycle, so paging gives each proposal once even when a newer cycle comes in between.
        With `cycle=all` those of all cycles, the newest first; `standing=waiting` is what waits for a person.
        """
        if cycle == "one":
            if host is not None or standing is not None:
                raise HTTPException(422, "`host` and `standing` go with `cycle=all`. Add that, or leave them out.")
            return told(room, ("proposals", on, after, limit), ProposalPage, lambda look: page(look, on, after, limit))
        if on is not None:
            raise HTTPException(422, "`on` names one cycle, and `cycle=all` asks for all. Leave one of them out.")
        wanted = Selection(host, standing)
        question = ("proposals of all cycles", wanted, after, limit)
        return told(room, question, ProposalPage, lambda look: every(look, wanted, after, limit))

    @app.get("/v1/incidents", tags=["incidents"], response_model=list[Incident])
    def incidents(
        on: Annotated[date | None, Query(description="The day asked about; by default the newest cycle.")] = None,
    ) -> Response:
        """What hosts that fail had in common when the cycle was decided, the most telling first, with evidence."""

        def made(look: Look) -> list[Incident]:
            cycle = look.cycle(on)
            return look.book.incidents(cycle.cycle_id) if look.book and cycle else []

        return told(room, ("incidents", on), list[Incident], made)

    @app.get("/v1/proposals/{proposal_id}", tags=["proposals"], response_model=ProposalView)
    def proposal(proposal_id: str) -> Response:
        """One proposal with its reasons, prices, VMs and what became of it; its ETag is what a decision names."""

        def made(look: Look) -> Written:
            view = look.views([found(look, proposal_id)])[0]
            return written(ProposalView, view, view.etag)

        return room.shared(("v1 proposal", proposal_id), made).response()


def _incident(look: Look, incident_id: str) -> Incident:
    found = look.book.incident(incident_id) if look.book else None
    if found is None:
        raise HTTPException(404, f"There is no incident {incident_id}. /v1/incidents lists those of the newest cycle.")
    return found


def _refusals(app: FastAPI, door: Door) -> None:
    """Errors as problem+json under /v1, as a page elsewhere."""

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        more = error.more if isinstance(error, Problem) else {}
        said = str(error.detail) if error.detail not in _UNSAID else _UNSAID[error.detail].format(asked(request))
        return _refusal(request, error.status_code, said, error.headers, more)

    @app.exception_handler(SentInVain)
    async def _in_vain(request: Request, error: SentInVain) -> Response:
        return await kept.answer(door, request, error)

    @app.exception_handler(LoginNeeded)
    def _login(request: Request, _error: LoginNeeded) -> Response:
        return RedirectResponse(f"/login?{urlencode({'next': asked(request)})}", 303)

    @app.exception_handler(OwnersFront)
    def _front(_request: Request, _error: OwnersFront) -> Response:
        return RedirectResponse("/maintenance", 303)

    @app.exception_handler(ComeBack)
    def _come_back(request: Request, _error: ComeBack) -> Response:
        return HTMLResponse(passing_page(asked(request)))

    @app.exception_handler(RequestValidationError)
    def _nonsense(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return _refusal(request, 422, f"{said}. /openapi.json says what is allowed.")

    @app.exception_handler(ForeshockError)
    def _ours(request: Request, error: ForeshockError) -> Response:
        return _refusal(request, 422 if isinstance(error, UsageError) else 503, str(error))


_UNSAID: Final = {
    "Not Found": "There is nothing at {}. /openapi.json lists what programs find here, the links above what people do.",
    "Method Not Allowed": "{} cannot be asked like this. /openapi.json says how.",
}
"""What the framework says of addresses that it does not know, in our words."""
_TITLES: Final = {
    401: "Log in first",
    403: "You may not",
    404: "Not found",
    405: "Not like this",
    409: "That cannot be done now",
    412: "Somebody was first",
    422: "That makes no sense",
    428: "Say what you have seen",
    503: "Not available now",
}


def _refusal(
    request: Request,
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, object] = MappingProxyType({}),
) -> Response:
    title = _TITLES.get(status, "Refused")
    if not request.scope["path"].startswith(("/v1/", "/healthz")):
        return HTMLResponse(refusal_page(title, detail), status, headers)
    told = {"type": "about:blank", "title": title, "status": status, "detail": detail, "instance": asked(request)}
    return JSONResponse({**told, **more}, status, headers, media_type=PROBLEM)
