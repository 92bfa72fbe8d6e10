"""Inventory is read from Parquet or JSON, and rows that cannot be are set aside."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import DAY, entities, hosts, vms

from data.contracts import UNTOLD
from data.errors import InputError
from data.readings import Absorbed
from data.sources.inventory import Picture, load, read_picture
from data.warehouse import Warehouse


def write(folder: Path, kind: str, picture: Picture) -> Path:
    folder.mkdir(exist_ok=True)
    for name, table in vars(picture).items():
        if kind == "parquet":
            pq.write_table(table, folder / f"{name}.parquet")
        else:
            (folder / f"{name}.json").write_text(json.dumps(table.to_pylist()))
    return folder


@pytest.mark.parametrize("kind", ["parquet", "json"])
def test_both_formats_give_the_same_picture(tmp_path: Path, kind: str) -> None:
    """What was written as Parquet or JSON comes back by contract."""
    picture = Picture(hosts("h1"), vms(v1="h1"), entities(a="h1"))
    again = read_picture(write(tmp_path / "inventory", kind, picture))
    assert again.hosts.equals(picture.hosts)
    assert again.vms.equals(picture.vms)
    assert again.entities.equals(picture.entities)


def test_rows_that_make_no_sense_are_set_aside(home: Path) -> None:
    """A host in an unknown state, a VM on no host and a VM twice are quarantined; the rest goes in."""
    all_hosts = pa.concat_tables([hosts("h1"), hosts("h2", state="melted")])
    all_vms = pa.concat_tables([vms(v1="h1", v2="h9"), vms(v1="h1")])
    with Warehouse.open(home) as warehouse:
        rows = load(warehouse, Picture(all_hosts, all_vms, entities(a="h1", b="h2")), at=DAY)
        assert rows == Absorbed(rows_read=7, rows_loaded=3, rows_duplicate=0, rows_quarantined=4)
        assert warehouse.con.execute("select reason, count(*) from quarantine group by 1 order by 1").fetchall() == [
            ("bad_state", 1),
            ("duplicate_row", 1),
            ("unknown_host", 2),
        ]
        again = load(warehouse, Picture(hosts("h1"), vms(v1="h1"), entities(a="h1")), at=DAY)
        assert again == Absorbed(rows_read=3, rows_loaded=0, rows_duplicate=3, rows_quarantined=0)


def test_what_cannot_be_read_is_not_gone(home: Path) -> None:
    """A host whose state makes no sense keeps its last good row, and so do its VMs and parts."""
    whole = Picture(hosts("h1", "h2"), vms(v1="h1", v2="h2"), entities(a="h1", b="h2"))
    garbled = Picture(pa.concat_tables([hosts("h1"), hosts("h2", state="melted")]), whole.vms, whole.entities)
    with Warehouse.open(home) as warehouse:
        load(warehouse, whole, at=DAY)
        load(warehouse, garbled, at=DAY + timedelta(days=1))
        for table, rows in (("host", 2), ("vm", 2), ("entity_host", 2)):
            count = f"select count(*) from {table} where valid_until is null"
            assert warehouse.con.execute(count).fetchall() == [(rows,)]
        load(warehouse, Picture(hosts("h1"), vms(v1="h1"), entities(a="h1")), at=DAY + timedelta(days=2))
        gone = warehouse.con.execute("select host_id from host where valid_until is not null").fetchall()
        assert gone == [("h2",)]


def test_an_older_picture_changes_nothing(home: Path) -> None:
    """The inventory of a day before the newest one held is left aside."""
    with Warehouse.open(home) as warehouse:
        load(warehouse, Picture(hosts("h1"), vms(v1="h1"), entities(a="h1")), at=DAY)
        older = load(warehouse, Picture(hosts("h2"), vms(), entities()), at=DAY - timedelta(days=1))
        assert older.rows_loaded == 0
        assert warehouse.con.execute("select host_id, valid_until from host").fetchall() == [("h1", None)]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A folder without hosts says so."""
    tmp_path.joinpath("vms.json").write_text("[]")
    with pytest.raises(InputError, match=r"no hosts\.parquet"):
        read_picture(tmp_path)


def test_a_file_outside_the_contract_is_named(tmp_path: Path) -> None:
    """A column that is missing is reported with the file and the contract."""
    tmp_path.joinpath("hosts.json").write_text('[{"host_id": "h1"}]')
    with pytest.raises(InputError, match=r"hosts\.json does not fit"):
        read_picture(tmp_path)


def test_an_inventory_may_leave_out_what_it_does_not_know(home: Path) -> None:
    """Hosts without power feed, switch, kernel and owner load as before; told later, nothing is lost."""
    told = Picture(hosts("h1"), vms(v1="h1"), entities(a="h1"))
    before = replace(told, hosts=told.hosts.drop_columns(sorted(UNTOLD)))
    with Warehouse.open(home) as warehouse:
        load(warehouse, read_picture(write(home / "before", "parquet", before)), at=DAY)
        load(warehouse, read_picture(write(home / "before", "json", before)), at=DAY + timedelta(days=1))
        held = "select power_feed, switch, kernel, dedicated_to from host where valid_until is null"
        assert warehouse.con.execute(held).fetchall() == [(None, None, None, None)]
        feeds = told.hosts.set_column(told.hosts.schema.get_field_index("power_feed"), "power_feed", pa.array(["f1"]))
        load(warehouse, replace(told, hosts=feeds), at=DAY + timedelta(days=2))
        assert warehouse.con.execute(held).fetchall() == [("f1", None, None, None)]
