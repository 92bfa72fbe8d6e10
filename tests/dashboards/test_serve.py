"""Serving: on loopback only, and refusals that say what to do."""

import socket
from pathlib import Path

import pytest

from dashboards.ledger_view import LedgerView
from dashboards.serve import loopback, serve
from data.errors import LedgerError, Refused, SettingsError


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "example.org", ""])  # noqa: S104
def test_anything_but_loopback_is_refused(home: Path, host: str) -> None:
    """The page asks nobody who they are, so it is not for the network; the message says how to reach it."""
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
