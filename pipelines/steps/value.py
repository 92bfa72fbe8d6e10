"""Value: what choices that were left to chance came to, and what other ways to choose would have come to.

A decision's cost is what the VMs that stood on its host met from the moment asked on, for as long as policy looks ahead
(`pipelines.aftermath`). Of the decisions that one draw made about a host the first counts: which later ones there are
depends on what it chose, and their odds are then no longer those that were written down.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from data.errors import UsageError
from decisions.domain import Price, Proposal
from decisions.policy import load as load_policy
from decisions.value import Tried, Value, values
from pipelines import aftermath, ledgers
from pipelines.clock import end_of, last_day, moment
from pipelines.settings import Settings
from pipelines.snapshot import snapshot

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Drawn:
    """Decisions that chance had a part in, with what they came to."""

    tried: tuple[Tried, ...]
    horizon_days: float
    """For so long after a decision its VMs are looked at."""
    repeated: int
    """Decisions left out because the same draw had made one about the same host before."""
    not_over: int
    """Decisions left out because their time is not over."""
    simulated: bool


@dataclass(frozen=True)
class ValueReport:
    """What each way to choose would have cost, in VM interruptions a decision."""

    first: date
    last: date
    decisions: int
    hosts: int
    horizon_days: float
    repeated: int
    not_over: int
    simulated: bool
    """See `Drawn`."""
    policies: Mapping[str, Value]


def value(settings: Settings, first: date, last: date) -> ValueReport:
    """What was decided by chance from one day to the other, valued by what came of it; nothing is written.

    Raises:
        UsageError: the period holds no day.
        WarehouseError: nothing is published.
    """
    found = drawn(settings, first, last)
    return ValueReport(
        first=first,
        last=last,
        decisions=len(found.tried),
        hosts=len({one.host_id for one in found.tried}),
        horizon_days=found.horizon_days,
        repeated=found.repeated,
        not_over=found.not_over,
        simulated=found.simulated,
        policies=values(found.tried) if found.tried else {},
    )


def drawn(settings: Settings, first: date, last: date) -> Drawn:
    """The decisions of those days that chance had a part in, and what each came to.

    Raises:
        UsageError: the period holds no day.
        WarehouseError: nothing is published.
    """
    if first > last:
        msg = f"From {first} to {last} is no day: give an earlier --from or a later --to."
        raise UsageError(msg)
    policy = load_policy(settings.policy.path)
    horizon = timedelta(days=policy.horizon.decision_days)
    with snapshot(settings) as con, ledgers.copied(settings) as ledger:
        proposed = ledger.left_to_chance(end_of(last))
        asked = [one for one in proposed if one.asof_at >= end_of(first)]
        new = [one for one in _first_of_each_draw(proposed) if one.asof_at >= end_of(first)]
        over_by = _known_until(settings, con) - horizon
        counted = [one for one in new if one.asof_at <= over_by]
        costs: list[float] = []
        if counted:
            touched = ledger.touched(counted[0].asof_at, counted[-1].asof_at + horizon)
            costs = aftermath.costs(con, counted, horizon, touched, policy.costs)
    return Drawn(
        tried=tuple(_tried(one, cost) for one, cost in zip(counted, costs, strict=True)),
        horizon_days=policy.horizon.decision_days,
        repeated=len(asked) - len(new),
        not_over=len(new) - len(counted),
        simulated=any(one.simulated for one in asked),
    )


def _known_until(settings: Settings, con: "duckdb.DuckDBPyConnection") -> datetime:
    """Until when failures are known: what came after the last day of readings has not been told yet."""
    now, day = moment(settings, con, None), last_day(con)
    return now if day is None else min(now, end_of(day))


def _first_of_each_draw(proposed: Iterable[Proposal]) -> Iterable[Proposal]:
    """Of proposals, the oldest first, the first that each draw made about each host."""
    seen: set[tuple[str, float | None]] = set()
    for one in proposed:
        if (one.host_id, one.draw) not in seen:
            seen.add((one.host_id, one.draw))
            yield one


def _tried(proposal: Proposal, cost: float) -> Tried:
    prices = {price.action: price for price in proposal.prices if price.action in proposal.chances}
    foretold = {action: _foretold(price) for action, price in prices.items()}
    price = {action: each.interruptions for action, each in prices.items()}
    return Tried(proposal.host_id, proposal.action, proposal.chances, foretold, price, cost)


def _foretold(price: Price) -> float:
    return price.failing_first + price.interrupted + price.failed_moves


def told(report: ValueReport) -> dict[str, Any]:
    """The report as the command answers it."""
    found = asdict(report)
    return {"from": found.pop("first"), "to": found.pop("last"), **found}
