"""Deciding on a page: forms that work without scripts, and go back to the page with a sentence of what was done."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import FastAPI, Form, Query
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dashboards import words
from dashboards.access import cookies
from dashboards.access.gate import decider, person_of
from dashboards.deciding import DecisionRequest, Desk, found
from dashboards.desk import desk_view
from dashboards.evidence import evidence
from dashboards.pages import Decision, Typed, decision, decision_page, drawn
from dashboards.queue import Look
from data.errors import Changed, ForeshockError, Refused, UsageError
from decisions.domain import Proposal
from decisions.ledger.said import Condition, Say

_Short = Annotated[str, Form(max_length=200)]
_Long = Annotated[str, Form(max_length=4_000)]
_Asked = Annotated[str, Query(max_length=4_000)]
_HELD: Final = frozenset({Say.VETO, Say.SNOOZE})


@dataclass(frozen=True)
class Page:
    """The page of a proposal, as it stands."""

    desk: Desk

    def show(self, proposal_id: str, request: Request, typed: Typed, *, done: bool) -> Response:
        """The page; after a decision with a sentence of what was done, after a login with what was typed before."""
        told, person = self._told(proposal_id), person_of(request)
        view = told.desk.proposal
        said = words.done(view, person.name, told.desk.now) if done and person is not None else ""
        page = decision_page(told, cookies.fresh(), self._now(told), said=said, typed=typed)
        return HTMLResponse(page, headers=_etag(view.etag))

    def again(self, proposal_id: str, status: int, refused: str, typed: Typed) -> Response:
        """The page, saying why what was asked has not been done, with what was typed."""
        told = self._told(proposal_id)
        page = decision_page(told, cookies.fresh(), self._now(told), refused=refused, typed=typed)
        return HTMLResponse(page, status, _etag(told.desk.proposal.etag))

    def _told(self, proposal_id: str) -> Decision:
        def made(look: Look) -> Decision:
            listed = found(look, proposal_id)
            seen = replace(look, gathered=self.desk.room.is_ready(look, listed.proposal.asof_at))
            return decision(desk_view(seen, listed), _evidence(seen, listed.proposal), ready=seen.gathered)

        return self.desk.room.shared(("decision", proposal_id), made)

    def _now(self, told: Decision) -> datetime:
        """What a countdown counts from: the page may have been made within the last minute."""
        return self.desk.room.moment() if told.desk.ticks else told.desk.now


def routes(app: FastAPI, desk: Desk) -> None:
    """Put the page and its forms into the app."""
    page = Page(desk)

    @app.get("/proposals/{proposal_id}", response_class=HTMLResponse, include_in_schema=False)
    def show(
        request: Request,
        proposal_id: str,
        *,
        done: bool = False,
        reason: _Asked = "",
        hours: _Asked = "",
        to: _Asked = "",
    ) -> Response:
        return page.show(proposal_id, request, Typed(reason, hours, to), done=done)

    @app.get("/proposals/{proposal_id}/decisions", include_in_schema=False)
    @app.get("/proposals/{proposal_id}/stop", include_in_schema=False)
    def asked_again(proposal_id: str) -> Response:
        """Who loads the address anew that a form went to finds the page."""
        return RedirectResponse(f"/proposals/{quote(proposal_id, safe='')}", 303)

    @app.post("/proposals/{proposal_id}/decisions", response_class=HTMLResponse, include_in_schema=False)
    def decide(
        request: Request,
        proposal_id: str,
        verdict: _Short = "",
        etag: _Short = "",
        key: _Short = "",
        reason: _Long = "",
        hours: _Short = "",
        to: _Short = "",
    ) -> Response:
        listed, now = desk.seen(proposal_id)
        person = decider(request, listed.proposal.pool)
        typed = Typed(reason, hours, to)
        try:
            asked = _asked(verdict, typed)
            desk.decide(person, proposal_id, now, asked, Condition(etag, key or None))
        except ForeshockError as error:
            return page.again(proposal_id, _status(error), str(error), typed)
        return RedirectResponse(f"/proposals/{quote(proposal_id, safe='')}?done=1", 303)

    @app.post("/proposals/{proposal_id}/stop", response_class=HTMLResponse, include_in_schema=False)
    def stop(request: Request, proposal_id: str, reason: _Long = "") -> Response:
        listed, now = desk.seen(proposal_id)
        person = decider(request, listed.proposal.pool)
        typed = Typed(reason)
        if not reason.strip() or listed.order_id is None:
            return page.again(proposal_id, 422, "Stopping an order needs a reason, and an order. Say why.", typed)
        try:
            desk.stop(person, listed.order_id, reason, now)
        except ForeshockError as error:
            return page.again(proposal_id, _status(error), str(error), typed)
        return RedirectResponse(f"/proposals/{quote(proposal_id, safe='')}?done=1", 303)


def _evidence(look: Look, proposal: Proposal) -> Markup:
    """The evidence for the proposal, drawn once for each snapshot: neither of them changes."""
    if look.around is None:
        return Markup()
    return look.around.pane.drawn.get(proposal.proposal_id, lambda: drawn(evidence(look, proposal)))


def _asked(verdict: str, typed: Typed) -> DecisionRequest:
    """What the form asks for.

    Raises:
        UsageError: It makes no sense.
    """
    if not typed.reason.strip():
        msg = "A decision needs a reason, for whoever is on call next. Say why."
        raise UsageError(msg)
    said = {"verdict": verdict, "reason": typed.reason}
    if typed.hours and verdict in _HELD:
        said["hours"] = typed.hours
    if verdict == Say.HAND_OVER:
        said["to"] = typed.to
    try:
        return DecisionRequest.model_validate(said)
    except ValidationError as error:
        raise UsageError(what_is_wrong(error)) from error


def what_is_wrong(error: ValidationError) -> str:
    """What in a form makes no sense, as a sentence."""
    told = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'form'}: {each['msg']}" for each in error.errors())
    return f"{told}. Correct it and send the form again."


def _status(error: Exception) -> int:
    if isinstance(error, Changed):
        return 412
    if isinstance(error, Refused):
        return 409
    return 422 if isinstance(error, UsageError) else 503


def _etag(etag: str) -> dict[str, str]:
    return {"etag": f'"{etag}"'}
