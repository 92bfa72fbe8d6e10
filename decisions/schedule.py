"""When each host's work may start, so that no rack, target or fleet has more at once than its budget."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from decisions.domain import Action, VmPlan
from decisions.policy import Limits


class Calendar:
    """The budgets of one cycle, in seconds after its `asof_at`.

    A budget of n is n slots, each free from a moment on. A host's work holds a slot of its rack, one of the fleet and,
    on each target, as many as it may send there at once, from its start to its end: so no budget is ever exceeded.
    """

    def __init__(self, asof_at: datetime, limits: Limits) -> None:
        self._asof_at = asof_at
        self._limits = limits
        self._fleet = [0.0] * limits.hosts_at_once_per_fleet
        self._racks: dict[str, list[float]] = {}
        self._targets: dict[str, list[float]] = {}

    def earliest_seconds(self, rack: str, targets: Mapping[str, int]) -> float:
        """When rack, fleet and targets are all free for the work."""
        waits = [self._fleet[0], self._rack(rack)[0]]
        waits += [heapq.nsmallest(count, self._target(target))[-1] for target, count in targets.items()]
        return max(waits)

    def hold(self, rack: str, targets: Mapping[str, int], until_seconds: float) -> None:
        """Take the slots until then."""
        heapq.heapreplace(self._fleet, until_seconds)
        heapq.heapreplace(self._rack(rack), until_seconds)
        for target, count in targets.items():
            for _ in range(count):
                heapq.heapreplace(self._target(target), until_seconds)

    def hold_open(self, rack: str, targets: Mapping[str, int], not_before: datetime, seconds: float) -> None:
        """Take the slots of an order under way, as if it lasted its whole time from now, or from its start."""
        starts_in = max(0.0, (not_before - self._asof_at).total_seconds())
        until = starts_in + seconds
        self.hold(rack, targets, until)

    def at_once(self, plans: Iterable[VmPlan]) -> Mapping[str, int]:
        """How many VMs the work may send to each target at the same time."""
        counts = Counter(plan.target_host_id for plan in plans if plan.target_host_id is not None and _moves(plan))
        return {target: min(count, self._limits.live_moves_at_once_per_source) for target, count in counts.items()}

    def _rack(self, rack: str) -> list[float]:
        return self._racks.setdefault(rack, [0.0] * self._limits.hosts_at_once_per_rack)

    def _target(self, target: str) -> list[float]:
        return self._targets.setdefault(target, [0.0] * self._limits.live_moves_at_once_per_target)


def _moves(plan: VmPlan) -> bool:
    return plan.technique in {Action.LIVE_MIGRATE, Action.EVACUATE}
