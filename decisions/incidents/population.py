"""Who could have been affected: parts, how long each was watched, and what it and its host were meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.object_]
Moments = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Population:
    """Stays as columns of one length: a part, while all that is told of it and of its host stayed the same.

    A part that changes its host, or whose host gets another kernel, has one stay before and one after; what happens to
    it belongs to the stay in which it happened. So a cause only counts for what came after it.
    """

    asof_at: datetime
    component: Words
    part: Words
    host: Words
    """None: in no known host."""
    days: Floats
    """How long the stay lasted within the window."""
    event_at: Moments
    """When the part failed, or was first seen at risk; NaT: neither, or not in this stay."""
    failed: Flags
    """The event is a failure; false: the part is at risk now."""
    current: Flags
    """The stay still goes on and the part has not failed."""
    attributes: Mapping[str, Words]
    """By name, the stay's value; None: not told."""
    since: Mapping[tuple[str, str], datetime]
    """Attribute and value to the moment at which the first that has it came, where that is on record."""
    simulated: bool = False

    def __len__(self) -> int:
        """How many stays there are."""
        return len(self.days)

    def only(self, component: str) -> "Population":
        """The stays of one kind of part."""
        keep = self.component == component
        columns: dict[str, Any] = {
            name: getattr(self, name)[keep] for name in ("component", "part", "host", "days", "event_at", "failed")
        }
        attributes = {name: values[keep] for name, values in self.attributes.items()}
        return Population(
            asof_at=self.asof_at,
            current=self.current[keep],
            attributes=attributes,
            since=self.since,
            simulated=self.simulated,
            **columns,
        )


def codes(words: Words) -> tuple[Ints, list[str]]:
    """Each word's place in the sorted list of words, which comes back too; -1 for None."""
    encoded = pa.array(words, pa.string()).dictionary_encode()
    values = [str(value) for value in encoded.dictionary.to_pylist()]
    order = sorted(range(len(values)), key=values.__getitem__)
    place: Ints = np.full(len(values) + 1, -1, dtype=np.int64)
    place[order] = np.arange(len(values))
    found: Ints = place[encoded.indices.fill_null(len(values)).to_numpy()]
    return found, [values[at] for at in order]
