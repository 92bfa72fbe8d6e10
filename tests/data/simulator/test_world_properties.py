"""What holds in every simulated world, whatever is asked of it."""

from dataclasses import dataclass
from datetime import datetime

import hypothesis.strategies as st
from hypothesis import given, settings
from worlds import DAY, GIB, HOUR, START, host, vm, world

from data.simulator.motion import WorldSpec
from data.simulator.work import VmAsked
from data.simulator.world import World

HOSTS = [f"h{n}" for n in range(6)]
SPEC = WorldSpec(live_failure_rate=0.2, moves_at_once=2, hold_days=4)


@dataclass(frozen=True)
class Asked:
    """One order: after how many hours, about which host, what, to where."""

    hour: int
    host: str
    action: str
    technique: str
    target: str | None
    delay_hours: int


orders = st.builds(
    Asked,
    hour=st.integers(0, 200),
    host=st.sampled_from(HOSTS),
    action=st.sampled_from(
        ["live_migrate", "self_service", "evacuate", "block_placements", "notify", "preserve_memory", "decommission"]
    ),
    technique=st.sampled_from(["live_migrate", "self_service", "evacuate", "notify", "preserve_memory", "monitor"]),
    target=st.one_of(st.none(), st.sampled_from(HOSTS)),
    delay_hours=st.integers(0, 30),
)
placements = st.lists(st.tuples(st.sampled_from(HOSTS), st.integers(1, 4), st.booleans()), max_size=18)
failing = st.dictionaries(st.sampled_from(HOSTS), st.integers(1, 200), max_size=5)


def build(placed: list[tuple[str, int, bool]], coming: dict[str, int]) -> World:
    """Six hosts in three fault domains; VMs that fit."""
    hosts = [host(name, n % 3) for n, name in enumerate(HOSTS)]
    used = dict.fromkeys(HOSTS, 0)
    vms = []
    for number, (on, vcpus, live) in enumerate(placed):
        if used[on] + vcpus <= 8:
            used[on] += vcpus
            vms.append(vm(f"v{number:02d}", on, vcpus, live=live))
    return world(hosts, vms, [(name, START + hours * HOUR) for name, hours in coming.items()], spec=SPEC)


def ask(a_world: World, number: int, asked: Asked, at: datetime) -> tuple[str, str | None]:
    """Submit one order about all VMs that are now on its host."""
    vms = a_world.inventory()["vms"].to_pylist()
    begins = at + asked.delay_hours * HOUR
    until = begins + 30 * HOUR
    listed = [
        VmAsked(row["vm_id"], asked.technique, asked.target, until) for row in vms if row["host_id"] == asked.host
    ]
    return a_world.submit(f"o{number}", asked.host, asked.action, listed, begins, begins + DAY, at)


def story(a_world: World, asked: list[Asked], stops: list[int]) -> None:
    """Orders in order of time, with the clock moved to `stops` (hours) on the way, and to hour 400 at the end."""
    steps: list[tuple[int, int, Asked | None]] = [(one.hour, number, one) for number, one in enumerate(asked)]
    steps += [(hour, -1, None) for hour in stops]
    for hour, number, one in sorted(steps, key=lambda step: step[:2]):
        a_world.advance(START + hour * HOUR)
        if one is not None:
            ask(a_world, number, one, START + hour * HOUR)
    a_world.advance(START + 400 * HOUR)


def check_rooms(a_world: World) -> None:
    """Every VM on one known host, and none overbooked."""
    tables = a_world.inventory()
    hosts = {row["host_id"]: row for row in tables["hosts"].to_pylist()}
    vms = tables["vms"].to_pylist()
    assert len({row["vm_id"] for row in vms}) == len(vms)
    for size in ("vcpus", "memory_bytes"):
        used = dict.fromkeys(hosts, 0)
        for row in vms:
            used[row["host_id"]] += row[size]
        assert all(used[name] <= hosts[name][size] for name in hosts)


