"""Members of a fleet whose history names only those that failed: the others are entered by number until they are named.

Each member is its own host and stays there for good, so one stay tells all of its time in the fleet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from data.contracts import STAYS
from data.snapshots import shown
from data.warehouse import Warehouse


@dataclass(frozen=True)
class Member:
    """A member that is held: since when and until when it stays, and whether it has ever failed."""

    begins: datetime
    ends: datetime | None
    failed: bool


def members(warehouse: Warehouse, component: str, prefix: str) -> dict[str, Member]:
    """The members held whose names begin with `prefix`, by name."""
    rows = warehouse.con.execute(
        """
        select entity_id, min(valid_from), if(count(*) = count(valid_until), max(valid_until), null),
               bool_or(entity_key in (select entity_key from failure))
        from entity join entity_host using (entity_key)
        where component = $component and starts_with(entity_id, $prefix)
        group by entity_id order by entity_id""",
        {"component": component, "prefix": prefix},
    ).fetchall()
    return {name: Member(begins, ends, failed) for name, begins, ends, failed in rows}


def put(warehouse: Warehouse, stays: Sequence[Mapping[str, Any]], named: Mapping[str, str]) -> None:
    """Let members take the names they are now told to have, and put in everybody's stay: one each, which only grows.

    Args:
        warehouse: takes the facts.
        stays: in the shape of `STAYS`, under the new names.
        named: the new names of members that are held, by the old ones.
    """
    told = pa.Table.from_pylist(list(stays), STAYS)
    names = pa.table({"old": pa.array(named, pa.string()), "new": pa.array(named.values(), pa.string())})
    with warehouse.transaction() as con, shown(con, stay_told=told, new_name=names):
        for table, column in (("entity_host", "host_id"), ("entity", "entity_id")):
            con.execute(f"update {table} set {column} = new from new_name where {column} = old")  # noqa: S608
        con.execute("""
            update entity_host
            set valid_from = least(entity_host.valid_from, stay_told.valid_from),
                valid_until = greatest(entity_host.valid_until, stay_told.valid_until)
            from stay_told join entity using (component, entity_id)
            where entity_host.entity_key = entity.entity_key and entity_host.host_id = stay_told.host_id""")
        held = con.execute("select distinct host_id from entity_host semi join stay_told using (host_id)").fetchall()
    known = {name for (name,) in held}
    fresh = [row for row in stays if row["host_id"] not in known]
    warehouse.put_stays(pa.Table.from_pylist(fresh, STAYS))
