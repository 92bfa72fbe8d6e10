"""Starting what the owner of a VM was offered, on the maintenance page: a form that works without scripts."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import FastAPI, Form
from fastapi.responses import HTMLResponse
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dashboards import maintenance
from dashboards.access.gate import decider
from dashboards.deciding import Desk, StartRequest
from dashboards.deciding.forms import what_is_wrong
from data.errors import ExecutorError, Refused, SettingsError

_Short = Annotated[str, Form(max_length=200)]
_Long = Annotated[str, Form(max_length=4_000)]


def routes(app: FastAPI, desk: Desk) -> None:
    """Put the form's route into the app."""

    @app.get("/maintenance/start", include_in_schema=False)
    def asked_again() -> Response:
        """Who loads the address anew that the form went to finds the page."""
        return RedirectResponse("/maintenance", 303)

    @app.post("/maintenance/start", response_class=HTMLResponse, include_in_schema=False)
    def start(
        request: Request,
        order_id: _Short = "",
        vm_id: _Short = "",
        reason: _Long = "",
        owner: _Short = "",
        host: _Short = "",
    ) -> Response:
        listed = desk.ordered(order_id)
        person = decider(request, listed.proposal.pool)

        def again(status: int, refused: str) -> Response:
            """The page, saying why nothing was started, with what was typed."""
            about = host or ("" if owner else listed.proposal.host_id)
            typed = maintenance.Typed(order_id, vm_id, reason)
            page = maintenance.page_of(maintenance.told(desk.room, owner, about), refused=refused, typed=typed)
            return HTMLResponse(page, status)

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
