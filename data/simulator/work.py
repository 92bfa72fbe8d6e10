"""Orders in the simulated world: taken once, checked again when they start, carried out VM by VM, answered for."""

import heapq
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from data.simulator.faults import repair
from data.simulator.motion import SWITCH_SECONDS, WorldSpec, acting_days, chance, precopy, switch_seconds
from data.simulator.state import (
    DAY,
    DOWN,
    SECOND,
    claim,
    interrupt,
    micros,
    moment,
    one,
    plan,
    residents,
    room_for,
    set_host,
    settle_on,
)

EMPTYING: Final = frozenset({"live_migrate", "self_service", "evacuate", "decommission"})
"""Actions that drain the host; the others leave its VMs where they are, whatever they list."""
MOVING: Final = frozenset({"live_migrate", "self_service", "evacuate"})
"""Techniques that take a VM elsewhere; any other leaves it where it is."""
CLOSING: Final = frozenset({"block_placements", "notify"})
"""Actions after which the host takes no new VMs."""


class VmAsked(NamedTuple):
    """What an order asks for one VM."""

    vm_id: str
    technique: str
    target_host_id: str | None = None
    """Null: the world chooses."""
    deadline: datetime | None = None
    """Until when the owner may pick the moment, under `self_service`."""


def take(con: sqlite3.Connection, order: sqlite3.Row, vms: Sequence[VmAsked], at: int) -> str | None:
    """Why the order is refused, or null when it was taken: room on its targets is then kept for it."""
    reason = _unfit(con, order)
    for position, (vm_id, technique, wanted, deadline) in enumerate(vms):
        target = wanted
        moves = order["action"] in EMPTYING and technique in MOVING
        if reason is None and moves:
            reason, target = _reserve(con, order["host_id"], vm_id, technique, target)
        if reason is not None:
            return reason
        con.execute(
            "insert or ignore into work_vm (order_id, position, vm_id, technique, target_host_id, deadline, result) "
            "values (?, ?, ?, ?, ?, ?, ?)",
            (
                order["order_id"],
                position,
                vm_id,
                technique,
                target if moves else None,
                micros(deadline) if deadline is not None else None,
                None if moves else "stayed",
            ),
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
    if host["dedicated_to"] not in (None, vm["owner"]):
        return f"target {target} serves {host['dedicated_to']} alone, not {vm['owner']}"
    if host["free_vcpus"] < vm["vcpus"] or host["free_memory_bytes"] < vm["memory_bytes"]:
        return f"target {target} lacks room for VM {vm['vm_id']}"
    return None


def start(con: sqlite3.Connection, spec: WorldSpec, seed: int, order_id: str, at: int) -> None:
    """The order begins: the host is set aside, and each move gets its place in one of the lanes."""
    order = one(con, "select * from work where order_id = ?", order_id)
    if order["state"] != "accepted":
        return
    state = one(con, "select state from host where host_id = ?", order["host_id"])["state"]
    _tell(con, spec, seed, order_id, at)
    if order["action"] not in EMPTYING:
        _serve(con, spec, seed, order, at)
        if order["action"] in CLOSING and state == "in_service":
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
        if move["technique"] == "self_service":
            ends = _picked(spec, seed, move, at)
        else:
            ends = heapq.heappop(lanes) + round(_seconds(spec, seed, move, vm)[0] * SECOND)
            heapq.heappush(lanes, ends)
        plan(con, ends, "move", order_id, move["vm_id"])
        done = max(done, ends)
    plan(con, done, "finish", order_id)


def _tell(con: sqlite3.Connection, spec: WorldSpec, seed: int, order_id: str, at: int) -> None:
    """Owners of VMs that stay are told; some will redeploy theirs by themselves."""
    query = "select vm_id from work_vm where order_id = ? and technique = 'notify' order by position"
    for row in con.execute(query, (order_id,)).fetchall():
        draw = chance(seed, order_id, row["vm_id"], "acts")
        days = acting_days(draw, spec.told_acting_share, spec.acting_mean_days)
        if days is not None:
            plan(con, at + round(days * DAY), "choice", order_id, row["vm_id"])


def _picked(spec: WorldSpec, seed: int, move: sqlite3.Row, at: int) -> int:
    """The moment that an owner picks within the window, or its end."""
    draw = chance(seed, move["order_id"], move["vm_id"], "picks")
    days = acting_days(draw, spec.offered_acting_share, spec.acting_mean_days)
    latest = at if move["deadline"] is None else max(at, int(move["deadline"]))
    return latest if days is None else min(latest, at + round(days * DAY))


def choose(con: sqlite3.Connection, order_id: str, vm_id: str, at: int) -> None:
    """A told owner redeploys his VM, if it is still where he was told and there is room elsewhere."""
    order = one(con, "select * from work where order_id = ?", order_id)
    vm = con.execute("select * from vm where vm_id = ? and host_id = ?", (vm_id, order["host_id"])).fetchone()
    busy = con.execute("select 1 from work_vm where vm_id = ? and result is null", (vm_id,)).fetchone()
    state = one(con, "select state from host where host_id = ?", order["host_id"])["state"]
    target = None if vm is None or busy or state in DOWN else room_for(con, vm)
    if target is None:
        return
    interrupt(con, vm, at, "chosen", order_id)
    claim(con, target, vm)
    settle_on(con, vm, target)


def _serve(con: sqlite3.Connection, spec: WorldSpec, seed: int, order: sqlite3.Row, at: int) -> None:
    """The host is serviced where it stands: VMs pause if they must, and what the service changes is changed."""
    order_id, host_id = order["order_id"], order["host_id"]
    if order["action"] == "preserve_memory":
        for vm in residents(con, host_id):
            spread = switch_seconds(chance(seed, order_id, vm["vm_id"], "pauses")) / SWITCH_SECONDS[0]
            pause = spec.preserve_memory_seconds * spread
            broken = chance(seed, order_id, vm["vm_id"], "resumes") < spec.preserve_memory_failure_rate
            if broken:
                interrupt(con, vm, at, "failed_pause", order_id)
            con.execute(
                "update work_vm set result = ?, pause_seconds = ?, interrupted = ? where order_id = ? and vm_id = ?",
                ("failed" if broken else "paused", pause, broken, order_id, vm["vm_id"]),
            )
    if order["action"] in {"hot_patch", "preserve_memory"}:
        _changed(con, order)


def _changed(con: sqlite3.Connection, order: sqlite3.Row) -> None:
    """What the service changes of the host; failures that are to come still come: the world knows no cured cause."""
    if order["attribute"] in {"firmware", "kernel"}:
        query = f"update host set {order['attribute']} = ? where host_id = ?"  # noqa: S608 - one of two names
        con.execute(query, (order["becomes"], order["host_id"]))


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
    if _redeploys(move, vm):
        return spec.redeploy_seconds, spec.redeploy_seconds
    copying, stopped = precopy(vm["memory_bytes"], vm["dirty_bytes_per_second"], spec.bandwidth_bytes_per_second)
    pause = stopped + switch_seconds(chance(seed, move["order_id"], move["vm_id"], "switch"))
    return copying + pause, pause


def _redeploys(move: sqlite3.Row, vm: sqlite3.Row) -> bool:
    """Whether the VM is stopped here and started there; at its owner's moment only if it cannot move live."""
    return move["technique"] == "evacuate" or (move["technique"] == "self_service" and not vm["live_migratable"])


def move(con: sqlite3.Connection, spec: WorldSpec, seed: int, order_id: str, vm_id: str, at: int) -> None:
    """A VM's move ends: it runs on its target, or the move failed."""
    row = one(con, "select * from work_vm where order_id = ? and vm_id = ?", order_id, vm_id)
    if row["result"] is not None:
        return
    vm = one(con, "select * from vm where vm_id = ?", vm_id)
    pause = _seconds(spec, seed, row, vm)[1]
    if _redeploys(row, vm):
        early = row["technique"] == "self_service" and row["deadline"] is not None and at < row["deadline"]
        interrupt(con, vm, at, "chosen" if early else "redeploy", order_id)
        settle_on(con, vm, row["target_host_id"])
        _result(con, row, "chosen" if early else "redeployed", pause, interrupted=True)
    elif chance(seed, order_id, vm_id, "fails") >= spec.live_failure_rate:
        settle_on(con, vm, row["target_host_id"])
        _result(con, row, "moved", pause, interrupted=False)
    elif chance(seed, order_id, vm_id, "interrupts") < spec.failed_move_interrupts:
        claim(con, row["target_host_id"], vm, -1)
        interrupt(con, vm, at, "failed_move", order_id)
        _result(con, row, "failed", spec.redeploy_seconds, interrupted=True)
    else:
        _unmove(con, row, vm)


def hasten(con: sqlite3.Connection, order_id: str, vm_id: str, at: int) -> str | None:
    """Why a VM's move cannot be made now, or null: it is planned for now, and the order's end after its last move."""
    order = one(con, "select * from work where order_id = ?", order_id)
    query = "select * from work_vm where order_id = ? and vm_id = ? and result is null"
    row = con.execute(query, (order_id, vm_id)).fetchone()
    if row is None or order["state"] not in {"accepted", "started"}:
        return f"VM {vm_id} has nothing left to start in order {order_id}: it is done, or was called back"
    target = one(con, "select state from host where host_id = ?", row["target_host_id"])["state"]
    if one(con, "select host_id from vm where vm_id = ?", vm_id)["host_id"] != order["host_id"]:
        return f"VM {vm_id} is no longer on host {order['host_id']}"
    if target != "in_service":
        return f"target {row['target_host_id']} of VM {vm_id} takes no VMs: {target}"
    con.execute("delete from agenda where kind = 'move' and a = ? and b = ?", (order_id, vm_id))
    plan(con, at, "move", order_id, vm_id)
    if order["state"] == "started":
        last = one(con, "select max(at) as at from agenda where kind = 'move' and a = ?", order_id)["at"]
        con.execute("delete from agenda where kind = 'finish' and a = ?", (order_id,))
        plan(con, int(last), "finish", order_id)
    return None


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
        repair(con, order["host_id"], at)
        plan(con, at + round(spec.repair_days * DAY), "return", order["host_id"], epoch)
    else:
        _changed(con, order)
        _hold(con, spec, order["host_id"], "empty", at)
    asked, gone = one(
        con,
        "select count(*), coalesce(sum(result in ('moved', 'redeployed', 'chosen')), 0) from work_vm "
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
