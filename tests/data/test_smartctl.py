"""What smartctl prints becomes one reading per drive and day, and events where a drive's word on itself changes."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from facts import entities, hosts, vms
from smart import READ_AT, ata, nvme, scsi

from data.readings import Absorbed
from data.sources import smartctl
from data.sources.smartctl import read, reading
from data.warehouse import Warehouse

NOW = datetime(2026, 2, 1, tzinfo=UTC)


def _file(path: Path, documents: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in documents))
    return path


def _load(warehouse: Warehouse, *paths: Path) -> Absorbed:
    return sum((rows for _, rows in smartctl.load(warehouse, paths, now=NOW)), Absorbed())


@pytest.mark.parametrize(
    ("document", "values"),
    [
        (ata(), {5: 8, 9: 12345, 194: 34, 197: 1}),
        (nvme(), {9: 12164, 12: 22, 187: 2, 192: 8, 194: 29, 241: 30_000, 242: 20_000}),
        (scsi(), {5: 6, 9: 12437, 187: 4, 193: 23491, 194: 32}),
    ],
    ids=["ATA", "NVMe", "SCSI"],
)
def test_each_protocol_fills_the_attributes_of_the_same_meaning(
    document: dict[str, Any], values: dict[int, int]
) -> None:
    """ATA by raw value, hours and degrees unpacked; NVMe and SCSI by what means the same; unknown ones are left out."""
    assert reading(document).values == {f"smart_{number}_raw": value for number, value in values.items()}


def test_a_file_becomes_readings_with_model_capacity_and_firmware(tmp_path: Path) -> None:
    """Gauges by day, counters by change, and the drive's own words on what it is."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        done = _load(warehouse, _file(tmp_path / "h1" / "all.jsonl", [ata(), nvme(), scsi()]))
        drives = warehouse.con.execute(
            "select entity_id, model, capacity_bytes, firmware, smart_9_raw, smart_5_raw, smart_187_raw "
            "from disk_day join entity using (entity_key) join disk_change using (entity_key) order by 1"
        ).fetchall()
    assert (done.rows_read, done.rows_loaded) == (3, 3)
    assert drives == [
        ("NV1", "INTEL SSDPE2KX080T8", 8001563222016, "VDV10131", 12164, None, 2),
        ("SC1", "TOSHIBA AL15SEB24EQY", 2400476553216, "EF06", 12437, 6, 4),
        ("ZA1", "ST4000DM000", 4000787030016, "CC52", 12345, 8, None),
    ]


def test_the_first_reading_of_a_day_counts(tmp_path: Path) -> None:
    """Hourly files are one reading a day; later ones and repeats are duplicates, not quarantine."""
    hourly = [ata(at=READ_AT + timedelta(hours=hour), a5=8 + hour) for hour in range(30)]
    with Warehouse.open(tmp_path / "home") as warehouse:
        path = _file(tmp_path / "h1" / "sda.jsonl", hourly)
        done, again = _load(warehouse, path), _load(warehouse, path)
        kept = warehouse.con.execute("select from_day::varchar, smart_5_raw from disk_change order by 1").fetchall()
    assert (done.rows_read, done.rows_loaded, done.rows_duplicate, done.rows_quarantined) == (30, 2, 28, 0)
    assert (again.rows_read, again.rows_loaded, again.rows_duplicate) == (30, 0, 30)
    assert kept == [("2026-01-05", 8), ("2026-01-06", 30)]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (ata(exit_status=1), "smartctl_usage"),
        (ata(exit_status=2), "device_not_read"),
        (ata() | {"smartctl": {"exit_status": 4, "messages": [{"string": "invalid SMART checksum"}]}}, "bad_checksum"),
        (ata(serial=" "), "no_serial_number"),
        (ata() | {"local_time": {}}, "no_date"),
        (ata(at=NOW + timedelta(days=4000)), "future_date"),
        (ata(a5=-1), "bad_value"),
        (ata(a5=2**70), "bad_value"),
        (ata() | {"user_capacity": {"bytes": 2**70}}, "bad_value"),
        (nvme("NV2") | {"nvme_total_capacity": 2**63}, "bad_value"),
        (nvme("NV2", critical_warning=2**1100), "bad_value"),
        (ata() | {"ata_smart_attributes": {}}, "no_readings"),
        (ata() | {"device": {"protocol": "USB"}}, "no_readings"),
        ({"temperature": 3}, "not_smartctl"),
        ("[1, 2", "malformed_line"),
    ],
)
def test_what_cannot_be_believed_is_set_aside_with_its_reason(tmp_path: Path, document: Any, reason: str) -> None:
    """The bad line is counted and kept once, however often the file is read; the good one beside it is loaded."""
    path = _file(tmp_path / "h1" / "all.jsonl", [document, nvme()])
    with Warehouse.open(tmp_path / "home") as warehouse:
        done = _load(warehouse, path)
        _load(warehouse, path)
        kept = warehouse.con.execute("select reason from quarantine").fetchall()
    assert (done.rows_read, done.rows_loaded, done.rows_quarantined) == (2, 1, 1)
    assert kept == [(reason,)]


