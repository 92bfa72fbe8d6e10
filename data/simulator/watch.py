"""What changes in a simulated world while it is open: host states, and where VMs stand."""

import sqlite3
from typing import Final

WATCH: Final = (
    "create temp table if not exists turned (id text primary key)",
    "create temp table if not exists went (id text primary key)",
    (
        "create temp trigger if not exists host_turns after update of state on main.host "
        "begin insert or ignore into turned values (new.host_id); end"
    ),
    (
        "create temp trigger if not exists vm_goes after update of host_id on main.vm "
        "begin insert or ignore into went values (new.vm_id); end"
    ),
)
"""Notes, for as long as the connection lasts, which hosts have changed their state and which VMs their host."""


def changes(con: sqlite3.Connection) -> tuple[dict[str, str], dict[str, str]]:
    """Hosts with a new state and VMs with a new host since the last call; the first call answers nothing."""
    for statement in WATCH:
        con.execute(statement)
    states = con.execute("select host_id, state from host where host_id in (select id from turned)")
    homes = con.execute("select vm_id, host_id from vm where vm_id in (select id from went)")
    changed = {row[0]: row[1] for row in states}, {row[0]: row[1] for row in homes}
    con.execute("delete from turned")
    con.execute("delete from went")
    return changed
