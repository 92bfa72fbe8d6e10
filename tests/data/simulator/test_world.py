"""The simulated world: failures, orders, idempotency, deaths of the process, and rooms that are never overbooked."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from worlds import CERTAIN, DAY, HOUR, START, host, vm, world

from data.contracts import INVENTORY
from data.errors import InputError, UsageError
from data.simulator.fleet import FleetSpec, plan
from data.simulator.motion import WorldSpec
from data.simulator.telemetry import write_tables
from data.simulator.truth import failures
from data.simulator.work import VmAsked
from data.simulator.world import World

TWO = [host("a"), host("b", 1)]


def where(a_world: World) -> dict[str, str]:
    """Host of each VM."""
    return {row["vm_id"]: row["host_id"] for row in a_world.inventory()["vms"].to_pylist()}


def states(a_world: World) -> dict[str, str]:
    """State of each host."""
    return {row["host_id"]: row["state"] for row in a_world.inventory()["hosts"].to_pylist()}


def order(
    a_world: World,
    vms: list[tuple[str, str, str | None]],
    action: str = "live_migrate",
    name: str = "o1",
    at: datetime = START,
    begins: datetime = START,
) -> tuple[str, str | None]:
    """Submit an order about host a that expires after ten days."""
    return a_world.submit(name, "a", action, vms, begins, START + 10 * DAY, at)


def causes(a_world: World) -> list[tuple[str, str]]:
    """VM and cause of each interruption."""
    return [(row["vm_id"], row["cause"]) for row in a_world.interruptions().to_pylist()]


def test_new_world_shows_what_it_was_made_of() -> None:
    """A fresh world's inventory equals the tables it came from, schema and all."""
    fleet = plan(FleetSpec(hosts=40, vms=300, days=10))
    made = World.create(":memory:", fleet.tables(), failures(fleet), fleet.spec.start_at, 7)
    seen = made.inventory()
    assert all(seen[name].schema.equals(INVENTORY[name]) for name in INVENTORY)
    assert seen["hosts"].equals(fleet.hosts.sort_by("host_id"))
    assert seen["vms"].equals(fleet.vms.sort_by("vm_id"))
    assert seen["entities"].num_rows == fleet.entities.num_rows


def test_failure_interrupts_every_vm_once_and_restarts_them_elsewhere() -> None:
    """When a part fails, its host goes to repair and its VMs run on after one interruption each."""
    made = world(TWO, [vm("v1", "a"), vm("v2", "a"), vm("v3", "b")], [("a", START + HOUR)])
    made.advance(START + 2 * HOUR)
    assert causes(made) == [("v1", "failure"), ("v2", "failure")]
    assert where(made) == {"v1": "b", "v2": "b", "v3": "b"}
    assert states(made)["a"] == "repair"


def test_repaired_host_returns_empty_with_a_new_part() -> None:
    """After `repair_days` the host is tested for a day with the failed drive's successor in it, then in service."""
    made = world(TWO, [vm("v1", "a")], [("a", START + HOUR)])
    made.advance(START + HOUR + 3 * DAY - HOUR / 60)
    assert states(made)["a"] == "repair"
    assert "d-a" not in made.inventory()["entities"]["entity_id"].to_pylist()
    made.advance(START + HOUR + 3 * DAY)
    assert states(made)["a"] == "probation"
    made.advance(START + HOUR + 4 * DAY)
    assert states(made)["a"] == "in_service"
    assert set(made.inventory()["entities"]["entity_id"].to_pylist()) == {"new-a", "d-b"}
    assert where(made) == {"v1": "b"}


def test_failure_at_the_very_moment_has_happened() -> None:
    """`advance` includes what happens at the moment it goes to."""
    made = world(TWO, [vm("v1", "a")], [("a", START + HOUR)])
    assert made.advance(START + HOUR) == 1
    assert len(causes(made)) == 1


def test_vms_without_room_wait_where_they_are() -> None:
    """A VM for which no host has room stays on the dead host and is counted once."""
    made = world(TWO, [vm("v1", "a", 12), vm("v2", "b", 12)], [("a", START + HOUR)])
    made.advance(START + 4 * DAY)
    assert where(made) == {"v1": "a", "v2": "b"}
    assert causes(made) == [("v1", "failure")]


