"""Place 20,000 VMs of 2,000 hosts at risk, beside HiGHS on the same problem and first come, first served.

    python -m benchmarks.placement [CLUSTERS]

A seeded, simulated fleet of 10,000 hosts in CLUSTERS clusters (10), once with much room and once with too little.
Prints, in one run, each method's CPU seconds, objective in expected VM interruptions, and how far that is above the
optimum of the linear relaxation. HiGHS is given VMs by size without availability sets, and so may do what no assignment
may; with whole VMs it gets two minutes (of the wall clock) for the first cluster.
"""

import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.bench import Finding, Places, scaled, section
from benchmarks.by_size import by_size, linear_bound
from benchmarks.contest import Answer, BenchmarkError, Contestant, Job, Spread, alone, contest, same, spread
from decisions.domain import Host, Vm
from decisions.placement import Occupancy, assign, fast
from decisions.placement.problem import GIB, Cluster, Flags, Floor, clusters
from decisions.policy import load

HOSTS: Final = 10_000
SOURCES: Final = 2_000
VMS_PER_SOURCE: Final = 10
HOSTS_PER_RACK: Final = 20
FAULT_DOMAINS: Final = 10
SIZES: Final = ((2, 4, 8, 16, 32), (0.33, 0.33, 0.21, 0.10, 0.03))
GIB_PER_VCPU: Final = ((4, 8, 16), (0.68, 0.28, 0.04))
FILLED: Final = {"slack": (0.30, 0.70), "tight": (0.86, 0.97)}
"""How full the other hosts are, between these shares."""
HIGHS_SECONDS: Final = 120.0
"""How long HiGHS may look for an answer with whole VMs."""
CLUSTERS: Final = 10
OURS, FIRST, BOUND = "Foreshock", "first come, best fit", "linear relaxation, HiGHS"
METHODS: Final = ((OURS, "ours"), (FIRST, "first"), (BOUND, "linear"))
TITLE: Final = "Placing VMs"
TEXT: Final = """\
`foreshock bench placement` finds targets for {vms:,} VMs that leave 2 of every 10 hosts of a simulated fleet of
{hosts:,} in {clusters} clusters, once with much room and once with too little. The objective is in expected VM
interruptions, those of VMs left behind included. The linear relaxation, solved by HiGHS, cuts VMs into pieces and
forgets availability sets: no assignment goes below it, and most cannot reach it. HiGHS with whole VMs by size, still
without availability sets, is given the first cluster. Before a time counts, room, spare room, fault domains and closed
hosts are checked by code of the benchmark's own.
"""
COLUMNS: Final = ("room", "method", "CPU seconds", "objective", "above the linear bound", "left behind")


