"""The warehouse keeps facts once, keeps history, lets one writer in, and publishes whole snapshots."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from drives import START, Reading, put
from facts import DAY, entities, events, failures, hosts, vms

from data.contracts import EVENTS
from data.errors import InputError, MigrationError, WarehouseBusy, WarehouseError
from data.snapshots import read
from data.warehouse import Warehouse


def test_reading_before_anything_is_published_says_what_to_do(home: Path) -> None:
    """The error names the folder and the first command."""
    with pytest.raises(WarehouseError, match="foreshock ingest"), read(home):
        pass


def test_a_second_writer_is_told_who_writes(home: Path) -> None:
    """While one process writes, another waits and then fails with a clear error."""
    script = (
        "import sys, time; from pathlib import Path; from data.warehouse import Warehouse\n"
        "with Warehouse.open(Path(sys.argv[1])): print('open', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(home)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert other.stdout
    assert other.stdout.readline() == b"open\n"
    with pytest.raises(WarehouseBusy, match="repeat this one"):
        Warehouse.open(home, lock_wait_seconds=0.3)
    other.kill()
    other.wait()
    Warehouse.open(home).con.close()


def test_a_changed_migration_is_refused(home: Path) -> None:
    """A migration whose text is not what ran raises an error that names it."""
    with Warehouse.open(home) as warehouse:
        warehouse.con.execute("update schema_migration set sha256 = 'other' where number = 1")
    with pytest.raises(MigrationError, match="0001_facts"):
        Warehouse.open(home)


def test_a_snapshot_stays_what_it_was(home: Path) -> None:
    """A reader keeps its snapshot while a newer one is published, and the next reader sees the newer one."""
    with Warehouse.open(home) as warehouse:
        warehouse.put_entities(entities(a="h1"))
        warehouse.publish()
        with read(home) as before:
            warehouse.put_entities(entities(b="h1"))
            warehouse.publish()
            assert before.execute("select count(*) from entity").fetchall() == [(1,)]
        with read(home) as after:
            assert after.execute("select count(*) from entity").fetchall() == [(2,)]


def test_an_error_leaves_nothing_behind(home: Path) -> None:
    """A transaction that fails half-way is undone whole."""
    with Warehouse.open(home) as warehouse:
        with pytest.raises(duckdb.Error), warehouse.transaction() as con:
            con.execute("insert into mitigation values ('o', 'h', 'a', now(), now()); select error('midway')")
        assert warehouse.con.execute("select count(*) from mitigation").fetchall() == [(0,)]


def test_events_and_failures_are_kept_once(home: Path) -> None:
    """What is sent again is not stored again, and different values at one moment are different events."""
    with Warehouse.open(home) as warehouse:
        assert warehouse.put_events(events(1.0, 2.0, 2.0)) == 2
        assert warehouse.put_events(events(2.0, 3.0)) == 1
        assert warehouse.put_failures(failures("g1", "g2")) == 2
        assert warehouse.put_failures(failures("g2", "g3")) == 1


def test_inventory_keeps_history(home: Path) -> None:
    """A VM that moved has two rows, one closed when the other opened; an unchanged picture changes nothing."""
    with Warehouse.open(home) as warehouse:
        assert warehouse.put_inventory(hosts("h1", "h2"), vms(v="h1"), entities(a="h1"), DAY) == 4
        assert warehouse.put_inventory(hosts("h1", "h2"), vms(v="h1"), entities(a="h1"), DAY) == 0
        later = DAY + timedelta(days=1)
        warehouse.put_inventory(hosts("h1", "h2"), vms(v="h2"), entities(a="h1"), later)
        assert warehouse.con.execute(
            "select host_id, valid_from, valid_until from vm order by valid_from"
        ).fetchall() == [("h1", DAY, later), ("h2", later, None)]


def test_a_table_outside_the_contract_is_refused(home: Path) -> None:
    """A missing column is named."""
    with Warehouse.open(home) as warehouse, pytest.raises(InputError, match="failed_at"):
        warehouse.put_failures(pa.table({"component": ["gpu"], "entity_id": ["g1"]}))


def test_corrected_errors_are_read_out_of_their_events_once(home: Path) -> None:
    """Sent again nothing is added; a detail that is no JSON has no address, and other kinds are no errors."""
    sent = events(3.0, 4.0).to_pylist()
    sent[0]["detail"] = '{"access": "SCRUB", "row": 7, "column": "x"}'
    sent[1]["detail"] = "not JSON"
    table = pa.Table.from_pylist([*sent, {**sent[0], "kind": "returned"}], EVENTS)
    with Warehouse.open(home) as warehouse:
        assert [warehouse.put_events(table), warehouse.put_events(table)] == [3, 0]
        held = warehouse.con.execute("select errors, scrub, row_number, column_number from memory_error").fetchall()
    assert sorted(held) == [(3, True, 7, None), (4, None, None, None)]


@pytest.mark.parametrize(
    ("told", "errors"),
    [(2.0**31 - 1, 2**31 - 1), (2.0**31, 2**31 - 1), (1e300, 2**31 - 1), (math.inf, 1), (math.nan, 1)],
)
def test_only_an_unreadable_number_of_errors_counts_as_one(home: Path, told: float, errors: int) -> None:
    """A number beyond what the column holds counts as the most that it does."""
    with Warehouse.open(home) as warehouse:
        warehouse.put_events(events(told))
        assert warehouse.con.execute("select errors from memory_error").fetchall() == [(errors,)]


def test_errors_held_before_their_table_was_made_are_in_it(home: Path) -> None:
    """A warehouse of an older shape that is opened again has read its events too."""
    with Warehouse.open(home) as warehouse:
        warehouse.put_events(events(3.0))
        warehouse.con.execute("drop table memory_error")
        warehouse.con.execute("drop macro memory_error_of")
        warehouse.con.execute("delete from schema_migration where name like '%memory%'")
    with Warehouse.open(home) as warehouse:
        assert warehouse.con.execute("select errors from memory_error").fetchall() == [(3,)]


@pytest.mark.parametrize("late", [False, True])
def test_changes_held_before_they_were_parted_are_all_kept(home: Path, late: bool) -> None:
    """A warehouse of an older shape, opened again, tells current changes from superseded ones, in every belief."""
    readings = [Reading(drive, START + timedelta(days=n), n // 3, None) for drive in "AB" for n in range(9)]
    held = "select * from disk_superseded order by all", "select * from disk_current order by all"
    with Warehouse.open(home) as warehouse:
        con = warehouse.con
        put(con, readings[:3] + readings[4:])
        put(con, [replace(readings[3], late_hours=480.0 if late else 0.0)])
        if late:
            put(con, [replace(readings[0], entity_id="C", late_hours=300.0)])
            put(con, [replace(readings[5], day=START - timedelta(days=2), late_hours=900.0)])
        before = [con.execute(query).fetchall() for query in held]
        assert len(before[0]) >= 4
        con.execute("create table kept as from disk_change")
        con.execute("drop view disk_change; drop table disk_current; drop table disk_superseded")
        con.execute("alter table kept rename to disk_change")
        con.execute("delete from schema_migration where name like '%current%'")
    with Warehouse.open(home) as warehouse:
        assert [warehouse.con.execute(query).fetchall() for query in held] == before


def test_a_reader_goes_on_while_a_writer_of_the_same_process_begins(home: Path) -> None:
    """The snapshot that is held ready is let go of for the writer's sake, and whoever reads it notices nothing."""
    with Warehouse.open(home) as warehouse:
        warehouse.publish()
    with read(home, memory_limit="1GB") as con, Warehouse.open(home) as writer:
        assert con.execute("select current_setting('memory_limit'), count(*) from host").fetchone() == ("953.6 MiB", 0)
        writer.publish()
        assert con.execute("select count(*) from host").fetchone() == (0,)