def test_restart_keeps_an_availability_set_apart() -> None:
    """A restarted VM goes to a fault domain without its siblings, even if a fuller one."""
    hosts = [host("a", 0), host("b", 1), host("c", 2)]
    vms = [vm("v1", "a", group="s"), vm("v2", "b", group="s"), vm("v3", "c", 8)]
    made = world(hosts, vms, [("a", START + HOUR)])
    made.advance(START + HOUR)
    assert where(made)["v1"] == "c"


@pytest.mark.parametrize("state", ["blocked", "draining", "empty", "repair", "probation", "retired"])
def test_restarts_avoid_hosts_that_take_no_vms(state: str) -> None:
    """Only hosts in service take restarted VMs."""
    hosts = [host("a"), host("b", state=state), host("c", vcpus=4)]
    made = world(hosts, [vm("v1", "a")], [("a", START + HOUR)])
    made.advance(START + HOUR)
    assert where(made)["v1"] == "c"


def test_live_migration_moves_the_vm_without_interruption() -> None:
    """A completed live migration: VM on its target, no interruption, a short pause, host empty."""
    made = world(TWO, [vm("v1", "a")])
    assert order(made, [("v1", "live_migrate", "b")]) == ("accepted", None)
    made.advance(START + HOUR)
    [answer] = made.answers(["o1"])
    assert answer.state == "completed"
    assert [(v.result, v.target_host_id, v.interrupted) for v in answer.vms] == [("moved", "b", False)]
    assert 0 < answer.vms[0].pause_seconds < 10
    assert where(made) == {"v1": "b"}
    assert states(made)["a"] == "empty"
    assert causes(made) == []


def test_evacuation_interrupts_the_vm_once() -> None:
    """A redeployed VM is interrupted once, by the order and not by the failure that follows."""
    made = world(TWO, [vm("v1", "a", live=False)], [("a", START + DAY)])
    order(made, [("v1", "evacuate", "b")], "evacuate")
    made.advance(START + 2 * DAY)
    assert causes(made) == [("v1", "redeploy")]
    assert made.answers(["o1"])[0].vms[0].result == "redeployed"


def test_moved_vm_escapes_the_failure() -> None:
    """The point of it all: an emptied host's failure interrupts nobody."""
    made = world(TWO, [vm("v1", "a")], [("a", START + DAY)])
    order(made, [("v1", "live_migrate", None)])
    made.advance(START + 2 * DAY)
    assert causes(made) == []


def test_order_starts_no_earlier_than_it_may() -> None:
    """Nothing moves before `not_before`."""
    made = world(TWO, [vm("v1", "a")])
    order(made, [("v1", "live_migrate", "b")], begins=START + 4 * HOUR)
    made.advance(START + 4 * HOUR - HOUR / 60)
    assert made.answers(["o1"])[0].state == "accepted"
    assert states(made)["a"] == "in_service"
    made.advance(START + 4 * HOUR)
    assert made.answers(["o1"])[0].state == "started"
    assert states(made)["a"] == "draining"


def test_same_order_again_gets_the_same_answer_and_no_second_effect() -> None:
    """Submitting twice moves once, also after the order is done."""
    made = world(TWO, [vm("v1", "a", live=False)])
    asked = [("v1", "evacuate", "b")]
    first = order(made, asked, "evacuate")
    made.advance(START + HOUR)
    assert order(made, asked, "evacuate") == first
    made.advance(START + DAY)
    assert causes(made) == [("v1", "redeploy")]


def test_refusals_say_why_and_stay_refused() -> None:
    """Each thing that stands against an order is named, and asking again gives the same refusal."""
    hosts = [*TWO, host("full", vcpus=2), host("dead"), host("blocked", state="blocked")]
    vms = [vm("v1", "a"), vm("v2", "b"), vm("pinned", "a", live=False)]
    made = world(hosts, vms, [("dead", START + HOUR)])
    made.advance(START + 2 * HOUR)
    cases = {
        "not on host": [("v2", "live_migrate", "dead")],
        "cannot be moved live": [("pinned", "live_migrate", "b")],
        "takes no VMs: repair": [("v1", "live_migrate", "dead")],
        "takes no VMs: blocked": [("v1", "live_migrate", "blocked")],
        "lacks room": [("v1", "live_migrate", "full")],
        "not another known host": [("v1", "live_migrate", "a")],
        "another open order": [("v1", "live_migrate", "b"), ("v1", "live_migrate", "b")],
    }
    for number, (reason, asked) in enumerate(cases.items()):
        state, why = order(made, asked, name=f"o{number}")
        assert (state, reason in str(why)) == ("refused", True), why
        assert order(made, asked, name=f"o{number}") == (state, why)
    assert order(made, cases["lacks room"][:0], name="fresh")[0] == "accepted"


