"""sushy-tools' emulator, over TLS and with a login: a Redfish service that others wrote."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from daemons import binary, free_port, running, until
from facts import DAY, entities, hosts, vms

from data.sources import bmc, web
from data.warehouse import Warehouse
from pipelines.cli import main

pytestmark = pytest.mark.slow
UUID = "27946b59-9e44-4fa7-8e91-f3527a1ef094"
HASHED = "ops:$2b$04$7qs51U3EVd4SfNAZ4Z7PEewYpN3cgySor50Pmljt.NEnhYLTi105.\n"
"""User `ops`, password `pw`."""
CONFIG = f"""
SUSHY_EMULATOR_FAKE_SYSTEMS = [{{"uuid": "{UUID}", "name": "h1", "power_state": "On", "nics": []}}]
SUSHY_EMULATOR_STORAGE = {{"{UUID}": [{{"Id": "1", "Name": "Storage", "StorageControllers": [], "Drives": ["32ADF"]}}]}}
SUSHY_EMULATOR_DRIVES = {{("{UUID}", "1"): [{{"Id": "32ADF", "Name": "D", "CapacityBytes": 899, "Protocol": "SAS"}}]}}
"""


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[tuple[str, Path, Path]]:
    """The emulator's address, its certificate, and the template of its drive, by which the drive can be made to ail."""
    found = importlib.util.find_spec("sushy_tools.emulator")
    if found is None or not found.submodule_search_locations:
        pytest.skip("no sushy-tools here: it is in the dev group")
    templates = tmp_path / "templates"
    shutil.copytree(Path(found.submodule_search_locations[0]) / "templates", templates)
    (tmp_path / "users").write_text(HASHED)
    (tmp_path / "config.py").write_text(f"{CONFIG}SUSHY_EMULATOR_AUTH_FILE = {str(tmp_path / 'users')!r}\n")
    certificate, key, port = tmp_path / "bmc.pem", tmp_path / "bmc.key", free_port()
    subprocess.run(
        [
            binary("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            "/CN=bmc", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    begin = (
        "from sushy_tools.emulator import main\n"
        f"main.app.template_folder = {str(templates)!r}\nmain.app.config['TEMPLATES_AUTO_RELOAD'] = True\n"
        "main.main()"
    )
    command = [
        sys.executable, "-c", begin, "--fake", "--config", str(tmp_path / "config.py"), "-i", "127.0.0.1", "-p",
        str(port), "--ssl-certificate", str(certificate), "--ssl-key", str(key),
    ]  # fmt: skip
    url = f"https://127.0.0.1:{port}"
    with running(command, tmp_path / "emulator.log"), web.client(url, ca_file=certificate) as client:
        until(lambda: client.get("/redfish/v1/").status_code == httpx.codes.OK, "the emulator answers")
        yield url, certificate, templates / "drive.json"


def _ingest(capfd: pytest.CaptureFixture[str], *more: str) -> dict[str, object]:
    capfd.readouterr()
    code = main(["ingest", *more, "--json"])
    told = json.loads(capfd.readouterr().out)
    assert isinstance(told, dict)
    return told | {"code": code}


def test_the_emulators_drive_that_fails_is_told_once(
    emulator: tuple[str, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Read by the settings, it is well and then critical: one event of the drive; a stranger's login is refused."""
    url, certificate, template = emulator
    home = tmp_path / "home"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORESHOCK_HOME", str(home))
    monkeypatch.setenv(bmc.USER, "ops")
    monkeypatch.setenv(bmc.PASSWORD, "pw")
    (tmp_path / "foreshock.toml").write_text(
        '[clock]\nsource = "wall"\n\n'
        f'[[sources]]\nkind = "redfish"\nurls = ["{url}"]\nca_file = "{certificate.name}"\nauth = "basic"\n'
    )
    with Warehouse.open(home) as warehouse:
        warehouse.put_inventory(hosts("h1"), vms(), entities(), DAY)
    well = _ingest(capfd)
    template.write_text(template.read_text().replace('"Health": "OK"', '"Health": "Critical"'))
    ailing, again = _ingest(capfd, "redfish", url), _ingest(capfd, "redfish", url)
    with Warehouse.open(home) as warehouse:
        told = warehouse.con.execute(
            "select component, entity_id, kind, value from event join entity using (entity_key)"
        ).fetchall()
        aside = warehouse.con.execute("select reason, raw from quarantine").fetchall()
    monkeypatch.setenv(bmc.PASSWORD, "wrong")
    refused, unasked = _ingest(capfd, "redfish", url), _ingest(capfd)
    assert (well["rows_loaded"], ailing["rows_loaded"], again["rows_loaded"]) == (0, 1, 0)
    assert told == [("disk", "1234570", "health", 2.0)]
    assert aside == []
    assert (well["code"], refused["code"], unasked["code"]) == (0, 1, 0)
    assert bmc.PASSWORD in str(refused)
    assert bmc.PASSWORD in str(unasked["unreachable"])


def test_a_certificate_that_nobody_vouches_for_is_refused(
    emulator: tuple[str, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without the CA file nothing is read, and no password is sent."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORESHOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(bmc.USER, "ops")
    told = _ingest(capfd, "redfish", emulator[0])
    assert told["code"] == 1
    assert "certificate" in str(told).lower()
