"""Daily SMART readings of simulated drives: gauges that move every day, counters that hardly ever do."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from data.simulator.catalogue import DRIVE_MODELS
from data.simulator.fleet import Fleet
from data.simulator.parts import of_component, texts
from data.simulator.topology import Floats, Ints, stream

GAUGES: Final = (1, 7, 9, 190, 193, 194, 195, 241, 242)
COUNTERS: Final = (5, 10, 12, 183, 184, 187, 188, 189, 192, 196, 197, 198, 199)
ATTRIBUTES: Final = tuple(sorted(GAUGES + COUNTERS))
SEAGATE_ONLY: Final = frozenset({7, 183, 184, 187, 188, 189, 190, 195, 241, 242})
OTHERS_ONLY: Final = frozenset({196})
_IDENTITY: Final[dict[str, pa.DataType]] = {
    "date": pa.date32(),
    "serial_number": pa.string(),
    "model": pa.string(),
    "capacity_bytes": pa.int64(),
    "failure": pa.int32(),
}
READINGS: Final = pa.schema(
    [pa.field(name, kind) for name, kind in _IDENTITY.items()]
    + [pa.field(f"smart_{number}_raw", pa.int64()) for number in ATTRIBUTES]
)
"""One row per drive and day, as Backblaze publishes it. `failure` is 1 on a drive's last day."""

# Share of drives that start with a small count and keep it (bait for a rule on levels), and of drives that see a
# burst without ever failing (bait for a rule on growth), per attribute.
STALE: Final = {5: 0.035, 183: 0.03, 187: 0.012, 188: 0.04, 196: 0.03, 197: 0.008, 199: 0.05}
BURST: Final = {5: 0.010, 187: 0.004, 188: 0.02, 189: 0.05, 197: 0.012, 199: 0.02}
NOISE_PER_DAY: Final = {12: 0.0015, 192: 0.0012, 189: 0.0006, 199: 0.0004, 10: 0.00002}
BURST_DAYS: Final = 20


@dataclass(frozen=True)
class Drives:
    """Every drive that is ever read, replacements included; `born` and `died` are days counted from the first."""

    serial: list[str]
    make: Ints
    born: Ints
    died: Ints
    """The failure's day; past the last day for those that live on."""


def readings(fleet: Fleet, truth: pa.Table) -> Iterator[tuple[date, pa.Table]]:
    """One table by `READINGS` for each day, in order. A drive's row on the day it fails is its last."""
    truth = of_component(truth, "disk")
    drives = _drives(fleet, truth)
    matrices = _gauges(fleet, drives) | _counters(fleet, drives, truth)
    makes = [DRIVE_MODELS[m] for m in drives.make.tolist()]
    serial, model = pa.array(drives.serial), pa.array([m.model for m in makes])
    capacity = pa.array([m.capacity_bytes for m in makes])
    seagate = np.array([m.family == "seagate" for m in makes])
    for day in range(fleet.spec.days):
        rows = np.nonzero((drives.born <= day) & (day <= drives.died))[0]
        on = fleet.spec.start + timedelta(days=day)
        columns = [
            pa.array(np.full(len(rows), (on - date(1970, 1, 1)).days, dtype=np.int32)).cast(pa.date32()),
            serial.take(pa.array(rows, pa.int64())),
            model.take(pa.array(rows, pa.int64())),
            capacity.take(pa.array(rows, pa.int64())),
            pa.array((drives.died[rows] == day).astype(np.int32)),
        ]
        for number in ATTRIBUTES:
            absent = ~seagate[rows] if number in SEAGATE_ONLY else seagate[rows] & (number in OTHERS_ONLY)
            columns.append(pa.array(matrices[number][day, rows], mask=absent))
        yield on, pa.Table.from_arrays(columns, schema=READINGS)


def _drives(fleet: Fleet, truth: pa.Table) -> Drives:
    parts = of_component(fleet.entities, "disk")
    serial = texts(parts, "entity_id")
    known = {m.model: n for n, m in enumerate(DRIVE_MODELS)}
    make = [known[m] for m in texts(parts, "model")]
    position = {name: n for n, name in enumerate(serial)}
    never = fleet.spec.days + 10_000
    born, died = [0] * len(serial), [never] * len(serial)
    for row in truth.to_pylist():
        drive = position[row["entity_id"]]
        died[drive] = (row["failed_at"] - fleet.spec.start_at).days
        serial.append(row["replacement_id"])
        make.append(make[drive])
        born.append((row["replaced_at"] - fleet.spec.start_at).days + 1)
        died.append(never)
    return Drives(serial, np.array(make), np.array(born), np.array(died))


