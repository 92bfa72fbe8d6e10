"""Virtual machines on hosts: series, sizes, owners, dirty rates, and availability sets spread over fault domains."""

import math
from typing import Final

import numpy as np
import pyarrow as pa

from data.contracts import VMS
from data.simulator.catalogue import GIB
from data.simulator.topology import Flags, Floats, Ints, Layout, host_id, pick, sole_owner, stream

SERIES: Final = ("D", "E", "M", "H", "N")
"""General, general with more memory, large memory, high-performance, passthrough GPU; the last three not live."""
SERIES_SHARE: Final = (0.68, 0.28, 0.02, 0.02, 0.0)
GIB_PER_VCPU: Final = np.array([4, 8, 16, 4, 8], dtype=np.int64)
SIZES: Final = np.array([2, 4, 8, 16, 32], dtype=np.int64)
SIZE_SHARE: Final = (0.33, 0.33, 0.21, 0.10, 0.03)
PINNED_SHARE: Final = 0.01
"""General VMs that cannot move live either, because their owner pinned them."""
GROUPED_SHARE: Final = 0.35
"""General VMs that belong to an availability set."""
OWNERS: Final = 250
FILL_MOST: Final = 0.85
"""No host starts fuller than this, in vCPUs or in memory."""
DIRTY_MEDIAN: Final = 18e6
DIRTY_SPREAD: Final = 1.1
DIRTY_MOST: Final = 900e6
GENERAL_SERIES: Final = 2
LARGE, GPU_SERIES = SERIES.index("M"), SERIES.index("N")


def place(layout: Layout, per_host: float, seed: int) -> pa.Table:
    """VMs by `data.contracts.VMS`, about `per_host` on each host that is not a spare, never past `FILL_MOST`."""
    slots = math.ceil(1.8 * per_host) + 2
    shape = (len(layout.index), slots)
    series = pick(stream(seed, 2).random(shape), SERIES_SHARE)
    series[layout.gpu] = GPU_SERIES
    vcpus = _sizes(stream(seed, 3).random(shape), series)
    memory = vcpus * GIB_PER_VCPU[series] * GIB
    keep = _fits(layout, vcpus, memory, per_host, stream(seed, 4).random(shape[0]))
    row, slot = np.nonzero(keep)
    kept_series = series[keep]
    pinned = stream(seed, 5).random(shape)[keep] < PINNED_SHARE
    groups = _availability_sets(layout, row, kept_series, stream(seed, 6).random(shape)[keep])
    owners = (stream(seed, 7).random(shape)[keep] ** 2 * OWNERS).astype(np.int64)
    normal = stream(seed, 8).standard_normal(shape)[keep]
    dirty = np.minimum(DIRTY_MEDIAN * np.exp(DIRTY_SPREAD * normal), DIRTY_MOST).astype(np.int64)
    return pa.Table.from_pydict(
        {
            "vm_id": [f"sim-v{h:05d}-{s:02d}" for h, s in zip(layout.index[row].tolist(), slot.tolist(), strict=True)],
            "host_id": [host_id(h) for h in layout.index[row].tolist()],
            "owner": _owners(layout, row, groups, owners.tolist()),
            "series": [SERIES[s] for s in kept_series.tolist()],
            "vcpus": vcpus[keep].astype(np.int32),
            "memory_bytes": memory[keep],
            "dirty_bytes_per_second": dirty,
            "availability_set": groups,
            "live_migratable": (kept_series < GENERAL_SERIES) & ~pinned,
            "simulated": [True] * len(row),
        },
        schema=VMS,
    )


def _sizes(draws: Floats, series: Ints) -> Ints:
    vcpus = SIZES[pick(draws, SIZE_SHARE)]
    vcpus = np.where(series == LARGE, 16, vcpus)
    vcpus = np.where(series == SERIES.index("H"), 32, vcpus)
    return np.where(series == GPU_SERIES, 8, vcpus).astype(np.int64)


def _fits(layout: Layout, vcpus: Ints, memory: Ints, per_host: float, draws: Floats) -> Flags:
    """Which slots hold a VM: in order, those that still fit, until the host has its share."""
    wanted = np.floor(per_host * (0.75 + 0.55 * draws) + 0.5)
    wanted[layout.spare] = 0
    keep = np.zeros(vcpus.shape, dtype=np.bool_)
    used_vcpus, used_memory, held = (np.zeros(len(wanted), dtype=np.int64) for _ in range(3))
    for slot in range(vcpus.shape[1]):
        fits = held < wanted
        fits &= used_vcpus + vcpus[:, slot] <= FILL_MOST * layout.vcpus
        fits &= used_memory + memory[:, slot] <= FILL_MOST * layout.memory_bytes
        keep[:, slot] = fits
        used_vcpus += np.where(fits, vcpus[:, slot], 0)
        used_memory += np.where(fits, memory[:, slot], 0)
        held += fits
    return keep


def _availability_sets(layout: Layout, row: Ints, series: Ints, draws: Floats) -> list[str | None]:
    """A set takes at most one VM from each fault domain of its cluster; null for VMs in no set.

    VMs on dedicated hosts are in none, because a set would share them with another owner's host.
    """
    chosen = np.nonzero((draws < GROUPED_SHARE) & (series < GENERAL_SERIES) & ~layout.dedicated[row])[0]
    names: list[str | None] = [None] * len(row)
    if not len(chosen):
        return names
    cluster, domain = layout.cluster[row[chosen]], layout.fault_domain[row[chosen]]
    order = np.lexsort((draws[chosen], domain, cluster))
    first = np.append(True, (np.diff(cluster[order]) != 0) | (np.diff(domain[order]) != 0))
    position = np.arange(len(order))
    rank = np.empty_like(position)
    rank[order] = position - np.maximum.accumulate(np.where(first, position, 0))
    _, inverse, sizes = np.unique(np.stack([cluster, rank]), axis=1, return_inverse=True, return_counts=True)
    shared = sizes[inverse.ravel()] > 1
    for at, group, nth, real in zip(chosen.tolist(), cluster.tolist(), rank.tolist(), shared.tolist(), strict=True):
        names[at] = f"sim-as-{group:02d}-{nth:04d}" if real else None
    return names


def _owners(layout: Layout, row: Ints, groups: list[str | None], draws: list[int]) -> list[str]:
    """Each VM's owner: on a dedicated host the one whom it serves."""
    return [
        sole_owner(int(layout.index[host])) if layout.dedicated[host] else _owner(group, draw)
        for host, group, draw in zip(row.tolist(), groups, draws, strict=True)
    ]


def _owner(group: str | None, draw: int) -> str:
    """An availability set has one owner: the digits of its name choose it."""
    number = draw if group is None else int(group.replace("sim-as-", "").replace("-", "")) * 97 % OWNERS
    return f"sim-owner-{number:03d}"
