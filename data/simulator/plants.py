"""Planted causes: what some parts or their hosts share makes them fail more often from a day on.

A plant is written `rack=sim-r004*12@80`: parts in that rack fail 12 times as often from day 80 on, counted from the
first. `firmware=3.2.1+model=ST8000SIM1*15@60` asks for both; `component=memory` narrows it to one kind of part.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from data.errors import UsageError
from data.simulator.parts import texts
from data.simulator.topology import Flags, Floats

OF_HOST: Final = ("zone", "cluster", "rack", "power_feed", "switch", "hardware_model", "firmware", "kernel")
OF_PART: Final = ("component", "model", "part_firmware", "lot")
LOT_LETTERS: Final = 4
"""How many letters of a drive's serial number name its lot."""
FACTORS: Final = (1.0, 1_000.0)
_WRITTEN: Final = re.compile(r"(?P<shared>[^*@]+)\*(?P<factor>[0-9.]+)@(?P<day>[0-9.]+)")


@dataclass(frozen=True)
class Plant:
    """A shared cause: names and values that a part and its host must all have."""

    shared: tuple[tuple[str, str], ...]
    factor: float
    """How many times as often as without it the parts fail."""
    from_day: float
    """Days after the first midnight at which it begins."""

    def __str__(self) -> str:
        """As `parse` reads it."""
        named = "+".join(f"{name}={value}" for name, value in self.shared)
        return f"{named}*{self.factor:g}@{self.from_day:g}"


def parse(text: str) -> Plant:
    """The plant that is written so.

    Raises:
        UsageError: it is not written like a plant, or names something that parts and hosts do not have.
    """
    found = _WRITTEN.fullmatch(text.strip())
    pairs = [tuple(each.split("=", 1)) for each in found["shared"].split("+")] if found else []
    known = {*OF_HOST, *OF_PART}
    if found is None or not all(len(pair) == 2 and pair[0] in known and pair[1] for pair in pairs):
        msg = f"plant {text!r} makes no sense: write NAME=VALUE[+NAME=VALUE]*FACTOR@DAY, NAME one of {sorted(known)}"
        raise UsageError(msg)
    try:
        factor, from_day = float(found["factor"]), float(found["day"])
    except ValueError as error:
        msg = f"plant {text!r} makes no sense: FACTOR and DAY are numbers, as in rack=sim-r004*12@80"
        raise UsageError(msg) from error
    if not FACTORS[0] <= factor <= FACTORS[1]:
        msg = f"plant {text!r}: the factor must be between {FACTORS[0]:g} and {FACTORS[1]:g}"
        raise UsageError(msg)
    return Plant(tuple((pair[0], pair[1]) for pair in pairs), factor, from_day)


def members(plant: Plant, hosts: pa.Table, parts: pa.Table) -> Flags:
    """Which of the parts have all that the plant names."""
    ids = np.array(hosts["host_id"].to_pylist(), dtype=object)
    inside = np.ones(parts.num_rows, dtype=np.bool_)
    for name, value in plant.shared:
        if name in OF_HOST:
            having = set(ids[np.array(hosts[name].to_pylist(), dtype=object) == value].tolist())
            inside &= np.array([host in having for host in parts["host_id"].to_pylist()], dtype=np.bool_)
        else:
            inside &= np.array(_of_parts(parts, name), dtype=object) == value
    return inside


def _of_parts(parts: pa.Table, name: str) -> list[str | None]:
    if name == "lot":
        return [serial[:LOT_LETTERS] for serial in texts(parts, "entity_id")]
    return list(parts["firmware" if name == "part_firmware" else name].to_pylist())


def days_to_failure(
    lives: Floats, per_day: Floats, plants: Sequence[Plant], inside: Sequence[Flags]
) -> tuple[Floats, Floats]:
    """When each part fails, and when the last plant that hastened it began; days, infinite and 0 where never.

    The hazard is flat between the moments at which plants begin; the failure comes when it has added up to `lives`.

    Args:
        lives: a standard exponential draw for each part.
        per_day: each part's hazard before any plant.
        plants: the planted causes.
        inside: the parts of each plant.
    """
    left, hazard, begun = lives.copy(), per_day.copy(), 0.0
    failing, since = np.full(len(lives), np.inf), np.zeros(len(lives))
    hastened = np.zeros(len(lives))
    order = sorted(range(len(plants)), key=lambda nth: plants[nth].from_day)
    for nth in [*order, None]:
        ends = np.inf if nth is None else plants[nth].from_day
        needs = np.divide(left, hazard, out=np.full(len(lives), np.inf), where=hazard > 0)
        now = np.isinf(failing) & (begun + needs < ends)
        failing[now], since[now] = begun + needs[now], hastened[now]
        if nth is not None:
            left = left - hazard * (ends - begun)
            hazard = np.where(inside[nth], hazard * plants[nth].factor, hazard)
            hastened = np.where(inside[nth], ends, hastened)
            begun = ends
    return failing, since