@pytest.mark.parametrize(("text", "reason"), [("", "empty_file"), ("{\n cut", "unreadable_file")])
def test_a_damaged_file_is_one_entry(tmp_path: Path, text: str, reason: str) -> None:
    """A file that was cut off is set aside as a whole, not line by line."""
    path = tmp_path / "sda.json"
    path.write_text(text)
    assert [one.reason for one in read(path)[1]] == [reason]


def test_a_file_that_may_not_be_read_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is set aside with what the system says of it, and the drives in other files are read."""
    barred, read_text = _file(tmp_path / "h1" / "sda.json", [ata()]), Path.read_text

    def refusing(path: Path, **how: Any) -> str:
        if path == barred:
            raise PermissionError(13, "Permission denied")
        return read_text(path, **how)

    monkeypatch.setattr(Path, "read_text", refusing)
    with Warehouse.open(tmp_path / "home") as warehouse:
        done = _load(warehouse, barred, _file(tmp_path / "h2" / "sda.json", [ata("ZA2")]))
        kept = warehouse.con.execute("select file, reason, detail from quarantine").fetchall()
    assert (done.rows_loaded, done.rows_quarantined) == (1, 1)
    assert kept == [("h1/sda.json", "unreadable_file", "Permission denied")]


@pytest.mark.parametrize(
    ("at", "reason"), [(NOW + timedelta(days=4000), "future_date"), (datetime(1970, 1, 3, tzinfo=UTC), "bad_time")]
)
def test_a_wrong_clock_is_told_of_the_file_it_is_in(tmp_path: Path, at: datetime, reason: str) -> None:
    """Quarantine names that host's file, not the first one read beside it, and such a day sites no drive."""
    files = [_file(tmp_path / "h1" / "sda.json", [ata()]), _file(tmp_path / "h2" / "sda.json", [ata("ZA2", at=at)])]
    with Warehouse.open(tmp_path / "home") as warehouse:
        warehouse.put_inventory(hosts("h1", "h2"), vms(), entities(), READ_AT - timedelta(days=1))
        _load(warehouse, *files)
        kept = warehouse.con.execute("select file, reason from quarantine").fetchall()
        sited = warehouse.con.execute("select host_id from entity_host").fetchall()
    assert kept == [("h2/sda.json", reason)]
    assert sited == [("h1",)]


def test_only_a_change_of_what_a_drive_says_of_itself_is_an_event(tmp_path: Path) -> None:
    """Failing from the second day to the fourth: one event when it begins, one when it ends, and no failure."""
    days = [
        ata(at=READ_AT + timedelta(days=day), exit_status=status) for day, status in enumerate([0, 8, 8, 24, 0])
    ]  # bit 3: failing; bit 4: below its threshold
    with Warehouse.open(tmp_path / "home") as warehouse:
        path = _file(tmp_path / "h1" / "sda.jsonl", days)
        _load(warehouse, path)
        _load(warehouse, path)
        told = warehouse.con.execute("select kind, day(observed_at), value from event order by 1, 2").fetchall()
        failed = warehouse.con.execute("select count(*) from failure").fetchall()
    assert told == [
        ("smart_below_threshold", 8, 1.0), ("smart_below_threshold", 9, 0.0),
        ("smart_failing", 6, 1.0), ("smart_failing", 9, 0.0),
    ]  # fmt: skip
    assert failed == [(0,)]