def test_order_about_a_failed_or_unknown_host_is_refused() -> None:
    """A host that is at repair, or that nobody knows, takes no orders."""
    made = world(TWO, [vm("v1", "a")], [("a", START + HOUR)])
    state, reason = order(made, [], at=START + 2 * HOUR)
    assert (state, "out of service" in str(reason)) == ("refused", True)
    assert made.submit("o2", "nowhere", "evacuate", [], START, START + DAY, START)[1] == "host nowhere is not known"


def test_expired_order_does_nothing() -> None:
    """An order that comes after it expired, or may not start before, is answered `expired`."""
    made = world(TWO, [vm("v1", "a")])
    late = made.submit("late", "a", "live_migrate", [("v1", "live_migrate", "b")], START, START + HOUR, START + DAY)
    never = made.submit("never", "a", "live_migrate", [], START + 3 * DAY, START + 2 * DAY, START + DAY)
    made.advance(START + 5 * DAY)
    assert (late[0], never[0]) == ("expired", "expired")
    assert where(made) == {"v1": "a"}


def test_accepted_order_keeps_room_on_its_target() -> None:
    """Room that is promised to one order cannot be promised to another, and cancelling frees it."""
    made = world([host("a"), host("b", vcpus=4)], [vm("v1", "a"), vm("v2", "a")])
    assert order(made, [("v1", "live_migrate", "b")], begins=START + DAY)[0] == "accepted"
    assert order(made, [("v2", "live_migrate", "b")], name="o2")[0] == "refused"
    assert made.cancel("o1", "changed my mind").state == "cancelled"
    assert order(made, [("v2", "live_migrate", "b")], name="o3")[0] == "accepted"


def test_cancelled_order_leaves_the_rest_of_its_vms() -> None:
    """Cancelled on the way: what has moved stays moved, the rest stays, and the host takes no new VMs."""
    made = world(TWO, [vm("v1", "a"), vm("v2", "a")], spec=WorldSpec(live_failure_rate=0, moves_at_once=1))
    order(made, [("v1", "live_migrate", "b"), ("v2", "live_migrate", "b")])
    made.advance(START + HOUR / 300)
    assert where(made) == {"v1": "b", "v2": "a"}
    assert made.cancel("o1", "vetoed").reason == "vetoed"
    made.advance(START + DAY)
    assert where(made) == {"v1": "b", "v2": "a"}
    assert states(made)["a"] == "blocked"
    assert made.cancel("o1", "again").reason == "vetoed"


def test_cancelling_an_unknown_order_is_an_error() -> None:
    """There is nothing to cancel under an id never seen."""
    with pytest.raises(UsageError, match="o9"):
        world(TWO, []).cancel("o9", "why not")


def test_source_failing_on_the_way_loses_the_vms_still_there() -> None:
    """When the source dies in the middle, VMs not yet moved are lost and interrupted once, and the order failed."""
    spec = WorldSpec(live_failure_rate=0, moves_at_once=1)
    made = world(TWO, [vm("v1", "a"), vm("v2", "a")], [("a", START + HOUR / 300)], spec=spec)
    order(made, [("v1", "live_migrate", "b"), ("v2", "live_migrate", "b")])
    made.advance(START + DAY)
    [answer] = made.answers(["o1"])
    assert answer.state == "failed"
    assert [v.result for v in answer.vms] == ["moved", "lost"]
    assert causes(made) == [("v2", "failure")]
    assert where(made) == {"v1": "b", "v2": "b"}


def test_target_failing_on_the_way_leaves_the_vm_running() -> None:
    """When the target dies during pre-copy the VM runs on at its source, uninterrupted."""
    made = world(TWO, [vm("v1", "a")], [("b", START + HOUR / 3600)])
    order(made, [("v1", "live_migrate", "b")])
    made.advance(START + HOUR)
    assert made.answers(["o1"])[0].state == "failed"
    assert where(made) == {"v1": "a"}
    assert causes(made) == []


