"""Simulated hosts and VMs on top of the real drives in a warehouse: placement is simulated, failures are real."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.contracts import ENTITIES
from data.errors import InputError
from data.simulator.population import place
from data.simulator.topology import arrange, host_id, host_table
from data.snapshots import cursor

SLOTS: Final = """
-- Every drive in its slot: in order of first appearance, so that a drive seen later never moves an earlier one.
with numbered as (
    select entity_key, entity_id, model, capacity_bytes, firmware, first_seen_on,
           row_number() over (order by first_seen_on, model, entity_id) - 1 as slot
    from entity
    where component = 'disk' and first_seen_on is not null and first_seen_on <= $day
),
read_lately as (
    select distinct entity_key from disk_day where day > $day - $window_days and day <= $day
),
failed as (
    select entity_key, min(failed_at) as failed_at from failure group by entity_key
)
select n.entity_id,                                         -- serial number
       n.model, n.capacity_bytes, n.firmware,
       (n.slot // $slots)::bigint as host,                  -- number of the simulated host
       f.failed_at                                          -- null: not known to fail
from numbered n
join read_lately using (entity_key)
left join failed f using (entity_key)
where f.failed_at is null or f.failed_at > $asof_at
order by n.slot
"""


@dataclass(frozen=True)
class OverlaySpec:
    """How simulated hosts are laid over real drives."""

    seed: int = 7
    slots: int = 12
    """Drives per host."""
    vms_per_host: float = 10.0
    hosts_per_rack: int = 20
    racks_per_cluster: int = 5
    window_days: int = 3
    """A drive is live when it was read within so many days up to the day asked about."""


@dataclass(frozen=True)
class Overlay:
    """Simulated hosts and VMs by `data.contracts.INVENTORY`, over entities that are real drives.

    `failures` holds those to come, for `World.create`: component, entity_id, failed_at as the warehouse has it.
    """

    hosts: pa.Table
    vms: pa.Table
    entities: pa.Table
    failures: pa.Table
    asof_at: datetime
    """The end of the day asked about: where the world's clock starts."""

    def tables(self) -> dict[str, pa.Table]:
        """The three tables by the names that `data.contracts.INVENTORY` gives them."""
        return {"hosts": self.hosts, "vms": self.vms, "entities": self.entities}


def overlay(con: duckdb.DuckDBPyConnection, on: date, spec: OverlaySpec | None = None) -> Overlay:
    """Hosts and VMs over the drives that are live at the end of `on`; every row is marked simulated.

    Host n holds the drives in slots n x `slots` and on, whether live or gone; hosts without a live drive are left out.
    The same host has the same VMs on every day, apart from the owners and names of availability sets. A failure on
    `on` itself has happened.

    Raises:
        InputError: no drive was read in the days up to `on`.
    """
    spec = spec or OverlaySpec()
    asof_at = datetime(on.year, on.month, on.day, tzinfo=UTC) + timedelta(days=1)
    values = {"day": on, "asof_at": asof_at, "slots": spec.slots, "window_days": spec.window_days}
    with cursor(con) as own:  # an open result on the caller's connection stays as it is
        drives: pa.Table = own.sql(SLOTS, params=values).to_arrow_table()
    if drives.num_rows == 0:
        msg = f"no drive was read in the {spec.window_days} days up to {on}: ingest drive telemetry for that time first"
        raise InputError(msg)
    host = drives["host"].to_numpy()
    live = np.unique(host)
    every = arrange(int(live[-1]) + 1, spec.hosts_per_rack, spec.racks_per_cluster, spec.seed)
    keep = np.isin(every.index, live)
    names = np.array([host_id(n) for n in every.index.tolist()], dtype=object)
    vms = place(every, spec.vms_per_host, spec.seed)
    entities, failures = sited(drives, names[host].tolist())
    return Overlay(
        hosts=host_table(every.only(keep)),
        vms=vms.filter(pc.is_in(vms["host_id"], pa.array(names[keep].tolist(), pa.string()))),
        entities=entities,
        failures=failures,
        asof_at=asof_at,
    )


def sited(drives: pa.Table, host_ids: list[str]) -> tuple[pa.Table, pa.Table]:
    """The drives in their hosts by `data.contracts.ENTITIES`, and their failures to come."""
    return _entities(drives, host_ids), _failures(drives)


def _entities(drives: pa.Table, host_ids: list[str]) -> pa.Table:
    count = drives.num_rows
    table = drives.append_column("component", pa.array(["disk"] * count, pa.string()))
    table = table.append_column("host_id", pa.array(host_ids, pa.string()))
    table = table.append_column("simulated", pa.array([True] * count))
    return table.select(ENTITIES.names).cast(ENTITIES)


def _failures(drives: pa.Table) -> pa.Table:
    failing = drives.filter(drives["failed_at"].is_valid()).select(["entity_id", "failed_at"])
    return failing.append_column("component", pa.array(["disk"] * failing.num_rows, pa.string()))
