"""Events of simulated DIMMs and GPUs: corrected errors and Xid codes, harmless ones and those before a failure.

Corrected errors (`ce`): `value` is their number, `detail` the address and access of the first one.
GPU errors (`xid`): `value` is NVIDIA's Xid code, repeated in `detail`.
"""

import json
from datetime import timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa

from data.contracts import EVENTS
from data.simulator.catalogue import XID_HARMLESS, XID_OF
from data.simulator.fleet import Fleet
from data.simulator.parts import of_component, texts
from data.simulator.topology import stream

DAY_MICROS: Final = 86_400_000_000
NOISY_DIMMS: Final = 0.06
NOISY_PER_DAY: Final = 0.12
QUIET_STORMS: Final = 0.004
"""Share of healthy DIMMs that see one storm and recover, for instance because a page was taken out of use."""
HARMLESS_PER_DAY: Final = 0.08
STORM_EVENTS: Final = 60
ROWS, COLUMNS, BANKS, DEVICES = 65_536, 1_024, 16, 18

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
    rng = stream(fleet.spec.seed, 40)
    days = fleet.spec.days
    rows: list[Row] = []
    for dimm in _healthy(fleet, truth, "memory"):
        chance = rng.random()
        if chance < NOISY_DIMMS:
            times = rng.integers(0, days * DAY_MICROS, rng.poisson(NOISY_PER_DAY * days))
            rows += [_ce(dimm, int(at), int(rng.geometric(0.6)), _address("any", rng), rng) for at in times]
        elif chance > 1 - QUIET_STORMS:
            begins = int(rng.integers(0, days * DAY_MICROS))
            ends = min(begins + DAY_MICROS, days * DAY_MICROS)
            rows += _storm(dimm, str(rng.choice(["cell", "row"])), begins, ends, ends, rng)
    for dimm, mode, begins, fails, last in _announced(fleet, truth, "memory"):
        rows += _storm(dimm, mode, begins, fails, last, rng)
    return rows


def _storm(dimm: str, mode: str, begins: int, fails: int, last: int, rng: np.random.Generator) -> list[Row]:
    """Corrected errors of one fault, thickening towards `fails`; none at or after it, none after `last`."""
    home = _address("any", rng)
    times = begins + np.sort(np.sqrt(rng.random(1 + rng.poisson(STORM_EVENTS)))) * (fails - begins)
    counts = 1 + rng.poisson(20 * ((times - begins) / max(1, fails - begins)) ** 2)
    return [
        _ce(dimm, int(at), int(count), home | _address(mode, rng), rng)
        for at, count in zip(times, counts, strict=True)
        if at < min(fails, last)
    ]


def _address(mode: str, rng: np.random.Generator) -> dict[str, int]:
    """The address parts that vary from error to error under a fault of this mode; all of them for `any`."""
    full = {
        "device": int(rng.integers(DEVICES)),
        "bank": int(rng.integers(BANKS)),
        "row": int(rng.integers(ROWS)),
        "column": int(rng.integers(COLUMNS)),
    }
    varies: dict[str, tuple[str, ...]] = {
        "cell": (),
        "row": ("column",),
        "column": ("row",),
        "bank": ("row", "column"),
        "device": ("bank", "row", "column"),
        "any": tuple(full),
    }
    return {name: full[name] for name in varies[mode]}


def _ce(dimm: str, at: int, count: int, address: dict[str, int], rng: np.random.Generator) -> Row:
    detail: dict[str, Any] = {"access": "CE.SCRUB" if rng.random() < 0.3 else "CE.READ", **address}
    return ("memory", dimm, at, "ce", float(count), json.dumps(detail))


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
