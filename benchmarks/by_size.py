"""The placement problem as HiGHS would be given it: VMs by size and rack instead of one by one.

Availability sets are left out, so every assignment is a solution, and the optimum is a bound on all of them.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from decisions.placement.prices import Market
from decisions.placement.problem import GIB, Cluster, Ints


@dataclass(frozen=True)
class Solved:
    """What HiGHS reached, and a bound on every assignment."""

    objective: float
    bound: float


class _Columns:
    """From the own rack to a host (`here`), from others to a host (`there`), `out` of a rack, and placed by `lot`."""

    def __init__(self, cluster: Cluster, market: Market) -> None:
        sizes, self.racks = market.sizes, market.wanted.shape[1]
        fits = (sizes[:, :1] <= cluster.free_vcpus) & (sizes[:, 1:] <= cluster.free_bytes)
        self.size, self.host = np.nonzero(fits)
        keys = zip(market.size.tolist(), cluster.source_racks.tolist(), cluster.left.tolist(), strict=True)
        lots = sorted(Counter(keys).items())
        self.lot_slot = np.array([size * self.racks + rack for (size, rack, _), _ in lots])
        self.lot_left = np.array([left for (_, _, left), _ in lots])
        self.lot_vms = np.array([count for _, count in lots])
        ends = np.cumsum([len(self.size), len(self.size), market.wanted.size, len(lots)])
        self.here, self.there, self.out, self.lot = np.split(np.arange(ends[-1]), ends[:-1])
        self.count = int(ends[-1])


def by_size(cluster: Cluster, *, whole: bool = False, seconds: float = np.inf) -> Solved | None:
    """The optimum for divisible VMs, or what is reached for `whole` ones within the seconds, if anything."""
    market = Market(cluster)
    columns = _Columns(cluster, market)
    crossing = np.repeat(market.crossing, columns.racks)
    to_host = market.cost[columns.size, columns.host]
    most = np.full(columns.count, np.inf)
    most[columns.lot] = columns.lot_vms
    found = milp(
        np.concatenate([to_host, to_host, crossing, -columns.lot_left]),
        integrality=np.full(columns.count, int(whole)),
        bounds=Bounds(0, most),
        constraints=[*_room(cluster, market, columns), *_flow(cluster, market, columns)],
        options={"time_limit": seconds},
    )
    if found.x is None:
        return None
    bound = found.mip_dual_bound if whole else found.fun
    return Solved(float(found.fun + cluster.left.sum()), float(bound + cluster.left.sum()))


def _room(cluster: Cluster, market: Market, columns: _Columns) -> list[LinearConstraint]:
    """No host beyond its room, nor the cluster beyond what it gives out."""
    arriving = np.concatenate([columns.here, columns.there])
    host, size = np.tile(columns.host, 2), np.tile(columns.size, 2)
    everywhere = np.zeros(len(arriving), dtype=np.int64)
    limits = []
    for unit, free, spare, need in (
        (1, cluster.free_vcpus, cluster.spare_vcpus, market.sizes[:, 0]),
        (GIB, cluster.free_bytes, cluster.spare_bytes, market.sizes[:, 1]),
    ):
        weight = need[size] / unit
        limits.append(LinearConstraint(_matrix(host, arriving, weight, len(free), columns), -np.inf, free / unit))
        limits.append(
            LinearConstraint(_matrix(everywhere, arriving, weight, 1, columns), -np.inf, max(0, spare) / unit)
        )
    return limits


def _flow(cluster: Cluster, market: Market, columns: _Columns) -> list[LinearConstraint]:
    """What leaves a rack stays in it or goes out; what goes out of racks goes to hosts."""
    slot = columns.size * columns.racks + cluster.racks[columns.host]
    slots = np.arange(len(columns.out))
    pooled = _matrix(
        np.concatenate([columns.size, slots // columns.racks]),
        np.concatenate([columns.there, columns.out]),
        np.concatenate([-np.ones(len(slot)), np.ones(len(slots))]),
        len(market.sizes),
        columns,
    )
    leaving = _matrix(
        np.concatenate([slot, slots, columns.lot_slot]),
        np.concatenate([columns.here, columns.out, columns.lot]),
        np.concatenate([-np.ones(len(slot)), -np.ones(len(slots)), np.ones(len(columns.lot))]),
        len(slots),
        columns,
    )
    return [LinearConstraint(pooled, 0, 0), LinearConstraint(leaving, 0, 0)]


def _matrix(row: Ints, column: Ints, value: "np.typing.NDArray[np.float64]", rows: int, columns: _Columns) -> object:
    return sparse.csr_array((value, (row, column)), shape=(rows, columns.count))


def linear_bound(cluster: Cluster) -> float:
    """The optimum for divisible VMs.

    Raises:
        RuntimeError: HiGHS did not solve it.
    """
    found = by_size(cluster)
    if found is None:
        msg = "HiGHS did not solve the linear relaxation of a placement problem."
        raise RuntimeError(msg)
    return found.bound
