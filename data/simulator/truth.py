"""What will really fail, when, and what announces it: known to the simulator and to nobody who predicts."""

from datetime import timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.contracts import UTC
from data.simulator.catalogue import DRIVE_MODELS, HOST_FIRMWARE, PRECURSORS, SILENT_CAUSE, Precursor
from data.simulator.fleet import Fleet, FleetSpec
from data.simulator.parts import of_component
from data.simulator.plants import days_to_failure, members
from data.simulator.topology import Floats, pick, stream

_COLUMNS: Final[dict[str, tuple[pa.DataType, bool]]] = {
    "component": (pa.string(), False),
    "entity_id": (pa.string(), False),
    "host_id": (pa.string(), False),
    "failed_at": (UTC, False),
    "cause": (pa.string(), False),
    "precursor": (pa.string(), True),
    "signals": (pa.list_(pa.string()), False),
    "precursor_from": (UTC, True),
    "replacement_id": (pa.string(), False),
    "replaced_at": (UTC, False),
}
TRUTH: Final = pa.schema([pa.field(name, kind, nullable=null) for name, (kind, null) in _COLUMNS.items()])
"""Ground truth, one row per failure. `precursor` and `precursor_from` are null where nothing announces it; `signals`
are the columns, fault modes (memory) or event kinds that the precursor moves, the strongest first."""

BEYOND_DAYS: Final = 30
"""Failures are planned this far past the last day, so that the last weeks hold precursors too."""
LEAD_DAYS: Final = {"disk": (12.0, 0.6, 2.0, 45.0), "memory": (8.0, 0.7, 0.5, 40.0), "gpu": (6.0, 0.6, 1.0, 25.0)}
"""From the first sign to the failure: median, spread (of the logarithm), least and most, in days."""
_STREAM: Final = {"disk": 20, "memory": 21, "gpu": 22}
_PREFIX: Final = {"disk": "SIMD9", "memory": "SIMM9", "gpu": "SIMG9"}


def failures(fleet: Fleet) -> pa.Table:
    """Every failure from the first day to `BEYOND_DAYS` past the last, by `TRUTH`, in order of time.

    Each part has a constant hazard: its annual rate times `acceleration`, times `flaw_factor` for the flawed drive
    model and for DIMMs under the flawed firmware, and times the factor of each plant from its day on. A part fails
    once; its replacement does not fail again.
    """
    tables = [_component(fleet, component) for component in _STREAM]
    return pa.concat_tables(tables).sort_by([("failed_at", "ascending"), ("entity_id", "ascending")])


def _component(fleet: Fleet, component: str) -> pa.Table:
    spec = fleet.spec
    parts = of_component(fleet.entities, component)
    rng = stream(spec.seed, _STREAM[component])
    per_day = _annual(spec, component) * _hazard(fleet, parts, component) / 365.25
    draws = rng.standard_exponential(parts.num_rows)
    planted = [members(plant, fleet.hosts, parts) for plant in spec.planted]
    days, hastened = days_to_failure(draws, per_day, spec.planted, planted)
    failing = np.nonzero(days < spec.days + BEYOND_DAYS)[0]
    chance = rng.random((len(failing), 2))
    leads = _leads(component, rng.standard_normal(len(failing)))
    rows = []
    for nth, part in enumerate(parts.take(failing).to_pylist()):
        precursor = None if chance[nth, 0] < spec.silent_share else _precursor(component, part["model"], chance[nth, 1])
        failed_at = spec.start_at + timedelta(seconds=int(days[failing[nth]] * 86_400))
        earliest = spec.start_at + timedelta(days=float(hastened[failing[nth]]))
        begins_at = max(earliest, failed_at - timedelta(seconds=int(leads[nth] * 86_400)))
        rows.append(
            {
                "component": component,
                "entity_id": part["entity_id"],
                "host_id": part["host_id"],
                "failed_at": failed_at,
                "cause": precursor.cause if precursor else SILENT_CAUSE[component],
                "precursor": precursor.name if precursor else None,
                "signals": list(precursor.signals) if precursor else [],
                "precursor_from": begins_at if precursor else None,
                "replacement_id": f"{_PREFIX[component]}{nth:06d}",
                "replaced_at": failed_at + timedelta(days=spec.repair_days),
            }
        )
    return pa.Table.from_pylist(rows, schema=TRUTH)


def _annual(spec: FleetSpec, component: str) -> float:
    return spec.acceleration * float(getattr(spec, f"{component}_annual_failure_rate"))


def _hazard(fleet: Fleet, parts: pa.Table, component: str) -> Floats:
    """How many times as often as usual each part fails."""
    if component == "disk":
        flawed = pc.is_in(parts["model"], pa.array([m.model for m in DRIVE_MODELS if m.flawed]))
    elif component == "memory":
        versions = pa.array([f.version for f in HOST_FIRMWARE if f.flawed])
        hosts = fleet.hosts.filter(pc.is_in(fleet.hosts["firmware"], versions))["host_id"]
        flawed = pc.is_in(parts["host_id"], hosts.combine_chunks())
    else:
        return np.ones(parts.num_rows)
    return np.where(flawed.to_numpy(zero_copy_only=False), fleet.spec.flaw_factor, 1.0)


def _leads(component: str, normal: Floats) -> Floats:
    median, spread, least, most = LEAD_DAYS[component]
    return np.clip(median * np.exp(spread * normal), least, most)


def _precursor(component: str, model: str, draw: float) -> Precursor:
    family = component
    if component == "disk":
        family = next(m.family for m in DRIVE_MODELS if m.model == model)
    known = PRECURSORS[family]
    return known[int(pick(np.array([draw]), tuple(p.share for p in known))[0])]
