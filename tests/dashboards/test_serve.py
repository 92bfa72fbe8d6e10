"""Serving: on loopback only, and refusals that say what to do."""

import socket
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from dashboards.app import create_app
from dashboards.ledger_view import LedgerView
from dashboards.serve import is_guarded, loopback, serve
from data.errors import LedgerError, Refused, SettingsError
from pipelines.settings import ReviewSettings, Settings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "example.org", ""])  # noqa: S104
def test_anything_but_loopback_is_refused(home: Path, host: str) -> None:
    """As shipped it is not for the network; the message says how to reach it, and what it takes to listen wider."""
    with pytest.raises(Refused, match=r"ssh -L 8484:127\.0\.0\.1:8484"):
        serve(home, f"sqlite:///{home / 'ledger.db'}", host, 8484)


@pytest.mark.parametrize(("host", "address"), [("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
def test_loopback_has_several_names(host: str, address: str) -> None:
    """Its names and addresses are all accepted."""
    assert loopback(host, 8484) == address


def test_a_taken_port_is_said(home: Path) -> None:
    """A port that is in use is an error with a next step."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsError, match="another with --port"):
            serve(home, f"sqlite:///{home / 'ledger.db'}", port=taken.getsockname()[1])


def test_a_senseless_url_is_said() -> None:
    """A ledger URL that nothing can open is refused before anything is served."""
    with pytest.raises(LedgerError, match="Use sqlite"):
        LedgerView("nosuch://ledger")


GUARDED = ReviewSettings(authentication="required", url="https://review.example", proxy_addresses=("10.0.0.5",))


@pytest.mark.parametrize(
    "missing", [{"authentication": "open"}, {"url": "http://review.example"}, {"proxy_addresses": ()}]
)
def test_listening_wider_takes_a_login_and_a_proxy_that_ends_tls(missing: dict[str, object]) -> None:
    """All three are set, or the page stays on loopback."""
    assert is_guarded(GUARDED)
    assert not is_guarded(GUARDED.model_copy(update=missing))


def test_what_comes_past_the_proxy_is_turned_away(home: Path) -> None:
    """Listening wider, the page answers https by the proxy, under its name alone."""
    app = create_app(home, f"sqlite:///{home / 'ledger.db'}", settings=Settings(review=GUARDED))
    near, far = ("127.0.0.1", 5000), ("10.9.9.9", 5000)
    assert TestClient(app, base_url="http://review.example", client=far).get("/healthz").status_code == 403
    assert TestClient(app, base_url="https://review.example", client=far).get("/healthz").status_code == 200
    assert TestClient(app, base_url="https://evil.example", client=far).get("/healthz").status_code == 400
    assert TestClient(app, base_url="http://127.0.0.1", client=near).get("/healthz").status_code == 200
