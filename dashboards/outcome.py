"""What acting came to, week by week: VMs interrupted by failures and by us, and VMs that were gone in time.

A VM counts as interrupted when a part of its host failed while it stood there, by the inventory of that moment and the
orders that had moved it since. It counts as spared when an order took it off a host of which a part failed within 30
days. A host that went to repair before it could fail spares nobody by that count: the measured saving is a lower bound.
Beside it stands what was foretold: VMs taken off, each times its host's chance of failing within 14 days.

AIR = 100 x 365 x interruptions / VM-days; saving = 1 - interruptions / (failures' interruptions + spared).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from dashboards import fleet_facts
from dashboards.queue import Look
from decisions.ledger import tally

WEEKS: Final = 12
WITHIN: Final = timedelta(days=30)
"""A failure that comes this soon after a VM was taken off would have met it."""
_YEAR_OF_100: Final = 100 * 365


@dataclass(frozen=True)
class Week:
    """Seven days up to `until`."""

    until: datetime
    vm_days: int
    by_failures: int
    """VMs interrupted because a part of their host failed."""
    by_us: int
    """VMs interrupted by orders, moments that owners picked included."""
    chosen: int
    """Of those, at a moment that the owner picked."""
    spared: int
    foretold: float
    """VMs that were taken off, each times the chance that its host fails within 14 days."""
    air: float | None
    """Interruptions in a hundred VM-years; null without VMs."""
    saving: float | None
    """At least so much of the interruptions did acting avoid; below nought: it cost more; null: nothing was done."""
    saving_foretold: float | None


def week(
    until: datetime, vm_days: int, by_failures: int, by_us: int, chosen: int, spared: int, foretold: float
) -> Week:
    """A week with its rates."""
    air = _YEAR_OF_100 * (by_failures + by_us) / vm_days if vm_days else None
    rates = [_saving(by_failures + by_us, by_failures + gone) if by_us or gone else None for gone in (spared, foretold)]
    return Week(until, vm_days, by_failures, by_us, chosen, spared, foretold, air, *rates)


def added_up(weeks: Sequence[Week]) -> Week | None:
    """Those weeks as one; None where there are none."""
    if not weeks:
        return None
    return week(weeks[-1].until, *(sum(getattr(one, name) for one in weeks) for name in _COUNTS))


_COUNTS: Final = ("vm_days", "by_failures", "by_us", "chosen", "spared", "foretold")


def _saving(came: float, due: float) -> float | None:
    return 1 - came / due if due else None


@dataclass(frozen=True)
class Weeks:
    """The last weeks with an inventory, the oldest first, as they were counted then."""

    counted_at: datetime
    weeks: tuple[Week, ...]


def weeks(look: Look) -> Weeks:
    """The last weeks; none where nothing is held to count from.

    Counted with every small snapshot, and anew every quarter of an hour, while what was counted before is told.
    """
    return look.aged("weeks", _weeks, for_seconds=900)


def _weeks(look: Look) -> Weeks:
    if look.fleet is None:
        return Weeks(look.now, ())
    until = look.now.replace(hour=0, minute=0, second=0, microsecond=0)
    ends = fleet_facts.weeks(until, WEEKS)
    since = ends[0] - timedelta(days=7)
    sizes = fleet_facts.vms_at(look.fleet, ends)
    interrupted, spared = _failures(look, since)
    ended = tally.ended(look.book.con, since) if look.book else []
    chances = fleet_facts.chances(look.fleet, [(one.host_id, one.asof_at) for one in ended if one.gone], look.champions)
    found = []
    for end, vms in zip(ends, sizes, strict=True):
        ours = [one for one in ended if end - timedelta(days=7) < one.at <= end]
        found.append(
            week(
                until=end,
                vm_days=7 * vms,
                by_failures=_within(interrupted, end),
                by_us=sum(one.interrupted for one in ours),
                chosen=sum(one.chosen for one in ours),
                spared=_within(spared, end),
                foretold=sum(one.gone * chances.get((one.host_id, one.asof_at), 0.0) for one in ours),
            )
        )
    return Weeks(look.now, tuple(one for one in found if one.vm_days))


def _within(at: Counter[datetime], end: datetime) -> int:
    return sum(count for moment, count in at.items() if end - timedelta(days=7) < moment <= end)


def _failures(look: Look, since: datetime) -> tuple[Counter[datetime], Counter[datetime]]:
    """VMs interrupted by failures and VMs spared, by the moment of the failure."""
    assert look.fleet is not None  # noqa: S101 - `weeks` asks only then
    failed: dict[str, list[datetime]] = {}
    for host_id, at in fleet_facts.failed_hosts(look.fleet, since):
        failed.setdefault(host_id, []).append(at)
    taken = tally.taken_off(look.book.con, failed, since - WITHIN) if look.book else {}
    interrupted: Counter[datetime] = Counter()
    for hit in fleet_facts.hits(look.fleet, since):
        gone_at = taken.get((hit.host_id, hit.vm_id))
        if gone_at is None or not hit.failed_at - WITHIN <= gone_at <= hit.failed_at:
            interrupted[hit.failed_at] += 1
    return interrupted, _spared(taken, failed)


def _spared(taken: Mapping[tuple[str, str], datetime], failed: Mapping[str, Sequence[datetime]]) -> Counter[datetime]:
    found: Counter[datetime] = Counter()
    for (host_id, _), gone_at in taken.items():
        first = next((at for at in failed[host_id] if gone_at <= at <= gone_at + WITHIN), None)
        if first is not None:
            found[first] += 1
    return found