def test_host_failing_before_the_start_refuses_the_order() -> None:
    """An accepted order whose host dies before it starts ends as refused, and its target has its room back."""
    made = world([*TWO, host("c", 2)], [vm("v1", "a", 16)], [("a", START + HOUR)])
    order(made, [("v1", "live_migrate", "b")], begins=START + DAY)
    made.advance(START + 2 * DAY)
    assert made.answers(["o1"])[0].state == "refused"
    assert order(made, [], name="next", at=START + 5 * DAY)[0] == "accepted"
    assert len(causes(made)) == 1


def test_every_live_move_can_be_made_to_fail() -> None:
    """With a failure rate of one no VM moves; interrupted ones say `failed`, the others `stayed`."""
    spec = WorldSpec(live_failure_rate=1.0, failed_move_interrupts=0.5)
    made = world([host("a", vcpus=80), host("b", vcpus=80)], [vm(f"v{n}", "a", 1) for n in range(8)], spec=spec)
    order(made, [(f"v{n}", "live_migrate", "b") for n in range(8)])
    made.advance(START + DAY)
    [answer] = made.answers(["o1"])
    assert {v.result for v in answer.vms} == {"failed", "stayed"}
    assert len(causes(made)) == sum(v.interrupted for v in answer.vms)
    assert set(where(made).values()) == {"a"}
    assert (answer.state, states(made)["a"]) == ("failed", "blocked")


def test_blocked_host_takes_no_vms_and_returns_after_the_hold() -> None:
    """`block_placements` keeps restarts away and VMs running, until the hold is over."""
    made = world(TWO, [vm("v1", "a"), vm("v2", "b")], [("b", START + DAY)])
    order(made, [], "block_placements")
    made.advance(START + DAY)
    assert where(made) == {"v1": "a", "v2": "b"}
    assert states(made) == {"a": "blocked", "b": "repair"}
    made.advance(START + 30 * DAY)
    assert states(made)["a"] == "in_service"


def test_watching_changes_nothing() -> None:
    """`monitor` and its like complete at once and leave host and VMs as they were."""
    made = world(TWO, [vm("v1", "a")])
    for action in ("monitor", "investigate", "hot_patch"):
        order(made, [("v1", action, None)], action, name=action)
    made.advance(START + HOUR)
    assert {answer.state for answer in made.answers(["monitor", "investigate", "hot_patch"])} == {"completed"}
    assert states(made)["a"] == "in_service"


def test_decommissioned_host_goes_to_repair_and_back() -> None:
    """A host is emptied, repaired and returned; with VMs left on it the order fails."""
    made = world(TWO, [vm("v1", "a"), vm("v2", "b")])
    order(made, [("v1", "live_migrate", "b")], "decommission")
    made.advance(START + HOUR)
    assert (states(made)["a"], made.answers(["o1"])[0].state) == ("repair", "completed")
    made.submit("o2", "b", "decommission", [], START, START + 10 * DAY, START + HOUR)
    made.advance(START + 5 * DAY)
    assert (states(made)["a"], states(made)["b"]) == ("in_service", "blocked")
    assert made.answers(["o2"])[0].state == "failed"


def test_a_repair_replaces_the_part_that_was_about_to_fail() -> None:
    """The dying drive of a host that was emptied and sent to repair is replaced, and its failure never comes."""
    made = world(TWO, [vm("v1", "b")], [("a", START + 20 * DAY)])
    made.submit("o1", "a", "decommission", [], START, START + DAY, START)
    made.advance(START + 40 * DAY)
    assert made.failures().num_rows == 0
    assert set(made.inventory()["entities"]["entity_id"].to_pylist()) == {"new-a", "d-b"}


SURE = WorldSpec(live_failure_rate=0.0, offered_acting_share=1.0, told_acting_share=1.0, acting_mean_days=0.5)


def test_owners_pick_their_moment_within_the_window() -> None:
    """A VM that cannot move live is restarted elsewhere when its owner says so, and counts as the owner's choice."""
    made = world(TWO, [vm("v1", "a", live=False), vm("v2", "a")], spec=SURE)
    vms = [VmAsked("v1", "self_service", "b", START + 30 * DAY), VmAsked("v2", "live_migrate", "b")]
    made.submit("o1", "a", "self_service", vms, START, START + DAY, START)
    made.advance(START + HOUR)
    assert where(made) == {"v1": "a", "v2": "b"}
    made.advance(START + 29 * DAY)
    assert causes(made) == [("v1", "chosen")]
    assert where(made)["v1"] == "b"
    assert made.answers(["o1"])[0].state == "completed"