def run(places: Places, count: int = CLUSTERS) -> Finding:
    """What placing costs, and how far it is above the linear bound, with much room and with too little."""
    rows: list[Sequence[str]] = []
    gaps: dict[str, Spread] = {}
    peaks: dict[str, int] = {}
    for room in FILLED:
        check = alone(Contestant("the check", "benchmarks.placement:checked", (room, str(count)))).answer
        contestants = [Contestant(name, f"benchmarks.placement:{job}", (room, str(count))) for name, job in METHODS]
        found = contest(contestants, places.rounds)
        same({OURS: found.answer(OURS), "the check": check}, ["objective"])
        bound = float(found.answer(BOUND)["objective"])
        for name, _ in METHODS:
            answer = found.answer(name)
            if check.get(name):
                msg = f"{name} breaks limits ({check[name]}) where there is {room} room: its time does not count"
                raise BenchmarkError(msg)
            rows.append(_row(room, name, str(found.cpu_seconds(name)), float(answer["objective"]), bound, answer))
            peaks[f"{name}, {room}"] = found.peak_bytes(name)
        rows += _first_cluster(room, count)
        above = [float(one.answer["objective"]) / bound - 1 for one in found.runs[OURS]]
        gaps[f"placement_gap_{room}"] = spread(above)
    size = scaled(HOSTS, 20 * count)
    text = TEXT.format(vms=size * SOURCES // HOSTS * VMS_PER_SOURCE, hosts=size, clusters=count)
    return Finding(TITLE, text, COLUMNS, rows, gaps, peaks)


def _first_cluster(room: str, count: int) -> Iterator[Sequence[str]]:
    """Rows of whole VMs by HiGHS on the first cluster alone, with ours beside it."""
    ours, highs = (
        alone(Contestant(job, f"benchmarks.placement:{job}", (room, str(count)))) for job in ("one", "whole")
    )
    bound = float(ours.answer["bound"])
    yield _row(
        room, f"{OURS}, first cluster", f"{ours.cpu_seconds:.1f}", float(ours.answer["objective"]), bound, ours.answer
    )
    name = f"HiGHS, whole VMs, first cluster, {HIGHS_SECONDS:.0f} s"
    if highs.answer["objective"] == "none":
        yield (room, name, f"{highs.cpu_seconds:.1f}", "none found", "", "")
    else:
        yield _row(room, name, f"{highs.cpu_seconds:.1f}", float(highs.answer["objective"]), bound, highs.answer)


def _row(room: str, name: str, cpu: str, objective: float, bound: float, answer: Answer) -> Sequence[str]:
    left = f"{answer['left']:,}" if "left" in answer else ""
    return room, name, cpu, f"{objective:.2f}", f"{objective / bound - 1:.1%}", left


def ours(room: str, count: str) -> Job:
    """Place all VMs as a decision does."""
    requests, hosts, occupancy, values = fleet(room, int(count))
    weights = load().placement

    def job() -> Answer:
        placed = assign(requests, hosts, occupancy, weights, values).placement
        return {"objective": placed.objective, "left": placed.vms - placed.placed}

    return job


def first(room: str, count: str) -> Job:
    """Place all VMs first come, first served."""
    problems = _problems(room, count)

    def job() -> Answer:
        floors = [first_come(problem) for problem in problems]
        objective = sum(floor.cluster.objective(floor.chosen) for floor in floors)
        return {"objective": objective, "left": sum(int((floor.chosen < 0).sum()) for floor in floors)}

    return job


def checked(room: str, count: str) -> Job:
    """The limits that each method breaks, and what its answer costs."""
    requests, hosts, occupancy, values = fleet(room, int(count))
    weights = load().placement

    def job() -> Answer:
        found = assign(requests, hosts, occupancy, weights, values)
        floors = [first_come(problem) for problem in clusters(requests, hosts, occupancy, values, weights)]
        by_turn = {
            floor.cluster.vms[v].vm_id: floor.cluster.targets[t].host_id
            for floor in floors
            for v, t in enumerate(floor.chosen.tolist())
            if t >= 0
        }
        return {
            OURS: broken(requests, hosts, occupancy, found.targets),
            FIRST: broken(requests, hosts, occupancy, by_turn),
            "objective": found.placement.objective,
        }

    return job


def linear(room: str, count: str) -> Job:
    """The optimum for divisible VMs without availability sets, which no assignment goes below."""
    problems = _problems(room, count)
    return lambda: {"objective": sum(map(linear_bound, problems))}


def one(room: str, count: str) -> Job:
    """The first cluster by the fast method, beside its linear bound."""
    problem = _problems(room, count)[0]
    bound = linear_bound(problem)

    def job() -> Answer:
        floor = fast.solve(problem)[0]
        objective = floor.cluster.objective(floor.chosen)
        return {"objective": objective, "bound": bound, "left": int((floor.chosen < 0).sum())}

    return job


def whole(room: str, count: str) -> Job:
    """The first cluster by HiGHS, with whole VMs and some minutes by the wall clock."""
    problem = _problems(room, count)[0]

    def job() -> Answer:
        found = by_size(problem, whole=True, seconds=HIGHS_SECONDS)
        return {"objective": "none" if found is None else found.objective}

    return job


def _problems(room: str, count: str) -> list[Cluster]:
    requests, hosts, occupancy, values = fleet(room, int(count))
    return clusters(requests, hosts, occupancy, values, load().placement)


def broken(requests: Sequence[Vm], hosts: Mapping[str, Host], occupancy: Occupancy, targets: Mapping[str, str]) -> str:
    """The limits that the targets break, worked out without the code that found them; empty where none is."""
    shut = occupancy.closed | {vm.host_id for vm in requests}
    moved = [(vm, hosts[vm.host_id], hosts[targets[vm.vm_id]]) for vm in requests if vm.vm_id in targets]
    free = {h: np.array([host.vcpus, host.memory_bytes]) for h, host in hosts.items() if h not in shut}
    for host_id in free:
        for vm in occupancy.vms.get(host_id, ()):
            free[host_id] -= (vm.vcpus, vm.memory_bytes)
    found = {
        "closed": any(at.host_id in shut or at.cluster != source.cluster for _, source, at in moved),
        "domains": _crowded(hosts, occupancy, moved),
    }
    for vm, _, at in moved:
        free.get(at.host_id, np.zeros(2))[:] -= (vm.vcpus, vm.memory_bytes)
    room, largest = defaultdict[str, Any](lambda: np.zeros(2)), defaultdict[str, Any](lambda: np.zeros(2))
    for host_id, left in free.items():
        host = hosts[host_id]
        room[host.cluster] += left
        largest[host.cluster] = np.maximum(largest[host.cluster], (host.vcpus, host.memory_bytes))
    found["capacity"] = any((left < 0).any() for left in free.values())
    keep = occupancy.spare_hosts_per_cluster
    found["spare"] = any((room[name] < keep * largest[name]).any() for name in {at.cluster for _, _, at in moved})
    return ", ".join(name for name, is_broken in found.items() if is_broken)


def _crowded(hosts: Mapping[str, Host], occupancy: Occupancy, moved: Sequence[tuple[Vm, Host, Host]]) -> bool:
    """Whether a VM comes into a fault domain that another of its availability set is in, or comes into."""
    there = Counter(
        (vm.availability_set, hosts[host_id].cluster, hosts[host_id].fault_domain)
        for host_id, members in occupancy.vms.items()
        for vm in members
    )
    for vm, source, at in moved:
        place = (vm.availability_set, at.cluster, at.fault_domain)
        if vm.availability_set is not None and place != (vm.availability_set, source.cluster, source.fault_domain):
            if there[place]:
                return True
            there[place] += 1
    return False


def first_come(problem: Cluster) -> Floor:
    """The tightest host by memory that may take each VM, in the order of the requests."""
    floor = Floor(problem)
    for v in range(len(problem.vms)):
        if floor.within_spare(v):
            room = np.where(_open(floor, v), floor.memory_bytes, np.iinfo(np.int64).max)
            if room.min(initial=np.iinfo(np.int64).max) < np.iinfo(np.int64).max:
                floor.take(v, int(room.argmin()))
    return floor


def _open(floor: Floor, v: int) -> Flags:
    fits = floor.fits(v)
    if v in floor.cluster.barred:
        fits &= floor.cluster.clear(floor.taken(v))
    return fits


def fleet(room: str, count: int) -> tuple[list[Vm], dict[str, Host], Occupancy, dict[str, float]]:
    """VMs to move, hosts, occupancy and what moving each VM avoids, the host with most to gain first."""
    dice = np.random.default_rng(0)
    size = scaled(HOSTS, 20 * count)
    leaving = set(dice.choice(size, size * SOURCES // HOSTS, replace=False).tolist())
    hosts: dict[str, Host] = {}
    vms: dict[str, tuple[Vm, ...]] = {}
    chances: dict[str, float] = {}
    for i in range(size):
        host = _host(i, size, count)
        hosts[host.host_id] = host
        filled = None if i in leaving else float(dice.uniform(*FILLED[room]))
        vms[host.host_id] = _guests(dice, host, filled)
        spread = dice.uniform(0.05, 1.0) if i in leaving else min(0.049, dice.lognormal(np.log(0.003), 1.0))
        chances[host.host_id] = float(spread)
    closed = frozenset(f"h{i:05d}" for i in leaving)
    order = sorted(closed, key=lambda host_id: (-chances[host_id], host_id))
    requests = [vm for host_id in order for vm in sorted(vms[host_id], key=lambda vm: (-vm.memory_bytes, vm.vm_id))]
    values = {vm.vm_id: chances[vm.host_id] for vm in requests}
    return requests, hosts, Occupancy(vms, closed, risk=chances), values


def _host(i: int, size: int, count: int) -> Host:
    rack = i // HOSTS_PER_RACK
    vcpus, gib = ((96, 512), (112, 640))[rack % 2]
    place = (f"c{i * count // size:02d}", "z1", f"r{rack:03d}", rack % FAULT_DOMAINS)
    return Host(f"h{i:05d}", *place, "hw", "fw", vcpus, gib * GIB, "in_service", simulated=True)


def _guests(dice: np.random.Generator, host: Host, filled: float | None) -> tuple[Vm, ...]:
    """Ten VMs of a host to be emptied; of another, as many of up to sixty as leave it no fuller than `filled`."""
    tries = VMS_PER_SOURCE if filled is None else 60
    vcpus = dice.choice(SIZES[0], tries, p=SIZES[1])
    memory = vcpus * dice.choice(GIB_PER_VCPU[0], tries, p=GIB_PER_VCPU[1]) * GIB
    grouped, names = dice.random(tries) < 0.25, dice.integers(0, 2_000, tries)
    found: list[Vm] = []
    used = np.zeros(2)
    for k in range(tries):
        need = np.array([vcpus[k], memory[k]])
        if filled is not None and (used + need > filled * np.array([host.vcpus, host.memory_bytes])).any():
            continue
        used += need
        name = f"{host.cluster}-s{names[k]}" if grouped[k] else None
        size = (int(vcpus[k]), int(memory[k]))
        found.append(Vm(f"{host.host_id}-{k:02d}", host.host_id, "o", "D", *size, 10**7, name, True, simulated=True))
    return tuple(found)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        print(section(run(Places(Path(), Path(work), 1), int(sys.argv[1]) if len(sys.argv) > 1 else CLUSTERS)))
