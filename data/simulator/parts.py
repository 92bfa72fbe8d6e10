"""The parts inside hosts, which are the things that fail: drives, DIMMs and GPUs."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.contracts import ENTITIES
from data.simulator.catalogue import DIMM_BYTES, DIMM_MODEL, DRIVE_MODELS, GPU_BYTES, GPU_MODEL, LOTS
from data.simulator.topology import Floats, Ints, Layout, host_id, pick, stream

STRAY_SHARE = 0.15
"""Drives that are of another model than their host's others."""


def entities(layout: Layout, disks: int, dimms: int, gpus: int, seed: int) -> pa.Table:
    """Every part by `data.contracts.ENTITIES`: disks first, then DIMMs, then GPUs, each in order of host."""
    disk_host = np.repeat(layout.index, np.where(layout.gpu, max(1, disks - 2), disks))
    dimm_host = np.repeat(layout.index, dimms)
    gpu_host = np.repeat(layout.index[layout.gpu], gpus)
    return pa.concat_tables(
        [
            _disks(disk_host, len(layout.index), seed),
            _plain("memory", "SIMM", dimm_host, DIMM_MODEL, DIMM_BYTES, "1.2"),
            _plain("gpu", "SIMG", gpu_host, GPU_MODEL, GPU_BYTES, "96.00.5E"),
        ]
    )


def of_component(table: pa.Table, component: str) -> pa.Table:
    """The rows of `table` about that component, in their order."""
    return table.filter(pc.equal(table["component"], pa.scalar(component)))


def texts(table: pa.Table, column: str) -> list[str]:
    """A column of strings without nulls as a list."""
    return [str(value) for value in table[column].to_pylist()]


def _disks(host: Ints, hosts: int, seed: int) -> pa.Table:
    """Drives are bought by the host: most of a host's drives share a model and a lot."""
    shares = tuple(m.share for m in DRIVE_MODELS)
    draws: Floats = stream(seed, 10).random((len(host), 3))
    of_host = pick(stream(seed, 11).random(hosts), shares)[host]
    model = np.where(draws[:, 0] < STRAY_SHARE, pick(draws[:, 1], shares), of_host)
    makes = [DRIVE_MODELS[m] for m in model.tolist()]
    even = (1.0,) * LOTS
    lots = stream(seed, 12).random(hosts), stream(seed, 13).random(len(host))
    lot = np.where(draws[:, 0] < STRAY_SHARE, pick(lots[1], even), pick(lots[0], even)[host])
    return pa.Table.from_pydict(
        {
            "component": ["disk"] * len(host),
            "entity_id": [f"SD{nth:02d}{n:07d}" for n, nth in enumerate(lot.tolist())],
            "model": [m.model for m in makes],
            "capacity_bytes": [m.capacity_bytes for m in makes],
            "firmware": [
                m.firmware[int(u * len(m.firmware))] for m, u in zip(makes, draws[:, 2].tolist(), strict=True)
            ],
            "host_id": [host_id(h) for h in host.tolist()],
            "simulated": [True] * len(host),
        },
        schema=ENTITIES,
    )


def _plain(component: str, prefix: str, host: Ints, model: str, capacity_bytes: int, firmware: str) -> pa.Table:
    count = len(host)
    return pa.Table.from_pydict(
        {
            "component": [component] * count,
            "entity_id": [f"{prefix}{n:07d}" for n in range(count)],
            "model": [model] * count,
            "capacity_bytes": [capacity_bytes] * count,
            "firmware": [firmware] * count,
            "host_id": [host_id(h) for h in host.tolist()],
            "simulated": [True] * count,
        },
        schema=ENTITIES,
    )
