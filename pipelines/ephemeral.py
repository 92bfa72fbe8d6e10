"""Prefect without a server: settings for the temporary one that it then starts by itself."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from typing import Final

from data.errors import HomeError

_TIMEOUT: Final = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
_TRIED: Final = 1 << 16
"""Bytes that the home must have room for."""
_DEFAULTS: Final = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    _TIMEOUT: "180",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "1",
}


def prepare(home: Path) -> None:
    """Set what a temporary server needs, before prefect is imported; what is set already stays, and a server too.

    Raises:
        HomeError: the home cannot be written, for which a temporary server would only wait.
    """
    _try(home)
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not has_server():
        os.environ.setdefault("PREFECT_HOME", str((home / "prefect").absolute()))


def _try(home: Path) -> None:
    """Write a file in the home, which goes away again."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=home, prefix=".foreshock-") as file:
            file.write(bytes(_TRIED))
    except OSError as error:
        msg = (
            f"The home {home} cannot be written: {error.strerror or error}. Make room there or let this user write, "
            "or name another home (FORESHOCK_HOME)."
        )
        raise HomeError(msg) from error


@contextmanager
def started() -> Iterator[None]:
    """While flows are called: a temporary server that does not come up is said in a sentence.

    Raises:
        HomeError: it did not.
    """
    try:
        yield
    except RuntimeError as error:
        if "ephemeral Prefect API server" not in str(error):
            raise
        seconds, folder = (os.environ.get(name) for name in (_TIMEOUT, "PREFECT_HOME"))
        msg = (
            f"Prefect's temporary server did not start within {seconds} s. See whether {folder} can be written and has "
            f"room, or allow it more time ({_TIMEOUT})."
        )
        raise HomeError(msg) from error


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

    with suppress(RuntimeError), get_client(sync_client=True) as client:  # the flow's own call says it
        client.api_healthcheck()


def has_server() -> bool:
    """Whether a Prefect server was named, so that single steps report to it."""
    return bool(os.environ.get("PREFECT_API_URL"))
