"""A seeded fleet: hosts in zones, clusters and racks, VMs placed on them, and the parts inside them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Final

import pyarrow as pa

from data.errors import SettingsError
from data.simulator.parts import entities
from data.simulator.plants import Plant
from data.simulator.population import place
from data.simulator.topology import arrange, host_table

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "hosts": (2, 100_000),
    "vms": (1, 1_400_000),
    "days": (1, 1_500),
    "seed": (0, 2**32 - 1),
    "disks_per_host": (1, 60),
    "dimms_per_host": (0, 64),
    "gpus_per_host": (0, 16),
    "hosts_per_rack": (1, 80),
    "racks_per_cluster": (1, 50),
    "acceleration": (0, 1_000),
    "disk_annual_failure_rate": (0, 1),
    "memory_annual_failure_rate": (0, 1),
    "gpu_annual_failure_rate": (0, 1),
    "silent_share": (0, 1),
    "flaw_factor": (1, 100),
    "repair_days": (0.01, 365),
}
"""Lowest and highest value of each number in `FleetSpec`."""
VMS_PER_HOST_MOST: Final = 14


@dataclass(frozen=True)
class FleetSpec:
    """What to build. The same spec gives the same fleet, telemetry and failures, to the last bit.

    The default failure rates are those of ordinary parts, times `acceleration`: with them at 10, a demonstration of
    four months holds as many failures as three years would. Set `acceleration=1` for plain rates.
    """

    hosts: int = 600
    vms: int = 6_000
    """Aimed at; a few per cent either way, because no host is filled past its capacity."""
    days: int = 120
    """Days of telemetry."""
    start: date = date(2026, 1, 1)
    seed: int = 7
    disks_per_host: int = 8
    """Two fewer on hosts with GPUs."""
    dimms_per_host: int = 16
    gpus_per_host: int = 8
    """On one host in twenty."""
    hosts_per_rack: int = 20
    racks_per_cluster: int = 5
    """Each rack is a fault domain of its cluster."""
    acceleration: float = 10.0
    disk_annual_failure_rate: float = 0.012
    memory_annual_failure_rate: float = 0.001
    gpu_annual_failure_rate: float = 0.02
    silent_share: float = 0.33
    """Share of failures that nothing announces."""
    flaw_factor: float = 4.0
    """How many times as often the flawed drive model fails, and DIMMs under the flawed host firmware."""
    repair_days: float = 3.0
    planted: tuple[Plant, ...] = ()
    """Shared causes of failures, each from its day on."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name in BOUNDS:
                low, high = BOUNDS[field.name]
                value = getattr(self, field.name)
                if not low <= value <= high:
                    msg = f"fleet: {field.name} = {value} is out of bounds: give a value from {low:g} to {high:g}"
                    raise SettingsError(msg)
        if self.vms > VMS_PER_HOST_MOST * self.hosts:
            msg = f"fleet: {self.vms} VMs do not fit on {self.hosts} hosts: ask for at most {VMS_PER_HOST_MOST} a host"
            raise SettingsError(msg)

    @property
    def start_at(self) -> datetime:
        """Midnight UTC at which the first day begins."""
        return datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC)


@dataclass(frozen=True)
class Fleet:
    """A planned fleet, as `data.contracts` has hosts, VMs and entities, at the moment the first day begins."""

    spec: FleetSpec
    hosts: pa.Table
    vms: pa.Table
    entities: pa.Table

    def tables(self) -> dict[str, pa.Table]:
        """The three tables by the names that `data.contracts.INVENTORY` gives them."""
        return {"hosts": self.hosts, "vms": self.vms, "entities": self.entities}


def plan(spec: FleetSpec) -> Fleet:
    """The fleet that `spec` describes: about 65 % full, with at least one host to spare in each cluster."""
    layout = arrange(spec.hosts, spec.hosts_per_rack, spec.racks_per_cluster, spec.seed)
    per_host = spec.vms / max(1, int((~layout.spare).sum()))
    return Fleet(
        spec=spec,
        hosts=host_table(layout),
        vms=place(layout, per_host, spec.seed),
        entities=entities(layout, spec.disks_per_host, spec.dimms_per_host, spec.gpus_per_host, spec.seed),
    )
