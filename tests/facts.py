"""A tiny fleet by contract, to store, change and break."""

from datetime import UTC, datetime

import pyarrow as pa

from data.contracts import ENTITIES, EVENTS, FAILURES, HOSTS, VMS

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def hosts(*names: str, state: str = "in_service") -> pa.Table:
    """Hosts of one rack."""
    return pa.Table.from_pylist(
        [
            {
                "host_id": name, "cluster": "c1", "zone": "z1", "rack": "r1", "fault_domain": number,
                "hardware_model": "G7", "firmware": "1.0", "vcpus": 64, "memory_bytes": 2**38, "state": state,
                "simulated": True,
            }
            for number, name in enumerate(names)
        ],
        HOSTS,
    )  # fmt: skip


def vms(**where: str) -> pa.Table:
    """Small general VMs, each on the host given."""
    return pa.Table.from_pylist(
        [
            {
                "vm_id": vm_id, "host_id": host_id, "owner": "o1", "series": "D", "vcpus": 4, "memory_bytes": 2**34,
                "dirty_bytes_per_second": 2**20, "availability_set": None, "live_migratable": True, "simulated": True,
            }
            for vm_id, host_id in where.items()
        ],
        VMS,
    )  # fmt: skip


def entities(**where: str) -> pa.Table:
    """Disks, each in the host given."""
    return pa.Table.from_pylist(
        [
            {"component": "disk", "entity_id": name, "model": "M", "capacity_bytes": 10**12, "firmware": "F",
             "host_id": host_id, "simulated": True}
            for name, host_id in where.items()
        ],
        ENTITIES,
    )  # fmt: skip


def events(*values: float) -> pa.Table:
    """Corrected errors of one DIMM, all at the same moment."""
    return pa.Table.from_pylist(
        [
            {"component": "memory", "entity_id": "dimm1", "observed_at": DAY, "ingested_at": DAY, "kind": "ce",
             "value": value, "detail": None}
            for value in values
        ],
        EVENTS,
    )  # fmt: skip


def failures(*names: str) -> pa.Table:
    """Failures of GPUs."""
    return pa.Table.from_pylist(
        [
            {"component": "gpu", "entity_id": name, "failed_at": DAY, "ingested_at": DAY, "cause": "dbe"}
            for name in names
        ],
        FAILURES,
    )
