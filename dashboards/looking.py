"""The pages that only look, each with its twin under `/v1`: hosts, fleet, maintenance, audit."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import Depends, FastAPI, Query, Request
from pydantic import BeforeValidator
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from dashboards import audit, maintenance
from dashboards.access.gate import own, owners_may
from dashboards.audit import AuditPage
from dashboards.fleet import FleetView, fleet
from dashboards.host import HostView, host
from dashboards.host_facts import gather_hosts
from dashboards.pages import Sheet, sheet
from dashboards.queue import Look, Room
from dashboards.told import Written, told, written
from decisions.ledger.audit import Filter
from pipelines.maintenance import Maintenance, OwnerMaintenance

AUDIT_SHOWN: Final = 100


_Owner = Annotated[str | None, Query(max_length=200)]
_HostId = Annotated[str | None, Query(max_length=200)]
_Text = Annotated[str, Query(max_length=200)]
_Blank = BeforeValidator(lambda value: None if value == "" else value)
_Day = Annotated[date | None, _Blank]


def routes(app: FastAPI, room: Room) -> None:
    """Add the pages and their twins to the app."""
    _hosts(app, room)
    _fleet(app, room)
    _maintenance(app, room)
    _audit(app, room)


def _hosts(app: FastAPI, room: Room) -> None:
    def gather(host_id: str) -> Callable[[], None]:
        return lambda: room.together("hosts", host_id, gather_hosts)

    @app.get("/hosts", include_in_schema=False)
    def find(id: Annotated[str, Query(max_length=200)]) -> RedirectResponse:  # noqa: A002 - the name in the URL
        return RedirectResponse(f"/hosts/{quote(id.strip(), safe='')}", 303)

    @app.get("/hosts/{host_id:path}", response_class=HTMLResponse, include_in_schema=False)
    def host_page(host_id: str) -> HTMLResponse:
        def made(look: Look) -> Sheet:
            return sheet("host.html", host=host(look, host_id), now=look.now)

        return HTMLResponse(room.shared(("host", host_id), made, gather(host_id)).filled({}))

    @app.get("/v1/hosts/{host_id:path}", tags=["hosts"], response_model=HostView)
    def host_json(host_id: str) -> Response:
        """One host: where it stands, the risk of its parts over time and why, what happened to it, its VMs now."""
        return told(room, ("host", host_id), HostView, lambda look: host(look, host_id), gather(host_id))


def _fleet(app: FastAPI, room: Room) -> None:
    @app.get("/fleet", response_class=HTMLResponse, include_in_schema=False)
    def fleet_page(every: Annotated[int | None, Query(ge=10, le=86_400)] = None) -> HTMLResponse:
        def made(look: Look) -> Sheet:
            return sheet("fleet.html", here="/fleet", fleet=fleet(look), now=look.now, every=every)

        return HTMLResponse(room.shared(("fleet", every), made).filled({}))

    @app.get("/v1/fleet", tags=["fleet"], response_model=FleetView)
    def fleet_json() -> Response:
        """Hosts at risk, what acting came to week by week, open orders, limits in use, telemetry and models."""
        return told(room, "fleet", FleetView, fleet)


def _maintenance(app: FastAPI, room: Room) -> None:
    After = Annotated[str | None, Query(description="`next` of the page before.", max_length=500)]  # noqa: N806

    @app.get("/maintenance", response_class=HTMLResponse, include_in_schema=False)
    @owners_may
    def maintenance_page(
        request: Request,
        owner: _Owner = None,
        host: _HostId = None,
        after: After = None,
        started: _Text = "",
        order_id: _Text = "",
        vm_id: _Text = "",
        reason: Annotated[str, Query(max_length=4_000)] = "",
    ) -> HTMLResponse:
        wanted = maintenance.Wanted(owner or "", host or "", after, own(request, owner or None))
        told = maintenance.told(room, wanted)
        typed = maintenance.Typed(order_id, vm_id, reason)
        return HTMLResponse(maintenance.page_of(told, started=started, typed=typed))

    @app.get("/v1/vms", tags=["maintenance"], response_model=Maintenance)
    @owners_may
    def vms_json(
        request: Request,
        owner: _Owner = None,
        host: _HostId = None,
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> Response:
        """VMs that orders of the last 30 days are about, the newest order first: what is done, offered and chosen."""
        seen = own(request, owner)
        owners = (owner,) if owner is not None else seen
        question = ("vms", owners, host, after, limit, maintenance.wishes(room.home))
        known = maintenance.gather(room, owners)
        return told(room, question, Maintenance, lambda look: maintenance.vms(look, owners, host, after, limit), known)

    @app.get("/v1/owners", tags=["maintenance"], response_model=list[OwnerMaintenance])
    def owners_json() -> Response:
        """How the VMs of each owner stand with their newest orders, those with the most to come first.

        Counted every half minute; `Last-Modified` says when.
        """

        def made(look: Look) -> Written:
            counts = maintenance.owners(look)
            return written(list[OwnerMaintenance], list(counts.owners), as_of=counts.counted_at)

        return room.shared("v1 owners", made).response()


def _audit(app: FastAPI, room: Room) -> None:
    def wanted(person: _Owner = None, host: _HostId = None, day: _Day = None) -> Filter:
        return Filter(person or None, host or None, day)

    Wanted = Annotated[Filter, Depends(wanted)]  # noqa: N806 - a type
    After = Annotated[int | None, Query(description="`next` of the page before.", ge=1, le=2**53)]  # noqa: N806

    @app.get("/audit", response_class=HTMLResponse, include_in_schema=False)
    def audit_page(only: Wanted, after: After = None, verify: bool = False) -> HTMLResponse:
        def made(look: Look) -> Sheet:
            found = audit.page(look, only, after, AUDIT_SHOWN, verify=verify)
            facts = {"found": found, "only": only, "after": after, "now": look.now}
            return sheet("audit.html", here="/audit", simulated=look.freshness.simulated, **facts)

        shown = room.apart(made) if verify else room.shared(("audit", only, after), made)
        return HTMLResponse(shown.filled({}))

    @app.get("/v1/audit", tags=["audit"], response_model=AuditPage)
    def audit_json(
        only: Wanted,
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        verify: Annotated[bool, Query(description="Check the whole chain, which takes a while.")] = False,
    ) -> Response:
        """The history, the newest record first: who, what, why, when, and whether the chain verifies."""

        def made(look: Look) -> Written:
            return written(AuditPage, audit.page(look, only, after, limit, verify=verify))

        shown = room.apart(made) if verify else room.shared(("v1 audit", only, after, limit), made)
        return shown.response()

    @app.get("/v1/audit.csv", tags=["audit"], response_class=StreamingResponse)
    def audit_csv(only: Wanted) -> StreamingResponse:
        """All wanted records as CSV."""
        return _file(audit.table(room, only), "text/csv; charset=utf-8", "audit.csv")

    @app.get("/v1/audit.jsonl", tags=["audit"], response_class=StreamingResponse)
    def audit_lines(only: Wanted) -> StreamingResponse:
        """All wanted records as JSON, one a line."""
        return _file(audit.lines(room, only), "application/jsonl", "audit.jsonl")


def _file(content: Iterator[str], kind: str, name: str) -> StreamingResponse:
    return StreamingResponse(
        content, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'}
    )
