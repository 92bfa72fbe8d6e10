"""Serving the review app on loopback."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from dashboards.app import create_app
from dashboards.queue import Clock
from pipelines import listening


def serve(
    home: Path,
    ledger_url: str,
    host: str = "127.0.0.1",
    port: int = 8484,
    *,
    clock: Clock | None = None,
    policy: Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve the review app until interrupted.

    Args:
        home: State folder, `FORESHOCK_HOME`.
        ledger_url: SQLAlchemy URL of the ledger; opened to read only.
        host: A loopback address; 0 as `port` picks a free one.
        port: Port to listen on.
        clock: Whose time it is; see `dashboards.app.create_app`.
        policy: The policy file; see `dashboards.app.create_app`.
        announce: Called once with the URL as soon as the port is ours.

    Raises:
        Refused: The address is not loopback.
        SettingsError: The port is taken or may not be used.
        LedgerError: The ledger's URL makes no sense.
    """
    address = loopback(host, port)
    app = create_app(home, ledger_url, clock=clock, policy=policy)
    with listening.bound(address, port) as listener:
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
    return listening.loopback(
        host,
        f"The review page asks nobody who they are, so it listens on loopback only, not on {host}. Leave --host out; "
        f"from another machine, open a tunnel with `ssh -L {port}:127.0.0.1:{port} THIS_MACHINE` and visit "
        f"http://127.0.0.1:{port} there.",
    )
