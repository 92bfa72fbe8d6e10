"""Each quality check finds what it is about, and says nothing of sound facts."""

from datetime import timedelta
from pathlib import Path

import pytest
from drives import START, Reading, put
from facts import DAY, entities, hosts, vms

from data.quality import check
from data.snapshots import empty
from data.warehouse import Warehouse

BREAK = {
    "reading_twice": "insert into disk_day select * from disk_day limit 1",
    "reading_without_entity": "insert into disk_day by name "
    "select '2020-01-01'::date as day, 999 as entity_key, now() as ingested_at",
    "reading_after_failure": "insert into failure values (1, '2020-01-02', now(), null, 'test')",
    "change_without_reading": "update disk_change set from_day = '2019-01-01' where entity_key = 1",
    "counter_fell": "insert into disk_change by name select * replace (from_day + 100 as from_day, 0 as smart_5_raw) "
    "from disk_change where smart_5_raw > 0 limit 1",
    "two_hosts": "insert into vm select * replace ('h2' as host_id) from vm",
    "vm_without_host": "update vm set host_id = 'gone'",
    "silent_fleet": "delete from disk_day where entity_key = 2 and day = (select max(day) from disk_day)",
}


@pytest.mark.parametrize("name", BREAK)
def test_a_check_finds_what_it_is_about(home: Path, name: str) -> None:
    """Sound facts give no finding; broken in one way, the check for that way speaks."""
    with Warehouse.open(home) as warehouse:
        put(warehouse.con, [Reading(d, START + timedelta(days=n), 8, 0) for d in "AB" for n in range(3)])
        warehouse.put_inventory(hosts("h1", "h2"), vms(v="h1"), entities(A="h1"), DAY)
        assert check(warehouse.con) == []
        warehouse.con.execute(BREAK[name])
        assert name in {finding.check for finding in check(warehouse.con)}


def test_every_check_is_tried() -> None:
    """A check that no test breaks on purpose would be a check that nobody knows to work."""
    checks = Path(__file__).parents[2] / "data" / "checks"
    assert {path.stem for path in checks.glob("*.sql")} == set(BREAK)


def test_an_empty_warehouse_is_sound() -> None:
    """No fact, no finding."""
    with empty() as con:
        assert check(con) == []
