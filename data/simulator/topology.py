"""Where hosts stand: zone, cluster, rack, feed and switch, and what hardware and software each one is."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data.contracts import HOSTS
from data.simulator.catalogue import (
    DEDICATED_EVERY,
    GENERAL,
    GPU_EVERY,
    GPU_HOST,
    HOST_FIRMWARE,
    KERNELS,
    RACKS_PER_FEED,
    RACKS_PER_SWITCH,
    SPARE_EVERY,
)

ZONES: Final = 3

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Layout:
    """Hosts as arrays of one length, in order of their number."""

    index: Ints
    rack: Ints
    cluster: Ints
    fault_domain: Ints
    firmware: Ints
    """Position in `HOST_FIRMWARE`."""
    kernel: Ints
    """Position in `KERNELS`."""
    dedicated: Flags
    """Whether one owner alone has the host."""
    gpu: Flags
    spare: Flags
    vcpus: Ints
    memory_bytes: Ints
    hardware: tuple[str, ...]

    def only(self, keep: Flags) -> "Layout":
        """The hosts for which `keep` is true."""
        return Layout(
            index=self.index[keep],
            rack=self.rack[keep],
            cluster=self.cluster[keep],
            fault_domain=self.fault_domain[keep],
            firmware=self.firmware[keep],
            kernel=self.kernel[keep],
            dedicated=self.dedicated[keep],
            gpu=self.gpu[keep],
            spare=self.spare[keep],
            vcpus=self.vcpus[keep],
            memory_bytes=self.memory_bytes[keep],
            hardware=tuple(name for name, kept in zip(self.hardware, keep, strict=True) if kept),
        )


def stream(seed: int, *path: int) -> np.random.Generator:
    """A generator of its own for each purpose, so that adding one draw somewhere moves nothing elsewhere."""
    return np.random.default_rng([seed, *path])


def pick(draws: Floats, shares: tuple[float, ...]) -> Ints:
    """Positions 0..len(shares)-1 for uniform `draws`, in proportion to `shares`."""
    edges = np.cumsum(np.array(shares) / sum(shares))[:-1]
    return np.searchsorted(edges, draws, side="right").astype(np.int64)


def host_id(index: int) -> str:
    """The name of host number `index`."""
    return f"sim-h{index:05d}"


def sole_owner(index: int) -> str:
    """The name of the owner who has the dedicated host number `index`."""
    return f"sim-owner-d{index // DEDICATED_EVERY:02d}"


def arrange(hosts: int, hosts_per_rack: int, racks_per_cluster: int, seed: int) -> Layout:
    """`hosts` hosts in racks; the first hosts of a larger fleet are those of a smaller one, spares apart."""
    index = np.arange(hosts, dtype=np.int64)
    rack = index // hosts_per_rack
    cluster = rack // racks_per_cluster
    gpu = index % GPU_EVERY == GPU_EVERY // 2
    make = rack % len(GENERAL)
    last_of_cluster = np.append(cluster[1:] != cluster[:-1], True)
    per_rack = pick(stream(seed, 1).random(int(rack[-1]) + 1), tuple(f.share for f in HOST_FIRMWARE))
    hardware = [GPU_HOST if g else GENERAL[m] for g, m in zip(gpu, make, strict=True)]
    return Layout(
        index=index,
        rack=rack,
        cluster=cluster,
        fault_domain=rack % racks_per_cluster,
        firmware=per_rack[rack],
        kernel=pick(stream(seed, 9).random(hosts), tuple(share for _, share in KERNELS)),
        dedicated=(cluster % 3 == 1) & (index % DEDICATED_EVERY == DEDICATED_EVERY // 2) & ~gpu,
        gpu=gpu,
        spare=last_of_cluster | (index % SPARE_EVERY == SPARE_EVERY - 1),
        vcpus=np.array([h.vcpus for h in hardware], dtype=np.int64),
        memory_bytes=np.array([h.memory_bytes for h in hardware], dtype=np.int64),
        hardware=tuple(h.model for h in hardware),
    )


def host_table(layout: Layout) -> pa.Table:
    """The hosts by `data.contracts.HOSTS`, all in service."""
    clusters = layout.cluster.tolist()
    return pa.Table.from_pydict(
        {
            "host_id": [host_id(i) for i in layout.index.tolist()],
            "cluster": [f"sim-c{c:02d}" for c in clusters],
            "zone": [f"sim-z{c % ZONES + 1}" for c in clusters],
            "rack": [f"sim-r{r:03d}" for r in layout.rack.tolist()],
            "fault_domain": layout.fault_domain.astype(np.int32),
            "hardware_model": list(layout.hardware),
            "firmware": [HOST_FIRMWARE[f].version for f in layout.firmware.tolist()],
            "vcpus": layout.vcpus.astype(np.int32),
            "memory_bytes": layout.memory_bytes,
            "state": ["in_service"] * len(clusters),
            "simulated": [True] * len(clusters),
            "power_feed": [f"sim-f{r // RACKS_PER_FEED:03d}" for r in layout.rack.tolist()],
            "switch": [f"sim-s{r // RACKS_PER_SWITCH:03d}" for r in layout.rack.tolist()],
            "kernel": [KERNELS[k][0] for k in layout.kernel.tolist()],
            "dedicated_to": [
                sole_owner(i) if alone else None
                for i, alone in zip(layout.index.tolist(), layout.dedicated.tolist(), strict=True)
            ],
        },
        schema=HOSTS,
    )
