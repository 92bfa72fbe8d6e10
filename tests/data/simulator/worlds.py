"""Small worlds for tests."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from data.contracts import ENTITIES, HOSTS, VMS
from data.contracts import UTC as STAMP
from data.simulator.motion import WorldSpec
from data.simulator.world import World

START = datetime(2026, 1, 1, tzinfo=UTC)
GIB = 1024**3
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CERTAIN = WorldSpec(live_failure_rate=0.0)


def host(name: str, domain: int = 0, vcpus: int = 16, state: str = "in_service") -> dict[str, object]:
    """A host of 16 vCPUs and 64 GiB."""
    return {
        "host_id": name,
        "cluster": "c",
        "zone": "z",
        "rack": f"r{domain}",
        "fault_domain": domain,
        "hardware_model": "m",
        "firmware": "f",
        "vcpus": vcpus,
        "memory_bytes": 64 * GIB,
        "state": state,
        "simulated": True,
    }


def vm(name: str, on: str, vcpus: int = 4, group: str | None = None, *, live: bool = True) -> dict[str, object]:
    """A VM of 4 vCPUs and 8 GiB."""
    return {
        "vm_id": name,
        "host_id": on,
        "owner": "o",
        "series": "D",
        "vcpus": vcpus,
        "memory_bytes": 8 * GIB,
        "dirty_bytes_per_second": 10**7,
        "availability_set": group,
        "live_migratable": live,
        "simulated": True,
    }


def world(
    hosts: Sequence[dict[str, object]],
    vms: Sequence[dict[str, object]],
    failures: Sequence[tuple[str, datetime]] = (),
    path: object = ":memory:",
    spec: WorldSpec = CERTAIN,
) -> World:
    """A world with one drive `d-HOST` in each host; `failures` are hosts whose drive fails at a moment."""
    drives = [
        {
            "component": "disk",
            "entity_id": f"d-{row['host_id']}",
            "model": "M",
            "capacity_bytes": 1,
            "firmware": None,
            "host_id": row["host_id"],
            "simulated": True,
        }
        for row in hosts
    ]
    tables = {
        "hosts": pa.Table.from_pylist(list(hosts), schema=HOSTS),
        "vms": pa.Table.from_pylist(list(vms), schema=VMS),
        "entities": pa.Table.from_pylist(drives, schema=ENTITIES),
    }
    coming = pa.table(
        {
            "component": pa.array(["disk"] * len(failures), pa.string()),
            "entity_id": pa.array([f"d-{name}" for name, _ in failures], pa.string()),
            "failed_at": pa.array([at for _, at in failures], STAMP),
            "replacement_id": pa.array([f"new-{name}" for name, _ in failures], pa.string()),
        }
    )
    return World.create(str(path), tables, coming, START, 7, spec)
