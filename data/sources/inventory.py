"""Inventory: hosts, VMs and where entities sit, from Parquet or JSON.

A folder with `hosts`, `vms` and `entities`, each `.parquet`, `.json` (an array) or `.jsonl`. The three are one picture
of the fleet at one moment and are taken together: what is no longer in them is closed, not deleted. A host's power
feed, switch, kernel and whom it is dedicated to may be left out.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa

from data.contracts import HOST_STATES, INVENTORY, UNTOLD
from data.errors import InputError
from data.readings import Absorbed
from data.snapshots import arrow
from data.warehouse import Warehouse

_READERS = {".parquet": "read_parquet", ".json": "read_json_auto", ".jsonl": "read_json_auto"}


@dataclass(frozen=True)
class Picture:
    """Hosts, VMs and sited entities at one moment, by contract."""

    hosts: pa.Table
    vms: pa.Table
    entities: pa.Table


def read_picture(folder: Path) -> Picture:
    """The inventory in `folder`; `InputError` names the file and what is wrong with it."""
    if not folder.is_dir():
        msg = f"Inventory is a folder with hosts, vms and entities files; {folder} is not a folder."
        raise InputError(msg)
    return Picture(**{name: _table(folder, name) for name in INVENTORY})


def load(warehouse: Warehouse, picture: Picture, *, at: datetime | None = None) -> Absorbed:
    """What became of the picture's rows: `rows_loaded` counts those that changed something.

    A VM on a host that is not listed, a host in an unknown state, or an id given twice is quarantined with its reason
    and the rest is taken; what was known of the quarantined stays as it was.
    """
    moment = at or datetime.now(UTC)
    rows = picture.hosts.num_rows + picture.vms.num_rows + picture.entities.num_rows
    con = duckdb.connect()
    con.execute("create table known_host (host_id varchar)")
    hosts = _sift(con, picture.hosts, "host_id", f"state not in {HOST_STATES!r}", "bad_state")
    con.register("sound_host", hosts.good)
    con.execute("insert into known_host select host_id from sound_host")
    vms = _sift(con, picture.vms, "vm_id", "host_id not in (from known_host)", "unknown_host")
    entities = _sift(
        con, picture.entities, "entity_id", "host_id not in (from known_host)", "unknown_host", beside="component"
    )
    con.close()
    rejected = [*hosts.rejected, *vms.rejected, *entities.rejected]
    unsure = frozenset(key for _, _, key in rejected)
    changed = warehouse.put_inventory(hosts.good, vms.good, entities.good, moment, unsure=unsure)
    _quarantine(warehouse, rejected, moment)
    loaded = min(changed, rows - len(rejected))
    return Absorbed(rows, loaded, rows - loaded - len(rejected), len(rejected))


def _table(folder: Path, name: str) -> pa.Table:
    paths = [folder / f"{name}{suffix}" for suffix in _READERS if (folder / f"{name}{suffix}").exists()]
    if not paths:
        msg = f"{folder} has no {name}.parquet, {name}.json or {name}.jsonl."
        raise InputError(msg)
    con = duckdb.connect()
    try:
        table = arrow(con, f"from {_READERS[paths[0].suffix]}($path)", {"path": str(paths[0])})
        for column in sorted(UNTOLD.intersection(INVENTORY[name].names).difference(table.column_names)):
            table = table.append_column(column, pa.nulls(table.num_rows, INVENTORY[name].field(column).type))
        return table.select(INVENTORY[name].names).cast(INVENTORY[name])
    except (duckdb.Error, pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, ValueError) as error:
        msg = f"{paths[0]} does not fit the {name} contract ({', '.join(INVENTORY[name].names)}): {error}"
        raise InputError(msg) from error
    finally:
        con.close()


@dataclass(frozen=True)
class _Sifted:
    """The rows that may go in, and (reason, row as JSON, its id) of those that may not."""

    good: pa.Table
    rejected: list[tuple[str, str, str]]


def _sift(
    con: duckdb.DuckDBPyConnection, table: pa.Table, key: str, bad: str, reason: str, beside: str = "true"
) -> _Sifted:
    con.register("arriving", table)
    con.execute(
        f"create or replace temp table judged as select arriving as r, {key} as id, case when {bad} then '{reason}' "  # noqa: S608 - our own names
        f"when row_number() over (partition by {key}, {beside}) > 1 then 'duplicate_row' end as reason from arriving"
    )
    rejected = con.execute("select reason, to_json(r)::varchar, id from judged where reason is not null").fetchall()
    good = arrow(con, "select unnest(r) from judged where reason is null").cast(table.schema)
    return _Sifted(good, rejected)


def _quarantine(warehouse: Warehouse, rejected: list[tuple[str, str, str]], moment: datetime) -> None:
    with warehouse.transaction() as con:
        for reason, raw, _ in rejected:
            con.execute(
                "insert into quarantine select $now, 'inventory', 'inventory', null, $reason, null, $raw where not "
                "exists (select 1 from quarantine where source = 'inventory' and reason = $reason and raw = $raw)",
                {"now": moment, "reason": reason, "raw": raw},
            )
