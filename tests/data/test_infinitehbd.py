"""Faults of GPU servers become outages of nodes and returns, once."""

from datetime import timedelta
from pathlib import Path

import pytest

from data.sources import infinitehbd
from data.warehouse import Warehouse

START = "s1,3.5,fault_start,Hardware Failure,GPU,GPU Lost"
END = "s1,4.5,fault_end,Hardware Failure,GPU,GPU Lost"
FAN = "s2,7.25,fault_start,Hardware Failure,Fan,Fan Broken"
WORK = "s3,8,fault_start,Other Failure,Change,Cables"


def table(folder: Path, *rows: str) -> Path:
    """A file with these faults."""
    path = folder / "trace.csv"
    path.write_text("\n".join(["node_id,event_time,event_type,Level,Class,Desc", *rows, ""]), encoding="utf-8")
    return path


def test_a_fault_is_a_failure_with_its_cause_and_its_end_a_return(tmp_path: Path) -> None:
    """Whatever the class, the server is out and comes back; work that was planned is no failure."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        report = infinitehbd.load(warehouse, table(tmp_path, START, END, FAN, WORK))
        failures = warehouse.con.execute("select failed_at, cause from failure order by failed_at").fetchall()
        events = warehouse.con.execute("select observed_at, kind, value from event order by observed_at").fetchall()
        servers = warehouse.con.execute("select count(*) from entity_host").fetchall()
    epoch = infinitehbd.EPOCH
    assert report.rows_loaded == 4
    assert failures == [
        (epoch + timedelta(days=3.5), "Hardware: GPU, GPU Lost"),
        (epoch + timedelta(days=7.25), "Hardware: Fan, Fan Broken"),
    ]
    assert events == [
        (epoch + timedelta(days=4.5), "returned", 86_400.0),
        (epoch + timedelta(days=8), "planned_work", 1.0),
    ]
    assert servers == [(400,)]


def test_servers_that_a_later_file_names_were_among_the_quiet_ones(tmp_path: Path) -> None:
    """The fleet does not grow, in whatever pieces its trace arrives."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        infinitehbd.load(warehouse, table(tmp_path, START))
        infinitehbd.load(warehouse, table(tmp_path, END, FAN))
        servers = warehouse.con.execute("select entity_id from entity_host join entity using (entity_key)").fetchall()
    names = {name for (name,) in servers}
    assert len(servers) == len(names) == 400
    assert {"infinitehbd-s1", "infinitehbd-s2"} < names


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (START.replace("s1", ""), "no_server"),
        (START.replace("fault_start", "begins"), "unknown_event"),
        (START.replace("3.5", "soon"), "bad_time"),
        (START.replace("3.5", "nan"), "bad_time"),
        (START.replace("3.5", "-1"), "bad_time"),
        (START.replace("3.5", "27500"), "future_date"),
    ],
)
def test_a_row_that_cannot_be_believed_is_set_aside(tmp_path: Path, row: str, reason: str) -> None:
    """With its reason and line; the rest is loaded, once."""
    path = table(tmp_path, END, row)
    with Warehouse.open(tmp_path / "home") as warehouse:
        first, again = infinitehbd.load(warehouse, path), infinitehbd.load(warehouse, path)
        kept = warehouse.con.execute("select reason, line from quarantine").fetchall()
    assert (first.rows_loaded, first.rows_quarantined) == (1, 1)
    assert (again.rows_loaded, again.rows_duplicate) == (0, 1)
    assert kept == [(reason, 3)]


@pytest.mark.real
def test_the_published_trace_is_read(real: Path, tmp_path: Path) -> None:
    """Every row, the named servers and the quiet ones."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        report = infinitehbd.load(warehouse, real / "gpu" / "infinitehbd_fault_trace.csv")
        again = infinitehbd.load(warehouse, real / "gpu" / "infinitehbd_fault_trace.csv")
        servers = warehouse.con.execute("select count(*) from entity").fetchall()
    assert (report.rows_read, report.rows_quarantined, again.rows_loaded) == (1168, 0, 0)
    assert servers == [(400,)]