@settings(max_examples=35, deadline=None)
@given(placements, failing, st.lists(orders, max_size=8))
def test_no_vm_is_lost_doubled_or_overbooked(
    placed: list[tuple[str, int, bool]], coming: dict[str, int], asked: list[Asked]
) -> None:
    """After each step every VM is on exactly one host, and no host holds more than it can."""
    made = build(placed, coming)
    count = made.inventory()["vms"].num_rows
    for number, one in sorted(enumerate(asked), key=lambda pair: pair[1].hour):
        ask(made, number, one, START + one.hour * HOUR)
        check_rooms(made)
    made.advance(START + 400 * HOUR)
    check_rooms(made)
    assert made.inventory()["vms"].num_rows == count
    assert all(answer.state not in {"accepted", "started"} for answer in made.answers([f"o{n}" for n in range(8)]))


@settings(max_examples=25, deadline=None)
@given(placements, failing, st.lists(orders, max_size=6))
def test_when_all_is_over_no_room_is_kept(
    placed: list[tuple[str, int, bool]], coming: dict[str, int], asked: list[Asked]
) -> None:
    """Once every order has ended, a host's free room is its size less its VMs: nothing stays promised."""
    made = build(placed, coming)
    story(made, asked, [])
    used = dict.fromkeys(HOSTS, 0)
    for row in made.inventory()["vms"].to_pylist():
        used[row["host_id"]] += row["memory_bytes"]
    free = dict(made._con.execute("select host_id, free_memory_bytes from host").fetchall())
    assert free == {name: 64 * GIB - used[name] for name in HOSTS}


@settings(max_examples=25, deadline=None)
@given(placements, failing, st.lists(orders, max_size=6), st.lists(st.integers(0, 399), max_size=10))
def test_one_step_or_many_end_the_same(
    placed: list[tuple[str, int, bool]], coming: dict[str, int], asked: list[Asked], stops: list[int]
) -> None:
    """Stopping the clock on the way changes nothing."""
    whole, steps = build(placed, coming), build(placed, coming)
    story(whole, asked, [])
    story(steps, asked, stops)
    assert "\n".join(whole._con.iterdump()) == "\n".join(steps._con.iterdump())


@settings(max_examples=25, deadline=None)
@given(placements, failing, st.lists(orders, min_size=1, max_size=6))
def test_submitting_twice_is_submitting_once(
    placed: list[tuple[str, int, bool]], coming: dict[str, int], asked: list[Asked]
) -> None:
    """A repeated submit gets the first answer and leaves the world as one submit would."""
    once, twice = build(placed, coming), build(placed, coming)
    for number, one in enumerate(sorted(asked, key=lambda a: a.hour)):
        at = START + one.hour * HOUR
        first = ask(once, number, one, at)
        assert ask(twice, number, one, at) == first
        assert ask(twice, number, one, at) == first
    for made in (once, twice):
        made.advance(START + 400 * HOUR)
    assert "\n".join(once._con.iterdump()) == "\n".join(twice._con.iterdump())


@settings(max_examples=35, deadline=None)
@given(st.permutations(HOSTS[:3]), st.lists(st.integers(1, 100), min_size=1, max_size=3), st.integers(0, 6))
def test_restarts_never_collapse_a_set_that_fits_apart(homes: list[str], hours: list[int], fillers: int) -> None:
    """With room in every fault domain, a set of three keeps three domains through every failure."""
    hosts = [host(name, n % 3) for n, name in enumerate(HOSTS)]
    vms = [vm(f"v{n}", name, 2, group="s") for n, name in enumerate(homes)]
    vms += [vm(f"f{n}", HOSTS[n % 6], 2) for n in range(fillers)]
    made = world(
        hosts,
        vms,
        [(name, START + n * 5 * DAY + h * HOUR) for n, (name, h) in enumerate(zip(homes, hours, strict=False))],
    )
    domain = {name: n % 3 for n, name in enumerate(HOSTS)}
    made.advance(START + 30 * DAY)
    inventory = made.inventory()["vms"].to_pylist()
    assert len({domain[row["host_id"]] for row in inventory if row["availability_set"] == "s"}) == 3
