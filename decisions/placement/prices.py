"""Shadow prices of room, and with them a bound that no assignment can beat.

The Lagrangian dual of the problem without availability sets, its VMs divisible. A slot for a VM of one size has a price
in each rack; VMs pay it, and hosts sell what they have room for. Prices of one size differ between racks by at most
what crossing costs. Any such prices q give a valid bound:

    sum over VMs min(left, q) - sum over hosts max(sum over sizes n (q - cost)) - spare room at its own price

where the inner maximum is over fractional n within the host's vCPU and memory (Geoffrion 1974). Prices begin with those
of a small linear program and climb by a preconditioned subgradient, a fixed number of times.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import linprog

from decisions.placement.problem import TIB, Cluster, Floats, Ints

ITERATIONS: Final = 100
FIRST_HOPE: Final = 0.05
"""By what share of itself a step supposes that the bound can still grow."""
SAMPLE: Final = 200
"""Hosts in the linear program that prices begin with."""
PATIENCE: Final = 8
"""Iterations without a better bound before the hope is halved."""


@dataclass(frozen=True)
class Prices:
    """The best bound found, and the prices that gave it."""

    bound: float
    slot: Floats
    """Of a slot, by size and rack."""
    spare: Floats
    """Of one vCPU and of one byte that the cluster gives out beyond what it keeps to spare."""


@dataclass(frozen=True)
class _Offer:
    """What hosts make at some prices, and what they sell for it."""

    profit: Floats
    sold: Floats
    """Slots by size and rack."""


class Market:
    """Sizes, racks and hosts of one cluster as arrays of size by rack and size by host."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        sizes, self.size = np.unique(
            np.stack([cluster.vcpus, cluster.memory_bytes], axis=1), axis=0, return_inverse=True
        )
        self.sizes = sizes
        self.spare = np.maximum(0.0, np.array([cluster.spare_vcpus, cluster.spare_bytes], dtype=float))
        self._vcpus, self._bytes = sizes[:, 0].astype(float), sizes[:, 1].astype(float)
        tib = self._bytes / TIB
        weights = cluster.weights
        self.crossing = weights.rack_crossing_interruptions_per_tib * tib
        self._half = self.crossing / 2
        self._racks = int(max(cluster.racks.max(), cluster.source_racks.max())) + 1
        self.cost = cluster.risk + weights.free_room_interruptions_per_tib * np.outer(tib, cluster.share)
        self._room_vcpus = _whole(cluster.free_vcpus, sizes[:, 0])
        self._room_bytes = _whole(cluster.free_bytes, sizes[:, 1])
        self._fits = (self._room_vcpus >= self._vcpus[:, None]) & (self._room_bytes >= self._bytes[:, None])
        shapes: dict[float, list[int]] = defaultdict(list)
        for s in range(len(sizes)):
            shapes[self._bytes[s] / self._vcpus[s]].append(s)
        self._shapes = [(ratio, np.array(members)) for ratio, members in sorted(shapes.items())]
        self.wanted = np.zeros((len(sizes), self._racks))
        np.add.at(self.wanted, (self.size, cluster.source_racks), 1.0)

    def climb(self) -> Prices:
        """The prices with the best bound among those tried."""
        middle, spare = self._sample()
        lean = np.zeros_like(self.wanted)
        best, hope, idle = Prices(-np.inf, lean, spare), FIRST_HOPE, 0
        for _ in range(ITERATIONS):
            price = middle[:, None] + lean
            value, over, excess = self._dual(price, spare)
            idle = 0 if value > best.bound + 1e-6 * abs(best.bound) else idle + 1
            if value > best.bound:
                best = Prices(value, price, spare)
            if idle >= PATIENCE:
                hope, idle = hope / 2, 0
            up, tilt = over.sum(axis=1) / self.wanted.sum(axis=1), over / (self.wanted + 1.0)
            rise = np.where((spare <= 0) & (excess < 0), 0.0, excess / np.maximum(1.0, self.spare) ** 2)
            norm = up @ over.sum(axis=1) + (tilt * over).sum() + rise @ excess
            if norm <= 0:
                break
            step = (best.bound + hope * abs(best.bound) - value) / norm
            middle = middle + step * up
            lean = np.clip(lean + step * tilt, -self._half[:, None], self._half[:, None])
            spare = np.maximum(0.0, spare + step * rise)
        return best

    def near(self, price: Floats) -> Floats:
        """The prices, those of one size no further apart between racks than crossing costs: else no bound holds."""
        middle, half = price.mean(axis=1, keepdims=True), self._half[:, None]
        found: Floats = middle + np.clip(price - middle, -half, half)
        return found

    def bound(self, price: Floats, spare: Floats, profit: float) -> float:
        """The dual's value, when hosts make that profit."""
        paid = np.minimum(self._cluster.left, price[self.size, self._cluster.source_racks])
        return float(paid.sum() - profit - spare @ self.spare)

    def _dual(self, price: Floats, spare: Floats) -> tuple[float, Floats, Floats]:
        """The dual's value and its slopes: slots wanted beyond those sold, and room sold beyond the spare."""
        offer = self._offers(price, spare)
        gaining = self._cluster.left > price[self.size, self._cluster.source_racks]
        over = -offer.sold
        np.add.at(over, (self.size[gaining], self._cluster.source_racks[gaining]), 1.0)
        excess = offer.sold.sum(axis=1) @ self.sizes - self.spare
        return self.bound(price, spare, float(offer.profit.sum())), over, excess

    def _sample(self) -> tuple[Floats, Floats]:
        """Prices to begin with: those of a linear program of every so-manieth host, racks left out."""
        cluster, sizes = self._cluster, len(self._vcpus)
        order = np.lexsort((cluster.risk, self._room_bytes, self._room_vcpus))
        few = self._fits[self._fits.sum(axis=1) <= SAMPLE // 4].any(axis=0)
        rest = order[~few[order]]
        chosen = [*np.flatnonzero(few)[:, None], *np.array_split(rest, min(SAMPLE, len(rest)) or 1)]
        chosen = [part for part in chosen if len(part)]
        hosts, times = np.array([part[len(part) // 2] for part in chosen]), np.array([len(part) for part in chosen])
        lots = sorted(Counter(zip(self.size.tolist(), cluster.left.tolist(), strict=True)).items())
        s, t = np.nonzero(self._fits[:, hosts])
        n, slots = len(s), np.arange(len(s))
        vcpus, byte = self._vcpus[s], self._bytes[s] / TIB
        columns = n + len(lots)
        room = sparse.csr_array(
            (
                np.concatenate([vcpus, byte, vcpus, byte]),
                (
                    np.concatenate([t, len(hosts) + t, np.full(n, 2 * len(hosts)), np.full(n, 2 * len(hosts) + 1)]),
                    np.tile(slots, 4),
                ),
            ),
            shape=(2 * len(hosts) + 2, columns),
        )
        free = np.concatenate([self._room_vcpus[hosts] * times, self._room_bytes[hosts] * times / TIB])
        most = np.append(free, np.maximum(0, [cluster.spare_vcpus, cluster.spare_bytes / TIB]))
        lot_size = np.array([size for (size, _), _ in lots])
        balance = sparse.csr_array(
            (
                np.concatenate([np.ones(n), -np.ones(len(lots))]),
                (np.concatenate([s, lot_size]), np.arange(columns)),
            ),
            shape=(sizes, columns),
        )
        costs = np.concatenate([self.cost[s, hosts[t]], [-left for (_, left), _ in lots]])
        bounds = np.stack([np.zeros(columns), np.append(np.full(n, np.inf), [count for _, count in lots])], axis=1)
        found = linprog(costs, room, most, balance, np.zeros(sizes), bounds, method="highs")
        spare = -found.ineqlin.marginals[-2:] / np.array([1.0, TIB])
        served = np.isin(np.arange(sizes), s)
        return np.where(served, found.eqlin.marginals, cluster.left.max()), np.maximum(0.0, spare)

    def _offers(self, price: Floats, spare: Floats) -> _Offer:
        """What each host would sell at the prices: the fractional knapsack, by one size or two of unlike shape."""
        racks, hosts = self._cluster.racks, np.arange(len(self._cluster.targets))
        gain = price[:, racks] - self.cost - (spare[0] * self._vcpus + spare[1] * self._bytes)[:, None]
        gain = np.where(self._fits & (gain > 0), gain / self._vcpus[:, None], 0.0)
        picks = [members[gain[members].argmax(axis=0)] for _, members in self._shapes]
        rates = [gain[pick, hosts] for pick in picks]
        nothing = np.zeros(len(hosts))
        best = [nothing, picks[0], nothing, picks[0], nothing]
        for offer in (*self._single(picks, rates), *self._pairs(picks, rates)):
            better = offer[0] > best[0] * (1 + 1e-12)
            best = [np.where(better, new, old) for new, old in zip(offer, best, strict=True)]
        profit, first, some, second, more = best
        sold = np.zeros_like(self.wanted)
        np.add.at(sold, (first, racks), some / self._vcpus[first])
        np.add.at(sold, (second, racks), more / self._vcpus[second])
        return _Offer(profit, sold)

    def _single(self, picks: list[Ints], rates: list[Floats]) -> Iterator[list[Any]]:
        """Each host filled with one size: profit, then size and vCPUs, twice."""
        for (ratio, _), pick, rate in zip(self._shapes, picks, rates, strict=True):
            amount = np.minimum(self._room_vcpus, self._room_bytes / ratio)
            yield [amount * rate, pick, amount, pick, np.zeros(len(amount))]

    def _pairs(self, picks: list[Ints], rates: list[Floats]) -> Iterator[list[Any]]:
        """Each host filled to the brim in both vCPU and memory with two sizes, where that can be."""
        for j, k in combinations(range(len(self._shapes)), 2):
            low, high = self._shapes[j][0], self._shapes[k][0]
            rich = (self._room_bytes - low * self._room_vcpus) / (high - low)
            plain = self._room_vcpus - rich
            profit = np.where((rich > 0) & (plain > 0), rates[j] * plain + rates[k] * rich, 0.0)
            yield [profit, picks[j], plain, picks[k], rich]


def _whole(room: Ints, pieces: Ints) -> Floats:
    """The room that pieces of these sizes can fill: a multiple of what they have in common."""
    common = int(np.gcd.reduce(pieces))
    found: Floats = (room // common * common).astype(float)
    return found
