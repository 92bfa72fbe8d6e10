"""Arms beside each other: interruption rates, savings and regret, each with a 95 % interval.

AIR = 100 x 365 x interruptions / VM-days. Saving = 1 - AIR(arm) / AIR(no action). Regret = saving(hindsight) -
saving(policy). Intervals: bootstrap over hosts, the same draws for all arms, so that what is compared shares failures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipelines.replay.arms import Cost

DRAWS: Final = 2_000
BATCH: Final = 200
PERCENTILES: Final = (2.5, 97.5)

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; null where nothing was there to compare with."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Figures:
    """Arms by name."""

    air: Mapping[str, Interval]
    interruptions: Mapping[str, Interval]
    saving: Mapping[str, Interval]
    saved: Mapping[str, Floats]
    """Per arm, the saving itself and then in each draw; for differences between arms."""

    def difference(self, one: str, other: str) -> Interval:
        """Saving of one arm less that of the other, paired."""
        return _interval(self.saved[one] - self.saved[other])


def figures(costs: Mapping[str, Cost], hosts: Sequence[str], nobody: str, seed: int) -> Figures:
    """The arms' figures.

    Args:
        costs: what each arm cost.
        hosts: every host of the period: what is drawn.
        nobody: the arm in which nobody acts.
        seed: of the draws.
    """
    place = {host_id: at for at, host_id in enumerate(hosts)}
    counts = np.zeros((len(hosts), len(costs)), dtype=np.int64)
    for column, cost in enumerate(costs.values()):
        for host_id, count in cost.by_host.items():
            counts[place[host_id], column] = count
    drawn = np.vstack([counts.sum(axis=0), _drawn(counts, seed)]).astype(np.float64)
    total = {name: drawn[:, column] for column, name in enumerate(costs)}
    base = np.where(total[nobody] > 0, total[nobody], np.nan)
    saved = {name: 1.0 - of / base for name, of in total.items()}
    return Figures(
        air={name: _interval(36_500.0 * of / costs[name].vm_days) for name, of in total.items()},
        interruptions={name: _interval(of) for name, of in total.items()},
        saving={name: _interval(of) for name, of in saved.items()},
        saved=saved,
    )


def _drawn(counts: Counts, seed: int) -> Counts:
    """Interruptions per draw and arm: hosts drawn with replacement, as many as there are."""
    random = np.random.default_rng(seed)
    hosts = len(counts)
    even = np.full(hosts, 1.0 / hosts)
    parts = [random.multinomial(hosts, even, size=BATCH) @ counts for _ in range(DRAWS // BATCH)]
    return np.vstack(parts)


def _interval(values: Floats) -> Interval:
    if np.isnan(values[0]):
        return Interval(None, None, None)
    low, high = np.nanpercentile(values[1:], PERCENTILES)
    return Interval(float(values[0]), float(low), float(high))
