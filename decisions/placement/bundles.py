"""Which VM sizes a host would best take together: the whole-numbered knapsack of many hosts at once.

Room is counted in pieces that all sizes are multiples of; where that makes too many, in coarser ones, sizes rounded up
and rooms down, so that a bundle always fits.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from decisions.placement.problem import Floats, Ints

CELLS_MOST: Final = 48
"""Pieces of one kind that a room is counted in."""
HOSTS_AT_ONCE: Final = 256
NOTHING: Final = -1


class Grid:
    """Sizes and rooms in pieces."""

    def __init__(self, sizes: Ints, rooms: Ints) -> None:
        """Of `sizes` and `rooms`, one column is vCPUs, the other bytes."""
        common = np.gcd.reduce(sizes, axis=0)
        largest = rooms.max(axis=0, initial=0)
        self.unit = np.maximum(common, -(-largest // CELLS_MOST // common) * common)
        self.exact = bool((self.unit == common).all())
        self.sizes = -(-sizes // self.unit)

    def cells(self, rooms: Ints) -> Ints:
        """Rooms in pieces."""
        found: Ints = rooms // self.unit
        return found

    def best(self, gain: Floats, rooms: Ints) -> tuple[Floats, Ints]:
        """The most that each host can gain, and how many of each size it takes for that.

        Args:
            gain: by size and host, for one VM.
            rooms: by host, vCPUs and bytes.
        """
        cells = self.cells(rooms)
        worth = np.zeros(len(cells))
        counts = np.zeros(gain.shape, dtype=np.int64)
        tempting = np.flatnonzero((gain > 0).any(axis=0) & (cells > 0).all(axis=1))
        order = tempting[np.lexsort((cells[tempting, 1], cells[tempting, 0]))]
        for start in range(0, len(order), HOSTS_AT_ONCE):
            part = order[start : start + HOSTS_AT_ONCE]
            worth[part], counts[:, part] = _knapsack(gain[:, part], self.sizes, cells[part])
        return worth, counts


def _knapsack(gain: Floats, sizes: Ints, cells: Ints) -> tuple[Floats, Ints]:
    """Dynamic programming over (vCPU pieces, memory pieces), every host in its own column."""
    wide, deep = cells.max(axis=0) + 1
    hosts = np.arange(gain.shape[1])
    value = np.zeros((wide, deep, len(hosts)))
    choice: npt.NDArray[np.int16] = np.full(value.shape, NOTHING, dtype=np.int16)
    useful = [s for s in range(len(sizes)) if (gain[s] > 0).any()]
    for i in range(1, wide):
        value[i], choice[i] = value[i - 1], choice[i - 1]
        for s in useful:
            a, b = sizes[s]
            if a > i or b >= deep:
                continue
            offered = value[i - a, : deep - b] + gain[s]
            better = offered > value[i, b:]
            np.copyto(value[i, b:], offered, where=better)
            np.copyto(choice[i, b:], np.int16(s), where=better)
    worth: Floats = value[cells[:, 0], cells[:, 1], hosts]
    return worth, _taken(choice, sizes, cells, len(gain))


def _taken(choice: npt.NDArray[np.int16], sizes: Ints, cells: Ints, kinds: int) -> Ints:
    """The counts by size and host that the choices lead to, from the whole room down."""
    at, hosts = cells.copy(), np.arange(len(cells))
    counts: Ints = np.zeros((kinds, len(cells)), dtype=np.int64)
    while len(hosts):
        picked = choice[at[hosts, 0], at[hosts, 1], hosts].astype(np.int64)
        hosts, picked = hosts[picked != NOTHING], picked[picked != NOTHING]
        np.add.at(counts, (picked, hosts), 1)
        at[hosts] -= sizes[picked]
    return counts
