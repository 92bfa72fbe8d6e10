"""Prefect without a server: settings for the temporary one that it then starts by itself."""

import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Final

_DEFAULTS: Final = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "1",
}


def prepare(home: Path) -> None:
    """Set what a temporary server needs, before prefect is imported; what is set already stays, and a server too."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not has_server():
        home.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("PREFECT_HOME", str((home / "prefect").absolute()))


def begin_start() -> Callable[[], None]:
    """A function that waits until the temporary server is up; it begins to start now, in the background.

    A flow must not be called before that: Prefect takes a server that is only starting for one that failed to.
    """
    if has_server():
        return lambda: None
    starting = Thread(target=_ask, name="prefect-start", daemon=True)
    starting.start()
    return starting.join


def _ask() -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.api_healthcheck()


def has_server() -> bool:
    """Whether a Prefect server was named, so that single steps report to it."""
    return bool(os.environ.get("PREFECT_API_URL"))
