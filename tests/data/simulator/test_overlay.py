"""Simulated hosts and VMs over real drives held in a warehouse."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from data.contracts import INVENTORY
from data.errors import InputError
from data.simulator.arrivals import overlaid
from data.simulator.overlay import OverlaySpec, overlay
from data.simulator.world import World

MIGRATIONS = Path(__file__).parents[3] / "data" / "migrations"
FIRST = date(2015, 1, 1)
SPEC = OverlaySpec(slots=4, hosts_per_rack=3, racks_per_cluster=3)


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    """Forty drives from the first day and eight more from day 10, read daily for 30 days; every fifth fails."""
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    for name in ("0001_facts.sql", "0002_disk.sql"):
        con.execute((MIGRATIONS / name).read_text())
    con.execute(
        """
        insert into entity
        select n, 'disk', 'Z' || lpad(n::varchar, 3, '0'), 'M', 4000, null,
               $first + (case when n < 40 then 0 else 10 end)::int, 'backblaze', false
        from (select range::int as n from range(48))
        """,
        {"first": FIRST},
    )
    con.execute(
        """
        insert into failure
        select entity_key, ($first + 12 + entity_key // 5)::timestamptz, ($first + 12 + entity_key // 5)::timestamptz,
               null, 'backblaze'
        from entity where entity_key % 5 = 0
        """,
        {"first": FIRST},
    )
    con.execute(
        """
        insert into disk_day by name
        select ($first + d)::date as day, entity_key, ($first + d + 1)::timestamptz as ingested_at
        from entity left join failure f using (entity_key), (select range::int as d from range(30))
        where $first + d >= first_seen_on and (f.failed_at is null or ($first + d)::timestamptz < f.failed_at)
        order by day
        """,
        {"first": FIRST},
    )
    return con


def test_drives_fill_hosts_in_order_of_first_appearance(con: duckdb.DuckDBPyConnection) -> None:
    """The first four drives share the first host, and drives that come later take new hosts."""
    early = overlay(con, FIRST, SPEC)
    late = overlay(con, FIRST + timedelta(days=11), SPEC)
    home = dict(zip(late.entities["entity_id"].to_pylist(), late.entities["host_id"].to_pylist(), strict=True))
    assert early.hosts.num_rows == 10
    assert late.hosts.num_rows == 12
    assert {home[f"Z00{n}"] for n in (1, 2, 3)} == {"sim-h00000"}
    for row in early.entities.to_pylist():
        assert home.get(row["entity_id"], row["host_id"]) == row["host_id"]


def test_tables_follow_the_contracts_and_say_simulated(con: duckdb.DuckDBPyConnection) -> None:
    """Hosts, VMs and entities have their contracts' schemas, and every row is marked simulated."""
    laid = overlay(con, FIRST, SPEC)
    for name, table in laid.tables().items():
        assert table.schema.equals(INVENTORY[name])
        assert set(table["simulated"].to_pylist()) == {True}
    assert set(laid.vms["host_id"].to_pylist()) <= set(laid.hosts["host_id"].to_pylist())


def test_same_day_same_overlay_and_hosts_keep_their_vms(con: duckdb.DuckDBPyConnection) -> None:
    """Asking twice gives the same, and a host has the same VMs on the next day."""
    one, again = overlay(con, FIRST, SPEC), overlay(con, FIRST, SPEC)
    following = overlay(con, FIRST + timedelta(days=1), SPEC)
    assert one == again
    assert one.vms["vm_id"].to_pylist() == following.vms["vm_id"].to_pylist()
    assert overlay(con, FIRST, OverlaySpec(slots=4, seed=8)).vms != one.vms


def test_failed_drives_are_gone_and_later_failures_are_the_future(con: duckdb.DuckDBPyConnection) -> None:
    """Only failures after the end of the day are to come, at the times that the warehouse has."""
    laid = overlay(con, FIRST + timedelta(days=13), SPEC)
    ids = set(laid.entities["entity_id"].to_pylist())
    assert "Z000" not in ids
    assert "Z010" not in ids
    assert "Z015" in ids
    future = dict(zip(laid.failures["entity_id"].to_pylist(), laid.failures["failed_at"].to_pylist(), strict=True))
    assert future["Z015"] == datetime(2015, 1, 16, tzinfo=UTC)
    assert min(future.values()) > laid.asof_at
    assert "Z010" not in future


def test_drives_no_longer_read_are_left_out(con: duckdb.DuckDBPyConnection) -> None:
    """A drive without a recent reading is on no host."""
    con.execute("delete from disk_day where entity_key = 3 and day > $day", {"day": FIRST + timedelta(days=2)})
    assert "Z003" in overlay(con, FIRST + timedelta(days=4), SPEC).entities["entity_id"].to_pylist()
    assert "Z003" not in overlay(con, FIRST + timedelta(days=8), SPEC).entities["entity_id"].to_pylist()


def test_a_day_without_readings_is_an_input_error(con: duckdb.DuckDBPyConnection) -> None:
    """Nothing to lay hosts over: say which days are missing."""
    with pytest.raises(InputError, match="2014-06-01"):
        overlay(con, date(2014, 6, 1), SPEC)


def test_real_failures_happen_in_the_world_made_from_it(con: duckdb.DuckDBPyConnection) -> None:
    """A world over the overlay fails exactly as the warehouse says."""
    laid = overlay(con, FIRST + timedelta(days=11), SPEC)
    with World.create(":memory:", laid.tables(), laid.failures, laid.asof_at, SPEC.seed) as made:
        made.advance(laid.asof_at + timedelta(days=4))
        assert made.failures()["entity_id"].to_pylist() == ["Z005", "Z010", "Z015", "Z020"]


def test_a_period_takes_in_later_drives_on_their_day(con: duckdb.DuckDBPyConnection) -> None:
    """The first arrival is the overlay of the first day; eight drives of day 10 bring two hosts with their VMs."""
    first, later = overlaid(con, FIRST, FIRST + timedelta(days=20), SPEC)
    assert first.tables["entities"] == overlay(con, FIRST, SPEC).entities
    assert later.at == datetime(2015, 1, 12, tzinfo=UTC)
    assert later.tables["entities"].num_rows == 8
    assert later.tables["hosts"]["host_id"].to_pylist() == ["sim-h00010", "sim-h00011"]
    assert set(later.tables["vms"]["host_id"].to_pylist()) <= {"sim-h00010", "sim-h00011"}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Los_Angeles", "Pacific/Auckland"])
@pytest.mark.parametrize("first", [date(2015, 3, 27), date(2015, 10, 23)], ids=["spring", "autumn"])
def test_the_zone_of_the_machine_moves_no_midnight(zone: str, first: date, con: duckdb.DuckDBPyConnection) -> None:
    """When clocks change, too, a drive that has failed by the midnight of its day is gone, wherever one asks."""
    con.execute("update disk_day set day = day + $days::int", {"days": (first - FIRST).days})
    con.execute("update entity set first_seen_on = $first", {"first": first})
    con.execute("update failure set failed_at = ($first::date + entity_key // 5)::timestamptz", {"first": first})
    last = first + timedelta(days=5)
    here = overlaid(con, first, last, SPEC)
    con.execute(f"set global timezone = '{zone}'")
    there = overlaid(con, first, last, SPEC)
    told = [(each.at, each.tables["entities"].to_pylist(), each.failures.to_pylist()) for each in there]
    assert told == [(each.at, each.tables["entities"].to_pylist(), each.failures.to_pylist()) for each in here]


def test_every_failure_of_the_period_happens_wherever_its_drive_came_from(con: duckdb.DuckDBPyConnection) -> None:
    """A world that takes arrivals in as they come fails as the warehouse says, those of later drives included."""
    first, later = overlaid(con, FIRST, FIRST + timedelta(days=29), SPEC)
    with World.create(":memory:", first.tables, first.failures, first.at, SPEC.seed) as made:
        made.advance(later.at)
        made.arrive(later.tables, later.failures)
        made.advance(first.at + timedelta(days=28))
        happened = set(made.failures()["entity_id"].to_pylist())
        vms = first.tables["vms"].num_rows * 28 + later.tables["vms"].num_rows * 18
        assert made.vm_days() == vms
    assert happened == {f"Z{n:03d}" for n in range(0, 48, 5)}
