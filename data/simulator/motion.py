"""How long a move takes, how long the VM pauses, and whether it works: all a function of seed, order and VM."""

import hashlib
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from data.errors import SettingsError

GBIT: Final = 125_000_000
"""Bytes per second."""


@dataclass(frozen=True)
class WorldSpec:
    """How the simulated world behaves. Rates are chosen, not measured."""

    repair_days: float = 3.0
    """From a failure until the host is back, with the part replaced."""
    hold_days: float = 30.0
    """A host that was emptied or blocked on purpose, and did not fail, returns to service after this long."""
    bandwidth_bytes_per_second: int = 10 * GBIT
    """Of one live migration."""
    moves_at_once: int = 4
    """Per order."""
    live_failure_rate: float = 0.01
    """Chance that a live migration fails."""
    failed_move_interrupts: float = 0.5
    """Chance that a failed live migration interrupts its VM; otherwise the VM runs on where it was."""
    redeploy_seconds: float = 120.0
    probation_days: float = 1.0
    """A host that comes back from repair is tested for so long before it takes VMs."""
    preserve_memory_seconds: float = 9.0
    """That VMs stand still for while their host is serviced; median, with the spread of a switch-over."""
    preserve_memory_failure_rate: float = 0.001
    """Chance that a paused VM does not resume, and is started anew."""
    told_acting_share: float = 0.3
    """Owners who redeploy their VM by themselves once they are told that its host may fail."""
    offered_acting_share: float = 0.6
    """Owners who pick a moment when they know what happens at the end of the window."""
    acting_mean_days: float = 2.0
    """How long owners take who act."""

    def __post_init__(self) -> None:
        bounds = {
            "repair_days": (0.001, 365.0),
            "hold_days": (0.001, 3650.0),
            "bandwidth_bytes_per_second": (1e6, 1e12),
            "moves_at_once": (1, 1000),
            "live_failure_rate": (0.0, 1.0),
            "failed_move_interrupts": (0.0, 1.0),
            "redeploy_seconds": (0.0, 86_400.0),
            "probation_days": (0.0, 365.0),
            "preserve_memory_seconds": (0.0, 3_600.0),
            "preserve_memory_failure_rate": (0.0, 1.0),
            "told_acting_share": (0.0, 1.0),
            "offered_acting_share": (0.0, 1.0),
            "acting_mean_days": (0.001, 365.0),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                msg = f"world: {name} = {getattr(self, name)} is out of bounds: give a value from {low:g} to {high:g}"
                raise SettingsError(msg)


STOP_SECONDS: Final = 0.3
"""Pre-copy ends when what is left can be sent in this time."""
ROUNDS_MOST: Final = 30
THROTTLE: Final = 0.7
"""A VM that dirties memory faster than this share of the bandwidth is slowed down to it (auto-converge)."""
SWITCH_SECONDS: Final = (0.4, 0.8)
"""Median and spread (of the logarithm) of the time to switch over, beside sending what is left."""


def chance(seed: int, *names: str) -> float:
    """A number in [0, 1) that depends on nothing but `seed` and `names`."""
    digest = hashlib.blake2b("\x1f".join((str(seed), *names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def acting_days(draw: float, share: float, mean_days: float) -> float | None:
    """When an owner acts, in days after being told, for a uniform draw; null: never. Exponential among those who do."""
    return -mean_days * math.log1p(-draw / share) if draw < share else None


def precopy(memory_bytes: int, dirty_bytes_per_second: int, bandwidth: int) -> tuple[float, float]:
    """Seconds of copying while the VM runs, and seconds of pause to send what is left.

    Pre-copy (Clark et al., NSDI 2005): round 0 sends all memory M at bandwidth B; each next round sends what the VM
    dirtied meanwhile, V(n+1) = min(M, D x V(n) / B), until V / B <= `STOP_SECONDS` or `ROUNDS_MOST` rounds have gone.
    D is at most `THROTTLE` x B, because hypervisors slow such VMs down.
    """
    ratio = min(dirty_bytes_per_second / bandwidth, THROTTLE)
    left, seconds = float(memory_bytes), 0.0
    for _ in range(ROUNDS_MOST):
        if left / bandwidth <= STOP_SECONDS:
            break
        seconds += left / bandwidth
        left *= ratio
    return seconds, left / bandwidth


def switch_seconds(draw: float) -> float:
    """Time to switch over, for a uniform draw: log-normal, under 5 s in all but about one in a thousand."""
    median, spread = SWITCH_SECONDS
    return median * math.exp(spread * NormalDist().inv_cdf(min(max(draw, 1e-9), 1 - 1e-9)))
