"""Dispatch: the outbox is drained to the executor.

The executor takes an order once, however often it is handed over, and the ledger takes its answer once. So a kill at
any point is made good by handing the order over again.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

from data.errors import ExecutorError, ForeshockError
from decisions import preconditions
from decisions.actions import MOVES
from decisions.breakers import Scope, usable
from decisions.domain import UNDER_WAY, Action, Host, HostRisk, Order, OrderState, Proposal, Vm
from decisions.ledger import Ledger
from decisions.ledger.turns import Still
from decisions.policy import Policy
from decisions.policy import load as load_policy
from decisions.preconditions import Present
from decisions.rest import Rest
from decisions.risk import host_risks
from pipelines import ledgers, situation
from pipelines.clock import by_wall
from pipelines.executors import AsksToWait, Executor
from pipelines.executors.dry_run import DryRun
from pipelines.executors.opened import kind_of, opened
from pipelines.settings import ExecutorSettings, Settings
from pipelines.snapshot import snapshot
from pipelines.steps.recall import recall

BATCH: Final = 50
"""Orders leased at a time."""
_FATES: Final = {OrderState.REFUSED: "refused", OrderState.EXPIRED: "expired"}


@dataclass(frozen=True)
class DispatchReport:
    """What became of the outbox: handed over, refused (before or by the executor), expired, given up, put off."""

    sent: int = 0
    refused: int = 0
    expired: int = 0
    dead: int = 0
    postponed: int = 0
    recalled: int = 0
    """Open orders that were called back: their host has recovered, or a person is against it by now."""
    stopped_by: str | None = None
    """Who threw the kill switch, which keeps everything in the outbox."""
    dry_run: bool = False


@dataclass(frozen=True)
class Inventory:
    """What preconditions are checked against: hosts by id, VMs by host, and the newest risks of hosts with orders."""

    hosts: Mapping[str, Host]
    vms: Mapping[str, tuple[Vm, ...]]
    risks: Mapping[str, HostRisk] = field(default_factory=dict)
    rest: Rest | None = None
    """What the VMs of all hosts take, where `vms` tells of some hosts only."""

    @cached_property
    def in_use(self) -> Mapping[Scope, int]:
        """How many hosts of each scope a breaker takes its share of."""
        return usable(self.hosts, self.vms if self.rest is None else self.rest.residents.taken)


def dispatch(settings: Settings, now: datetime, *, dry_run: bool = False) -> DispatchReport:
    """What became of the orders that were due; a dry run says what would, and writes and sends nothing.

    Args:
        settings: where the ledger, the inventory and the executor are.
        now: the moment of handing over; never before the wall's, where somebody else carries orders out on real hosts.
        dry_run: work on a copy of the ledger and hand over to nobody.
    """
    policy = load_policy(settings.policy.path)
    with ExitStack() as stack:
        if dry_run:
            now = _at(settings, now)
            ledger, executor = stack.enter_context(ledgers.scratch(settings)), DryRun(now)
            inventory = _inventory(settings, ledger, now)
            report = drain(ledger, executor, inventory, now, settings.executor, policy=policy)
            return replace(report, dry_run=True)
        held = stack.enter_context(ledgers.opened(settings))
        still = stack.enter_context(held.turn())
        if not held.open_orders():
            return DispatchReport(stopped_by=_stopped_by(held))
        now = _at(settings, now)
        to = stack.enter_context(opened(settings, now))
        inventory = _inventory(settings, held, now)
        return drain(held, to, inventory, now, settings.executor, policy=policy, still=still)


def _at(settings: Settings, now: datetime) -> datetime:
    """The moment of handing over in a run about `now`: who looks at a past night must not move VMs on its evidence."""
    if kind_of(settings) != "webhook":
        return now
    with snapshot(settings) as con:
        return max(now, datetime.now(UTC)) if by_wall(settings, con) else now


@dataclass(frozen=True)
class CalledBack:
    """How many open orders were called back, and what stood in the way of asking about the others, if anything."""

    orders: int
    problem: str | None = None


def call_back(settings: Settings, now: datetime) -> CalledBack:
    """What a person's no calls back at once; nothing is handed over, and what fails now the next dispatch does."""
    try:
        with ExitStack() as stack:
            held = stack.enter_context(ledgers.opened(settings))
            stack.enter_context(held.turn())
            if not held.open_orders():
                return CalledBack(0)
            to, policy = stack.enter_context(opened(settings, now)), load_policy(settings.policy.path)
            desk = _Desk(held, to, _inventory(settings, held, now), policy, settings.executor.attempts)
            return CalledBack(recall(held, to, desk.present(now), now))
    except ForeshockError as error:
        return CalledBack(0, str(error))


