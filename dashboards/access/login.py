"""Logging in and out: a token pasted into a form makes a session; who guesses is kept waiting."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import FastAPI, Form, Query
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dashboards.access import cookies
from dashboards.access.gate import owners_may, person_of
from dashboards.ledger_view import LedgerView
from dashboards.pages import login_page
from decisions.access import Access, keep
from decisions.access.values import Person
from pipelines.settings import Settings

LOG: Final = logging.getLogger(__name__)
LONGEST: Final = 200
"""Characters of a token that are looked at."""
MOST_AHEAD: Final = 30_000
"""Characters of the address to go to after a login, which may hold a reason that was typed."""


@dataclass(frozen=True)
class Door:
    """Where people log in."""

    ledger: LedgerView
    settings: Settings
    guesses: MovingWindowRateLimiter = field(default_factory=lambda: MovingWindowRateLimiter(MemoryStorage()))
    """In this process's memory."""

    def form(self, request: Request, ahead: str, said: str = "", status: int = 200) -> Response:
        """The login form, bound to a cookie."""
        cookie = request.cookies.get(cookies.BEFORE) or cookies.fresh()
        by_provider = bool(self.settings.review.oidc.issuer)
        shown = login_page(cookies.csrf(cookie), cookies.ahead(ahead), said, by_provider=by_provider)
        response = HTMLResponse(shown, status)
        cookies.put(response, request, cookies.BEFORE, cookie)
        return response

    def enter(self, request: Request, token: str, ahead: str) -> Response:
        """The session's beginning, or the form again."""
        review = self.settings.review
        limit = RateLimitItemPerMinute(review.failed_logins, review.failed_logins_minutes)
        asker = request.client.host if request.client else "unknown"
        if not self.guesses.test(limit, asker):
            said = f"Too many failed logins. Wait {review.failed_logins_minutes} minutes."
            response = self.form(request, ahead, said, 429)
            response.headers["retry-after"] = str(review.failed_logins_minutes * 60)
            return response
        with self.ledger.open() as book:
            person = keep.bearer(book.con, token.strip()[:LONGEST], datetime.now(UTC)) if book else None
        if person is None:
            self.guesses.hit(limit, asker)
            LOG.warning("A login from %s failed.", asker)
            return self.form(request, ahead, "That token is unknown, expired or revoked.", 401)
        response = RedirectResponse(cookies.ahead(ahead), 303)
        self.seat(request, response, person)
        return response

    def seat(self, request: Request, response: Response, person: Person) -> None:
        """Give the browser a session of the person's."""
        now = datetime.now(UTC)
        until = now + timedelta(hours=self.settings.review.session_hours)
        with Access(self.settings.ledger_url) as access:
            cookie = access.begin(person, now, until)
        cookies.put(response, request, cookies.SESSION, cookie, min(until, person.expires_at or until))
        cookies.drop(response, request, cookies.BEFORE)

    def leave(self, request: Request) -> Response:
        """The session's end."""
        cookie, person = request.cookies.get(cookies.SESSION, ""), person_of(request)
        with Access(self.settings.ledger_url) as access:
            access.end(cookie, person.name if person else "unknown", datetime.now(UTC))
        response = RedirectResponse("/", 303)
        cookies.drop(response, request, cookies.SESSION)
        return response


def routes(app: FastAPI, door: Door) -> None:
    """Put the login's routes into the app."""

    @app.get("/login", response_class=HTMLResponse, include_in_schema=False)
    def form(request: Request, ahead: Annotated[str, Query(alias="next", max_length=MOST_AHEAD)] = "/") -> Response:
        return door.form(request, ahead)

    @app.post("/login", response_class=HTMLResponse, include_in_schema=False)
    def enter(
        request: Request,
        token: Annotated[str, Form(max_length=2_000)] = "",
        ahead: Annotated[str, Form(alias="next", max_length=MOST_AHEAD)] = "/",
        csrf: Annotated[str, Form(max_length=200)] = "",
    ) -> Response:
        if not cookies.matches(request.cookies.get(cookies.BEFORE, ""), csrf):
            said = "This form was made before another login, so it logs nobody in. Log in with this one instead."
            return door.form(request, ahead, said, 403)
        return door.enter(request, token, ahead)

    @app.post("/logout", include_in_schema=False)
    @owners_may
    def leave(request: Request) -> Response:
        return door.leave(request)
