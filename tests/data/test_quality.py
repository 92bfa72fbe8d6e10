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
    "change_without_reading": "update disk_current set from_day = '2019-01-01' where entity_key = 1",
    "counter_fell": "update disk_current set from_day = from_day + 100, smart_5_raw = 0; "
    "insert into disk_superseded by name select * replace (from_day - 100 as from_day, 8 as smart_5_raw), "
    "from_day as until_day from disk_current",
    "superseded_until": "insert into disk_superseded by name select * replace (from_day - 9 as from_day), "
    "from_day + 1 as until_day from disk_current",
    "current_change": "insert into disk_current from disk_current limit 1",
    "current_change, gone": "delete from disk_current where entity_key = 1",
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
        assert name.partition(",")[0] in {finding.check for finding in check(warehouse.con)}


def test_every_check_is_tried() -> None:
    """A check that no test breaks on purpose would be a check that nobody knows to work."""
    checks = Path(__file__).parents[2] / "data" / "checks"
    assert {path.stem for path in checks.glob("*.sql")} == {name.partition(",")[0] for name in BREAK}


def test_an_empty_warehouse_is_sound() -> None:
    """No fact, no finding."""
    with empty() as con:
        assert check(con) == []
