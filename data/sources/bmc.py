"""The Redfish service of a baseboard management controller: logging in and out, and reading resources by their links.

Source: DMTF DSP0266, Redfish Specification: sessions (section on authentication), collections and their next links.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httpx

from data.errors import InputError
from data.sources import web

logger = logging.getLogger(__name__)

USER: Final = "FORESHOCK_REDFISH_USER"
PASSWORD: Final = "FORESHOCK_REDFISH_PASSWORD"  # noqa: S105 - the variable's name
ROOT: Final = "/redfish/v1/"
SESSIONS: Final = "/redfish/v1/SessionService/Sessions"
MOST_REQUESTS: Final = 2_000
"""So many resources a controller may be asked for at a time; one that links ever further is not followed."""
_ABSENT: Final = {httpx.codes.NOT_FOUND, httpx.codes.NOT_IMPLEMENTED, httpx.codes.METHOD_NOT_ALLOWED}
SECRETS: Final = f"{USER} and {PASSWORD}"

Auth = Literal["session", "basic"]


@dataclass
class Controller:
    """A controller that can be asked; it remembers what it has answered."""

    client: httpx.Client
    answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Resources that it links and cannot show, and what it answered instead."""

    def get(self, path: str) -> Mapping[str, Any]:
        """The resource at a path; empty where there is none, as services link what they do not have."""
        if path and not path.startswith("/"):
            msg = f"{self.client.base_url} links to {path!r}, which is not its own. It was not followed."
            raise InputError(msg)
        if path and path not in self.answers:
            if len(self.answers) == MOST_REQUESTS:
                self.problems.append((path, f"not asked for, nor what came after it: {MOST_REQUESTS} resources were"))
            if len(self.answers) >= MOST_REQUESTS:
                self.answers[path] = {}
            else:
                got = web.answer(self.client, self.client.build_request("GET", path), SECRETS)
                self.answers[path] = self._resource(path, got)
        return self.answers.get(path, {})

    def _resource(self, path: str, got: httpx.Response) -> Mapping[str, Any]:
        if got.status_code in _ABSENT:
            return {}
        try:
            told = web.body(got)
        except InputError as error:
            self.problems.append((path, str(error)))
            return {}
        if got.status_code != httpx.codes.OK or not isinstance(told, dict):
            self.problems.append((path, f"answered {got.status_code} and no resource"))
            return {}
        return told

    def linked(self, resource: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        """The resource that a property links to; empty where there is none."""
        return self.get(link(resource.get(name)))

    def members(self, resource: Mapping[str, Any], name: str, most: int = MOST_REQUESTS) -> Iterator[Mapping[str, Any]]:
        """The members of the collection that a property links to, whether they stand in it or behind links."""
        path, pages, seen = link(resource.get(name)), set[str](), 0
        while path and path not in pages:
            pages.add(path)
            page = self.get(path)
            for member in _list(page.get("Members")):
                seen += 1
                if seen > most:
                    return
                yield self.get(link(member)) if set(member) <= {"@odata.id"} else member
            path = str(page.get("Members@odata.nextLink") or page.get("@odata.nextLink") or "")


def link(value: Any) -> str:
    """The path that a link names, empty where it is none."""
    return str(value.get("@odata.id") or "") if isinstance(value, dict) else ""


def _list(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


@contextmanager
def opened(client: httpx.Client, auth: Auth, user: str | None, password: str | None) -> Iterator[Controller]:
    """The controller, logged in as `user` if one is given; its session is ended with the block.

    Raises:
        InputError: it cannot be reached, refuses us, has no sessions, or would get a password in clear text.
    """
    if not user:
        yield Controller(client)
        return
    web.refuse_clear_text(str(client.base_url), SECRETS)
    if auth == "basic":
        client.auth = httpx.BasicAuth(user, password or "")
        yield Controller(client)
        return
    session = _log_in(client, user, password or "")
    try:
        yield Controller(client)
    finally:
        try:
            client.delete(session)
        except httpx.HTTPError as error:
            logger.warning("the session at %s was not ended: %s", client.base_url, type(error).__name__)


def _log_in(client: httpx.Client, user: str, password: str) -> str:
    """The path of the new session, whose token every request carries from now on."""
    asked = client.build_request("POST", SESSIONS, json={"UserName": user, "Password": password})
    got = web.answer(client, asked, SECRETS)
    token = got.headers.get("X-Auth-Token")
    if not got.is_success or not token:
        msg = f'{client.base_url} opens no session ({got.status_code}). If it has none, set auth = "basic" for it.'
        raise InputError(msg)
    client.headers["X-Auth-Token"] = token
    return str(urlsplit(got.headers.get("Location", SESSIONS)).path)
