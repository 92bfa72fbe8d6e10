"""What facts look like on their way in: Arrow schemas with units, one per kind of fact.

Every timestamp is UTC with microseconds. Sizes are bytes. A column's unit stands in its metadata.
"""

from typing import Final

import pyarrow as pa

UTC: Final = pa.timestamp("us", tz="UTC")

COMPONENTS: Final = ("disk", "memory", "gpu", "node")
HORIZON_DAYS: Final = (1, 3, 7, 14, 30)


def _field(name: str, kind: pa.DataType, unit: str = "", *, nullable: bool = True) -> "pa.Field[pa.DataType]":
    return pa.field(name, kind, nullable=nullable, metadata={"unit": unit} if unit else None)


ENTITIES: Final = pa.schema(
    [
        _field("component", pa.string(), nullable=False),
        _field("entity_id", pa.string(), nullable=False),
        _field("model", pa.string()),
        _field("capacity_bytes", pa.int64(), "B"),
        _field("firmware", pa.string()),
        _field("host_id", pa.string()),
        _field("simulated", pa.bool_(), nullable=False),
    ]
)
"""Things that fail, and the host each one sits in now (null: in none that we know of)."""

EVENTS: Final = pa.schema(
    [
        _field("component", pa.string(), nullable=False),
        _field("entity_id", pa.string(), nullable=False),
        _field("observed_at", UTC, nullable=False),
        _field("ingested_at", UTC, nullable=False),
        _field("kind", pa.string(), nullable=False),
        _field("value", pa.float64(), "as the kind says"),
        _field("detail", pa.string(), "JSON"),
    ]
)
"""Something that happened to an entity at a moment: `ce` (corrected errors, value = count), `xid`, ..."""

FAILURES: Final = pa.schema(
    [
        _field("component", pa.string(), nullable=False),
        _field("entity_id", pa.string(), nullable=False),
        _field("failed_at", UTC, nullable=False),
        _field("ingested_at", UTC, nullable=False),
        _field("cause", pa.string()),
    ]
)
"""The events that labels are made from; a daily source puts `failed_at` at the end of the day."""

HOSTS: Final = pa.schema(
    [
        _field("host_id", pa.string(), nullable=False),
        _field("cluster", pa.string(), nullable=False),
        _field("zone", pa.string(), nullable=False),
        _field("rack", pa.string(), nullable=False),
        _field("fault_domain", pa.int32(), nullable=False),
        _field("hardware_model", pa.string(), nullable=False),
        _field("firmware", pa.string(), nullable=False),
        _field("vcpus", pa.int32(), "vCPU", nullable=False),
        _field("memory_bytes", pa.int64(), "B", nullable=False),
        _field("state", pa.string(), nullable=False),
        _field("simulated", pa.bool_(), nullable=False),
        _field("power_feed", pa.string()),
        _field("switch", pa.string()),
        _field("kernel", pa.string()),
        _field("dedicated_to", pa.string()),
    ]
)
"""Machines that run VMs. `state` is one of `HOST_STATES`; `dedicated_to` the owner whom the host serves alone (null:
shared). Power feed, switch and kernel are what hosts may have in common when several fail; null: not told."""

UNTOLD: Final = frozenset({"power_feed", "switch", "kernel", "dedicated_to"})
"""Columns of hosts that an inventory may leave out altogether: then they are null."""

HOST_STATES: Final = ("in_service", "blocked", "draining", "empty", "repair", "probation", "retired")

VMS: Final = pa.schema(
    [
        _field("vm_id", pa.string(), nullable=False),
        _field("host_id", pa.string(), nullable=False),
        _field("owner", pa.string(), nullable=False),
        _field("series", pa.string(), nullable=False),
        _field("vcpus", pa.int32(), "vCPU", nullable=False),
        _field("memory_bytes", pa.int64(), "B", nullable=False),
        _field("dirty_bytes_per_second", pa.int64(), "B/s", nullable=False),
        _field("availability_set", pa.string()),
        _field("live_migratable", pa.bool_(), nullable=False),
        _field("simulated", pa.bool_(), nullable=False),
    ]
)
"""Virtual machines and where they run. `live_migratable` is false for passthrough or pinned VMs."""

STAYS: Final = pa.schema(
    [
        _field("component", pa.string(), nullable=False),
        _field("entity_id", pa.string(), nullable=False),
        _field("model", pa.string()),
        _field("host_id", pa.string(), nullable=False),
        _field("valid_from", UTC, nullable=False),
        _field("valid_until", UTC),
    ]
)
"""Where an entity sat and how long (`valid_until` null: it still does), from sources that know it for the past."""

DRIFT: Final = pa.schema(
    [
        _field("component", pa.string(), nullable=False),
        _field("model_version", pa.string(), nullable=False),
        _field("asof_at", UTC, nullable=False),
        _field("measure", pa.string(), nullable=False),
        _field("part", pa.string(), nullable=False),
        _field("value", pa.float64(), "as the measure says"),
        _field("low", pa.float64()),
        _field("high", pa.float64()),
        _field("threshold", pa.float64()),
        _field("alarm", pa.string()),
    ]
)
"""What the watch over a model saw at a moment: its measures, each with its threshold and the alarm it raised."""

INVENTORY: Final = {"hosts": HOSTS, "vms": VMS, "entities": ENTITIES}
