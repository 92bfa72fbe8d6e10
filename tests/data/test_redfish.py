"""What a host's controller says of its parts becomes events of the host's entities, once, and never a failure."""

import json
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from facts import entities, hosts, vms

from data.errors import InputError
from data.sources import bmc, redfish, web
from data.sources.bmc import Controller
from data.warehouse import Warehouse

DAY = datetime(2026, 1, 5, 10, tzinfo=UTC)
PASSWORD = "hunter2"
SYSTEM = "/redfish/v1/Systems/1"
CHASSIS = "/redfish/v1/Chassis/1"
MANAGER = "/redfish/v1/Managers/BMC"


def _links(*paths: str) -> dict[str, Any]:
    return {"Members": [{"@odata.id": path} for path in paths]}


def _status(health: str | None = "OK", state: str = "Enabled") -> dict[str, Any]:
    return {"Status": {"State": state, "Health": health}}


def server() -> dict[str, Any]:
    """The resources of a healthy server with two DIMMs, a drive, a power supply, a fan and a log, by path."""
    entry = {"Id": "7", "EntryType": "SEL", "Created": "2026-01-04T09:00:00+02:00", "Severity": "Critical"}
    entry |= {"Message": "Power supply lost", "MessageId": "0x1234", "SensorType": "Power Supply / Converter"}
    resources: dict[str, Any] = {
        "/redfish/v1/": {name: {"@odata.id": f"/redfish/v1/{name}"} for name in ("Systems", "Chassis", "Managers")},
        "/redfish/v1/Systems": _links(SYSTEM),
        SYSTEM: {
            "@odata.id": SYSTEM, "Id": "1", "HostName": "h1.example.org", "Memory": {"@odata.id": f"{SYSTEM}/Memory"},
            "Storage": {"@odata.id": f"{SYSTEM}/Storage"}, **_status(),
        },
        f"{SYSTEM}/Memory": _links(f"{SYSTEM}/Memory/A1", f"{SYSTEM}/Memory/A2", f"{SYSTEM}/Memory/A3"),
        f"{SYSTEM}/Memory/A1": {"Id": "A1", "DeviceLocator": "DIMM_A1", "SerialNumber": "S1", **_status()},
        f"{SYSTEM}/Memory/A2": {"Id": "A2", "DeviceLocator": "DIMM_A2", **_status()},
        f"{SYSTEM}/Memory/A3": {"Id": "A3", **_status(None, "Absent")},
        f"{SYSTEM}/Storage": _links(f"{SYSTEM}/Storage/1"),
        f"{SYSTEM}/Storage/1": {
            "StorageControllers": [{"MemberId": "0", **_status()}], "Drives": [{"@odata.id": f"{SYSTEM}/Drives/1"}]
        },
        f"{SYSTEM}/Drives/1": {"Id": "1", "SerialNumber": "ZA1", "FailurePredicted": False, **_status()},
        "/redfish/v1/Chassis": _links(CHASSIS),
        CHASSIS: {
            "Id": "1", "Power": {"@odata.id": f"{CHASSIS}/Power"}, "Thermal": {"@odata.id": f"{CHASSIS}/Thermal"},
            **_status(),
        },
        f"{CHASSIS}/Power": {"PowerSupplies": [{"MemberId": "0", "Name": "PSU 1", **_status()}]},
        f"{CHASSIS}/Thermal": {name: [{"MemberId": "0", **_status()}] for name in ("Fans", "Temperatures")},
        "/redfish/v1/Managers": _links(MANAGER),
        MANAGER: {"Id": "BMC", "LogServices": {"@odata.id": f"{MANAGER}/LogServices"}},
        f"{MANAGER}/LogServices": _links(f"{MANAGER}/LogServices/SEL", f"{MANAGER}/LogServices/Audit"),
        f"{MANAGER}/LogServices/SEL": {"Id": "SEL", "Entries": {"@odata.id": f"{MANAGER}/LogServices/SEL/Entries"}},
        f"{MANAGER}/LogServices/SEL/Entries": {"Members": [entry]},
        f"{MANAGER}/LogServices/Audit": {"Id": "Audit", "Entries": {"@odata.id": "/redfish/v1/never/asked"}},
    }  # fmt: skip
    return resources


