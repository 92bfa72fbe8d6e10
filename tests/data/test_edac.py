"""Memory errors as hosts log them: mcelog's records beside rasdaemon's database, in one contract."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from memory_errors import rasdaemon

from data.sources.edac import SUFFIXES, load
from data.sources.files import expand
from data.sources.mcelog import read
from data.warehouse import Warehouse

NOW = datetime(2026, 2, 1, tzinfo=UTC)
AT = int(datetime(2026, 1, 5, 10, tzinfo=UTC).timestamp())
CORRECTED_READ_CHANNEL_1 = 0x8C00014000010091
"""Valid, five corrected errors, read on channel 1."""


def record(
    status: int = CORRECTED_READ_CHANNEL_1, time: str = f"TIME {AT} Mon Jan  5 10:00:00 2026", more: str = ""
) -> str:
    """A record as the daemon writes it."""
    return (
        "Hardware event. This is not a software error.\nMCE 0\nCPU 0 BANK 7 TSC 4a2f3d1e\n"
        f"MISC 2140505086 ADDR 1046e4c80 \n{time}\nMCG status:\nMCi status:\nCorrected error\n"
        f"MCA: MEMORY CONTROLLER RD_CHANNEL1_ERR\nTransaction: Memory read error\n{more}"
        f"STATUS {status:x} MCGSTATUS 0\nMCGCAP 1000c14 APICID 20 SOCKETID 1 \nCPUID Vendor Intel Family 6 Model 45\n"
    )


def _log(path: Path, *records: str, before: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{before}{line}\n" for one in records for line in one.splitlines()))
    return path


@pytest.mark.parametrize("before", ["", "Jan  5 10:00:00 h7 mcelog[665]: "], ids=["logfile", "syslog"])
def test_a_corrected_error_is_an_event_of_its_dimm(tmp_path: Path, before: str) -> None:
    """Count, access and place are read from the registers, whether the daemon wrote a file or to syslog."""
    path = _log(tmp_path / "h7" / "mcelog", record(), record(more="Memory DIMM ID of error: 2\n"), before=before)
    first, second = read(path).rows
    assert (first.entity_id, second.entity_id) == ("h7/socket1/channel1/dimm-1", "h7/socket1/channel1/dimm2")
    assert (first.count, first.corrected, first.observed_at.hour) == (5, True, 10)
    assert first.detail == {"access": "READ", "physical_address": 0x1046E4C80, "tsc": 0x4A2F3D1E}


def test_a_log_and_a_database_fill_the_same_contract_once(tmp_path: Path) -> None:
    """One kind reads a folder of both; an uncorrected error is a failure; a repeat loads nothing."""
    _log(tmp_path / "logs" / "h7" / "mcelog", record(), record(1 << 61 | CORRECTED_READ_CHANNEL_1))
    _log(tmp_path / "logs" / "h8.log", record())
    rasdaemon(tmp_path / "logs" / "h9" / "ras-mc_event.db", [{}])
    with Warehouse.open(tmp_path / "home") as warehouse:
        done = [load(warehouse, path, now=NOW) for path in expand([tmp_path / "logs"], SUFFIXES)]
        again = [load(warehouse, path, now=NOW) for path in expand([tmp_path / "logs"], SUFFIXES)]
        held = warehouse.con.execute(
            "select split_part(entity_id, '/', 1), sum(errors)::int from memory_error join entity using (entity_key) "
            "group by 1 order by 1"
        ).fetchall()
        failed = warehouse.con.execute("select entity_id, cause from failure join entity using (entity_key)").fetchall()
    assert (sum(one.rows_loaded for one in done), sum(one.rows_loaded for one in again)) == (4, 0)
    assert held == [("h7", 5), ("h8", 5), ("h9", 1)]
    assert failed == [("h7/socket1/channel1/dimm-1", "ue")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (record(0xBF80000000000124), "not_a_memory_error"),
        (record(time=""), "bad_time"),
        (record(time="TIME 99999999999999"), "bad_time"),
        (record().replace("STATUS", "STAT"), "truncated_record"),
        ("some other program's log", "unreadable_file"),
    ],
)
def test_other_records_are_set_aside_with_their_reason(tmp_path: Path, text: str, reason: str) -> None:
    """A cache's machine check, a record without time or status, and a file that is no such log."""
    records = [text] if reason == "unreadable_file" else [text, record()]
    log = read(_log(tmp_path / "h7" / "mcelog", *records))
    assert [one.reason for one in log.rejects] == [reason]
    assert len(log.rows) == len(records) - 1


def test_a_record_that_is_still_being_written_waits_for_the_next_reading(tmp_path: Path) -> None:
    """The end of a live log is neither loaded nor set aside until it is whole."""
    half = record()[: record().index("STATUS")]
    log = read(_log(tmp_path / "h7" / "mcelog", record(), half))
    assert (len(log.rows), log.rejects) == (1, [])


def test_a_log_that_cannot_be_opened_is_set_aside(tmp_path: Path) -> None:
    """One that was rotated away after its folder was looked into is told with the system's reason, and ends nothing."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        for name in ("mcelog", "ras-mc_event.db"):
            load(warehouse, tmp_path / "h1" / name, now=NOW)
        kept = warehouse.con.execute("select source, file, reason, detail from quarantine order by all").fetchall()
    assert kept == [
        ("mcelog", "h1/mcelog", "unreadable_file", "No such file or directory"),
        ("rasdaemon", "h1/ras-mc_event.db", "unreadable_file", "SQLite cannot read it: unable to open database file"),
    ]
