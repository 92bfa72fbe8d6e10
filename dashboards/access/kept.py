"""A form that was sent and cannot be taken, because its login has ended or is another: what was typed is kept."""

from typing import Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dashboards.access.gate import SentInVain
from dashboards.access.login import Door
from dashboards.pages import refusal_page

_TYPED: Final = ("reason", "hours", "to", "owner", "host", "order_id", "vm_id")
"""Fields that are a person's, or say where on the page they belong."""


async def answer(door: Door, request: Request, error: SentInVain) -> Response:
    """The login, or a way back to the page; after either the page has what was typed."""
    back = await _page(request)
    if error.status_code == 401 and request.scope["path"] == "/logout":
        return RedirectResponse(back, 303)  # whoever wants to log out is
    if error.status_code == 401:
        said = "Your login has ended, so nothing was done. Log in again: what you typed is kept."
        return door.form(request, back, said, 401)
    said = "This page was opened before you logged in anew, so nothing was done. Go back and send it once more."
    return HTMLResponse(refusal_page("Not done", said, (back, "Back to it, with what you typed")), error.status_code)


async def _page(request: Request) -> str:
    """The page that the form stood on, with what was typed."""
    path, form = request.scope["path"], await request.form()
    typed = {name: value for name in _TYPED if isinstance(value := form.get(name), str) and value}
    page = path.rsplit("/", 1)[0]
    if not page.startswith(("/proposals/", "/maintenance")):
        return "/"
    return f"{quote(page)}?{urlencode(typed)}" if typed else quote(page)
