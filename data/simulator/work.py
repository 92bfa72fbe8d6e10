"""Orders in the simulated world: taken once, checked again when they start, carried out VM by VM, answered for."""

import heapq
import sqlite3
from collections.abc import Sequence
from typing import Final

from data.simulator.motion import WorldSpec, chance, precopy, switch_seconds
from data.simulator.state import (
    DAY,
    DOWN,
    SECOND,
    claim,
    interrupt,
    moment,
    one,
    plan,
    residents,
    room_for,
    set_host,
    settle_on,
)

EMPTYING: Final = frozenset({"live_migrate", "evacuate", "decommission"})
"""Actions that drain the host; the others leave its VMs alone, whatever they list."""
MOVING: Final = frozenset({"live_migrate", "evacuate"})
"""Techniques that take a VM elsewhere; any other leaves it where it is."""

VmAsked = tuple[str, str, str | None]
"""vm_id, technique, target host (null: the world chooses)."""


def take(con: sqlite3.Connection, order: sqlite3.Row, vms: Sequence[VmAsked], at: int) -> str | None:
    """Why the order is refused, or null when it was taken: room on its targets is then kept for it."""
    reason = _unfit(con, order)
    for position, (vm_id, technique, target) in enumerate(vms):
        moves = order["action"] in EMPTYING and technique in MOVING
        if reason is None and moves:
            reason, target = _reserve(con, order["host_id"], vm_id, technique, target)
        if reason is not None:
            return reason
        con.execute(
            "insert or ignore into work_vm (order_id, position, vm_id, technique, target_host_id, result) "
            "values (?, ?, ?, ?, ?, ?)",
            (order["order_id"], position, vm_id, technique, target if moves else None, None if moves else "stayed"),
        )
    if reason is None:
        plan(con, max(at, order["not_before"]), "start", order["order_id"])
    return reason


def _unfit(con: sqlite3.Connection, order: sqlite3.Row) -> str | None:
    host = con.execute("select state from host where host_id = ?", (order["host_id"],)).fetchone()
    if host is None:
        return f"host {order['host_id']} is not known"
    if host["state"] in DOWN:
        return f"host {order['host_id']} is already out of service: {host['state']}"
    return None


def _reserve(
    con: sqlite3.Connection, host_id: str, vm_id: str, technique: str, target: str | None
) -> tuple[str | None, str | None]:
    """The reason why a VM cannot go, or its target with room kept on it."""
    vm = con.execute("select * from vm where vm_id = ?", (vm_id,)).fetchone()
    reason = None
    if vm is None or vm["host_id"] != host_id:
        reason = f"VM {vm_id} is not on host {host_id}"
    elif technique == "live_migrate" and not vm["live_migratable"]:
        reason = f"VM {vm_id} cannot be moved live"
    elif con.execute("select 1 from work_vm where vm_id = ? and result is null", (vm_id,)).fetchone():
        reason = f"VM {vm_id} belongs to another open order"
    else:
        target = target or room_for(con, vm)
        reason = f"no host in service has room for VM {vm_id}" if target is None else _full(con, vm, target)
        if reason is None and target is not None:
            claim(con, target, vm)
    return reason, target


def _full(con: sqlite3.Connection, vm: sqlite3.Row, target: str) -> str | None:
    host = con.execute("select * from host where host_id = ?", (target,)).fetchone()
    if host is None or target == vm["host_id"]:
        return f"target {target} of VM {vm['vm_id']} is not another known host"
    if host["state"] != "in_service":
        return f"target {target} of VM {vm['vm_id']} takes no VMs: {host['state']}"
    if host["free_vcpus"] < vm["vcpus"] or host["free_memory_bytes"] < vm["memory_bytes"]:
        return f"target {target} lacks room for VM {vm['vm_id']}"
    return None


def start(con: sqlite3.Connection, spec: WorldSpec, seed: int, order_id: str, at: int) -> None:
    """The order begins: the host is set aside, and each move gets its place in one of the lanes."""
    order = one(con, "select * from work where order_id = ?", order_id)
    if order["state"] != "accepted":
        return
    state = one(con, "select state from host where host_id = ?", order["host_id"])["state"]
    if order["action"] not in EMPTYING:
        if order["action"] == "block_placements" and state == "in_service":
            _hold(con, spec, order["host_id"], "blocked", at)
        _close(con, order_id, "completed", at, None)
        return
    con.execute("update work set state = 'started', state_at = ? where order_id = ?", (at, order_id))
    set_host(con, order["host_id"], "draining")
    lanes = [at] * spec.moves_at_once
    done = at
    for move in _open_moves(con, order_id):
        vm = one(con, "select * from vm where vm_id = ?", move["vm_id"])
        target = one(con, "select state from host where host_id = ?", move["target_host_id"])["state"]
        if vm["host_id"] != order["host_id"] or target != "in_service":
            _unmove(con, move, vm)
            continue
        ends = heapq.heappop(lanes) + round(_seconds(spec, seed, move, vm)[0] * SECOND)
        heapq.heappush(lanes, ends)
        plan(con, ends, "move", order_id, move["vm_id"])
        done = max(done, ends)
    plan(con, done, "finish", order_id)


