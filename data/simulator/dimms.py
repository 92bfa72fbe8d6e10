"""Corrected errors of simulated DIMMs: what healthy ones see and get over, and what comes before an uncorrectable one.

The fault modes are those of field studies: a fault sits in one cell, one row, one column, one bank, one device
(several banks of it) or one rank (several devices), and its errors share what the fault shares and differ in the rest.
Most faults are harmless: a cell that sticks can report thousands of errors for months, some with several bits wrong.
What precedes a failure differs in three ways: the fault is mostly larger than a cell, its errors thicken, and more and
more of its bursts have several wrong bits, on several data pins and beats. Shares are of the order that field studies
report (errors on a few per cent of DIMMs a year, most faults in one cell), and are not measured on any one fleet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from data.simulator.topology import Floats, pick

DAY_MICROS: Final = 86_400_000_000
HOUR_MICROS: Final = 3_600_000_000
SIZES: Final = {"rank": 2, "device": 18, "bank_group": 4, "bank": 4, "row": 65_536, "column": 1_024}
VARIES: Final[dict[str, tuple[str, ...]]] = {
    "cell": (),
    "row": ("column",),
    "column": ("row",),
    "bank": ("row", "column"),
    "device": ("bank_group", "bank", "row", "column"),
    "rank": ("device", "bank_group", "bank", "row", "column"),
    "any": tuple(SIZES),
}
"""The address parts that differ from error to error under a fault of that mode; `any` is no fault but chance."""

CHANCE_DIMMS, CHANCE_PER_DAY = 0.05, 0.02
"""Share of healthy DIMMs that see unrelated single errors now and then, and how often."""
FAULTS_PER_YEAR: Final = 0.15
"""Lasting faults that go no further, on one healthy DIMM."""
FAULT_DAYS: Final = (15.0, 1.0)
"""How long such a fault lasts, until its page is taken out of use: median in days, and spread of the logarithm."""
EARLIER_DAYS: Final = 60
"""Faults that begin so long before the first day are under way on it, so that the first weeks are like the others."""
FAULT_PER_DAY: Final = (3.0, 1.2)
"""Reports a day of such a fault: median, and spread of the logarithm."""
FAULT_MODES: Final = {"cell": 0.85, "row": 0.07, "column": 0.05, "bank": 0.03}
STORMS_PER_YEAR: Final = 0.05
"""Storms that pass within hours, on one healthy DIMM."""
STORM_MODES: Final = {"cell": 0.85, "row": 0.10, "column": 0.05}
STORM_HOURS: Final = (0.25, 8.0)
STORM_EVENTS: Final = 60
"""Reports in a storm, on average."""
SCRUB_SHARE: Final = 0.3
"""Share of errors that the patrol scrubber finds; half as many where a fault is being read all the time."""
RISKY: Final = (0.15, 0.5)
"""Share of bursts with several wrong pins and beats under a fault that ends in a failure: at first, and at the end."""
RISKY_HARMLESS, RISKY_HARMLESS_AT_TIMES, AT_TIMES = 0.03, 0.3, 0.45
"""The same under harmless faults: of most, of the others, and the share of the others."""

Announced = tuple[str, str, int, int, int]
"""DIMM, fault mode, first sign, failure, and the last moment shown (microseconds from the first day)."""


@dataclass(frozen=True)
class Corrected:
    """One report of `count` corrected errors; `at` in microseconds from the first day."""

    dimm: str
    at: int
    count: int
    detail: dict[str, int | str]


def corrected_errors(
    healthy: Sequence[str], announced: Sequence[Announced], days: int, rng: np.random.Generator
) -> Iterator[Corrected]:
    """Yield every report of every DIMM, in no order of time.

    Args:
        healthy: DIMMs that never fail.
        announced: failures that something announces.
        days: how many days are shown.
        rng: all chance comes from here.
    """
    last = days * DAY_MICROS
    for dimm in healthy:
        if rng.random() < CHANCE_DIMMS:
            yield from _chance(dimm, days, rng)
        for _ in range(rng.poisson(FAULTS_PER_YEAR * (EARLIER_DAYS + days) / 365)):
            yield from _lasting_fault(dimm, last, rng)
        for _ in range(rng.poisson(STORMS_PER_YEAR * days / 365)):
            yield from _passing_storm(dimm, last, rng)
    for dimm, mode, begins, fails, shown in announced:
        yield from _storm(dimm, mode, begins, fails, min(fails, shown), rng)


def _chance(dimm: str, days: int, rng: np.random.Generator) -> Iterator[Corrected]:
    for at in rng.integers(0, days * DAY_MICROS, rng.poisson(CHANCE_PER_DAY * days)):
        yield _report(dimm, int(at), 1, _address("any", {}, rng), RISKY_HARMLESS, rng)


def _lasting_fault(dimm: str, last: int, rng: np.random.Generator) -> Iterator[Corrected]:
    """A fault that reports at the same pace for days or weeks, and then no more."""
    mode, home, risky = _one_of(FAULT_MODES, rng), _address("any", {}, rng), _harmless(rng)
    begins = int(rng.integers(-EARLIER_DAYS * DAY_MICROS, last))
    ends = min(last, begins + int(_lognormal(FAULT_DAYS, rng) * DAY_MICROS))
    for at in rng.integers(begins, ends, rng.poisson(_lognormal(FAULT_PER_DAY, rng) * (ends - begins) / DAY_MICROS)):
        if at >= 0:
            yield _report(dimm, int(at), int(rng.geometric(0.25)), _address(mode, home, rng), risky, rng)


def _passing_storm(dimm: str, last: int, rng: np.random.Generator) -> Iterator[Corrected]:
    mode, home, risky = _one_of(STORM_MODES, rng), _address("any", {}, rng), _harmless(rng)
    begins = int(rng.integers(0, last))
    ends = min(last, begins + int(rng.uniform(*STORM_HOURS) * HOUR_MICROS))
    for at in rng.integers(begins, ends, 1 + rng.poisson(STORM_EVENTS)):
        yield _report(dimm, int(at), 1 + int(rng.poisson(10)), _address(mode, home, rng), risky, rng)


def _storm(dimm: str, mode: str, begins: int, fails: int, until: int, rng: np.random.Generator) -> Iterator[Corrected]:
    """Reports of one fault that thicken, grow and get riskier towards `fails`; none at or after `until`."""
    home = _address("any", {}, rng)
    progress: Floats = np.sort(np.sqrt(rng.random(1 + rng.poisson(STORM_EVENTS))))
    counts = 1 + rng.poisson(20 * progress**2)
    first, final = RISKY
    for done, count in zip(progress.tolist(), counts.tolist(), strict=True):
        at = begins + int(done * (fails - begins))
        if at < until:
            risky = first + (final - first) * done
            yield _report(dimm, at, count, _address(mode, home, rng), risky, rng)


def _report(
    dimm: str, at: int, count: int, address: dict[str, int], risky: float, rng: np.random.Generator
) -> Corrected:
    share = SCRUB_SHARE / 2 if count > 1 else SCRUB_SHARE
    access = "SCRUB" if rng.random() < share else "READ"
    return Corrected(dimm, at, count, {"access": access, **address, **_burst(risky, rng)})


def _lognormal(shape: tuple[float, float], rng: np.random.Generator) -> float:
    median, spread = shape
    return median * float(np.exp(spread * rng.standard_normal()))


def _harmless(rng: np.random.Generator) -> float:
    return RISKY_HARMLESS_AT_TIMES if rng.random() < AT_TIMES else RISKY_HARMLESS


def _burst(risky: float, rng: np.random.Generator) -> dict[str, int]:
    """Wrong data pins and beats of one burst on a x4 device: mostly one bit, in risky ones several of both."""
    if rng.random() >= risky:
        return {"dqs": 1, "beats": 1, "bits": 1}
    dqs, beats = int(rng.integers(2, 5)), int(rng.integers(2, 9))
    return {"dqs": dqs, "beats": beats, "bits": int(rng.integers(max(dqs, beats), dqs * beats + 1))}


def _address(mode: str, home: dict[str, int], rng: np.random.Generator) -> dict[str, int]:
    """An address under a fault of that mode that sits at `home`."""
    return {part: int(rng.integers(size)) if part in VARIES[mode] else home[part] for part, size in SIZES.items()}


def _one_of(shares: dict[str, float], rng: np.random.Generator) -> str:
    return list(shares)[int(pick(np.array([rng.random()]), tuple(shares.values()))[0])]