def test_the_scheduled_phase_begins_at_the_window_s_end() -> None:
    """A VM whose owner picked no moment is redeployed at the deadline, not before, not later."""
    slow = WorldSpec(live_failure_rate=0.0, offered_acting_share=0.0)
    made = world(TWO, [vm("v1", "a", live=False)], spec=slow)
    made.submit(
        "o1", "a", "self_service", [VmAsked("v1", "self_service", "b", START + 3 * DAY)], START, START + DAY, START
    )
    made.advance(START + 3 * DAY - HOUR)
    assert causes(made) == []
    made.advance(START + 3 * DAY)
    assert causes(made) == [("v1", "redeploy")]


def test_an_offer_that_is_withdrawn_leaves_the_vm_where_it_is() -> None:
    """When the order is cancelled before the deadline, nothing happens at the deadline."""
    made = world(TWO, [vm("v1", "a", live=False)], spec=WorldSpec(offered_acting_share=0.0))
    made.submit(
        "o1", "a", "self_service", [VmAsked("v1", "self_service", "b", START + 3 * DAY)], START, START + DAY, START
    )
    made.advance(START + DAY)
    made.cancel("o1", "it has recovered")
    made.advance(START + 9 * DAY)
    assert (causes(made), where(made)) == ([], {"v1": "a"})


def test_owners_who_are_told_may_leave_by_themselves() -> None:
    """After a notice the host takes no new VMs, and an owner who acts is gone before the failure."""
    made = world(TWO, [vm("v1", "a", live=False)], [("a", START + 20 * DAY)], spec=SURE)
    made.submit("o1", "a", "notify", [VmAsked("v1", "notify")], START, START + DAY, START)
    made.advance(START + HOUR)
    assert states(made)["a"] == "blocked"
    made.advance(START + 21 * DAY)
    assert causes(made) == [("v1", "chosen")]


def test_a_service_in_memory_pauses_every_vm_and_changes_the_host() -> None:
    """VMs stand still for seconds, none moves, and the host has its new firmware."""
    made = world(TWO, [vm("v1", "a"), vm("v2", "a")], spec=WorldSpec(preserve_memory_failure_rate=0.0))
    vms = [VmAsked("v1", "preserve_memory"), VmAsked("v2", "preserve_memory")]
    made.submit("o1", "a", "preserve_memory", vms, START, START + DAY, START, ("firmware", "f2"))
    made.advance(START + HOUR)
    told = made.answers(["o1"])[0].vms
    assert {(one.result, one.interrupted, 1 < one.pause_seconds < 60) for one in told} == {("paused", False, True)}
    assert made.inventory()["hosts"].to_pylist()[0]["firmware"] == "f2"
    assert (states(made)["a"], causes(made)) == ("in_service", [])


def test_clock_never_goes_back() -> None:
    """Advancing to the past changes nothing, and submitting in the past happens now."""
    made = world(TWO, [vm("v1", "a")])
    made.advance(START + DAY)
    made.advance(START)
    assert made.now == START + DAY
    order(made, [], at=START)
    assert made.answers(["o1"])[0].at == START + DAY


def test_vm_days_count_every_vm_since_the_start() -> None:
    """Two VMs for ten days are twenty VM-days."""
    made = world(TWO, [vm("v1", "a"), vm("v2", "b")])
    made.advance(START + 10 * DAY)
    assert made.vm_days() == pytest.approx(20)


def test_truth_lists_only_what_is_to_come() -> None:
    """`upcoming_failures` knows the future within its reach, `failures` the past."""
    made = world([*TWO, host("c")], [], [("a", START + DAY), ("b", START + 3 * DAY), ("c", START + 20 * DAY)])
    made.advance(START + 2 * DAY)
    assert made.upcoming_failures(7)["host_id"].to_pylist() == ["b"]
    assert made.failures()["entity_id"].to_pylist() == ["d-a"]


def test_world_is_kept_in_its_file(tmp_path: Path) -> None:
    """What was done is there after closing and opening, and a second `create` refuses to overwrite it."""
    path = tmp_path / "world.db"
    with world(TWO, [vm("v1", "a")], path=path) as made:
        order(made, [("v1", "live_migrate", "b")])
        made.advance(START + HOUR)
    with World.open(path) as again:
        assert (again.now, where(again)) == (START + HOUR, {"v1": "b"})
    with pytest.raises(UsageError, match="exists already"):
        world(TWO, [], path=path)