def drain(
    ledger: Ledger,
    executor: Executor,
    inventory: Inventory,
    now: datetime,
    limits: ExecutorSettings,
    pause: Callable[[float], None] = time.sleep,
    *,
    policy: Policy | None = None,
    still: Still = lambda: None,
) -> DispatchReport:
    """What became of the outbox, worked through in rounds: what failed in one is tried again after a pause.

    Before that, open orders that should no longer stand are called back. An executor that asks for time gets it before
    the next order, in all as long as the rounds' own pauses are at most.

    Args:
        ledger: holds the outbox.
        executor: takes the orders.
        inventory: what preconditions are checked against.
        now: the moment of handing over; pauses are added to it.
        limits: attempts and backoff.
        pause: sleeps for so many seconds.
        policy: what is allowed; by default the policy that ships.
        still: raises once the turn to hand over is another's.
    """
    count: Counter[str] = Counter(expired=len(ledger.expire(now)))
    desk = _Desk(ledger, executor, inventory, policy or load_policy(), limits.attempts)
    called_back = recall(ledger, executor, desk.present(now), now)
    put_off, clock = 0, _Clock(now, pause, limits.backoff_seconds * (2.0 ** (limits.attempts - 1) - 1))
    for round_ in range(limits.attempts):
        seconds = _backoff(limits.backoff_seconds, round_)
        fates = Counter(desk.hand_over(order, clock, seconds) for order in _leased(ledger, clock.now, still))
        count, put_off = count + fates, fates["postponed"]
        if not put_off or round_ + 1 == limits.attempts:
            break
        clock.sleep(seconds)
    return DispatchReport(
        sent=count["sent"],
        refused=count["refused"],
        expired=count["expired"],
        dead=count["dead"],
        postponed=put_off,
        recalled=called_back,
        stopped_by=_stopped_by(ledger),
    )


def _leased(ledger: Ledger, now: datetime, still: Still) -> Iterator[Order]:
    """Orders that are due at `now`, leased a batch at a time; one found leased is a dead dispatcher's, and is due."""
    while orders := ledger.lease(now, BATCH, lease_seconds=0.0):
        for order in orders:
            still()
            yield order


