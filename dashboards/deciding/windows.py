"""Starting what the owner of a VM was offered, on the maintenance page: a form that works without scripts."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import FastAPI, Form
from fastapi.responses import HTMLResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dashboards import maintenance
from dashboards.access.gate import decider, own, owners_may, person_of
from dashboards.deciding import Desk, StartRequest
from dashboards.deciding.forms import what_is_wrong
from data.errors import ExecutorError, Refused, SettingsError
from decisions.access.values import Person
from decisions.ledger.values import ListedProposal

_Short = Annotated[str, Form(max_length=200)]
_Long = Annotated[str, Form(max_length=4_000)]


def starter(desk: Desk, request: Request, order_id: str, vm_id: str) -> tuple[Person, ListedProposal]:
    """Who asks, if they may start the VM, and the proposal that the order came from.

    Those who decide for the host's pool may, and those who speak for the VM's owner.

    Raises:
        HTTPException: 403, they may not; 404, there is no such order or, to those who see only the VMs of owners they
            speak for, none that is about a VM of theirs of that name.
    """
    person = person_of(request)
    with desk.room.look() as look:
        owned = person is not None and maintenance.speaks_for(look, person, order_id, vm_id)
    if person is not None and not person.role.looks and not owned:
        raise HTTPException(404, f"No order {order_id} is about a VM {vm_id} of yours. /v1/vms lists those that are.")
    listed = desk.ordered(order_id)
    return person if person is not None and owned else decider(request, listed.proposal.pool), listed


def routes(app: FastAPI, desk: Desk) -> None:
    """Put the form's route into the app."""

    @app.get("/maintenance/start", include_in_schema=False)
    @owners_may
    def asked_again() -> Response:
        """Who loads the address anew that the form went to finds the page."""
        return RedirectResponse("/maintenance", 303)

    @app.post("/maintenance/start", response_class=HTMLResponse, include_in_schema=False)
    @owners_may
    def start(
        request: Request,
        order_id: _Short = "",
        vm_id: _Short = "",
        reason: _Long = "",
        owner: _Short = "",
        host: _Short = "",
    ) -> Response:
        seen = own(request, owner or None)
        person, listed = starter(desk, request, order_id, vm_id)

        def again(status: int, refused: str) -> Response:
            """The page, saying why nothing was started, with what was typed."""
            about = host or ("" if owner else listed.proposal.host_id)
            typed = maintenance.Typed(order_id, vm_id, reason)
            told = maintenance.told(desk.room, maintenance.Wanted(owner, about, own=seen))
            return HTMLResponse(maintenance.page_of(told, refused=refused, typed=typed), status)

        try:
            if not reason.strip():
                return again(422, "Starting a VM takes a reason: who asked for it, and how.")
            desk.start(person, order_id, StartRequest(vm_id=vm_id, reason=reason))
        except ValidationError as error:
            return again(422, what_is_wrong(error))
        except Refused as error:
            return again(409, str(error))
        except (ExecutorError, SettingsError) as error:
            return again(503, str(error))
        asked = {"owner": owner, "host": host, "started": vm_id}
        return RedirectResponse(f"/maintenance?{urlencode({k: v for k, v in asked.items() if v})}", 303)
