"""Which VM sizes a host would best take together: the whole-numbered knapsack of many hosts at once.

Room is counted in pieces that all sizes are multiples of; where that makes too many, in coarser ones, sizes rounded up
and rooms down, so that a bundle always fits.
"""

from typing import Final

import numpy as np

from decisions.placement.problem import Floats, Ints

CELLS_MOST: Final = 48
"""Pieces of one kind that a room is counted in."""
HOSTS_AT_ONCE: Final = 256


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
    wide, deep = (cells.max(axis=0) + 1).tolist()
    value = np.zeros((wide, deep, len(cells)))
    offered = np.empty(value.shape[1:])
    useful = np.flatnonzero((gain > 0).any(axis=1))
    for i in range(1, wide):
        value[i] = value[i - 1]
        for s, (a, b) in zip(useful.tolist(), sizes[useful].tolist(), strict=True):
            if a <= i and b < deep:
                np.add(value[i - a, : deep - b], gain[s], out=offered[b:])
                np.maximum(value[i, b:], offered[b:], out=value[i, b:])
    worth: Floats = value[cells[:, 0], cells[:, 1], np.arange(len(cells))]
    counts: Ints = np.zeros(gain.shape, dtype=np.int64)
    counts[useful] = _taken(value, gain[useful], sizes[useful], cells)
    return worth, counts


def _taken(value: Floats, gain: Floats, sizes: Ints, cells: Ints) -> Ints:
    """The counts by size and host that make up the values, found from the whole room down."""
    _, deep, hosts = value.shape
    flat, at, column = value.reshape(-1), cells.copy(), np.arange(hosts)
    back = (sizes[:, 0] * deep + sizes[:, 1]) * hosts
    counts: Ints = np.zeros(gain.shape, dtype=np.int64)
    while len(column):
        here = (at[:, 0] * deep + at[:, 1]) * hosts + column
        fits = (at[:, 0] >= sizes[:, :1]) & (at[:, 1] >= sizes[:, 1:]) & (gain > 0)
        last = fits & (flat[np.where(fits, here - back[:, None], 0)] + gain == flat[here])
        more = last.any(axis=0)
        picked, column, at, gain = last.argmax(axis=0)[more], column[more], at[more], gain[:, more]
        counts[picked, column] += 1
        at -= sizes[picked]
    return counts
