"""Events of simulated DIMMs and GPUs: corrected errors and Xid codes, harmless ones and those before a failure.

Corrected errors (`ce`): `value` is their number, `detail` the address, access and burst of the first one.
GPU errors (`xid`): `value` is NVIDIA's Xid code, repeated in `detail`.
"""

import json
from datetime import timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from data.contracts import EVENTS
from data.simulator.catalogue import XID_HARMLESS, XID_OF
from data.simulator.dimms import corrected_errors
from data.simulator.fleet import Fleet
from data.simulator.parts import of_component, texts
from data.simulator.topology import stream

DAY_MICROS: Final = 86_400_000_000
HARMLESS_PER_DAY: Final = 0.08

Row = tuple[str, str, int, str, float, str]


def events(fleet: Fleet, truth: pa.Table) -> pa.Table:
    """All events by `data.contracts.EVENTS`, in order of time.

    `ingested_at` is the end of the day they were observed on, as for a daily file.
    """
    rows = _memory(fleet, truth) + _gpu(fleet, truth)
    rows.sort(key=lambda row: (row[2], row[1]))
    start = int(fleet.spec.start_at.timestamp()) * 1_000_000
    observed = np.array([row[2] for row in rows], dtype=np.int64)
    ends = (observed // DAY_MICROS + 1) * DAY_MICROS
    stamp = EVENTS.field("observed_at").type
    columns = [
        pa.array([row[0] for row in rows], pa.string()),
        pa.array([row[1] for row in rows], pa.string()),
        pa.array(start + observed).cast(stamp),
        pa.array(start + ends).cast(stamp),
        pa.array([row[3] for row in rows], pa.string()),
        pa.array([row[4] for row in rows], pa.float64()),
        pa.array([row[5] for row in rows], pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=EVENTS)


def _healthy(fleet: Fleet, truth: pa.Table, component: str) -> list[str]:
    """Parts of a kind that never fail; ids in the fleet's order."""
    failing = set(texts(truth, "entity_id"))
    return [name for name in texts(of_component(fleet.entities, component), "entity_id") if name not in failing]


def _announced(fleet: Fleet, truth: pa.Table, component: str) -> list[tuple[str, str, int, int, int]]:
    """Failures with a precursor: entity, precursor, first sign, failure and last moment shown (microseconds)."""
    last = fleet.spec.days * DAY_MICROS
    found = []
    for row in truth.to_pylist():
        if row["component"] == component and row["precursor"] is not None:
            begins, fails = (
                (row[name] - fleet.spec.start_at) // timedelta(microseconds=1)
                for name in ("precursor_from", "failed_at")
            )
            if begins < last:
                found.append((row["entity_id"], row["precursor"], begins, fails, min(fails, last)))
    return found


def _memory(fleet: Fleet, truth: pa.Table) -> list[Row]:
    healthy, announced = _healthy(fleet, truth, "memory"), _announced(fleet, truth, "memory")
    rng = stream(fleet.spec.seed, 40)
    return [
        ("memory", one.dimm, one.at, "ce", float(one.count), json.dumps(one.detail))
        for one in corrected_errors(healthy, announced, fleet.spec.days, rng)
    ]


def _gpu(fleet: Fleet, truth: pa.Table) -> list[Row]:
    rng = stream(fleet.spec.seed, 41)
    days = fleet.spec.days
    rows: list[Row] = []
    for gpu in _healthy(fleet, truth, "gpu"):
        times = rng.integers(0, days * DAY_MICROS, rng.poisson(HARMLESS_PER_DAY * days))
        rows += [_xid(gpu, int(at), int(rng.choice(XID_HARMLESS))) for at in times]
    for gpu, mode, begins, fails, last in _announced(fleet, truth, "gpu"):
        moments = begins + np.sqrt(rng.random(3 + rng.poisson(8))) * (fails - begins)
        rows += [_xid(gpu, int(at), XID_OF[mode]) for at in moments if at < min(fails, last)]
    return rows


def _xid(gpu: str, at: int, code: int) -> Row:
    return ("gpu", gpu, at, "xid", float(code), json.dumps({"xid": code}))