def _open_moves(con: sqlite3.Connection, order_id: str) -> list[sqlite3.Row]:
    query = "select * from work_vm where order_id = ? and result is null order by position"
    return con.execute(query, (order_id,)).fetchall()


def _unmove(con: sqlite3.Connection, move: sqlite3.Row, vm: sqlite3.Row) -> None:
    """The VM does not go after all; the room kept for it is free again."""
    claim(con, move["target_host_id"], vm, -1)
    _result(con, move, "stayed", 0.0, interrupted=False)


def _result(con: sqlite3.Connection, move: sqlite3.Row, result: str, pause: float, *, interrupted: bool) -> None:
    con.execute(
        "update work_vm set result = ?, pause_seconds = ?, interrupted = ? where order_id = ? and vm_id = ?",
        (result, pause, interrupted, move["order_id"], move["vm_id"]),
    )


def _seconds(spec: WorldSpec, seed: int, move: sqlite3.Row, vm: sqlite3.Row) -> tuple[float, float]:
    """How long a move takes, and how long of that the VM does not run."""
    if move["technique"] == "evacuate":
        return spec.redeploy_seconds, spec.redeploy_seconds
    copying, stopped = precopy(vm["memory_bytes"], vm["dirty_bytes_per_second"], spec.bandwidth_bytes_per_second)
    pause = stopped + switch_seconds(chance(seed, move["order_id"], move["vm_id"], "switch"))
    return copying + pause, pause


def move(con: sqlite3.Connection, spec: WorldSpec, seed: int, order_id: str, vm_id: str, at: int) -> None:
    """A VM's move ends: it runs on its target, or the move failed."""
    row = one(con, "select * from work_vm where order_id = ? and vm_id = ?", order_id, vm_id)
    if row["result"] is not None:
        return
    vm = one(con, "select * from vm where vm_id = ?", vm_id)
    pause = _seconds(spec, seed, row, vm)[1]
    if row["technique"] == "evacuate":
        interrupt(con, vm, at, "redeploy", order_id)
        settle_on(con, vm, row["target_host_id"])
        _result(con, row, "redeployed", pause, interrupted=True)
    elif chance(seed, order_id, vm_id, "fails") >= spec.live_failure_rate:
        settle_on(con, vm, row["target_host_id"])
        _result(con, row, "moved", pause, interrupted=False)
    elif chance(seed, order_id, vm_id, "interrupts") < spec.failed_move_interrupts:
        claim(con, row["target_host_id"], vm, -1)
        interrupt(con, vm, at, "failed_move", order_id)
        _result(con, row, "failed", spec.redeploy_seconds, interrupted=True)
    else:
        _unmove(con, row, vm)


def finish(con: sqlite3.Connection, spec: WorldSpec, order_id: str, at: int) -> None:
    """The last move has ended: the host is empty and held, or keeps VMs and takes no more."""
    order = one(con, "select * from work where order_id = ?", order_id)
    if order["state"] != "started":
        return
    left = len(residents(con, order["host_id"]))
    if left:
        _hold(con, spec, order["host_id"], "blocked", at)
    elif order["action"] == "decommission":
        epoch = set_host(con, order["host_id"], "repair")
        plan(con, at + round(spec.repair_days * DAY), "return", order["host_id"], epoch)
    else:
        _hold(con, spec, order["host_id"], "empty", at)
    asked, gone = one(
        con,
        "select count(*), coalesce(sum(result in ('moved', 'redeployed')), 0) from work_vm "
        "where order_id = ? and target_host_id is not null",
        order_id,
    )
    if gone < asked:
        _close(con, order_id, "failed", at, f"{asked - gone} of {asked} VMs did not leave")
    elif left and order["action"] == "decommission":
        _close(con, order_id, "failed", at, f"{left} VMs are still on host {order['host_id']}")
    else:
        _close(con, order_id, "completed", at, None)


def _close(con: sqlite3.Connection, order_id: str, state: str, at: int, reason: str | None) -> None:
    values = (state, at, reason, order_id)
    con.execute("update work set state = ?, state_at = ?, reason = ? where order_id = ?", values)


def _hold(con: sqlite3.Connection, spec: WorldSpec, host_id: str, state: str, at: int) -> None:
    epoch = set_host(con, host_id, state)
    plan(con, at + round(spec.hold_days * DAY), "release", host_id, epoch)


def cancel(con: sqlite3.Connection, spec: WorldSpec, order_id: str, reason: str, at: int) -> None:
    """End an order that is not done: VMs that have moved stay moved, the others stay where they are."""
    order = one(con, "select * from work where order_id = ?", order_id)
    if order["state"] not in {"accepted", "started"}:
        return
    for row in _open_moves(con, order_id):
        _unmove(con, row, one(con, "select * from vm where vm_id = ?", row["vm_id"]))
    if order["state"] == "started":
        _hold(con, spec, order["host_id"], "blocked", at)
    _close(con, order_id, "cancelled", at, reason)


def lapse(order: sqlite3.Row, at: int) -> str | None:
    """Why an order is too old to begin, or null."""
    begins = max(at, order["not_before"])
    if begins <= order["expires_at"]:
        return None
    return f"it would start at {moment(begins):%Y-%m-%dT%H:%M:%SZ}, after it expires"
