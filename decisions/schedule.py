"""When each host's work may start, so that no rack, target or fleet has more at once than its budget."""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from decisions.actions import MOVES
from decisions.domain import Action, Host, Order, VmPlan
from decisions.sections import Limits


class Calendar:
    """The budgets of one cycle, in seconds after its `asof_at`.

    A host's work takes one of its rack's budget, one of the fleet's and, on each target, as many as it may send there
    at once, from its start to its end: so no budget is ever exceeded. Work that waits for a window leaves the time
    before it to others.
    """

    def __init__(self, asof_at: datetime, limits: Limits) -> None:
        self._asof_at = asof_at
        self._limits = limits
        self._taken: dict[str, _Taken] = {}

    def earliest_seconds(
        self, rack: str, targets: Mapping[str, int], seconds: float = 0.0, from_seconds: float = 0.0
    ) -> float:
        """When, from then on, rack, fleet and targets are all free for as long as the work lasts."""
        start, settled = from_seconds, False
        while not settled:
            before = start
            for taken, count in self._needs(rack, targets):
                start = taken.earliest(start, seconds, count)
            settled = start == before
        return start

    def hold(self, rack: str, targets: Mapping[str, int], until_seconds: float, from_seconds: float = 0.0) -> None:
        """Take the budgets from one moment until the other."""
        for taken, count in self._needs(rack, targets):
            taken.take(from_seconds, until_seconds, count)

    def hold_open(self, rack: str, targets: Mapping[str, int], not_before: datetime, seconds: float) -> None:
        """Take the budgets of an order under way, as if it lasted its whole time from now, or from its start."""
        starts_in = max(0.0, (not_before - self._asof_at).total_seconds())
        self.hold(rack, targets, starts_in + seconds, starts_in)

    def at_once(self, plans: Iterable[VmPlan]) -> Mapping[str, int]:
        """How many VMs the work may send to each target at the same time."""
        counts = Counter(plan.target_host_id for plan in plans if plan.target_host_id is not None and _moves(plan))
        return {target: min(count, self._limits.live_moves_at_once_per_source) for target, count in counts.items()}

    def _needs(self, rack: str, targets: Mapping[str, int]) -> "Iterator[tuple[_Taken, int]]":
        limits = self._limits
        yield self._of("fleet", limits.hosts_at_once_per_fleet), 1
        yield self._of(f"rack {rack}", limits.hosts_at_once_per_rack), 1
        for target, count in targets.items():
            yield self._of(f"target {target}", limits.live_moves_at_once_per_target), count

    def _of(self, budget: str, limit: int) -> "_Taken":
        return self._taken.setdefault(budget, _Taken(limit))


class _Taken:
    """How much of one budget is taken when: `counts[i]` from `times[i]` on, nothing after the last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times = [0.0]
        self._counts = [0]

    def earliest(self, start: float, seconds: float, count: int) -> float:
        """The first moment from `start` on at which so much more fits for so long."""
        at = bisect_right(self._times, start) - 1
        while at < len(self._times) and (self._times[at] <= start or self._times[at] < start + seconds):
            if self._counts[at] + count > self._limit and at + 1 < len(self._times):
                start = self._times[at + 1]
            at += 1
        return start

    def take(self, start: float, end: float, count: int) -> None:
        """Take so much from start to end."""
        if end > start:
            first, last = self._cut(start), self._cut(end)
            for at in range(first, last):
                self._counts[at] += count

    def _cut(self, moment: float) -> int:
        """Where the moment stands among the times, put there if it is not."""
        at = bisect_right(self._times, moment)
        if self._times[at - 1] == moment:
            return at - 1
        self._times.insert(at, moment)
        self._counts.insert(at, self._counts[at - 1])
        return at


def rack_of(host: Host) -> str:
    """The host's rack, by a name that is its own in the whole fleet."""
    return f"{host.zone}/{host.rack}"


def work_seconds(plans: Iterable[VmPlan], at_once: int) -> float:
    """How long the plans take together, in their order, so many at a time."""
    lanes = [0.0] * at_once
    for plan in plans:
        if _moves(plan):
            heapq.heappush(lanes, heapq.heappop(lanes) + plan.seconds)
    return max(lanes)


def calendar_of(asof_at: datetime, limits: Limits, orders: Iterable[Order], hosts: Mapping[str, Host]) -> Calendar:
    """The budgets, less what the orders hold of them."""
    calendar = Calendar(asof_at, limits)
    for order in sorted(orders, key=lambda order: (order.not_before, order.order_id)):
        host = hosts.get(order.host_id)
        if host is not None and order.action in MOVES:
            seconds = work_seconds(order.vms, limits.live_moves_at_once_per_source)
            calendar.hold_open(rack_of(host), calendar.at_once(order.vms), order.not_before, seconds)
    return calendar


def _moves(plan: VmPlan) -> bool:
    return plan.technique in {Action.LIVE_MIGRATE, Action.EVACUATE}
