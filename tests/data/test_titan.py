"""Stays of Titan's GPUs become stays and failures, once, and a later file closes what has ended."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from data.errors import InputError
from data.sources import titan
from data.warehouse import Warehouse

OPEN = "0320117100060,c11-2c1s4n1,2014-04-09 21:36:19,,"
ENDED = "0320117100060,c11-2c1s4n1,2014-04-09 21:36:19,2015-04-09 10:00:00,DBE"


def table(folder: Path, *rows: str) -> Path:
    """A file with these stays."""
    path = folder / "stints.csv"
    path.write_text("\n".join(["SN,location,insert,remove,event", *rows, ""]), encoding="utf-8")
    return path


def test_a_stay_that_ended_with_an_error_is_a_failure(tmp_path: Path) -> None:
    """At its end, with its cause, and known at that moment; one that ended without is none."""
    other = "0320117100061,c9-3c1s2n1,2014-04-09 21:36:19,2015-01-01 00:00:00,"
    with Warehouse.open(tmp_path / "home") as warehouse:
        titan.load(warehouse, table(tmp_path, ENDED, other))
        found = warehouse.con.execute(
            "select entity_id, failed_at, failure.ingested_at, cause from failure join entity using (entity_key)"
        ).fetchall()
        stays = warehouse.con.execute("select count(*) from entity_host where valid_until is not null").fetchall()
    moment = datetime(2015, 4, 9, 10, tzinfo=UTC)
    assert found == [("0320117100060", moment, moment, "dbe")]
    assert stays == [(2,)]


def test_a_later_file_closes_what_has_ended(tmp_path: Path) -> None:
    """The stay that went on in the first file ends in the second, with its failure, and is held once."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        first = titan.load(warehouse, table(tmp_path, OPEN))
        again = titan.load(warehouse, table(tmp_path, OPEN))
        later = titan.load(warehouse, table(tmp_path, ENDED))
        held = warehouse.con.execute("select valid_until from entity_host").fetchall()
        failures = warehouse.con.execute("select count(*) from failure").fetchall()
    assert (first.rows_loaded, again.rows_loaded, again.rows_duplicate, later.rows_loaded) == (1, 0, 1, 1)
    assert held == [(datetime(2015, 4, 9, 10, tzinfo=UTC),)]
    assert failures == [(1,)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (OPEN.replace("c11-2c1s4n1", "shelf"), "no_slot"),
        (OPEN + "melted", "unknown_event"),
        (OPEN.replace("2014-04-09 21:36:19", "spring"), "bad_time"),
        (OPEN + "DBE", "bad_time"),
        (ENDED.replace("2015", "2013"), "ends_before_it_begins"),
        (OPEN.replace("2014-04-09 21:36:19", "0001-01-01 00:00:00+02:00"), "bad_time"),
        (OPEN.replace("2014", "2999"), "future_date"),
        (ENDED.replace("2015", "2999"), "future_date"),
    ],
)
def test_a_row_that_cannot_be_believed_is_set_aside(tmp_path: Path, row: str, reason: str) -> None:
    """With its reason and line; the rest is loaded."""
    good = OPEN.replace("100060", "100099")
    with Warehouse.open(tmp_path / "home") as warehouse:
        report = titan.load(warehouse, table(tmp_path, good, row))
        kept = warehouse.con.execute("select reason, line from quarantine").fetchall()
    assert (report.rows_loaded, report.rows_quarantined) == (1, 1)
    assert kept == [(reason, 3)]


def test_a_stay_may_begin_until_the_moment_of_loading(tmp_path: Path) -> None:
    """A stay of a day to come is believed once that day has come, even where the wall clock lags behind."""
    path = table(tmp_path, OPEN.replace("2014", "2999"))
    begins = datetime(2999, 4, 9, 21, 36, 19, tzinfo=UTC)
    with Warehouse.open(tmp_path / "home") as warehouse:
        early = titan.load(warehouse, path, now=begins - timedelta(seconds=1))
        due = titan.load(warehouse, path, now=begins)
    assert (early.rows_loaded, early.rows_quarantined) == (0, 1)
    assert (due.rows_loaded, due.rows_quarantined) == (1, 0)


@pytest.mark.parametrize("offset", ["", "+00:00", "+02:00", "-05:30"])
def test_times_with_an_offset_are_converted_to_utc(tmp_path: Path, offset: str) -> None:
    """Without an offset they are taken as UTC."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        titan.load(warehouse, table(tmp_path, OPEN.replace("21:36:19", f"21:36:19{offset}")))
        held = warehouse.con.execute("select valid_from from entity_host").fetchall()
    assert held == [(datetime.fromisoformat(f"2014-04-09 21:36:19{offset or '+00:00'}"),)]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    """A table that a spreadsheet has saved is read like any other."""
    path = table(tmp_path, OPEN)
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    with Warehouse.open(tmp_path / "home") as warehouse:
        assert titan.load(warehouse, path).rows_loaded == 1


def test_a_gpu_in_two_slots_is_believed_in_the_first(tmp_path: Path) -> None:
    """The stay that begins within another is set aside, once; a swap at the same moment and a shared slot are not."""
    gpu, other = "0320117100060", "0320117100077"
    rows = (
        f"{gpu},c1-0c0s0n0,2014-01-01 00:00:00,2015-01-01 00:00:00,",
        f"{gpu},c1-0c0s0n1,2014-06-01 00:00:00,2014-07-01 00:00:00,",
        f"{gpu},c1-0c0s0n2,2015-01-01 00:00:00,,",
        f"{other},c1-0c0s0n0,2014-02-01 00:00:00,2014-03-01 00:00:00,",
    )
    with Warehouse.open(tmp_path / "home") as warehouse:
        first, again = (titan.load(warehouse, table(tmp_path, *rows)) for _ in range(2))
        kept = warehouse.con.execute("select reason, line from quarantine").fetchall()
    assert (first.rows_loaded, first.rows_quarantined, again.rows_loaded) == (3, 1, 0)
    assert kept == [("in_two_slots", 3)]


def test_a_stay_is_believed_once_its_overlap_is_resolved(tmp_path: Path) -> None:
    """A later file that closes the earlier stay in time loads the one that had been set aside."""
    moved = OPEN.replace("c11-2c1s4n1", "c11-2c1s4n2").replace("2014-04-09", "2016-01-01")
    with Warehouse.open(tmp_path / "home") as warehouse:
        before = titan.load(warehouse, table(tmp_path, OPEN, moved))
        after = titan.load(warehouse, table(tmp_path, ENDED, moved))
        hosts = warehouse.con.execute("select count(*) from entity_host").fetchall()
    assert (before.rows_quarantined, after.rows_loaded, after.rows_quarantined) == (1, 2, 0)
    assert hosts == [(2,)]


def test_another_table_is_refused(tmp_path: Path) -> None:
    """A file without the columns is named and loads nothing."""
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n", encoding="utf-8")
    with Warehouse.open(tmp_path / "home") as warehouse, pytest.raises(InputError, match="no column SN"):
        titan.load(warehouse, other)


@pytest.mark.real
def test_the_published_stays_are_read(real: Path, tmp_path: Path) -> None:
    """Every stay of every GPU but two that overlap another, and each of those that ended with an error as a failure."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        report = titan.load(warehouse, real / "gpu" / "titan_gpu_stints_to_2017.csv.gz")
        causes = dict(warehouse.con.execute("select cause, count(*) from failure group by cause").fetchall())
    assert (report.rows_loaded, report.rows_quarantined) == (32_558, 2)
    assert causes == {"dbe": 2254, "otb": 1188}
