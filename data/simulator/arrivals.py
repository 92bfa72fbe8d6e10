"""Simulated hosts and VMs over the real drives of a whole period: what stands there at first, and what comes later."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.contracts import INVENTORY
from data.contracts import UTC as UTC_MOMENT
from data.errors import InputError
from data.simulator.overlay import OverlaySpec, sited
from data.simulator.population import place
from data.simulator.topology import arrange, host_id, host_table
from data.snapshots import cursor

SLOTS: Final = """
-- Every drive that is read in the period, in the slot that `overlay` gives it, with the day from which it counts.
with numbered as (
    select entity_key, entity_id, model, capacity_bytes, firmware,
           row_number() over (order by first_seen_on, model, entity_id) - 1 as slot
    from entity
    where component = 'disk' and first_seen_on is not null and first_seen_on <= $last
),
came as (
    select entity_key, greatest(min(day), $first::date) as arrived_on
    from disk_day where day > $first::date - $window_days and day <= $last
    group by entity_key
),
failed as (
    select entity_key, min(failed_at) as failed_at from failure group by entity_key
)
select n.entity_id,                                         -- serial number
       n.model, n.capacity_bytes, n.firmware,
       (n.slot // $slots)::bigint as host,                  -- number of the simulated host
       came.arrived_on,                                     -- it is there from the end of this day on
       f.failed_at                                          -- null: not known to fail
from numbered n
join came using (entity_key)
left join failed f using (entity_key)
where f.failed_at is null or f.failed_at > (came.arrived_on + 1)::timestamptz
order by n.slot
"""

ARRIVES: Final = "date_trunc('day', greatest(valid_from, $start) - interval 1 microsecond) + interval 1 day"
"""The midnight at or after which somebody is there."""
MOMENTS: Final = ("arrives_at", "failed_at")
IN_PERIOD: Final = "(valid_until is null or valid_until > $start) and valid_from < $end"
HOSTS_HELD: Final = f"""
-- Hosts by the inventory's first word on each in the period.
select host_id, cluster, zone, rack, fault_domain, hardware_model, firmware, vcpus, memory_bytes,
       case when state = 'retired' then state else 'in_service' end as state, simulated, power_feed, switch, kernel,
       dedicated_to, {ARRIVES} as arrives_at
from host where {IN_PERIOD}
qualify row_number() over (partition by host_id order by valid_from) = 1
order by host_id
"""  # noqa: S608 - constants only
VMS_HELD: Final = f"""
-- VMs that were there as soon as their host was.
with host_there as (
    select host_id, min({ARRIVES}) as arrives_at from host where {IN_PERIOD} group by host_id
),
vm_there as (
    select *, {ARRIVES} as arrives_at
    from vm where {IN_PERIOD}
    qualify row_number() over (partition by vm_id order by valid_from) = 1
)
select vm_id, host_id, owner, series, vcpus, memory_bytes, dirty_bytes_per_second, availability_set, live_migratable,
       simulated, arrives_at
from vm_there semi join host_there using (host_id, arrives_at)
order by vm_id
"""  # noqa: S608 - constants only
ENTITIES_HELD: Final = f"""
-- Parts in the first host that they sat in.
select component, entity_id, model, capacity_bytes, firmware, host_id, entity.simulated, {ARRIVES} as arrives_at
from entity_host join entity using (entity_key) where {IN_PERIOD}
qualify row_number() over (partition by entity_key order by valid_from) = 1
order by component, entity_id
"""  # noqa: S608 - constants only
FAILURES_HELD: Final = """
-- The first failure of each part after the period begins.
select component, entity_id, min(failed_at) as failed_at
from failure join entity using (entity_key)
where failed_at > $start and failed_at <= $end
group by component, entity_id
"""


@dataclass(frozen=True)
class Arrival:
    """What comes at one moment: `hosts`, `vms`, `entities` by `data.contracts.INVENTORY`, and what will fail of it."""

    at: datetime
    tables: Mapping[str, pa.Table]
    failures: pa.Table


def overlaid(con: duckdb.DuckDBPyConnection, first: date, last: date, spec: OverlaySpec | None = None) -> list[Arrival]:
    """Simulated hosts and VMs over the drives read from the end of `first` to the end of `last`, in order of time.

    A host comes with its VMs on the day of its first drive, and takes its other drives in as they come. A drive that
    falls silent stays in its host and never fails; nothing is put in the place of one that failed.

    Raises:
        InputError: no drive was read in the days up to `first`.
    """
    spec = spec or OverlaySpec()
    values = {"first": first, "last": last, "slots": spec.slots, "window_days": spec.window_days}
    with cursor(con) as own:
        drives: pa.Table = own.sql(SLOTS, params=values).to_arrow_table()
    days = drives["arrived_on"].to_numpy().astype("datetime64[D]")
    if not (days == np.datetime64(first)).any():
        msg = f"no drive was read in the {spec.window_days} days up to {first}: ingest drive telemetry for that time"
        raise InputError(msg)
    host = drives["host"].to_numpy()
    numbers, member = np.unique(host, return_inverse=True)
    opened = np.full(len(numbers), np.datetime64(last))
    np.minimum.at(opened, member, days)
    every = arrange(int(numbers[-1]) + 1, spec.hosts_per_rack, spec.racks_per_cluster, spec.seed)
    hosts = host_table(every.only(np.isin(every.index, numbers)))
    vms = place(every, spec.vms_per_host, spec.seed)
    entities, failures = sited(drives, [host_id(n) for n in host.tolist()])
    arrivals = []
    for day in np.unique(days):
        names = pa.array([host_id(n) for n in numbers[opened == day].tolist()], pa.string())
        came = {
            "hosts": hosts.filter(pc.is_in(hosts["host_id"], names)),
            "vms": vms.filter(pc.is_in(vms["host_id"], names)),
            "entities": entities.filter(pa.array(days == day)),
        }
        failing = failures.filter(pc.is_in(failures["entity_id"], came["entities"]["entity_id"]))
        arrivals.append(Arrival(_end_of(day.item()), came, failing))
    return arrivals


def _end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def held(con: duckdb.DuckDBPyConnection, start: datetime, end: datetime) -> list[Arrival]:
    """Hosts, VMs and parts as the warehouse's inventory has them from `start` on, by the midnight of their arrival.

    Every host begins in service, unless it is retired. A VM that comes to a host later than the host itself is left
    out: where it would be placed depends on what was done before. Empty where no VM is known at `start`.
    """
    hosts, vms, entities = (_read(con, query, start, end) for query in (HOSTS_HELD, VMS_HELD, ENTITIES_HELD))
    if not pc.any(pc.equal(vms["arrives_at"], pa.scalar(start, UTC_MOMENT))).as_py():
        return []
    failures = _read(con, FAILURES_HELD, start, end)
    arrivals = []
    moments: set[Any] = {at for table in (hosts, vms, entities) for at in table["arrives_at"].to_pylist()}
    for at in sorted(moments):
        parts = zip(("hosts", "vms", "entities"), (hosts, vms, entities), strict=True)
        came = {
            name: table.filter(pc.equal(table["arrives_at"], pa.scalar(at, UTC_MOMENT))).select(INVENTORY[name].names)
            for name, table in parts
        }
        keys = ["component", "entity_id"]
        failing = failures.join(came["entities"].select(keys), keys, join_type="inner")
        arrivals.append(Arrival(at, {name: table.cast(INVENTORY[name]) for name, table in came.items()}, failing))
    return arrivals


def _read(con: duckdb.DuckDBPyConnection, query: str, start: datetime, end: datetime) -> pa.Table:
    with cursor(con) as own:
        table: pa.Table = own.sql(query, params={"start": start, "end": end}).to_arrow_table()
    for at, name in enumerate(table.column_names):
        if name in MOMENTS:
            table = table.set_column(at, name, table[name].cast(UTC_MOMENT))
    return table