def test_a_critical_warning_of_nvme_is_an_event_with_its_bits(tmp_path: Path) -> None:
    """The bits say which: 4 is reliability degraded."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        _load(warehouse, _file(tmp_path / "h1" / "n.jsonl", [nvme(critical_warning=4)]))
        assert warehouse.con.execute("select kind, value from event").fetchall() == [("nvme_critical_warning", 4.0)]


def test_a_drive_sits_where_the_inventory_says_or_else_where_it_was_read(tmp_path: Path) -> None:
    """The folder or the field names the host of a drive that no inventory has placed, if it is a known host."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        placed = entities(ZA1="h2")
        warehouse.put_inventory(hosts("h1", "h2"), vms(), placed, READ_AT - timedelta(days=1))
        _load(warehouse, _file(tmp_path / "h1" / "a.jsonl", [ata("ZA1"), ata("ZA2")]))
        _load(warehouse, _file(tmp_path / "collected" / "b.jsonl", [ata("ZA3") | {"host_id": "h2"}, ata("ZA4")]))
        sited = warehouse.con.execute(
            "select entity_id, host_id from entity_host join entity using (entity_key) where valid_until is null"
        ).fetchall()
    assert sorted(sited) == [("ZA1", "h2"), ("ZA2", "h1"), ("ZA3", "h2")]


def test_a_drive_that_no_inventory_places_is_moved_with_its_readings(tmp_path: Path) -> None:
    """Another host's newer reading takes it there, an old file not back; pictures that do not name it end nothing."""
    later = [READ_AT + timedelta(days=days) for days in range(4)]
    with Warehouse.open(tmp_path / "home") as warehouse:

        def picture(at: datetime, **placed: str) -> None:
            warehouse.put_inventory(hosts("h1", "h2", "h3"), vms(), entities(**placed), at - timedelta(hours=1))

        old = _file(tmp_path / "h1" / "sda.json", [ata(at=later[0])])
        for at, path in (
            (later[0], old),
            (later[1], _file(tmp_path / "h2" / "sdc.json", [ata(at=later[1])])),
            (later[2], old),
        ):
            picture(at)
            _load(warehouse, path)
        picture(later[2], ZA1="h3")
        _load(warehouse, _file(tmp_path / "h2" / "sdc.json", [ata(at=later[3])]))
        stays = warehouse.con.execute("select host_id, valid_from, valid_until from entity_host order by 2").fetchall()
    assert [(host, begins, ends) for host, begins, ends in stays] == [
        ("h1", later[0], later[1]),
        ("h2", later[1], later[2] - timedelta(hours=1)),
        ("h3", later[2] - timedelta(hours=1), None),
    ]


@pytest.mark.slow
def test_what_the_real_smartctl_prints_of_no_drive_is_set_aside(tmp_path: Path) -> None:
    """A device that cannot be opened and one that is none end in quarantine with smartctl's own words."""
    smartctl = shutil.which("smartctl", path="/usr/sbin:/usr/bin")
    if smartctl is None:
        pytest.skip("no smartctl here: apt-get install smartmontools")
    documents = [
        json.loads(subprocess.run([smartctl, "--json", "-x", device], capture_output=True, check=False).stdout)
        for device in ("/dev/null", "/dev/nvme99")
    ]
    _, rejects = read(_file(tmp_path / "h1" / "real.jsonl", documents))
    assert [one.reason for one in rejects] == ["smartctl_usage", "device_not_read"]
    assert "No such device" in rejects[1].detail
