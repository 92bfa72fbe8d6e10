"""Outages of LANL's nodes become failures and returns, once, of fleets whose quiet nodes are known too."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data.errors import InputError
from data.sources import lanl
from data.warehouse import Warehouse

HEADER = (
    "System,machine type,nodes,nodenum,node prod,node decom,Prob Started,Prob Fixed,Facilities,Hardware,Human Error,"
    "Network,Undetermined,Software"
)
ROW = "8,cluster,4,2,1-Apr,current,5/1/2001 11:30,5/1/2001 12:30,,Memory Dimm,,,,"


def table(folder: Path, *rows: str) -> Path:
    """A file with these outages."""
    path = folder / "outages.csv"
    path.write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
    return path


def stays(warehouse: Warehouse) -> list[tuple[str, datetime, datetime | None]]:
    """Who sits where and how long."""
    return warehouse.con.execute("select host_id, valid_from, valid_until from entity_host order by all").fetchall()


def test_an_outage_is_a_failure_and_a_return(tmp_path: Path) -> None:
    """Its beginning is a failure with its cause, its end an event with the seconds it was down, known at that time."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        lanl.load(warehouse, table(tmp_path, ROW))
        failure = warehouse.con.execute("select failed_at, ingested_at, cause from failure").fetchall()
        returned = warehouse.con.execute("select observed_at, kind, value from event").fetchall()
    began, ended = datetime(2001, 5, 1, 11, 30, tzinfo=UTC), datetime(2001, 5, 1, 12, 30, tzinfo=UTC)
    assert failure == [(began, began, "Hardware: Memory Dimm")]
    assert returned == [(ended, "returned", 3600.0)]


def test_nodes_that_never_failed_are_known(tmp_path: Path) -> None:
    """A system of four nodes has four, whichever of them failed; a year may stand before or behind its month."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        lanl.load(warehouse, table(tmp_path, ROW.replace("current", "Nov-05")))
        found = stays(warehouse)
    since, until = datetime(2001, 4, 1, tzinfo=UTC), datetime(2005, 12, 1, tzinfo=UTC)
    assert found == [(f"lanl-8-{number}", since, until) for number in (0, 1, 2, 3)]


def test_a_node_was_there_before_its_first_outage(tmp_path: Path) -> None:
    """Where the date of production is unknown or later, the first outage's day begins the stay."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        lanl.load(warehouse, table(tmp_path, ROW.replace("1-Apr", "before tracking").replace(",4,2,", ",1,0,")))
        assert stays(warehouse) == [("lanl-8-0", datetime(2001, 5, 1, tzinfo=UTC), None)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ROW.replace(",4,2,", ",,,"), "no_node"),
        (ROW.replace("5/1/2001 12:30", "soon"), "bad_time"),
        (ROW.replace("5/1/2001 12:30", "4/1/2001 12:30"), "ends_before_it_begins"),
        (ROW.replace("5/1/2001 12:30", "12/31/9999 23:59").replace("current", "Nov-05"), "future_date"),
        (ROW.replace("5/1/2001", "5/1/2050"), "future_date"),
    ],
)
def test_a_row_that_cannot_be_believed_is_set_aside(tmp_path: Path, row: str, reason: str) -> None:
    """The rest is loaded; the same file again loads nothing and sets nothing aside twice."""
    path = table(tmp_path, ROW, row, ROW.replace("5/1/2001 1", "6/1/2001 1"), ROW)
    with Warehouse.open(tmp_path / "home") as warehouse:
        first, again = lanl.load(warehouse, path), lanl.load(warehouse, path)
        kept = warehouse.con.execute("select reason, line from quarantine").fetchall()
    assert (first.rows_loaded, first.rows_duplicate, first.rows_quarantined) == (2, 1, 1)
    assert (again.rows_loaded, again.rows_duplicate, again.rows_quarantined) == (0, 3, 1)
    assert kept == [(reason, 3)]


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, ending: str) -> None:
    """A table that a spreadsheet has saved is read like any other, packed or not."""
    text = table(tmp_path, ROW).read_text(encoding="utf-8").encode("utf-8-sig")
    path = tmp_path / f"saved{ending}"
    path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    with Warehouse.open(tmp_path / "home") as warehouse:
        assert lanl.load(warehouse, path).rows_loaded == 1


def test_a_later_file_adds_what_is_new(tmp_path: Path) -> None:
    """Outages that both files have are loaded once, and the fleet does not grow."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        lanl.load(warehouse, table(tmp_path, ROW))
        report = lanl.load(warehouse, table(tmp_path, ROW, ROW.replace(",4,2,", ",4,3,").replace("2001 1", "2002 1")))
        nodes = warehouse.con.execute("select count(*) from entity").fetchall()
    assert report.rows_loaded == 1
    assert nodes == [(4,)]


def test_a_file_of_later_outages_alone_tells_of_the_same_nodes(tmp_path: Path) -> None:
    """A node that was entered by another number takes its own, and each of the four has one stay, as long as before."""
    later = ROW.replace(",4,2,", ",4,9,").replace("1-Apr", "1-May").replace("2001 1", "2002 1")
    with Warehouse.open(tmp_path / "home") as warehouse:
        lanl.load(warehouse, table(tmp_path, ROW))
        before = warehouse.con.execute("select entity_key from entity order by all").fetchall()
        lanl.load(warehouse, table(tmp_path, later, ROW.replace("2001 1", "2002 1").replace("1-Apr", "1-May")))
        found = stays(warehouse)
        after = warehouse.con.execute("select entity_key from entity order by all").fetchall()
    assert found == [(f"lanl-8-{number}", datetime(2001, 4, 1, tzinfo=UTC), None) for number in (1, 2, 3, 9)]
    assert after == before


def test_a_later_file_may_end_a_stay(tmp_path: Path) -> None:
    """Once a system is told to be decommissioned, its quiet nodes leave with it; an outage after that puts it off."""
    ends, after = ROW.replace("current", "2-Jun").replace("2001 1", "2002 1"), ROW.replace("5/1/2001 1", "8/1/2002 1")
    with Warehouse.open(tmp_path / "home") as warehouse:
        for row in (ROW, ends, after.replace("current", "2-Jun")):
            lanl.load(warehouse, table(tmp_path, row))
        ended = {host: until for host, _, until in stays(warehouse)}
    assert ended["lanl-8-0"] == datetime(2002, 7, 1, tzinfo=UTC)
    assert ended["lanl-8-2"] == datetime(2002, 8, 1, 12, 31, tzinfo=UTC)


def test_another_table_is_refused(tmp_path: Path) -> None:
    """A file without the columns, or one that is no gzip file, is named and loads nothing."""
    other, broken = tmp_path / "other.csv", tmp_path / "outages.csv.gz"
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    broken.write_bytes(gzip.compress(HEADER.encode())[:20])
    with Warehouse.open(tmp_path / "home") as warehouse:
        for path in (other, broken):
            with pytest.raises(InputError, match=path.name):
                lanl.load(warehouse, path)


@pytest.mark.real
def test_the_published_outages_are_read(real: Path, tmp_path: Path) -> None:
    """All rows but those of the system whose nodes are not named, and every node of every system."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        report = lanl.load(warehouse, real / "node" / "lanl_outages_to_2004-09.csv.gz")
        systems = dict(warehouse.con.execute("select model, count(*) from entity group by model").fetchall())
    assert (report.rows_loaded, report.rows_duplicate, report.rows_quarantined) == (19_111, 30, 126)
    assert (systems["lanl-2"], systems["lanl-18"], systems["lanl-20"], systems["lanl-7"]) == (49, 1024, 512, 1)
