"""Cookies, and the token that every form carries."""

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

SESSION: Final = "foreshock_session"
BEFORE: Final = "foreshock_login"
"""What the login form is bound to, before there is a session."""
FIELD: Final = "csrf"
AHEAD: Final = "/"


def put(response: Response, request: Request, name: str, value: str, until: datetime | None = None) -> None:
    """Set a cookie that no script sees, no other site sends, and, where the page is https, no plain http carries."""
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, expires=until, path="/", secure=secure, httponly=True, samesite="strict")


def drop(response: Response, request: Request, name: str) -> None:
    """Take a cookie back."""
    response.delete_cookie(name, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict")


def fresh() -> str:
    """A value that nobody guesses."""
    return secrets.token_urlsafe(32)


def csrf(cookie: str) -> str:
    """What a form must carry that came with the cookie: nobody who cannot read the cookie's page can make it."""
    return hmac.new(cookie.encode(), b"form", hashlib.sha256).hexdigest()


def matches(cookie: str, told: object) -> bool:
    """Whether the form came with the cookie."""
    return bool(cookie) and isinstance(told, str) and hmac.compare_digest(csrf(cookie).encode(), told.encode())


def ahead(told: str | None) -> str:
    """Where to go after the login: a path of ours, never another host."""
    if not told or not told.startswith("/") or told.startswith("//") or "\\" in told or urlsplit(told).netloc:
        return AHEAD
    return told