def _gauges(fleet: Fleet, drives: Drives) -> dict[int, Ints]:
    """Matrices of one row per day and one column per drive."""
    days, count = fleet.spec.days, len(drives.serial)
    rng = stream(fleet.spec.seed, 30)
    age_hours = np.where(drives.born > 0, -24 * drives.born, rng.integers(500, 40_000, count))
    day = np.arange(days)[:, None]
    temperature = rng.normal(31, 3, count) + 2 * np.sin(2 * np.pi * day / 365) + rng.normal(0, 0.6, (days, count))
    load = rng.gamma(2.0, 3.0, count)
    written, read = rng.gamma(3.0, 4e7, count), rng.gamma(3.0, 9e7, count)
    hours = np.maximum(age_hours + 24 * (day + 1), 1)
    seagate = np.array([m.family == "seagate" for m in DRIVE_MODELS])[drives.make]
    celsius = np.rint(temperature).astype(np.int64)
    return {
        1: np.where(seagate, rng.integers(0, 240_000_000, (days, count)), 0),
        7: (hours * rng.gamma(4.0, 9_000, count)).astype(np.int64),
        9: hours,
        190: celsius,
        193: (hours * load / 24).astype(np.int64),
        194: celsius,
        195: rng.integers(0, 240_000_000, (days, count)),
        241: (hours * written / 24).astype(np.int64),
        242: (hours * read / 24).astype(np.int64),
    }


def _counters(fleet: Fleet, drives: Drives, truth: pa.Table) -> dict[int, Ints]:
    """Matrices like those of `_gauges`: a start value, then rare rises, then the planted ramps."""
    days, count = fleet.spec.days, len(drives.serial)
    rng = stream(fleet.spec.seed, 31)
    rises: dict[int, Ints] = {n: np.zeros((days, count), dtype=np.int64) for n in COUNTERS}
    rises[12][0] = rng.integers(5, 60, count)
    rises[192][0] = rng.integers(0, 40, count)
    healthy = drives.died > days
    for number, share in STALE.items():
        has = rng.random(count) < share
        rises[number][0] += np.where(has, rng.geometric(0.15, count), 0)
    for number, rate in NOISE_PER_DAY.items():
        rises[number] += rng.random((days, count), dtype=np.float32) < rate
    for number, share in BURST.items():
        for drive in np.nonzero(healthy & (rng.random(count) < share))[0].tolist():
            _burst(rises, number, drive, rng)
    position = {name: n for n, name in enumerate(drives.serial)}
    for row in truth.to_pylist():
        if row["precursor"] is not None:
            begins = (row["precursor_from"] - fleet.spec.start_at).days
            drive = position[row["entity_id"]]
            _ramp(rises, [int(s.split("_")[1]) for s in row["signals"]], drive, begins, int(drives.died[drive]), rng)
    return {number: np.maximum(np.cumsum(matrix, axis=0), 0) for number, matrix in rises.items()}


def _burst(rises: dict[int, Ints], number: int, drive: int, rng: np.random.Generator) -> None:
    """A healthy drive's trouble that goes no further; pending sectors are rewritten and shrink back."""
    days = len(rises[number])
    begins = int(rng.integers(0, days))
    span = rng.random(min(BURST_DAYS, days - begins)) < 0.15
    amounts = np.where(span, rng.geometric(0.3, len(span)), 0)
    rises[number][begins : begins + len(span), drive] += amounts
    ends = begins + len(span) + 3
    if number == 197 and ends < days:
        rises[number][ends, drive] -= amounts.sum()


def _ramp(
    rises: dict[int, Ints], numbers: list[int], drive: int, begins: int, died: int, rng: np.random.Generator
) -> None:
    """A planted precursor: rises that come more often and grow as the failure nears; the first signal always shows."""
    days = len(next(iter(rises.values())))
    span = np.arange(begins, died + 1)
    progress: Floats = (span - begins + 1) / len(span)
    severity = float(np.exp(rng.normal(1.0, 0.8)))
    for order, number in enumerate(numbers):
        happens = rng.random(len(span)) < (0.30 + 0.55 * progress) * (1.0 if order == 0 else 0.6)
        if order == 0:
            happens[min(1, len(span) - 1)] = True
        amounts = np.where(happens, 1 + rng.poisson(severity * 4 * progress**2), 0)
        inside = span < days
        rises[number][span[inside], drive] += amounts[inside]
