"""The pages that only look, each with its twin under `/v1`: hosts, fleet, maintenance, audit."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import Depends, FastAPI, Query
from pydantic import BeforeValidator
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from dashboards import audit, maintenance
from dashboards.audit import AuditPage
from dashboards.fleet import FleetView, fleet
from dashboards.host import HostView, host
from dashboards.pages import Sheet, sheet
from dashboards.queue import Look, Room
from dashboards.told import told
from decisions.ledger.audit import Filter
from pipelines.maintenance import Maintenance, OwnerMaintenance

AUDIT_SHOWN: Final = 100


_Owner = Annotated[str | None, Query(max_length=200)]
_HostId = Annotated[str | None, Query(max_length=200)]
_Blank = BeforeValidator(lambda value: None if value == "" else value)
_Day = Annotated[date | None, _Blank]


def routes(app: FastAPI, room: Room) -> None:
    """Add the pages and their twins to the app."""
    _hosts(app, room)
    _fleet(app, room)
    _maintenance(app, room)
    _audit(app, room)


def _hosts(app: FastAPI, room: Room) -> None:
    @app.get("/hosts", include_in_schema=False)
    def find(id: Annotated[str, Query(max_length=200)]) -> RedirectResponse:  # noqa: A002 - the name in the URL
        return RedirectResponse(f"/hosts/{quote(id.strip(), safe='')}", 303)

    @app.get("/hosts/{host_id}", response_class=HTMLResponse, include_in_schema=False)
    def host_page(host_id: str) -> HTMLResponse:
        def made(look: Look) -> Sheet:
            return sheet("host.html", host=host(look, host_id), now=look.now)

        return HTMLResponse(room.shared(("host", host_id), made).filled({}))

    @app.get("/v1/hosts/{host_id}", tags=["hosts"], response_model=HostView)
    def host_json(host_id: str) -> Response:
        """One host: where it stands, the risk of its parts over time and why, what happened to it, its VMs now."""
        return told(room, ("host", host_id), HostView, lambda look: host(look, host_id))


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
    def maintenance_page(owner: _Owner = None, host: _HostId = None, after: After = None) -> HTMLResponse:
        def made(look: Look) -> Sheet:
            found = maintenance.vms(look, owner or None, host or None, after, maintenance.SHOWN)
            counts = maintenance.owners(look) if not (owner or host or after) else None
            shown = {"found": found, "counts": counts, "owner": owner or "", "host": host or "", "now": look.now}
            return sheet("maintenance.html", here="/maintenance", simulated=look.freshness.simulated, **shown)

        question = ("maintenance", owner, host, after, maintenance.wishes(room.home))
        return HTMLResponse(room.shared(question, made).filled({}))

    @app.get("/v1/vms", tags=["maintenance"], response_model=Maintenance)
    def vms_json(
        owner: _Owner = None,
        host: _HostId = None,
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> Response:
        """VMs that orders of the last 30 days are about, the newest order first: what is done, offered and chosen."""
        question = ("vms", owner, host, after, limit, maintenance.wishes(room.home))
        return told(room, question, Maintenance, lambda look: maintenance.vms(look, owner, host, after, limit))

    @app.get("/v1/owners", tags=["maintenance"], response_model=list[OwnerMaintenance])
    def owners_json() -> Response:
        """How the VMs of each owner stand with their newest orders, those with the most to come first."""
        return told(room, "owners", list[OwnerMaintenance], lambda look: list(maintenance.owners(look).owners))


def _audit(app: FastAPI, room: Room) -> None:
    def wanted(person: _Owner = None, host: _HostId = None, day: _Day = None) -> Filter:
        return Filter(person or None, host or None, day)

    Wanted = Annotated[Filter, Depends(wanted)]  # noqa: N806 - a type
    After = Annotated[int | None, Query(description="`next` of the page before.", ge=1, le=2**53)]  # noqa: N806

    @app.get("/audit", response_class=HTMLResponse, include_in_schema=False)
    def audit_page(only: Wanted, after: After = None, verify: bool = False) -> HTMLResponse:
        def made(look: Look) -> Sheet:
            found = audit.page(look, only, after, AUDIT_SHOWN, verify=verify)
            shown = {"found": found, "only": only, "after": after, "now": look.now}
            return sheet("audit.html", here="/audit", simulated=look.freshness.simulated, **shown)

        return HTMLResponse(room.shared(("audit", only, after, verify), made).filled({}))

    @app.get("/v1/audit", tags=["audit"], response_model=AuditPage)
    def audit_json(
        only: Wanted,
        after: After = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        verify: Annotated[bool, Query(description="Check the whole chain, which takes a while.")] = False,
    ) -> Response:
        """The history, the newest record first: who, what, why, when, and whether the chain verifies."""
        question = ("audit", only, after, limit, verify)
        return told(room, question, AuditPage, lambda look: audit.page(look, only, after, limit, verify=verify))

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
