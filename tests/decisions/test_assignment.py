"""The assignment against exact answers: how near, what is never broken, and that it is always the same."""

import random
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.by_size import linear_bound
from benchmarks.placement import fleet
from decisions.domain import Host, Vm
from decisions.placement import Assignment, Occupancy, assign, exact, fast
from decisions.placement.bundles import Grid
from decisions.placement.prices import Market
from decisions.placement.problem import Cluster, Floor, clusters
from decisions.policy import load
from tests.decisions.fleets import GIB, host, vm

WEIGHTS = load().placement
SMALL = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
Case = tuple[list[Vm], dict[str, Host], Occupancy, dict[str, float]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A small cluster or two: hosts to empty, others with some room, sets across fault domains, one host to spare."""
    dice = random.Random(draw(st.integers(0, 2**32)))  # noqa: S311
    count, leaving = draw(st.integers(6, 14)), draw(st.integers(1, 4))
    apart = draw(st.sampled_from([1, 2]))
    fill, racks = draw(st.sampled_from([0.4, 0.7, 0.9])), draw(st.sampled_from([1, 3]))
    hosts = [host(f"h{i:02d}", cluster=f"c{i % apart}", rack=f"r{i % racks}", fault_domain=i % 4) for i in range(count)]
    sets = [None, None, None, "a", "b", "c"]
    vms: dict[str, tuple[Vm, ...]] = {}
    for i, there in enumerate(hosts):
        sizes = [(dice.choice([2, 4, 8, 16]), dice.choice([4, 4, 8])) for _ in range(20)]
        most = 0.3 if i < leaving else fill
        guests, used = [], 0
        for k, (vcpus, ratio) in enumerate(sizes):
            if used + vcpus * ratio <= most * 256:
                used += vcpus * ratio
                name = dice.choice(sets)
                size = {"vcpus": vcpus, "memory_bytes": vcpus * ratio * GIB}
                guests.append(vm(f"{there.host_id}-{k:02d}", there.host_id, availability_set=name, **size))
        vms[there.host_id] = tuple(guests)
    sources = hosts[:leaving]
    risk = {h.host_id: dice.choice([0.001, 0.002, 0.01, 0.03]) for h in hosts}
    closed = frozenset(h.host_id for h in sources)
    values = {v.vm_id: dice.choice([0.1, 0.4, 0.9]) for h in sources for v in vms[h.host_id]}
    spare = draw(st.sampled_from([0, 1]))
    occupancy = Occupancy(vms, closed, spare_hosts_per_cluster=spare, risk=risk)
    return [v for h in sources for v in vms[h.host_id]], {h.host_id: h for h in hosts}, occupancy, values


def problems(case: Case) -> list[Cluster]:
    """The case's clusters that have a target at all."""
    requests, hosts, occupancy, values = case
    return [found for found in clusters(requests, hosts, occupancy, values, WEIGHTS) if len(found.targets)]


def solved(case: Case) -> Assignment:
    """The assignment of a case."""
    requests, hosts, occupancy, values = case
    return assign(requests, hosts, occupancy, WEIGHTS, values)


@SMALL
@given(cases())
def test_small_problems_are_solved_to_within_a_hundredth(case: Case) -> None:
    """The objective is at most 1 % above what HiGHS proves to be the least, sets and spare hosts included."""
    requests, hosts, occupancy, values = case
    least = sum(
        exact.solve(found, nodes=100_000).bound if len(found.targets) else float(found.left.sum())
        for found in clusters(requests, hosts, occupancy, values, WEIGHTS)
    )
    found = solved(case).placement
    assert found.objective <= 1.01 * least + 1e-6
    assert found.bound <= least + 1e-6


@SMALL
@given(cases())
def test_the_fast_way_keeps_every_limit_and_its_bound_holds(case: Case) -> None:
    """Solved fast, the bound never exceeds the least objective, and the targets keep room, spread and spare."""
    for problem in problems(case):
        if not any(problem.permitted(v).any() for v in range(len(problem.vms))):
            continue
        floor, bound = fast.solve(problem)
        assert bound <= exact.solve(problem).bound + 1e-6
        assert bound <= problem.objective(floor.chosen) + 1e-6
        _check(problem, floor)


def test_the_bound_holds_where_every_target_is_in_another_rack() -> None:
    """Prices that differ between racks by all that crossing costs differ by no more once they follow what is wanted."""
    moving = vm("v", "a", vcpus=8, memory_bytes=64 * GIB)
    hosts = {name: host(name, rack=rack) for name, rack in (("a", "r1"), ("b", "r2"), ("c", "r0"))}
    guests = {
        "a": (moving,),
        "b": (vm("x", "b", vcpus=24, memory_bytes=96 * GIB),),
        "c": (vm("y", "c", vcpus=22, memory_bytes=96 * GIB),),
    }
    occupancy = Occupancy(guests, frozenset({"a"}), spare_hosts_per_cluster=1, risk={"b": 0.002, "c": 0.001})
    (problem,) = problems(([moving], hosts, occupancy, {"v": 0.9}))
    floor, bound = fast.solve(problem)
    least = problem.objective(floor.chosen)
    assert floor.chosen.tolist() == [1]
    assert 0.999 * least <= bound <= least * (1 + 1e-12)


def _check(problem: Cluster, floor: Floor) -> None:
    """No host beyond its room, nothing out of the spare, no two of a set in one new fault domain."""
    used, newcomers = defaultdict(lambda: [0, 0]), Counter()
    for v, t in enumerate(floor.chosen.tolist()):
        if t >= 0:
            used[t][0] += problem.vms[v].vcpus
            used[t][1] += problem.vms[v].memory_bytes
            if v in problem.barred and problem.domains[t] != problem.source_domains[v]:
                assert int(problem.domains[t]) not in problem.barred[v]
                newcomers[problem.vms[v].availability_set, int(problem.domains[t])] += 1
    assert all(used[t][0] <= problem.free_vcpus[t] and used[t][1] <= problem.free_bytes[t] for t in used)
    assert sum(vcpus for vcpus, _ in used.values()) <= max(0, problem.spare_vcpus)
    assert sum(memory for _, memory in used.values()) <= max(0, problem.spare_bytes)
    assert max(newcomers.values(), default=0) <= 1


@SMALL
@given(cases())
def test_whatever_is_left_behind_has_a_reason(case: Case) -> None:
    """Each VM has a target or a sentence that names it, never both, and no target is closed."""
    found = solved(case)
    requests, _, occupancy, _ = case
    assert found.targets.keys() | found.unplaced.keys() == {v.vm_id for v in requests}
    assert not found.targets.keys() & found.unplaced.keys()
    assert not set(found.targets.values()) & occupancy.closed
    assert all(f"VM {vm_id} " in why for vm_id, why in found.unplaced.items())


@SMALL
@given(cases())
def test_the_order_in_which_hosts_are_told_changes_nothing(case: Case) -> None:
    """Hosts and their VMs in another order give the same targets."""
    requests, hosts, occupancy, values = case
    turned = replace(occupancy, vms=dict(reversed(occupancy.vms.items())))
    assert solved(case) == assign(requests, dict(reversed(hosts.items())), turned, WEIGHTS, values)


def test_the_safest_host_is_preferred() -> None:
    """Of two alike hosts the one that is less likely to fail takes the VM."""
    hosts = {h.host_id: h for h in (host("h1"), host("h2"), host("h3"))}
    occupancy = Occupancy({"h1": (vm(),)}, spare_hosts_per_cluster=0, risk={"h2": 0.02, "h3": 0.001})
    assert assign([vm()], hosts, occupancy, WEIGHTS).targets == {"v1": "h3"}


def test_a_host_without_a_risk_counts_as_the_riskiest_that_is_allowed() -> None:
    """No evidence is no safety: the host of a known small risk is taken instead."""
    hosts = {h.host_id: h for h in (host("h1"), host("h2"), host("h3"))}
    occupancy = Occupancy({}, spare_hosts_per_cluster=0, risk={"h3": 0.01}, risk_unless_known=0.05)
    assert assign([vm()], hosts, occupancy, WEIGHTS).targets == {"v1": "h3"}


def test_a_vm_stays_in_its_rack_where_all_else_is_alike() -> None:
    """Traffic between racks costs something."""
    hosts = {h.host_id: h for h in (host("h1", rack="r2"), host("h2"), host("h3", rack="r2"))}
    assert assign([vm()], hosts, Occupancy({}, spare_hosts_per_cluster=0), WEIGHTS).targets == {"v1": "h3"}


def test_scarce_room_goes_to_the_vms_that_matter_most() -> None:
    """With room for one, the VM whose move avoids more is placed, though it was asked for last."""
    pair = [vm("a", "h1"), vm("b", "h2")]
    hosts = {h.host_id: h for h in (host("h1"), host("h2"), host("h3", vcpus=4))}
    found = assign(pair, hosts, Occupancy({}, spare_hosts_per_cluster=0), WEIGHTS, {"a": 0.1, "b": 0.9})
    assert (found.targets, list(found.unplaced)) == ({"b": "h3"}, ["a"])
    assert found.placement.method == "exact"


def test_bundles_are_the_best_of_all_that_fit() -> None:
    """A room of 7 by 9 pieces: what the knapsack finds is what trying all counts finds."""
    dice = random.Random(1)  # noqa: S311
    sizes, rooms = np.array([[1, 2], [2, 1], [3, 4]]), np.array([[7, 9], [4, 2]])
    gain = np.array([[dice.random() for _ in rooms] for _ in sizes])
    worth, counts = Grid(sizes, rooms).best(gain, rooms)
    tried = [(a, b, c) for a in range(8) for b in range(8) for c in range(3)]
    for t, room in enumerate(rooms):
        fitting = [np.array(n) for n in tried if (np.array(n) @ sizes <= room).all()]
        assert worth[t] == pytest.approx(max(n @ gain[:, t] for n in fitting))
        assert counts[:, t] @ gain[:, t] == pytest.approx(worth[t])


@pytest.mark.slow
@pytest.mark.parametrize(("room", "most"), [("slack", 1.06), ("tight", 1.10)])
def test_a_cluster_of_a_thousand_hosts_comes_near_the_linear_bound(room: str, most: float) -> None:
    """Two thousand VMs of a cluster, roomy or full: the fast way is near the bound that HiGHS finds."""
    requests, hosts, occupancy, values = fleet(room, 10)
    problem = clusters(requests, hosts, occupancy, values, WEIGHTS)[0]
    floor, bound = fast.solve(problem)
    linear = linear_bound(problem)
    _check(problem, floor)
    assert Market(problem).climb().bound <= linear + 1e-6
    assert 0.98 * linear <= bound <= problem.objective(floor.chosen) <= most * linear