class Bmc:
    """A controller in memory that knows sessions: user `ops`, password `PASSWORD`."""

    def __init__(self, resources: dict[str, Any]) -> None:
        self.resources, self.sessions, self.asked = resources, set[str](), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """What it answers."""
        self.asked.append(request)
        path = request.url.path
        if request.method == "POST":
            if json.loads(request.content) != {"UserName": "ops", "Password": PASSWORD}:
                return httpx.Response(401)
            self.sessions.add("token-1")
            return httpx.Response(201, headers={"X-Auth-Token": "token-1", "Location": f"{path}/1"}, json={})
        if request.headers.get("X-Auth-Token") not in self.sessions:
            return httpx.Response(401)
        if request.method == "DELETE":
            self.sessions.clear()
            return httpx.Response(204)
        found = self.resources.get(path)
        return found if isinstance(found, httpx.Response) else httpx.Response(200 if found else 404, json=found or {})

    def opener(self, password: str = PASSWORD) -> redfish.Opener:
        """Opens it as `ops`."""

        @contextmanager
        def opened(url: str) -> Iterator[Controller]:
            with (
                web.client(url, transport=httpx.MockTransport(self)) as client,
                bmc.opened(client, "session", "ops", password) as controller,
            ):
                yield controller

        def opener(url: str) -> AbstractContextManager[Controller]:
            return opened(url)

        return opener


def _load(warehouse: Warehouse, one: Bmc, now: datetime, url: str = "https://bmc-h1.test") -> int:
    return sum(rows.rows_loaded for rows in redfish.load(warehouse, [url], one.opener(), now=now))


