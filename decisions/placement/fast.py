"""A good assignment in seconds: hosts choose bundles of sizes at shadow prices, VMs fill them, then it is tidied up.

Hosts are let in a part at a time, and before each part the prices follow what is left: a slot of which the other hosts
would sell more than are wanted gets cheaper, and one of which they would sell fewer gets dearer.
"""

from collections import defaultdict
from itertools import chain
from typing import Final

import numpy as np

from decisions.placement.bundles import Grid
from decisions.placement.prices import Market, Prices
from decisions.placement.problem import Cluster, Floats, Floor, Ints

SMALL_PARTS: Final = 12
LARGE_PARTS: Final = 4
FIRST_ROUNDS: Final = 2
"""Price rounds before the first part of the hosts; before each other part there is one."""
ROUNDS: Final = 2
SMALL_STEP: Final = 0.03
LARGE_STEP: Final = 0.01
"""By what share a price follows, at most, in one round."""


def solve(cluster: Cluster) -> tuple[Floor, float]:
    """An assignment, and a bound that none can beat."""
    market = Market(cluster)
    floor, bound = fill(cluster, market, market.climb())
    finish(floor, market.size)
    return floor, bound


def fill(cluster: Cluster, market: Market, prices: Prices) -> tuple[Floor, float]:
    """An assignment, and a bound: that of the prices, or a better one from whole-numbered bundles."""
    work = _Filling(cluster, market, prices)
    work.run()
    return work.floor, work.bound


class _Filling:
    """The VMs still waiting, by size and rack, and the prices, while hosts fill up."""

    def __init__(self, cluster: Cluster, market: Market, prices: Prices) -> None:
        self.floor, self.bound = Floor(cluster), prices.bound
        self._cluster, self._market = cluster, market
        self._price, self._spare = prices.slot.copy(), prices.spare
        self._grid = Grid(market.sizes, np.stack([cluster.free_vcpus, cluster.free_bytes], axis=1))
        self._waiting: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        """By size and rack, the VM that matters most last."""
        for v in np.lexsort((-np.arange(len(cluster.vms)), cluster.left)).tolist():
            self._waiting[int(market.size[v])][int(cluster.source_racks[v])].append(v)

    def run(self) -> None:
        """Let the hosts in, those of small rooms in more parts."""
        hosts, small = np.arange(len(self._cluster.targets)), self._grid.exact
        parts, share = (SMALL_PARTS, SMALL_STEP) if small else (LARGE_PARTS, LARGE_STEP)
        for n in range(FIRST_ROUNDS if small else 0):
            self._follow(hosts, share / (n + 1), first=True)
        for part in range(parts):
            if part:
                self._follow(hosts[hosts % parts >= part], share)
            mine = hosts[hosts % parts == part]
            self._seat(mine, self._bundles(mine)[1])
        self._seat(hosts, self._bundles(hosts)[1])

    def _bundles(self, hosts: Ints) -> tuple[Floats, Ints]:
        rooms = np.stack([self.floor.vcpus[hosts], self.floor.memory_bytes[hosts]], axis=1)
        own = self._price[:, self._cluster.racks[hosts]] - self._market.cost[:, hosts]
        return self._grid.best(own - (self._market.sizes @ self._spare)[:, None], rooms)

    def _follow(self, hosts: Ints, step: float, *, first: bool = False) -> None:
        """Let prices follow what the hosts would take of what is waiting."""
        worth, counts = self._bundles(hosts)
        pays = self._price[self._market.size, self._cluster.source_racks]
        willing = (self._cluster.left > pays) & (self.floor.chosen < 0)
        wanted = np.bincount(self._market.size, willing, minlength=len(self._price))
        if first:
            self.bound = max(self.bound, self._market.bound(self._price, self._spare, float(worth.sum())))
        over = np.clip((wanted - counts.sum(axis=1)) / np.maximum(1, wanted), -1.0, 1.0)
        self._price = self._market.near(self._price * (1 + step * over[:, None]))

    def _seat(self, hosts: Ints, counts: Ints) -> None:
        """Fill the bundles with VMs, of the host's own rack first, as long as there are any that gain by it."""
        racks = {s: self._willing(s) for s in self._waiting}
        for column, t in enumerate(hosts.tolist()):
            own = int(self._cluster.racks[t])
            for s in np.flatnonzero(counts[:, column])[::-1].tolist():
                for _ in range(int(counts[s, column])):
                    if not self._seat_one(s, t, own, racks[s]):
                        break

    def _willing(self, s: int) -> list[int]:
        """Racks with VMs of the size that gain by moving at the price, most of them last."""
        left, queues = self._cluster.left, self._waiting[s]
        gaining = (rack for rack, queue in queues.items() if queue and left[queue[-1]] > self._price[s, rack])
        return sorted(gaining, key=lambda rack: (len(queues[rack]), -rack))

    def _seat_one(self, s: int, t: int, own: int, racks: list[int]) -> bool:
        if own in self._waiting[s] and self._seat_from(s, t, own):
            return True
        for rack in reversed(racks):
            if rack != own and self._seat_from(s, t, rack):
                return True
            if not self._waiting[s][rack]:
                racks.remove(rack)
        return False

    def _seat_from(self, s: int, t: int, rack: int) -> bool:
        queue = self._waiting[s][rack]
        for at in range(len(queue) - 1, -1, -1):
            v = queue[at]
            if self._cluster.left[v] <= self._price[s, rack]:
                return False
            if self.floor.may(v, t):
                self.floor.take(v, t)
                del queue[at]
                return True
        return False


