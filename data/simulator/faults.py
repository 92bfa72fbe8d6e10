"""What failures do to the simulated world: VMs interrupted and restarted elsewhere, hosts repaired and returned.

Simplification, on purpose: whatever part fails takes its whole host down at that moment.
"""

import sqlite3

from data.simulator.motion import WorldSpec
from data.simulator.state import DAY, DOWN, claim, interrupt, one, plan, residents, room_for, set_host, settle_on, still


def fail(con: sqlite3.Connection, spec: WorldSpec, at: int, component: str, entity_id: str) -> None:
    """A part fails. A host that is up goes down with all its VMs; one at repair stays there longer."""
    failure = one(con, "select * from failure where component = ? and entity_id = ?", component, entity_id)
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


def come_back(con: sqlite3.Connection, host_id: str, epoch: str) -> None:
    """A repaired host returns to service with new parts, unless it failed again meanwhile."""
    if not still(con, host_id, epoch):
        return
    set_host(con, host_id, "in_service")
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
