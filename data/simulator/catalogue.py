"""What the simulated fleet is built from: machines, drives, firmware and the ways in which parts announce a failure.

Knowledge as data: names are invented, proportions are chosen to be plausible and are not measured anywhere.
"""

from dataclasses import dataclass
from typing import Final

GIB: Final = 1024**3


@dataclass(frozen=True)
class Hardware:
    """A make of host: its size."""

    model: str
    vcpus: int
    memory_bytes: int


GENERAL: Final = (Hardware("gen-a2", 96, 512 * GIB), Hardware("gen-b1", 112, 640 * GIB))
GPU_HOST: Final = Hardware("gpu-n1", 96, 768 * GIB)
GPU_EVERY: Final = 20
"""One host in so many carries GPUs."""
SPARE_EVERY: Final = 50
"""One host in so many, and the last of each cluster, starts without VMs."""


@dataclass(frozen=True)
class Firmware:
    """A host firmware, the share of racks that run it, and whether it is the flawed one."""

    version: str
    share: float
    flawed: bool = False


HOST_FIRMWARE: Final = (Firmware("3.1.4", 0.60), Firmware("3.2.0", 0.28), Firmware("3.2.1", 0.12, flawed=True))
"""DIMMs on hosts with the flawed firmware fail `FleetSpec.flaw_factor` times as often."""


KERNELS: Final = (("6.1.90", 0.55), ("6.1.112", 0.33), ("6.6.51", 0.12))
"""Kernels and the shares of hosts that run them: each newer one has reached an earlier wave only."""
RACKS_PER_FEED, RACKS_PER_SWITCH = 3, 2
"""Neighbouring racks on one power feed, and on one switch: the two cut the row differently."""
DEDICATED_EVERY: Final = 30
"""In every third cluster, one host in so many belongs to one owner alone."""
LOTS: Final = 16
"""Lots that drives were delivered in, which their serial numbers begin with; a host's are mostly of one lot."""


@dataclass(frozen=True)
class DriveModel:
    """A make of drive. `family` decides which SMART attributes it reports."""

    model: str
    capacity_bytes: int
    family: str
    share: float
    firmware: tuple[str, ...]
    flawed: bool = False


DRIVE_MODELS: Final = (
    DriveModel("ST8000SIM1", 8_001_563_222_016, "seagate", 0.40, ("SC60", "SC61")),
    DriveModel("ST12000SIM2", 12_000_138_625_024, "seagate", 0.15, ("SC60",), flawed=True),
    DriveModel("HUS8000SIM3", 8_001_563_222_016, "other", 0.30, ("A3T0",)),
    DriveModel("WUS12000SIM4", 12_000_138_625_024, "other", 0.15, ("W990", "W9J0")),
)
"""Drives of the flawed model fail `FleetSpec.flaw_factor` times as often."""

DIMM_MODEL: Final = "DDR5-32G-SIM"
DIMM_BYTES: Final = 32 * GIB
GPU_MODEL: Final = "GPU-80G-SIM"
GPU_BYTES: Final = 80 * GIB


@dataclass(frozen=True)
class Precursor:
    """How a failure announces itself: columns, fault modes (memory) or event kinds that move, the first one most."""

    name: str
    cause: str
    signals: tuple[str, ...]
    share: float
    """Share among the failures of its family that are not silent."""


PRECURSORS: Final[dict[str, tuple[Precursor, ...]]] = {
    "seagate": (
        Precursor("reallocation", "media", ("smart_5_raw", "smart_197_raw"), 0.30),
        Precursor("pending", "media", ("smart_197_raw", "smart_198_raw"), 0.30),
        Precursor("uncorrectable", "head", ("smart_187_raw", "smart_197_raw"), 0.28),
        Precursor("timeouts", "electronics", ("smart_188_raw", "smart_187_raw"), 0.12),
    ),
    "other": (
        Precursor("reallocation", "media", ("smart_5_raw", "smart_196_raw"), 0.50),
        Precursor("pending", "media", ("smart_197_raw", "smart_198_raw"), 0.50),
    ),
    "memory": (
        Precursor("cell", "uncorrectable", ("cell",), 0.08),
        Precursor("row", "uncorrectable", ("row",), 0.30),
        Precursor("column", "uncorrectable", ("column",), 0.15),
        Precursor("bank", "uncorrectable", ("bank",), 0.25),
        Precursor("device", "uncorrectable", ("device",), 0.12),
        Precursor("rank", "uncorrectable", ("rank",), 0.10),
    ),
    "gpu": (
        Precursor("row_remap", "double_bit_error", ("xid",), 0.6),
        Precursor("link", "off_the_bus", ("xid",), 0.4),
    ),
}
SILENT_CAUSE: Final = {"disk": "electronics", "memory": "uncorrectable", "gpu": "off_the_bus"}

XID_OF: Final = {"row_remap": 63, "link": 74}
"""The Xid code that repeats before a failure, by precursor."""
XID_HARMLESS: Final = (13, 31, 43)
"""Codes that applications cause on healthy GPUs."""
