"""The review app of another process or machine, asked by its API: decisions under the name of the token."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx

from data.errors import Changed, ForeshockError, LedgerError, Refused, UsageError
from pipelines.settings import Settings

TOKEN: Final = "FORESHOCK_TOKEN"  # noqa: S105 - the name of the variable, not the token
SECONDS: Final = 30.0
PAGE: Final = 500
_ERRORS: Final[Mapping[int, type[ForeshockError]]] = {
    HTTPStatus.PRECONDITION_FAILED: Changed,
    HTTPStatus.UNPROCESSABLE_ENTITY: UsageError,
    HTTPStatus.UNAUTHORIZED: Refused,
    HTTPStatus.FORBIDDEN: Refused,
    HTTPStatus.CONFLICT: Refused,
}


@dataclass(frozen=True)
class Remote:
    """A review app, as one person's token sees it."""

    client: httpx.Client
    unsure: tuple[type[Exception], ...] = field(default=(httpx.TransportError,))
    """After which nobody knows whether a request arrived: it is sent once more, under the same key."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_told: object) -> None:
        self.client.close()

    def proposals(self, limit: int, **wanted: str | None) -> list[dict[str, Any]]:
        """Proposals of all cycles of the `host` and `standing`, where they are given; the newest first, so many."""
        asked = {name: value for name, value in wanted.items() if value is not None} | {"cycle": "all"}
        found: list[dict[str, Any]] = []
        while True:
            params = {**asked, "limit": str(max(1, min(PAGE, limit - len(found))))}
            told = self._ask("GET", "/v1/proposals", params=params).json()
            found += told["proposals"]
            if told["next"] is None or len(found) >= limit:
                return found[:limit]
            asked["after"] = told["next"]

    def proposal(self, proposal_id: str) -> dict[str, Any]:
        """One proposal."""
        told: dict[str, Any] = self._ask("GET", _path(proposal_id)).json()
        return told

    def decide(self, proposal_id: str, asked: Mapping[str, object]) -> dict[str, Any]:
        """The decision, on the proposal as it stands now.

        Raises:
            Changed: Somebody decided meanwhile.
            Refused: The token may not, or as things stand it cannot be done.
        """
        etag = self._ask("GET", _path(proposal_id)).headers["etag"]
        headers = {"if-match": etag, "idempotency-key": uuid4().hex}
        body = {name: value for name, value in asked.items() if value is not None}
        told: dict[str, Any] = self._ask("POST", f"{_path(proposal_id)}/decisions", json=body, headers=headers).json()
        return told

    def cancel(self, order_id: str, reason: str) -> dict[str, Any]:
        """The order after it was called back.

        Raises:
            Refused: The token may not, or it is too late.
        """
        told: dict[str, Any] = self._ask("POST", f"{_order(order_id)}/cancellation", json={"reason": reason}).json()
        return told

    def start_vm(self, order_id: str, vm_id: str, reason: str) -> dict[str, Any]:
        """The wish that a VM begins, as it is held.

        Raises:
            Refused: The token may not, or there is nothing to start.
        """
        body = {"vm_id": vm_id, "reason": reason}
        told: dict[str, Any] = self._ask("POST", f"{_order(order_id)}/starts", json=body).json()
        return told

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._send(method, path, **more)
        except httpx.HTTPError as error:
            msg = f"The review app at {self.client.base_url} cannot be reached: {error}. Check review.url or --server."
            raise LedgerError(msg) from error
        if answer.is_success:
            return answer
        try:
            detail = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"The review app at {self.client.base_url} answers {answer.status_code}."
        raise _ERRORS.get(answer.status_code, LedgerError)(detail)

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return self.client.request(method, path, **more)
        except self.unsure:
            return self.client.request(method, path, **more)


def asked_for(settings: Settings, server: str | None, by: str | None = None) -> Remote | None:
    """The review app to go by: `server`, or `review.url` where there is a token in the environment; else none.

    Raises:
        UsageError: A server is named, and there is no token; the token would go over the network in the clear; or a
            name is given, and there it is the token's.
    """
    url, token = server or settings.review.url, os.environ.get(TOKEN)
    if server and not token:
        msg = f"{server} takes a token. Set {TOKEN} to one; `foreshock tokens create` makes it."
        raise UsageError(msg)
    if not url or not token:
        return None
    asked = urlsplit(url)
    if asked.scheme != "https" and asked.hostname not in {"127.0.0.1", "::1", "localhost"}:
        msg = f"{url} is not https, and a token does not go over the network in the clear. Name an https address."
        raise UsageError(msg)
    if by is not None:
        msg = "By the API the name is the token's. Leave --by out, or unset FORESHOCK_TOKEN."
        raise UsageError(msg)
    return Remote(httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=SECONDS))


def _order(order_id: str) -> str:
    return f"/v1/orders/{quote(order_id, safe='')}"


def _path(proposal_id: str) -> str:
    return f"/v1/proposals/{quote(proposal_id, safe='')}"
