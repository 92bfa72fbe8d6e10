"""Serving the review app on loopback."""

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from dashboards.app import create_app
from dashboards.queue import Clock
from data.errors import Refused, SettingsError


def serve(
    home: Path,
    ledger_url: str,
    host: str = "127.0.0.1",
    port: int = 8484,
    *,
    clock: Clock | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve the review app until interrupted.

    Args:
        home: State folder, `FORESHOCK_HOME`.
        ledger_url: SQLAlchemy URL of the ledger; opened to read only.
        host: A loopback address; 0 as `port` picks a free one.
        port: Port to listen on.
        clock: Whose time it is; see `dashboards.app.create_app`.
        announce: Called once with the URL as soon as the port is ours.

    Raises:
        Refused: The address is not loopback.
        SettingsError: The port is taken or may not be used.
        LedgerError: The ledger's URL makes no sense.
    """
    address = loopback(host, port)
    app = create_app(home, ledger_url, clock=clock)
    with _bound(address, port) as listener:
        if announce is not None:
            shown = f"[{address}]" if ":" in address else address
            announce(f"http://{shown}:{listener.getsockname()[1]}")
        config = uvicorn.Config(app, log_level="warning", server_header=False, proxy_headers=False)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def loopback(host: str, port: int) -> str:
    """The address to listen on.

    Raises:
        Refused: It is not loopback; anyone who can reach the page can read it, and it asks nobody who they are.
    """
    address = "127.0.0.1" if host == "localhost" else host
    try:
        ours = ipaddress.ip_address(address).is_loopback
    except ValueError:
        ours = False
    if ours:
        return address
    msg = (
        f"The review page asks nobody who they are, so it listens on loopback only, not on {host}. Leave --host out; "
        f"from another machine, open a tunnel with `ssh -L {port}:127.0.0.1:{port} THIS_MACHINE` and visit "
        f"http://127.0.0.1:{port} there."
    )
    raise Refused(msg)


def _bound(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen()
    except OSError as error:
        listener.close()
        msg = f"Port {port} of {address} cannot be used: {error.strerror}. Give another with --port."
        raise SettingsError(msg) from error
    return listener