def insert(floor: Floor, order: Ints) -> None:
    """Give each VM without a target, in that order, the cheapest one that may take it."""
    cluster, nowhere = floor.cluster, set[tuple[int, int]]()
    for v in order[floor.chosen[order] < 0].tolist():
        size = (int(cluster.vcpus[v]), int(cluster.memory_bytes[v]))
        if size in nowhere or not floor.within_spare(v):
            continue
        at = floor.cheapest(v)
        if at is not None:
            floor.take(v, at)
        elif v not in cluster.barred:
            nowhere.add(size)  # room only shrinks here


def relocate(floor: Floor) -> None:
    """Move each placed VM to the cheapest target that has room now, if that is cheaper than where it is."""
    for v in np.flatnonzero(floor.chosen >= 0).tolist():
        before = int(floor.chosen[v])
        roomy = floor.roomy(v, floor.cluster.cost_on(v, before))
        best = next(roomy, None)
        if best is not None:
            floor.release(v)
            floor.take(v, next((t for t in chain([best], roomy) if floor.may(v, t)), before))


def _swap(floor: Floor, v: int, w: int) -> bool:
    """Let two placed VMs of one size change places, if both may."""
    at_v, at_w = floor.release(v), floor.release(w)
    if floor.may(v, at_w):
        floor.take(v, at_w)
        if floor.may(w, at_v):
            floor.take(w, at_v)
            return True
        floor.release(v)
    floor.take(v, at_v)
    floor.take(w, at_w)
    return False


def go_home(floor: Floor, size: Ints) -> None:
    """Let VMs of one size change places where one then stays in its rack and the other loses nothing."""
    cluster = floor.cluster
    strangers: dict[tuple[int, int], list[int]] = defaultdict(list)
    away = [v for v in np.flatnonzero(floor.chosen >= 0).tolist() if _away(floor, v)]
    for v in away:
        strangers[int(size[v]), int(cluster.racks[floor.chosen[v]])].append(v)
    for v in away:
        if not _away(floor, v):
            continue
        queue = strangers[int(size[v]), int(cluster.source_racks[v])]
        mine = (int(size[v]), int(cluster.racks[floor.chosen[v]]))
        queue.sort(key=lambda w: cluster.source_racks[w] != mine[1])
        for w in queue:
            if _away(floor, w) and cluster.racks[floor.chosen[w]] == cluster.source_racks[v] and _swap(floor, v, w):
                queue.remove(w)
                strangers[mine].append(w)
                break


def _away(floor: Floor, v: int) -> bool:
    return bool(floor.cluster.racks[floor.chosen[v]] != floor.cluster.source_racks[v])


def promote(floor: Floor, size: Ints) -> None:
    """Let a VM that was left behind take the place of one of its size that matters less."""
    cluster = floor.cluster
    for s in np.unique(size[floor.chosen < 0]).tolist():
        of_size = np.flatnonzero(size == s)
        left = sorted(of_size[floor.chosen[of_size] < 0].tolist(), key=lambda v: -cluster.left[v])
        placed = sorted(of_size[floor.chosen[of_size] >= 0].tolist(), key=lambda v: cluster.left[v])
        for v in left:
            for w in placed[:8]:
                t = int(floor.chosen[w])
                gain = cluster.left[v] - cluster.cost_on(v, t) - cluster.left[w] + cluster.cost_on(w, t)
                if gain <= 0:
                    continue
                floor.release(w)
                if floor.may(v, t):
                    floor.take(v, t)
                    placed.remove(w)
                    break
                floor.take(w, t)


def finish(floor: Floor, size: Ints) -> None:
    """Place what still fits and put the rest in better order."""
    by_worth = np.argsort(-floor.cluster.left, kind="stable")
    insert(floor, by_worth)
    for _ in range(ROUNDS):
        promote(floor, size)
        go_home(floor, size)
        relocate(floor)
        insert(floor, by_worth)
