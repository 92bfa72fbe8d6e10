"""A new simulated world from tables: all in one transaction, so that there is a whole world or none."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from data.errors import UsageError
from data.simulator.motion import WorldSpec
from data.simulator.state import RANK

SCHEMA: Final = Path(__file__).with_name("world.sql")
FORMAT: Final = "foreshock-world-2"


def fill(
    con: sqlite3.Connection,
    tables: Mapping[str, pa.Table],
    failures: pa.Table,
    start: int,
    seed: int,
    spec: WorldSpec,
) -> None:
    """Write a world into an empty database; `start` in microseconds.

    Raises:
        UsageError: the VMs do not fit on their hosts, or stand on hosts that are not there.
    """
    con.executescript("begin;\n" + SCHEMA.read_text())
    meta = {"format": FORMAT, "seed": seed, "start": start, "now": start, "spec": json.dumps(asdict(spec))}
    con.executemany("insert into meta values (?, ?)", [(key, str(value)) for key, value in meta.items()])
    try:
        put(con, tables, failures, start)
    except UsageError:
        con.execute("rollback")
        raise
    con.execute("commit")


def put(con: sqlite3.Connection, tables: Mapping[str, pa.Table], failures: pa.Table, now: int) -> None:
    """Add hosts, the VMs that stand on them, entities, and the failures after `now` of those entities.

    Raises:
        UsageError: the VMs do not fit on their hosts, stand on hosts that are not among them, or an id is taken.
    """
    try:
        _hosts(con, tables["hosts"], tables["vms"])
        _insert(con, "vm", tables["vms"])
        _insert(con, "entity", tables["entities"])
    except sqlite3.IntegrityError as error:
        msg = f"a world cannot be made of these tables ({error}): check that ids are unique and VMs fit their hosts"
        raise UsageError(msg) from error
    _future(con, failures, now)


def _insert(con: sqlite3.Connection, name: str, table: pa.Table) -> None:
    columns = table.column_names
    query = f"insert into {name} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"  # noqa: S608
    con.executemany(query, zip(*(table[column].to_pylist() for column in columns), strict=True))


def _hosts(con: sqlite3.Connection, hosts: pa.Table, vms: pa.Table) -> None:
    """Hosts with the room that their VMs leave."""
    free: dict[str, list[int]] = {
        row["host_id"]: [row["vcpus"], row["memory_bytes"]]
        for row in hosts.select(["host_id", "vcpus", "memory_bytes"]).to_pylist()
    }
    for row in vms.select(["vm_id", "host_id", "vcpus", "memory_bytes"]).to_pylist():
        if row["host_id"] not in free:
            msg = f"VM {row['vm_id']} stands on host {row['host_id']}, which is not among the hosts: add the host"
            raise UsageError(msg)
        free[row["host_id"]][0] -= row["vcpus"]
        free[row["host_id"]][1] -= row["memory_bytes"]
    room = [pa.array([left[n] for left in free.values()], pa.int64()) for n in (0, 1)]
    _insert(con, "host", hosts.append_column("free_vcpus", room[0]).append_column("free_memory_bytes", room[1]))


def _future(con: sqlite3.Connection, failures: pa.Table, start: int) -> None:
    """Failures after `start` of entities that are here, onto the agenda."""
    count = failures.num_rows
    names = failures.column_names
    columns: list[list[Any]] = [
        failures["component"].to_pylist(),
        failures["entity_id"].to_pylist(),
        failures["failed_at"].cast(pa.int64()).to_pylist(),
        *(failures[name].to_pylist() if name in names else [None] * count for name in ("cause", "replacement_id")),
    ]
    con.execute("create temp table coming (component, entity_id, failed_at, cause, replacement_id)")
    con.executemany("insert into coming values (?, ?, ?, ?, ?)", zip(*columns, strict=True))
    con.execute(
        """
        insert into failure
        select component, entity_id, e.host_id, min(c.failed_at), c.cause, c.replacement_id, 'future'
        from coming c join entity e using (component, entity_id)
        where c.failed_at > ? and e.host_id is not null
        group by component, entity_id
        """,
        (start,),
    )
    con.execute(
        """
        insert into agenda (at, rank, kind, a, b)
        select failed_at, ?, 'failure', component, entity_id
        from failure
        where state = 'future' and (component, entity_id) in (select component, entity_id from coming)
        order by failed_at, component, entity_id
        """,
        (RANK["failure"],),
    )
    con.execute("drop table coming")
