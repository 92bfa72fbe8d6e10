"""Place 20,000 VMs of 2,000 hosts at risk, beside HiGHS on the same problem and first come, first served.

    python -m benchmarks.placement [CLUSTERS]

A seeded, simulated fleet of 10,000 hosts in CLUSTERS clusters (10), once with much room and once with too little.
Prints, in one run, each method's CPU seconds, objective in expected VM interruptions, and how far that is above the
optimum of the linear relaxation. HiGHS is given VMs by size without availability sets, and so may do what no assignment
may; with whole VMs it gets two minutes (of the wall clock) for the first cluster.
"""

import sys
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.by_size import by_size, linear_bound
from decisions.domain import Host, Vm
from decisions.placement import Occupancy, assign, fast
from decisions.placement.problem import GIB, Cluster, Floor, clusters
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


def main(count: int) -> None:
    """Print one table for each amount of room."""
    for room in FILLED:
        compare(room, count)


def compare(room: str, count: int) -> None:
    """Print the methods side by side; HiGHS with whole VMs on the first cluster alone, with ours beside it."""
    requests, hosts, occupancy, values = fleet(room, count)
    weights = load().placement
    problems = clusters(requests, hosts, occupancy, values, weights)
    print(f"\n## {room}: {len(requests):,} VMs, {count} clusters (simulated)\n")
    print("| method | CPU seconds | objective | above the linear bound | left behind |\n|---|---|---|---|---|")
    began = time.process_time()
    found = assign(requests, hosts, occupancy, weights, values).placement
    cpu = time.process_time() - began
    began = time.process_time()
    linear = [linear_bound(problem) for problem in problems]
    print(f"| linear relaxation, HiGHS | {time.process_time() - began:.1f} | {sum(linear):.2f} | | |")
    line("Foreshock", cpu, found.objective, sum(linear), found.vms - found.placed)
    print(f"| its own bound | | {found.bound:.2f} | {found.bound / sum(linear) - 1:.1%} | gap {found.gap:.1%} |")
    began = time.process_time()
    floors = [first_come(problem) for problem in problems]
    line("first come, best fit", time.process_time() - began, *cost(floors, sum(linear)))
    began = time.process_time()
    whole = by_size(problems[0], whole=True, seconds=HIGHS_SECONDS)
    name, cpu = "HiGHS, whole VMs, first cluster", time.process_time() - began
    if whole is None:
        print(f"| {name} | {cpu:.1f} | none found | | |")
    else:
        line(name, cpu, whole.objective, linear[0], None)
        print(f"| its bound | | {whole.bound:.2f} | {whole.bound / linear[0] - 1:.1%} | |")
    began = time.process_time()
    ours = fast.solve(problems[0])[0]
    line("Foreshock, first cluster", time.process_time() - began, *cost([ours], linear[0]))


def line(name: str, cpu: float | None, objective: float, bound: float, left: int | None) -> None:
    """One row of the table."""
    spent, behind = "" if cpu is None else f"{cpu:.1f}", "" if left is None else f"{left:,}"
    print(f"| {name} | {spent} | {objective:.2f} | {objective / bound - 1:.1%} | {behind} |", flush=True)


def cost(floors: Sequence[Floor], bound: float) -> tuple[float, float, int]:
    """Objective, the bound beside it, and the VMs left behind."""
    total = sum(floor.cluster.objective(floor.chosen) for floor in floors)
    return total, bound, sum(int((floor.chosen < 0).sum()) for floor in floors)


def first_come(problem: Cluster) -> Floor:
    """The tightest host by memory that may take each VM, in the order of the requests."""
    floor = Floor(problem)
    for v in range(len(problem.vms)):
        if floor.within_spare(v):
            room = np.where(floor.open(v), floor.memory_bytes, np.iinfo(np.int64).max)
            if room.min(initial=np.iinfo(np.int64).max) < np.iinfo(np.int64).max:
                floor.take(v, int(room.argmin()))
    return floor


def fleet(room: str, count: int) -> tuple[list[Vm], dict[str, Host], Occupancy, dict[str, float]]:
    """VMs to move, hosts, occupancy and what moving each VM avoids, the host with most to gain first."""
    dice = np.random.default_rng(0)
    leaving = set(dice.choice(HOSTS, SOURCES, replace=False).tolist())
    hosts: dict[str, Host] = {}
    vms: dict[str, tuple[Vm, ...]] = {}
    chances: dict[str, float] = {}
    for i in range(HOSTS):
        host = _host(i, count)
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


def _host(i: int, count: int) -> Host:
    rack = i // HOSTS_PER_RACK
    vcpus, gib = ((96, 512), (112, 640))[rack % 2]
    place = (f"c{i * count // HOSTS:02d}", "z1", f"r{rack:03d}", rack % FAULT_DOMAINS)
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
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
