"""The world's ledger of rooms: moments, agenda, host states, and who occupies what. Functions over one connection."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND

RANK: Final = {"failure": 0, "move": 1, "choice": 1, "finish": 2, "return": 3, "release": 4, "start": 5}
"""What comes first when several things happen at one moment."""
ROOM_IN_CLUSTER: Final = """
select host_id from host
where cluster = ? and state = 'in_service' and host_id <> ?
  and (dedicated_to is null or dedicated_to = ?) and free_vcpus >= ? and free_memory_bytes >= ?
  and fault_domain not in (select value from json_each(?))
order by dedicated_to is null, hardware_model <> ?, free_memory_bytes desc, host_id
limit 1
"""
ROOM_ANYWHERE: Final = ROOM_IN_CLUSTER.replace("cluster = ? and ", "")
DOWN: Final = frozenset({"repair", "retired"})


def micros(moment: datetime) -> int:
    """Microseconds since 1970; the moment must be timezone-aware."""
    return (moment - EPOCH) // MICROSECOND


def moment(at: int) -> datetime:
    """The moment, in UTC."""
    return EPOCH + at * MICROSECOND


def one(con: sqlite3.Connection, query: str, *values: object) -> sqlite3.Row:
    """The first row of a query that is known to have one."""
    row: sqlite3.Row = con.execute(query, values).fetchone()
    return row


def plan(con: sqlite3.Connection, at: int, kind: str, a: str, b: str = "") -> None:
    """Put something on the agenda."""
    con.execute("insert into agenda (at, rank, kind, a, b) values (?, ?, ?, ?, ?)", (at, RANK[kind], kind, a, b))


def set_host(con: sqlite3.Connection, host_id: str, state: str) -> str:
    """Change a host's state; what comes back names this change, for agenda entries that only hold while it lasts."""
    con.execute("update host set state = ?, epoch = epoch + 1 where host_id = ?", (state, host_id))
    return str(one(con, "select epoch from host where host_id = ?", host_id)["epoch"])


def still(con: sqlite3.Connection, host_id: str, epoch: str) -> bool:
    """Whether a host's state has not been changed since `set_host` answered `epoch`."""
    return str(one(con, "select epoch from host where host_id = ?", host_id)["epoch"]) == epoch


def claim(con: sqlite3.Connection, host_id: str, vm: sqlite3.Row, sign: int = 1) -> None:
    """Take room on a host for a VM, or give it back with `sign` = -1."""
    con.execute(
        "update host set free_vcpus = free_vcpus - ?, free_memory_bytes = free_memory_bytes - ? where host_id = ?",
        (sign * vm["vcpus"], sign * vm["memory_bytes"], host_id),
    )


def settle_on(con: sqlite3.Connection, vm: sqlite3.Row, target: str) -> None:
    """The VM now runs on `target`, where its room was claimed before; its old room is free."""
    claim(con, vm["host_id"], vm, -1)
    con.execute("update vm set host_id = ? where vm_id = ?", (target, vm["vm_id"]))


def interrupt(con: sqlite3.Connection, vm: sqlite3.Row, at: int, cause: str, order_id: str | None = None) -> None:
    """Write down that a VM was interrupted where it stood."""
    con.execute("insert into interruption values (?, ?, ?, ?, ?)", (vm["vm_id"], at, cause, vm["host_id"], order_id))


def residents(con: sqlite3.Connection, host_id: str) -> list[sqlite3.Row]:
    """VMs on a host, in order of name."""
    return con.execute("select * from vm where host_id = ? order by vm_id", (host_id,)).fetchall()


def room_for(con: sqlite3.Connection, vm: sqlite3.Row) -> str | None:
    """The host on which a VM would be started anew, or null when no host in service has room.

    Never a host that serves another owner alone. In order of wish: a fault domain that none of its availability set's
    VMs is in, its cluster, its hardware model, the most free memory.
    """
    siblings: Sequence[Any] = ()
    if vm["availability_set"] is not None:
        siblings = con.execute(
            "select distinct h.fault_domain, h.cluster from vm join host h using (host_id) "
            "where vm.availability_set = ? and vm.vm_id <> ?",
            (vm["availability_set"], vm["vm_id"]),
        ).fetchall()
    domains = {row["fault_domain"] for row in siblings}
    home = one(con, "select cluster, hardware_model from host where host_id = ?", vm["host_id"])
    for avoid in (domains, set()):
        for cluster in (home["cluster"], None):
            found = _best(con, vm, cluster, home["hardware_model"], avoid)
            if found is not None:
                return found
    return None


def _best(con: sqlite3.Connection, vm: sqlite3.Row, cluster: str | None, model: str, avoid: set[int]) -> str | None:
    size = (vm["host_id"], vm["owner"], vm["vcpus"], vm["memory_bytes"], json.dumps(sorted(avoid)))
    if cluster is None:
        row = con.execute(ROOM_ANYWHERE, (*size, model)).fetchone()
    else:
        row = con.execute(ROOM_IN_CLUSTER, (cluster, *size, model)).fetchone()
    return None if row is None else str(row["host_id"])
