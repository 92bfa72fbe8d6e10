"""The assignment problem as an integer program, solved by HiGHS: for clusters with few VMs to move."""

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from decisions.placement.problem import GIB, NEAR, Cluster, Ints

HALF: Final = 0.5
NODES_MOST: Final = 2_000
"""Branch-and-bound nodes, so that the work does not depend on the machine's speed."""


@dataclass(frozen=True)
class Solved:
    """An assignment and a bound that none can beat."""

    chosen: Ints | None
    """The target of each VM by number, -1 for one left behind; null when none was found within the nodes."""
    bound: float


def solve(cluster: Cluster, nodes: int = NODES_MOST, lowest: float = 0.0) -> Solved:
    """The cheapest assignment, by an integer program with one column for each VM and target that may take it.

    Args:
        cluster: the problem.
        nodes: of branch and bound, at most.
        lowest: what no assignment goes below; the search ends within the share `NEAR` of it.
    """
    allowed = np.array([cluster.permitted(v) for v in range(len(cluster.vms))]).reshape(len(cluster.vms), -1)
    vm, target = np.nonzero(allowed)
    if not len(vm):
        return Solved(np.full(len(cluster.vms), -1, dtype=np.int64), float(cluster.left.sum()))
    of_each = zip(cluster.memory_bytes.tolist(), cluster.source_racks.tolist(), strict=True)
    costs = np.array([cluster.cost_of(*one) for one in of_each])[vm, target] - cluster.left[vm]
    vcpus, gib = cluster.vcpus[vm], cluster.memory_bytes[vm] / GIB
    column, whole = np.arange(len(vm)), np.zeros(len(vm), dtype=np.int64)
    rows = [
        _rows(vm, column, np.ones(len(vm)), np.ones(len(cluster.vms)), len(vm)),
        _rows(target, column, vcpus, cluster.free_vcpus, len(vm)),
        _rows(target, column, gib, cluster.free_bytes / GIB, len(vm)),
        _rows(whole, column, vcpus, np.array([max(0, cluster.spare_vcpus)]), len(vm)),
        _rows(whole, column, gib, np.array([max(0, cluster.spare_bytes)]) / GIB, len(vm)),
        *_spread(cluster, vm, target),
    ]
    saved = float(cluster.left.sum()) - lowest  # the program counts what is saved against leaving all behind
    options = {"node_limit": nodes, "mip_rel_gap": NEAR * lowest / saved if saved > 0 else 0.0}
    with _silent():
        found = milp(costs, integrality=np.ones(len(vm)), bounds=Bounds(0, 1), constraints=rows, options=options)
    bound = -np.inf if found.mip_dual_bound is None else float(found.mip_dual_bound + cluster.left.sum())
    if found.x is None:
        return Solved(None, bound)
    chosen = np.full(len(cluster.vms), -1, dtype=np.int64)
    taken = found.x > HALF
    chosen[vm[taken]] = target[taken]
    return Solved(chosen, bound)


@contextmanager
def _silent() -> Iterator[None]:
    """While it holds, nothing is printed: HiGHS leaves lines of its own on standard output, whatever it is told."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _spread(cluster: Cluster, vm: Ints, target: Ints) -> list[LinearConstraint]:
    """Of each availability set at most one VM comes into a fault domain that is not its own already."""
    places: dict[tuple[str | None, int], list[int]] = defaultdict(list)
    for column, (v, t) in enumerate(zip(vm.tolist(), target.tolist(), strict=True)):
        if v in cluster.barred and cluster.domains[t] != cluster.source_domains[v]:
            places[cluster.vms[v].availability_set, int(cluster.domains[t])].append(column)
    if not places:
        return []
    row = np.repeat(np.arange(len(places)), [len(columns) for columns in places.values()])
    members = np.concatenate([np.array(columns) for columns in places.values()])
    return [_rows(row, members, np.ones(len(members)), np.ones(len(places)), len(vm))]


def _rows(row: Ints, column: Ints, value: Any, most: Any, columns: int) -> LinearConstraint:
    return LinearConstraint(sparse.csr_array((value, (row, column)), shape=(len(most), columns)), -np.inf, most)
