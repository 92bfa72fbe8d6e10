"""The gate before every route: who asks, and whether they may. What changes something is shut unless it opens it.

To whoever sees only the VMs of owners they speak for, every route is shut that does not say `owners_may`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar, cast
from urllib.parse import quote

from fastapi import Depends, params
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request

from dashboards.access import cookies
from dashboards.asker import ASKER, Asker
from dashboards.ledger_view import LedgerView
from decisions.access import keep
from decisions.access.values import Person

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
ALWAYS_OPEN: Final = frozenset({"/login", "/login/oidc", "/login/oidc/back", "/healthz"})
DESCRIBED: Final = HTTPBearer(auto_error=False, description="A token of `foreshock tokens create`.")
"""For OpenAPI alone: the gate looks at the token."""
FRONT: Final = "/"
SHOW_TOKEN: Final = {"www-authenticate": 'Bearer realm="foreshock"'}


R = TypeVar("R", bound=Callable[..., Any])
_OPENED: Final = "owners_may"


def owners_may(route: R) -> R:
    """The route, open also to those who see only the VMs of owners they speak for: it shows and starts no other's."""
    setattr(route, _OPENED, True)
    return route


class OwnersFront(Exception):
    """Whoever sees only the VMs of owners they speak for asked for the front page, and theirs is another."""


class LoginNeeded(Exception):
    """A person in a browser is asked to log in first."""


class ComeBack(Exception):
    """A browser that followed a link from another site kept our cookie back; asked from our own page it sends it."""


class SentInVain(HTTPException):
    """A form without a login (401), or of a page that was made for another login (403)."""


@dataclass(frozen=True)
class Gate:
    """What stands before every route."""

    ledger: LedgerView
    required: bool
    """Whether reading takes a login, too."""

    async def identify(self, request: Request) -> Person | None:
        """Who asks, into `request.state.person`; None: nobody in particular.

        Raises:
            HTTPException: 401, a token is shown that does not hold.
        """
        shows = "authorization" in request.headers or cookies.SESSION in request.cookies
        request.state.person = person = await run_in_threadpool(self._held, request) if shows else None
        return person

    def _held(self, request: Request) -> Person | None:
        return self._bearer(request) or self._session(request)

    def _bearer(self, request: Request) -> Person | None:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return None
        with self.ledger.open() as book:
            known = book if scheme.lower() == "bearer" else None
            person = keep.bearer(known.con, secret.strip(), datetime.now(UTC)) if known else None
        if person is None:
            msg = "The token is unknown, expired or revoked. `foreshock tokens create` makes one."
            raise HTTPException(401, msg, SHOW_TOKEN)
        return person

    def _session(self, request: Request) -> Person | None:
        cookie = request.cookies.get(cookies.SESSION)
        if not cookie:
            return None
        with self.ledger.open() as book:
            return keep.holder(book.con, cookie, datetime.now(UTC)) if book else None

    def dependencies(self) -> list[params.Depends]:
        """What the app asks before every route: who it is, then whether they may."""

        async def admitted(request: Request, person: Annotated[Person | None, Depends(self.identify)]) -> None:
            cookie = request.cookies.get(cookies.SESSION, "")
            ASKER.set(Asker(person, cookies.csrf(cookie) if cookie else "", asked(request)))
            await self.admit(request, person)

        return [Depends(DESCRIBED), Depends(self.identify), Depends(admitted)]

    async def admit(self, request: Request, person: Person | None) -> None:
        """Nothing, where the asker may.

        Raises:
            HTTPException: 401, nobody has shown who they are; 403, they may not, or the form is not ours.
            SentInVain: The same, of a form that a person may have typed into.
            LoginNeeded: The same, of somebody who reads a page.
            ComeBack: A person may have a session, and the browser has not said so.
            OwnersFront: The page that is theirs is another.
        """
        path: str = request.scope["path"]
        program = path.startswith("/v1/")
        if path in ALWAYS_OPEN:
            return
        opened = hasattr(request.scope["endpoint"], _OPENED)
        if person is not None and not person.role.looks and not opened:
            _turn_away(person, path)
        if request.method in SAFE:
            if person is None and not program and _from_elsewhere(request):
                raise ComeBack
            if person is None and self.required:
                _ask(program=program)
            return
        by_token = "authorization" in request.headers
        if person is None and not program:
            raise SentInVain(401, "Deciding takes a login.", SHOW_TOKEN)
        if person is None or (program and not by_token):
            raise HTTPException(401, "Deciding takes a token (Authorization: Bearer ...) or a login.", SHOW_TOKEN)
        if not by_token and not cookies.matches(request.cookies[cookies.SESSION], await _field(request)):
            raise SentInVain(403, "The form did not come from a page of yours. Load the page and send it again.")
        if not person.role.decides and not (person.owners and opened) and path != "/logout":
            may = f"{person.name} is a {person.role} and may look, not decide. An operator or an admin may."
            raise HTTPException(403, may)


def _ask(*, program: bool) -> None:
    if program:
        raise HTTPException(401, "Reading takes a token here: Authorization: Bearer ...", SHOW_TOKEN)
    raise LoginNeeded


def _turn_away(person: Person, path: str) -> None:
    if path == FRONT:
        raise OwnersFront
    raise HTTPException(403, f"{_bounded(person)}, on /maintenance; programs find them at /v1/vms.")


def _bounded(person: Person) -> str:
    return f"{person.name} sees the VMs of {', '.join(person.owners) or 'nobody'}, and only those"


def _from_elsewhere(request: Request) -> bool:
    told = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-mode")
    return told == ("cross-site", "navigate") and cookies.SESSION not in request.cookies


async def _field(request: Request) -> object:
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return None
    return (await request.form()).get(cookies.FIELD)


def asked(request: Request) -> str:
    """The path that was asked for, as it was quoted, with its query."""
    path: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def person_of(request: Request) -> Person | None:
    """Who asks, as the gate found."""
    return cast("Person | None", request.state.person)


def own(request: Request, named: str | None) -> tuple[str, ...] | None:
    """The owners whose VMs the asker sees; null: everybody's.

    Raises:
        HTTPException: 403, the owner that is named is none of them, whether there is one or not.
    """
    person = person_of(request)
    if person is None or person.role.looks:
        return None
    if named is not None and not person.speaks_for(named):
        raise HTTPException(403, f"{_bounded(person)}.")
    return person.owners


def decider(request: Request, pool: str) -> Person:
    """Who asks, if they may decide on proposals of the pool.

    Raises:
        HTTPException: 403, they may not.
    """
    person = person_of(request)
    if person is None:
        raise HTTPException(401, "Deciding takes a token or a login.", SHOW_TOKEN)
    if not person.may_decide(pool):
        held = ", ".join(person.pools)
        decides = f"{person.name} decides for {held or 'nothing'}"
        msg = f"{decides}, and this is {pool or 'of no pool'}. Ask somebody who may."
        raise HTTPException(403, msg)
    return person
