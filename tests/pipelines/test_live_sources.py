"""Sources that are asked over the network, as the command line, the cycle and the doctor meet them."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from daemons import free_port
from facts import DAY, entities, events, hosts, vms
from smart import ata

from data.contracts import STAYS
from data.sources import bmc, promql, web
from data.warehouse import Warehouse
from pipelines.check import examine
from pipelines.cli import main
from pipelines.settings import Settings


class Guarded(BaseHTTPRequestHandler):
    """A Prometheus without a series, which wants to see the token `t0ps3cret`."""

    def do_POST(self) -> None:
        """Answer a query, or open a session for anyone."""
        self.rfile.read(int(self.headers["Content-Length"]))
        known = self.headers.get("Authorization") == "Bearer t0ps3cret"
        session = self.path.endswith("Sessions")
        self.send_response(200 if known or session else 401)
        if session:
            self.send_header("X-Auth-Token", "t0ps3cret")
        self.end_headers()
        self.wfile.write(json.dumps({"status": "success", "data": {"resultType": "vector", "result": []}}).encode())

    def log_message(self, *told: object) -> None:
        """Say nothing."""


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that wants a token; settings beside it name it, a silent one and a file."""
    server = HTTPServer(("127.0.0.1", 0), Guarded)
    url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "h1").mkdir()
    (tmp_path / "h1" / "sda.json").write_text(json.dumps(ata()))
    (tmp_path / "foreshock.toml").write_text(
        f'[[sources]]\nkind = "prometheus"\nurls = ["http://127.0.0.1:{free_port()}", "{url}"]\nhistory_days = 1\n'
        '[[sources]]\nkind = "smartctl"\npaths = ["h1"]\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORESHOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(promql.TOKEN, "t0ps3cret")
    yield url
    server.shutdown()
    server.server_close()


def _answer(capfd: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main([*argv, "--json"])
    out, err = capfd.readouterr()
    return code, out, err


def test_a_silent_source_holds_up_no_other(guarded: str, capfd: pytest.CaptureFixture[str]) -> None:
    """By the settings the others are read, and the silent one is named with the reason."""
    code, out, err = _answer(capfd, "ingest")
    told = json.loads(out)
    assert (code, told["rows_loaded"], len(told["unreachable"])) == (0, 1, 1)
    assert "does not answer" in told["unreachable"][0]
    assert "t0ps3cret" not in out + err


def test_a_source_that_was_named_must_answer(
    guarded: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the token it answers; without, the error names the variable to set."""
    assert _answer(capfd, "ingest", "prometheus", guarded)[0] == 0
    monkeypatch.delenv(promql.TOKEN)
    monkeypatch.setenv("FORESHOCK_HOME", "another")
    code, out, _ = _answer(capfd, "ingest", "prometheus", guarded)
    assert (code, promql.TOKEN in out) == (1, True)


def test_a_session_token_is_not_logged_even_at_the_finest_level(
    guarded: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The library that carries requests would log the headers of answers."""
    caplog.set_level(logging.DEBUG)
    with web.client(guarded) as client, bmc.opened(client, "session", "ops", "pw"):
        assert client.headers["X-Auth-Token"] == "t0ps3cret"
    assert "Sessions" in caplog.text
    assert "t0ps3cret" not in caplog.text


def test_a_token_is_not_sent_in_clear_text(guarded: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Plain HTTP beyond loopback is refused while a token is set."""
    code, out, _ = _answer(capfd, "ingest", "prometheus", "http://prom.test:9090")
    assert code == 1
    assert "is not HTTPS" in out


def test_the_doctor_asks_each_server(guarded: str, capfd: pytest.CaptureFixture[str]) -> None:
    """One is silent and one answers queries."""
    code, out, _ = _answer(capfd, "doctor")
    found = [one["state"] for one in json.loads(out)["findings"] if one["what"] == "source prometheus"]
    assert (code, found) == (1, ["wrong", "ok"])


def test_an_address_with_a_password_is_wrong_usage(guarded: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The sentence does not repeat it."""
    code, out, err = _answer(capfd, "ingest", "prometheus", "https://me:hush@prom.test")
    assert code == 2
    assert "hush" not in out + err


def test_the_doctor_names_parts_that_sit_nowhere(tmp_path: Path) -> None:
    """Errors of a DIMM that the inventory calls otherwise put no host at risk, which is said; one in a host is well."""
    settings = Settings(home=tmp_path / "home")

    def told() -> list[str]:
        return [one.says for one in examine(settings) if one.what == "inventory"]

    with Warehouse.open(settings.home) as warehouse:
        warehouse.put_inventory(hosts("h1"), vms(), entities(), DAY)
        warehouse.put_events(events(1.0))
        warehouse.publish()
        (said,) = told()
        stay = {"component": "memory", "entity_id": "dimm1", "host_id": "h1", "valid_from": DAY}
        warehouse.put_stays(pa.Table.from_pylist([stay], STAYS))
        warehouse.publish()
        assert told() == []
    assert said.startswith("memory: 1 that told something lately are in no host, such as dimm1")