@dataclass
class _Clock:
    """The moment of handing over, which goes on with each pause."""

    now: datetime
    pause: Callable[[float], None]
    left: float
    """Seconds that the executor may still ask for."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.pause(seconds)
        self.now += timedelta(seconds=seconds)

    def grant(self, seconds: float) -> None:
        """Wait as long as the executor asks for, if so much is left."""
        if granted := min(seconds, self.left):
            self.left -= granted
            self.sleep(granted)


@dataclass(frozen=True)
class _Desk:
    """Where orders are looked at once more and handed over, one after the other."""

    ledger: Ledger
    executor: Executor
    inventory: Inventory
    policy: Policy
    attempts: int

    def present(self, now: datetime, action: Action | None = None) -> Present:
        """What holds at this moment for an order of that action; for a move, the hand-overs until now included."""
        moved_since = now - timedelta(hours=self.policy.breaker.hours) if action in MOVES else None
        guards = self.ledger.guards(now, moved_since)
        return Present(
            hosts=self.inventory.hosts,
            vms=self.inventory.vms,
            policy=self.policy,
            risks=self.inventory.risks,
            opt_outs=guards.opt_outs,
            breakers=guards.breakers,
            handed_over=guards.handed_over,
            stopped_by=guards.stop.by if guards.stop else None,
            in_use=self.inventory.in_use if action in MOVES else None,
            rest=self.inventory.rest,
        )

    def hand_over(self, order: Order, clock: _Clock, backoff_seconds: float) -> str:
        """What became of one leased order; whatever it is, the ledger knows it before the next one is touched."""
        now = clock.now
        ledger, present = self.ledger, self.present(now, order.action)
        if present.stopped_by:
            ledger.mark_retry(order.order_id, now, f"stopped by {present.stopped_by}", now)
            return "held"
        proposal = ledger.proposal(order.proposal_id, now).proposal
        why, order = self._again(order, proposal, present, now)
        try:
            if why is not None:
                return self._refuse(order, now, why)
            answer = self.executor.submit(order)
            is_new = ledger.apply(answer)
        except ExecutorError as error:
            fate = self._failed(order, now, str(error), backoff_seconds)
            if isinstance(error, AsksToWait):
                clock.grant(error.seconds)
            return fate
        if not is_new:
            ledger.mark_sent(order.order_id, now)
        return _FATES.get(answer.state, "sent")

    def _failed(self, order: Order, now: datetime, error: str, backoff_seconds: float) -> str:
        """Whether handing over is given up or tried again."""
        if self.ledger.order(order.order_id).attempts >= self.attempts:
            self.ledger.mark_dead(order.order_id, now, error)
            return "dead"
        self.ledger.mark_retry(order.order_id, now, error, now + timedelta(seconds=backoff_seconds))
        return "postponed"

    def _again(self, order: Order, proposal: Proposal, present: Present, now: datetime) -> tuple[str | None, Order]:
        """Why the order no longer makes sense, if so, and the order with the start that is left to it."""
        if why := preconditions.broken(order, proposal, present, now):
            return why, order
        under_way = self.ledger.moves_under_way() if order.action in MOVES else []
        starts_at = preconditions.start(order, proposal, present, under_way, now)
        if starts_at >= order.expires_at:
            return preconditions.too_late(order, proposal, present, starts_at, now), order
        if starts_at > max(order.not_before, now):
            reason = "handed over late: it waits for its maintenance window, or for others that are under way"
            self.ledger.delay(order.order_id, starts_at, now, reason)
            return None, replace(order, not_before=starts_at)
        return None, order

    def _refuse(self, order: Order, now: datetime, why: str) -> str:
        """End the order; if a dispatcher died while handing it over, the executor may have it, and must drop it."""
        if self.ledger.order(order.order_id).attempts > 1:
            for answer in self.executor.poll([order.order_id], now):
                if answer.state in UNDER_WAY:
                    self.executor.cancel(order.order_id, why)
        self.ledger.mark_refused(order.order_id, now, why)
        return "refused"


def _stopped_by(ledger: Ledger) -> str | None:
    stop = ledger.stopped()
    return stop.by if stop else None


def _backoff(first_seconds: float, round_: int) -> float:
    """Twice as long each round, less up to a half at random so that dispatchers do not meet again."""
    return float(first_seconds * 2**round_ * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


def _inventory(settings: Settings, ledger: Ledger, now: datetime) -> Inventory:
    """The fleet as it is now, with the newest risks of hosts that have orders, by the models that decided on them."""
    decided = [ledger.proposal(order.proposal_id, now).proposal for order in ledger.open_orders()]
    parts = [part for p in sorted(decided, key=lambda p: p.asof_at) for part in (*p.risk.entities, *p.risk.unknown)]
    versions = {part.component: part.model_version for part in parts}
    with snapshot(settings) as con:
        at = situation.pictured_at(con, now)
        ordered = {p.host_id for p in decided}
        risks = host_risks(situation.newest_risks(con, now, at, versions, ordered))
        vms = situation.vms(con, at, ordered)
        return Inventory(situation.hosts(con, at), vms, risks, Rest(situation.residents(con, at, {})))