def test_opening_what_is_not_a_world_says_so(tmp_path: Path) -> None:
    """A missing file and a file of something else are input errors."""
    (tmp_path / "text").write_text("this is no database, whatever its name says" * 50)
    for name in ("absent", "text"):
        with pytest.raises(InputError, match=name):
            World.open(tmp_path / name)


def test_fork_goes_its_own_way() -> None:
    """What happens in a copy does not happen in the original."""
    made = world(TWO, [vm("v1", "a")], [("a", START + HOUR)])
    arm = made.fork()
    arm.advance(START + DAY)
    assert (len(causes(arm)), len(causes(made))) == (1, 0)


def test_tables_that_do_not_fit_are_refused() -> None:
    """VMs beyond their host's capacity, or on a host that is not there, make no world."""
    with pytest.raises(UsageError, match="fit"):
        world([host("a", vcpus=2)], [vm("v1", "a", 4)])
    with pytest.raises(UsageError, match="nowhere"):
        world(TWO, [vm("v1", "nowhere")])


def test_inventory_is_exported_for_the_source(tmp_path: Path) -> None:
    """Three Parquet files, named as the inventory source expects."""
    write_tables(world(TWO, [vm("v1", "a")]).inventory(), tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"hosts.parquet", "vms.parquet", "entities.parquet"}


KILLED = """
import os, sys
sys.path.insert(0, {here!r})
from data.simulator import faults
from data.simulator.world import World
from worlds import DAY, START
fail, count = faults.fail, 0
def dying(*args):
    global count
    count += 1
    fail(*args)
    if count == 3:
        os.kill(os.getpid(), 9)
faults.fail = dying
World.open({path!r}).advance(START + 20 * DAY)
"""


def test_killed_inside_advance_and_run_again_ends_the_same(tmp_path: Path) -> None:
    """A process killed in the middle of a failure leaves a world that ends as an undisturbed one does."""
    hosts = [host(f"h{n}", n % 3) for n in range(8)]
    vms = [vm(f"v{n}", f"h{n % 6}") for n in range(12)]
    coming = [(f"h{n}", START + (n + 1) * DAY) for n in range(6)]
    path = tmp_path / "world.db"
    world(hosts, vms, coming, path).close()
    script = KILLED.format(here=str(Path(__file__).parent), path=str(path))
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, check=False).returncode == -9
    whole = world(hosts, vms, coming)
    whole.advance(START + 20 * DAY)
    with World.open(path) as again:
        assert again.now == START
        again.advance(START + 20 * DAY)
        assert again.inventory() == whole.inventory()
        assert again.interruptions() == whole.interruptions()


def test_changes_are_those_since_the_last_look() -> None:
    """A failure turns one host and moves its VM; both are told once, as they are now."""
    with world([host("a"), host("b", 1)], [vm("v", "a")], [("a", START + HOUR)]) as made:
        assert made.changes() == ({}, {})
        made.advance(START + DAY)
        assert made.changes() == ({"a": "repair"}, {"v": "b"})
        assert made.changes() == ({}, {})
        assert made.failed_hosts(START) == {"a": START + HOUR}
        assert made.failed_hosts(START + DAY) == {}


def test_a_fork_may_behave_differently() -> None:
    """The copy has the spec that it is given, the first world keeps its own."""
    with world([host("a")], []) as made, made.fork(spec=WorldSpec(repair_days=9.0)) as other:
        assert other.spec.repair_days == 9.0
        assert made.spec == CERTAIN


def test_an_arrival_that_does_not_fit_adds_nothing() -> None:
    """A VM on a host that is not among the arriving ones is refused, and the world is as before."""
    with world([host("a")], []) as made, world([host("b")], [vm("v", "b")]) as other:
        tables = other.inventory()
        alone = {**tables, "hosts": tables["hosts"].slice(0, 0)}
        with pytest.raises(UsageError, match="not among the hosts"):
            made.arrive(alone, made.upcoming_failures(1))
        assert made.inventory("vms")["vms"].num_rows == 0
        made.arrive(tables, made.upcoming_failures(1))
        assert made.inventory("vms")["vms"]["host_id"].to_pylist() == ["b"]
