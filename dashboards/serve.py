"""Serving the review app: on loopback, or wider behind a proxy that ends TLS, to those who log in."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from dashboards.app import create_app
from dashboards.queue import Clock
from pipelines import listening
from pipelines.settings import ReviewSettings, Settings


def serve(
    home: Path,
    ledger_url: str,
    host: str = "127.0.0.1",
    port: int = 8484,
    *,
    clock: Clock | None = None,
    settings: Settings | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve the review app until interrupted.

    Args:
        home: State folder, `FORESHOCK_HOME`.
        ledger_url: SQLAlchemy URL of the ledger; opened to read only.
        host: A loopback address, or a wider one where the settings allow it.
        port: Port to listen on; 0 picks a free one.
        clock: Whose time it is; see `dashboards.app.create_app`.
        settings: Who may do what; see there, too.
        announce: Called once with the URL as soon as the port is ours.

    Raises:
        Refused: The address is not loopback, and the settings do not allow a wider one.
        SettingsError: The port is taken or may not be used.
        LedgerError: The ledger's URL makes no sense.
    """
    review = settings.review if settings is not None else ReviewSettings()
    address = host if is_guarded(review) else loopback(host, port)
    app = create_app(home, ledger_url, clock=clock, settings=settings)
    with listening.bound(address, port) as listener:
        if announce is not None:
            shown = f"[{address}]" if ":" in address else address
            announce(f"http://{shown}:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            proxy_headers=bool(review.proxy_addresses),
            forwarded_allow_ips=list(review.proxy_addresses),
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def is_guarded(review: ReviewSettings) -> bool:
    """Whether nobody reads without a login, and nothing goes over the network but by a proxy that ends TLS."""
    by_tls = review.url.startswith("https://") and bool(review.proxy_addresses)
    return review.authentication == "required" and by_tls


def loopback(host: str, port: int) -> str:
    """The address to listen on.

    Raises:
        Refused: It is not loopback; whoever can reach the page could read it, and see what others type.
    """
    return listening.loopback(
        host,
        f"The review page listens on loopback only, not on {host}, unless reading takes a login and a proxy ends TLS: "
        f'set authentication = "required", an https url and proxy_addresses under [review]. Or leave --host out, open '
        f"a tunnel from the other machine with `ssh -L {port}:127.0.0.1:{port} THIS_MACHINE` and visit "
        f"http://127.0.0.1:{port} there.",
    )
