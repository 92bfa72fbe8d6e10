"""What sources that are asked over HTTP have in common: how they are reached, and what their refusals mean."""

import json
import logging
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from data.errors import InputError

_LOOPBACK: Final = ("127.", "localhost", "::1")
logging.getLogger("httpcore").setLevel(logging.INFO)  # below that it logs the headers of answers, and tokens in them


def client(
    url: str,
    *,
    ca_file: Path | None = None,
    timeout_seconds: float = 30.0,
    headers: Mapping[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """A client of the server at `url`, which follows no redirection and trusts the system's authorities.

    Args:
        url: the server, without user or password.
        ca_file: PEM file of the authorities to trust instead.
        timeout_seconds: how long each step of a request may take.
        headers: sent with every request; never logged.
        transport: what carries the requests instead of the network.

    Raises:
        InputError: a URL that is none or names a password, or a CA file that cannot be read.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"{url!r} is no http:// or https:// address. Correct it; nothing was read from it."
        raise InputError(msg)
    if parts.username or parts.password:
        msg = f"The address of {parts.hostname} names a user or password. Secrets come from the environment only."
        raise InputError(msg)
    try:
        trusted = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        msg = f"The CA file {ca_file} cannot be used: {error}."
        raise InputError(msg) from error
    return httpx.Client(
        base_url=url.rstrip("/"),
        verify=trusted,
        timeout=timeout_seconds,
        headers=dict(headers or {}),
        transport=transport,
    )


def refuse_clear_text(url: str, secret: str) -> None:
    """Raise `InputError` where `secret`, as the environment's variables are called, would travel unencrypted."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.hostname or "").startswith(_LOOPBACK):
        msg = f"{url} is not HTTPS: what {secret} holds is not sent to it. Use its https:// address."
        raise InputError(msg)


def answer(client: httpx.Client, request: httpx.Request, secret: str) -> httpx.Response:
    """The server's answer, whatever its status but a refusal.

    Args:
        client: a client of the server.
        request: what to ask.
        secret: the environment variables that hold what the server may want to see, for the error.

    Raises:
        InputError: the server cannot be reached, or refuses who we are.
    """
    where = f"{request.url.scheme}://{request.url.netloc.decode()}"
    try:
        got = client.send(request)
    except httpx.HTTPError as error:
        msg = (
            f"{where} does not answer: {error or type(error).__name__}. What came before is loaded; repeat this later."
        )
        raise InputError(msg) from error
    if got.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        msg = f"{where} refuses us ({got.status_code} for {request.url.path}). Set {secret} in the environment."
        raise InputError(msg)
    return got


def body(got: httpx.Response) -> Any:
    """The answer's JSON; `InputError` says what stood there instead."""
    try:
        return got.json()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        begins = got.text[:80].replace("\n", " ")
        msg = f"{got.request.url.copy_with(query=None)} answered {got.status_code} and no JSON: {begins!r}."
        raise InputError(msg) from error
