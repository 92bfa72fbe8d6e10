"""What failures do to the simulated world: VMs interrupted and restarted elsewhere, hosts repaired and returned.

Simplification, on purpose: whatever part fails takes its whole host down at that moment.
"""

import sqlite3
from typing import Final

from data.simulator.motion import WorldSpec
from data.simulator.state import DAY, DOWN, claim, interrupt, one, plan, residents, room_for, set_host, settle_on, still

FOUND_DAYS: Final = 30.0
"""A part that would fail within so long is recognised by the test at repair."""


def fail(con: sqlite3.Connection, spec: WorldSpec, at: int, component: str, entity_id: str) -> None:
    """A part fails. A host that is up goes down with all its VMs; one at repair stays there longer."""
    failure = one(con, "select * from failure where component = ? and entity_id = ?", component, entity_id)
    if failure["state"] == "averted":
        return
    key = (component, entity_id)
    con.execute("update failure set state = 'happened' where component = ? and entity_id = ?", key)
    con.execute("update entity set host_id = null where component = ? and entity_id = ?", key)
    host_id = failure["host_id"]
    state = one(con, "select state from host where host_id = ?", host_id)["state"]
    if state == "retired":
        return
    epoch = set_host(con, host_id, "repair")
    plan(con, at + round(spec.repair_days * DAY), "return", host_id, epoch)
    if state not in DOWN:
        _end_orders(con, host_id, at)
        for vm in residents(con, host_id):
            interrupt(con, vm, at, "failure")
        restart(con, host_id)


def restart(con: sqlite3.Connection, host_id: str) -> None:
    """Start a dead host's VMs elsewhere, the largest first; those for which no room is found wait where they are."""
    for vm in sorted(residents(con, host_id), key=lambda vm: (-vm["memory_bytes"], vm["vm_id"])):
        target = room_for(con, vm)
        if target is not None:
            claim(con, target, vm)
            settle_on(con, vm, target)


def come_back(con: sqlite3.Connection, spec: WorldSpec, host_id: str, epoch: str, at: int) -> None:
    """A repaired host returns with new parts, on probation first, unless it failed again meanwhile."""
    if not still(con, host_id, epoch):
        return
    tested = set_host(con, host_id, "probation" if spec.probation_days else "in_service")
    if spec.probation_days:
        plan(con, at + round(spec.probation_days * DAY), "release", host_id, tested)
    con.execute(
        """
        insert into entity
        select e.component, f.replacement_id, e.model, e.capacity_bytes, e.firmware, f.host_id, e.simulated
        from failure f join entity e using (component, entity_id)
        where f.host_id = ? and f.state = 'happened' and f.replacement_id is not null
        """,
        (host_id,),
    )
    con.execute("update failure set state = 'replaced' where host_id = ? and state = 'happened'", (host_id,))


def repair(con: sqlite3.Connection, host_id: str, at: int) -> None:
    """The parts of a host at repair that would soon have failed are found and replaced."""
    soon = at + round(FOUND_DAYS * DAY)
    query = "select * from failure where host_id = ? and state = 'future' and failed_at <= ?"
    for failure in con.execute(query, (host_id, soon)).fetchall():
        avert(con, failure)
        con.execute(
            "insert or ignore into entity select component, coalesce(?, entity_id || '-new'), model, capacity_bytes, "
            "firmware, ?, simulated from entity where component = ? and entity_id = ?",
            (failure["replacement_id"], host_id, failure["component"], failure["entity_id"]),
        )
        con.execute(
            "update entity set host_id = null where component = ? and entity_id = ?",
            (failure["component"], failure["entity_id"]),
        )


def avert(con: sqlite3.Connection, failure: sqlite3.Row) -> None:
    """A failure that was to come does not come."""
    con.execute(
        "update failure set state = 'averted' where component = ? and entity_id = ?",
        (failure["component"], failure["entity_id"]),
    )


def release(con: sqlite3.Connection, host_id: str, epoch: str) -> None:
    """A host that was held back long enough and did not fail returns to service."""
    if still(con, host_id, epoch):
        set_host(con, host_id, "in_service")


def _end_orders(con: sqlite3.Connection, host_id: str, at: int) -> None:
    """Orders about the dead host end; moves towards it end where they began."""
    moving = con.execute(
        "select w.*, vm.vcpus, vm.memory_bytes, o.host_id as from_host_id, o.state as order_state "
        "from work_vm w join work o using (order_id) join vm using (vm_id) "
        "where w.result is null and w.target_host_id is not null and o.state in ('accepted', 'started') "
        "and (o.host_id = ? or w.target_host_id = ?) order by w.order_id, w.position",
        (host_id, host_id),
    ).fetchall()
    for move in moving:
        from_here, started = move["from_host_id"] == host_id, move["order_state"] == "started"
        if from_here or started:
            claim(con, move["target_host_id"], move, -1)
            result = "lost" if from_here and started else "stayed"
            con.execute(
                "update work_vm set result = ?, interrupted = ? where order_id = ? and vm_id = ?",
                (result, from_here and started, move["order_id"], move["vm_id"]),
            )
    for old, new, reason in (
        ("accepted", "refused", f"host {host_id} failed before the order started"),
        ("started", "failed", f"host {host_id} failed before the order was done"),
    ):
        con.execute(
            "update work set state = ?, state_at = ?, reason = ? where host_id = ? and state = ?",
            (new, at, reason, host_id, old),
        )
