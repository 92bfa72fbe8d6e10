"""The pages that only look, each with its twin under `/v1`: hosts, fleet, maintenance, audit."""

from typing import Annotated, Final
from urllib.parse import quote

from fastapi import FastAPI, Query
from starlette.responses import HTMLResponse, RedirectResponse

from dashboards.fleet import FleetView, fleet
from dashboards.host import HostView, host
from dashboards.pages import page
from dashboards.queue import Room

REFRESH_SECONDS: Final = 60
"""A page on a wall loads itself anew so often."""


def routes(app: FastAPI, room: Room) -> None:
    """Add the pages and their twins to the app."""
    _hosts(app, room)
    _fleet(app, room)


def _hosts(app: FastAPI, room: Room) -> None:
    @app.get("/hosts", include_in_schema=False)
    def find(id: Annotated[str, Query(max_length=200)]) -> RedirectResponse:  # noqa: A002 - the name in the URL
        return RedirectResponse(f"/hosts/{quote(id.strip(), safe='')}", 303)

    @app.get("/hosts/{host_id}", response_class=HTMLResponse, include_in_schema=False)
    def host_page(host_id: str) -> HTMLResponse:
        with room.look() as look:
            return HTMLResponse(page("host.html", host=host(look, host_id), now=look.now))

    @app.get("/v1/hosts/{host_id}", tags=["hosts"])
    def host_json(host_id: str) -> HostView:
        """One host: where it stands, the risk of its parts over time and why, what happened to it, its VMs now."""
        with room.look() as look:
            return host(look, host_id)


def _fleet(app: FastAPI, room: Room) -> None:
    @app.get("/fleet", response_class=HTMLResponse, include_in_schema=False)
    def fleet_page() -> HTMLResponse:
        with room.look() as look:
            return HTMLResponse(
                page("fleet.html", here="/fleet", fleet=fleet(look), now=look.now, refresh=REFRESH_SECONDS)
            )

    @app.get("/v1/fleet", tags=["fleet"])
    def fleet_json() -> FleetView:
        """Hosts at risk, what acting came to week by week, open orders, limits in use, telemetry and models."""
        with room.look() as look:
            return fleet(look)
