"""Where VMs go: one assignment problem a cycle, its cost, and a bound that says how good the answer is.

Clusters are apart, so each is solved by itself. First come, first served is enough where every VM gets its cheapest
target; otherwise a small problem is solved exactly, and a large one fast, and the cheapest answer counts. A VM left
behind gets the first guardrail that stands in its way when all others have their places.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decisions.domain import Host, Placement, Vm
from decisions.guardrails import destination_capacity, fault_domain_spread, spare_capacity
from decisions.placement import exact, fast
from decisions.placement.problem import NEAR, Cluster, Floor, Ints, Occupancy, clusters, domain_of
from decisions.sections import Placing

EXACT, FAST, BOTH, NONE = "exact", "fast", "exact and fast", "none"


@dataclass(frozen=True)
class Assignment:
    """The target host of each VM that was placed, for each other VM the reason why not, and how good that is."""

    targets: Mapping[str, str]
    unplaced: Mapping[str, str]
    placement: Placement


def assign(
    requests: Sequence[Vm],
    hosts: Mapping[str, Host],
    occupancy: Occupancy,
    weights: Placing,
    values: Mapping[str, float] | None = None,
) -> Assignment:
    """Targets for the VMs within their own clusters, at the least cost that can be found in bounded work.

    Deterministic: work is bounded by counts, never by a clock. No VM is left behind that fits, the room of a host that
    VMs leave is not given out again, and an availability set never covers fewer fault domains afterwards, whichever of
    the moves come true.

    Args:
        requests: VMs that are to leave their hosts; of VMs that are alike, the first are placed first.
        hosts: all hosts by id.
        occupancy: who lives where, and which hosts take nobody.
        weights: what targets cost besides their risk.
        values: expected interruptions that moving each VM avoids; 1 where none is given.
    """
    targets: dict[str, str] = {}
    unplaced: dict[str, str] = {}
    objective = bound = 0.0
    methods = set()
    for cluster in clusters(requests, hosts, occupancy, values or {}, weights):
        floor, lowest, method = _solve(cluster)
        objective, bound = objective + cluster.objective(floor.chosen), bound + lowest
        methods.add(method)
        for v, vm in enumerate(cluster.vms):
            if floor.chosen[v] >= 0:
                targets[vm.vm_id] = cluster.targets[floor.chosen[v]].host_id
            else:
                unplaced[vm.vm_id] = _why(floor, v)
    method = BOTH if len(methods) > 1 else next(iter(methods), NONE)
    return Assignment(
        targets, unplaced, Placement(len(requests), len(targets), objective, float(min(bound, objective)), method)
    )


def _solve(cluster: Cluster) -> tuple[Floor, float, str]:
    """The cluster's floor with targets given out, the best bound, and how the targets were found."""
    floor, bound = Floor(cluster), _alone(cluster)
    fast.insert(floor, np.arange(len(cluster.vms)))
    if not _close(floor, bound) and len(cluster.vms) * len(cluster.targets) <= cluster.weights.exact_pairs_most:
        solved = exact.solve(cluster, lowest=bound)
        bound = max(bound, solved.bound)
        floor = floor if solved.chosen is None else _cheaper(floor, _replay(cluster, solved.chosen))
    if not _close(floor, bound) and len(cluster.targets):
        filled, found = fast.solve(cluster)
        floor, bound = _cheaper(floor, filled), max(bound, found)
    method = EXACT if _close(floor, bound) else FAST
    return _replay(cluster, _in_order(cluster, floor.chosen)), bound, method


def _alone(cluster: Cluster) -> float:
    """What VMs would cost if each had the cluster to itself: a bound that is met where room is no matter."""
    floor, total, least = Floor(cluster), 0.0, dict[object, float]()
    sizes = zip(cluster.vcpus.tolist(), cluster.memory_bytes.tolist(), cluster.source_racks.tolist(), strict=True)
    for v, (left, size) in enumerate(zip(cluster.left.tolist(), sizes, strict=True)):
        alike = (*size, cluster.barred.get(v))
        if alike not in least:
            at = floor.cheapest(v)
            least[alike] = np.inf if at is None else cluster.cost_on(v, at)
        total += min(left, least[alike])
    return total


def _close(floor: Floor, bound: float) -> bool:
    return floor.cluster.objective(floor.chosen) <= bound + NEAR * abs(bound) + 1e-9


def _cheaper(one: Floor, other: Floor) -> Floor:
    return min(one, other, key=lambda floor: floor.cluster.objective(floor.chosen))


def _replay(cluster: Cluster, chosen: Ints) -> Floor:
    """The floor on which the targets are given out one by one, each checked again."""
    floor = Floor(cluster)
    for v in np.flatnonzero(chosen >= 0).tolist():
        if floor.may(v, int(chosen[v])):
            floor.take(v, int(chosen[v]))
    fast.insert(floor, np.arange(len(cluster.vms)))
    return floor


def _in_order(cluster: Cluster, chosen: Ints) -> Ints:
    """The same targets, given to VMs that are alike in the order in which they were asked for."""
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for v, vm in enumerate(cluster.vms):
        alike[vm.host_id, vm.vcpus, vm.memory_bytes, vm.availability_set, float(cluster.left[v])].append(v)
    found = chosen.copy()
    for group in alike.values():
        given = sorted(int(chosen[v]) for v in group if chosen[v] >= 0)
        found[group] = [*given, *[-1] * (len(group) - len(given))]
    return found


def _why(floor: Floor, v: int) -> str:
    """The guardrail in the way of a VM that was left behind, with all others in their places."""
    cluster, vm, source = floor.cluster, floor.cluster.vms[v], floor.cluster.sources[v]
    why = spare_capacity(vm, source.cluster, floor.spare_vcpus, floor.spare_bytes)
    if why is None:
        roomy = np.flatnonzero(floor.fits(v)).tolist()
        taken = {(source.cluster, number) for number in floor.taken(v)} if roomy else set()
        near = (fault_domain_spread(vm, domain_of(source), domain_of(cluster.targets[t]), taken) for t in roomy)
        why = next(filter(None, near), None)
    return why or destination_capacity(vm, source.cluster, 0, 0) or ""
