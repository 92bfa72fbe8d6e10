"""Headers that keep a page to itself: nothing from elsewhere, in no frame, no referrer, not kept by the browser."""

import ipaddress
from contextlib import suppress
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
LONGEST_BODY: Final = 65_536
"""Bytes: a reason is 2,000 characters at most."""
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class SecurityHeaders:
    """Middleware that puts the headers on every answer, refusals included."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer back with the headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        kept = scope["path"].startswith("/static/")

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["cache-control"] = "max-age=300" if kept else "no-store"
            await send(message)

        await self.app(scope, receive, sent)


class SmallBodies:
    """Middleware that turns away requests whose body is longer than any of ours, or of no told length."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, if its body is short; the server reads no more than the length that was told."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        told = headers.get("content-length", "0")
        if "transfer-encoding" in headers:
            await PlainTextResponse("Say how long the body is.\n", 411)(scope, receive, send)
        elif not told.isdecimal() or int(told) > LONGEST_BODY:
            await PlainTextResponse(f"A body has at most {LONGEST_BODY} bytes.\n", 413)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class ByTlsOnly:
    """Middleware that turns away what came over the network past the proxy that ends TLS."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, if it came by https or from this machine."""
        if scope["type"] == "http" and scope["scheme"] != "https" and not _is_near(scope):
            refused = PlainTextResponse("Come by https, through the proxy.\n", 403)
            await refused(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _is_near(scope: Scope) -> bool:
    client = scope.get("client")
    with suppress(ValueError):
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    return False