def _told(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.con.execute(
        "select component, entity_id, kind, coalesce(json_extract_string(detail, '$.part'), ''), value "
        "from event join entity using (entity_key) order by observed_at, 1, 2, 3, 4"
    ).fetchall()


LOGGED = ("node", "h1", "log", "", 2.0)


def test_a_healthy_server_tells_only_its_log(tmp_path: Path) -> None:
    """No health that is well makes an event; an entry keeps its moment, severity and words; a repeat loads nothing."""
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.put_inventory(hosts("h1"), vms(), entities(), DAY)
        one = Bmc(server())
        assert [_load(warehouse, one, DAY), _load(warehouse, one, DAY + timedelta(hours=1))] == [1, 0]
        assert _told(warehouse) == [LOGGED]
        at, detail = warehouse.con.execute("select observed_at, detail from event").fetchall()[0]
        assert warehouse.con.execute("select count(*) from quarantine").fetchall() == [(0,)]
    assert at.astimezone(UTC) == datetime(2026, 1, 4, 7, tzinfo=UTC)
    assert json.loads(detail) == {
        "id": "7", "log": "SEL", "message": "Power supply lost", "message_id": "0x1234", "severity": "Critical",
        "sensor": "Power Supply / Converter",
    }  # fmt: skip
    assert not any(request.url.path == "/redfish/v1/never/asked" for request in one.asked)


def test_each_change_of_health_is_one_event_of_the_part_it_is_about(tmp_path: Path) -> None:
    """DIMMs and drives by serial number, or by host and slot where none is told; all else by the host's node."""
    sick = server()
    for path in (f"{SYSTEM}/Memory/A1", f"{SYSTEM}/Memory/A2", f"{SYSTEM}/Drives/1"):
        sick[path] = sick[path] | _status("Critical")
    sick[f"{SYSTEM}/Drives/1"]["FailurePredicted"] = True
    sick[f"{CHASSIS}/Power"]["PowerSupplies"][0] |= _status("Warning")
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.put_inventory(hosts("h1"), vms(), entities(), DAY)
        loaded = [
            _load(warehouse, Bmc(resources), DAY + timedelta(hours=hour))
            for hour, resources in enumerate([server(), sick, sick, server()])
        ]
        failures = warehouse.con.execute("select count(*) from failure").fetchall()
        parts = [
            ("disk", "ZA1", "failure_predicted", "", 1.0), ("disk", "ZA1", "health", "", 2.0),
            ("memory", "S1", "health", "", 2.0), ("memory", "h1/DIMM_A2", "health", "", 2.0),
            ("node", "h1", "health", "power/0", 1.0),
        ]  # fmt: skip
        assert _told(warehouse) == [LOGGED, *parts, *((*part[:4], 0.0) for part in parts)]
    assert loaded == [1, 5, 0, 5]
    assert failures == [(0,)]


@pytest.mark.parametrize(
    ("path", "change", "reason"),
    [
        (SYSTEM, {"HostName": "stranger"}, "unknown_host"),
        (CHASSIS, _status("Splendid"), "bad_value"),
        (
            f"{MANAGER}/LogServices/SEL/Entries",
            {"Members": [{"Id": "1", "Created": "1970-01-01T00:00:09Z"}]},
            "bad_time",
        ),
        (
            f"{MANAGER}/LogServices/SEL/Entries",
            {"Members": [{"Id": "1", "Created": "9999-12-31T23:59:59-02:00"}]},
            "bad_time",
        ),
        (f"{MANAGER}/LogServices/SEL/Entries", {"Members": [{"Id": "1", "Created": "2099-01-01"}]}, "future_date"),
    ],
)
def test_what_cannot_be_believed_is_set_aside(tmp_path: Path, path: str, change: dict[str, Any], reason: str) -> None:
    """A host nobody knows, a health that is no word of the standard, and clocks that were never set."""
    resources = server()
    resources[path] = resources[path] | change
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.put_inventory(hosts("h1"), vms(), entities(), DAY)
        _load(warehouse, Bmc(resources), DAY)
        assert warehouse.con.execute("select reason, source from quarantine").fetchall() == [(reason, "redfish")]


def test_a_resource_that_cannot_be_shown_does_not_hide_the_others(tmp_path: Path) -> None:
    """A server error behind one link is set aside with its path, and the rest is read."""
    with Warehouse.open(tmp_path) as warehouse:
        _load(warehouse, Bmc(server() | {f"{CHASSIS}/Power": httpx.Response(500, text="oops")}), DAY)
        assert warehouse.con.execute("select reason, raw from quarantine").fetchall() == [
            ("bad_resource", f"{CHASSIS}/Power")
        ]
        assert [row[2] for row in _told(warehouse)] == ["log"]


def test_pages_of_a_log_are_followed_and_a_circle_of_them_ends(tmp_path: Path) -> None:
    """Entries on a next page, and behind links of their own, are read; a page that links itself is read once."""
    resources, entries = server(), f"{MANAGER}/LogServices/SEL/Entries"
    written = {"Created": "2026-01-04T09:00:00Z", "Severity": "Warning"}
    resources[entries]["Members@odata.nextLink"] = f"{entries}/more"
    resources[f"{entries}/more"] = {
        "Members": [{"Id": "8", **written}, {"@odata.id": f"{entries}/9"}, {}],
        "Members@odata.nextLink": f"{entries}/more",
    }
    resources[f"{entries}/9"] = {"Id": "9", **written}
    with Warehouse.open(tmp_path) as warehouse:
        assert _load(warehouse, Bmc(resources), DAY) == 3


def test_a_controller_without_end_is_read_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Health comes before logs, and what was not asked for any more is said once."""
    monkeypatch.setattr(bmc, "MOST_REQUESTS", 16)
    resources = server()
    resources[f"{CHASSIS}/Power"]["PowerSupplies"][0] |= _status("Warning")
    with Warehouse.open(tmp_path) as warehouse:
        _load(warehouse, Bmc(resources), DAY)
        assert [row[2] for row in _told(warehouse)] == ["health"]
        assert warehouse.con.execute("select reason from quarantine").fetchall() == [("bad_resource",)]


def test_a_session_is_opened_and_ended_and_its_secrets_stay_out_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The password goes out once, the token with each request, and neither is written anywhere."""
    caplog.set_level(logging.DEBUG)
    one = Bmc(server())
    with Warehouse.open(tmp_path) as warehouse:
        _load(warehouse, one, DAY)
        with pytest.raises(InputError, match="FORESHOCK_REDFISH_USER and FORESHOCK_REDFISH_PASSWORD") as refused:
            list(redfish.load(warehouse, ["https://bmc.test"], one.opener(password="hunter3"), now=DAY))
    assert [request.method for request in one.asked][:1] == ["POST"]
    assert one.asked[-2].method == "DELETE"
    assert one.sessions == set()
    assert not any(secret in caplog.text + str(refused.value) for secret in (PASSWORD, "hunter3", "token-1"))


def test_a_password_is_not_sent_in_clear_text_nor_to_another_host(tmp_path: Path) -> None:
    """Plain HTTP beyond loopback is refused, and so is a link that leads away."""
    away = Bmc(server() | {"/redfish/v1/Systems": _links("https://evil.test/redfish/v1/Systems/1")})
    with Warehouse.open(tmp_path) as warehouse:
        with pytest.raises(InputError, match="is not HTTPS"):
            _load(warehouse, Bmc(server()), DAY, "http://bmc.test")
        with pytest.raises(InputError, match="not its own"):
            _load(warehouse, away, DAY)
    assert {request.url.host for request in away.asked} == {"bmc-h1.test"}


def test_one_address_can_stand_for_every_host_and_a_silent_one_is_set_aside(tmp_path: Path) -> None:
    """`{host}` is replaced by each host of the inventory; who does not answer holds up nobody."""
    one = Bmc(server())
    reach = one.opener()

    @contextmanager
    def opener(url: str) -> Iterator[Controller]:
        if "h2" in url:
            msg = f"{url} does not answer"
            raise InputError(msg)
        with reach(url) as controller:
            yield controller

    with Warehouse.open(tmp_path) as warehouse:
        warehouse.put_inventory(hosts("h1", "h2"), vms(), entities(), DAY)
        done = list(redfish.load(warehouse, ["https://{host}-bmc.test"], opener, now=DAY))
        aside = warehouse.con.execute("select reason, file from quarantine").fetchall()
    assert [(rows.rows_loaded, rows.rows_quarantined) for rows in done] == [(1, 1)]
    assert aside == [("unreachable", "https://h2-bmc.test")]
