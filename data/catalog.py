"""What is known about a component's readings, as data: which numbers are counters, which are gauges."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from data.errors import UsageError

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Catalog:
    """A component's reading columns.

    A counter hardly ever changes, and each change means something; a gauge moves by itself every day. The two are
    stored differently (see `data/readings.py`).
    """

    component: str
    counters: tuple[str, ...]
    gauges: tuple[str, ...]
    packed: tuple[str, ...]
    """Counters that hold three 16-bit counters in one number (`words16` in the table of attributes)."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All reading columns, gauges first, as the day table and a staged batch hold them."""
        return tuple(f"{stem}_raw" for stem in (*self.gauges, *self.counters))


def _rows() -> Iterator[dict[str, str]]:
    with (_HERE / "smart_attributes.csv").open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def has_readings(component: str) -> bool:
    """Whether entities of the component send daily readings; the others are watched by their events."""
    return component == "disk"


@cache
def catalog(component: str) -> Catalog:
    """The catalog of a component that has daily readings; `UsageError` for one that has events only."""
    if not has_readings(component):
        msg = f"{component!r} has no daily readings: only 'disk' has. Load its events instead."
        raise UsageError(msg)
    stems: dict[str, list[str]] = {"counter": [], "gauge": []}
    for row in _rows():
        stems[row["kind"]].append(f"smart_{row['attribute']}")
    packed = tuple(f"smart_{row['attribute']}" for row in _rows() if row["encoding"] == "words16")
    return Catalog(component, tuple(stems["counter"]), tuple(stems["gauge"]), packed)
