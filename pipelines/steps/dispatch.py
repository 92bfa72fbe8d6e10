"""Dispatch: the outbox is drained to the executor.

The executor takes an order once, however often it is handed over, and the ledger takes its answer once. So a kill at
any point is made good by handing the order over again.
"""

import fcntl
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from data.errors import ExecutorError
from data.warehouse import read
from decisions.domain import Host, Order, OrderState, Vm
from decisions.ledger import Ledger
from pipelines import ledgers, situation
from pipelines.executors import Executor
from pipelines.executors.dry_run import DryRun
from pipelines.executors.opened import opened
from pipelines.settings import ExecutorSettings, Settings

BATCH: Final = 50
"""Orders leased at a time."""
LOCK: Final = "dispatch.lock"
OUT_OF_SERVICE: Final = frozenset({"repair", "retired"})
_FATES: Final = {OrderState.REFUSED: "refused", OrderState.EXPIRED: "expired"}


@dataclass(frozen=True)
class DispatchReport:
    """What became of the outbox: handed over, refused (before or by the executor), expired, given up, put off."""

    sent: int = 0
    refused: int = 0
    expired: int = 0
    dead: int = 0
    postponed: int = 0
    stopped_by: str | None = None
    """Who threw the kill switch, which keeps everything in the outbox."""
    dry_run: bool = False


@dataclass(frozen=True)
class Inventory:
    """What preconditions are checked against: hosts by id, and VMs by host."""

    hosts: Mapping[str, Host]
    vms: Mapping[str, tuple[Vm, ...]]


def dispatch(settings: Settings, now: datetime, *, dry_run: bool = False) -> DispatchReport:
    """What became of the orders that were due; a dry run says what would, and writes and sends nothing.

    Args:
        settings: where the ledger, the inventory and the executor are.
        now: the moment of handing over.
        dry_run: work on a copy of the ledger and hand over to nobody.
    """
    with ExitStack() as stack:
        if dry_run:
            ledger, executor = stack.enter_context(ledgers.scratch(settings)), DryRun(now)
            report = drain(ledger, executor, _inventory(settings, now), now, settings.executor)
            return replace(report, dry_run=True)
        lease = stack.enter_context(_turn(settings))
        held = stack.enter_context(ledgers.opened(settings))
        if not held.orders(outbox_state="pending", limit=1) and not held.orders(outbox_state="leased", limit=1):
            return DispatchReport(stopped_by=_stopped_by(held))
        to = stack.enter_context(opened(settings, now))
        limits = settings.executor.model_copy(update={"lease_seconds": lease})
        return drain(held, to, _inventory(settings, now), now, limits)


def drain(
    ledger: Ledger,
    executor: Executor,
    inventory: Inventory,
    now: datetime,
    limits: ExecutorSettings,
    pause: Callable[[float], None] = time.sleep,
) -> DispatchReport:
    """What became of the outbox, worked through in rounds: what failed in one is tried again after a pause.

    Args:
        ledger: holds the outbox.
        executor: takes the orders.
        inventory: what preconditions are checked against.
        now: the moment of handing over; pauses are added to it.
        limits: lease, attempts and backoff.
        pause: sleeps for so many seconds.
    """
    count: Counter[str] = Counter(expired=len(ledger.expire(now)))
    put_off = 0
    for round_ in range(limits.attempts):
        seconds = _backoff(limits.backoff_seconds, round_)
        fates = Counter(
            _hand_over(ledger, executor, inventory, order, now, limits.attempts, seconds)
            for order in _leased(ledger, now, limits.lease_seconds)
        )
        count, put_off = count + fates, fates["postponed"]
        if not put_off or round_ + 1 == limits.attempts:
            break
        pause(seconds)
        now += timedelta(seconds=seconds)
    return DispatchReport(
        sent=count["sent"],
        refused=count["refused"],
        expired=count["expired"],
        dead=count["dead"],
        postponed=put_off,
        stopped_by=_stopped_by(ledger),
    )


def _leased(ledger: Ledger, now: datetime, lease_seconds: float) -> Iterator[Order]:
    """Orders that are due at `now`, leased a batch at a time."""
    while orders := ledger.lease(now, BATCH, lease_seconds):
        yield from orders


def _hand_over(
    ledger: Ledger,
    executor: Executor,
    inventory: Inventory,
    order: Order,
    now: datetime,
    attempts: int,
    backoff_seconds: float,
) -> str:
    """What became of one leased order; whatever it is, the ledger knows it before the next one is touched."""
    if stop := _stopped_by(ledger):
        ledger.mark_retry(order.order_id, now, f"stopped by {stop}", now)
        return "held"
    if broken := _broken(order, inventory):
        ledger.mark_refused(order.order_id, now, broken)
        return "refused"
    try:
        answer = executor.submit(order)
    except ExecutorError as error:
        if ledger.order(order.order_id).attempts >= attempts:
            ledger.mark_dead(order.order_id, now, str(error))
            return "dead"
        ledger.mark_retry(order.order_id, now, str(error), now + timedelta(seconds=backoff_seconds))
        return "postponed"
    ledger.apply(answer)
    ledger.mark_sent(order.order_id, now)
    return _FATES.get(answer.state, "sent")


def _broken(order: Order, inventory: Inventory) -> str | None:
    """Why the order no longer makes sense, or null."""
    host = inventory.hosts.get(order.host_id)
    if host is None:
        return f"host {order.host_id} is no longer in the inventory"
    if host.state in OUT_OF_SERVICE:
        return f"host {order.host_id} is out of service already: {host.state}"
    there = {vm.vm_id for vm in inventory.vms.get(order.host_id, ())}
    gone = next((plan.vm_id for plan in order.vms if plan.vm_id not in there), None)
    if gone is not None:
        return f"VM {gone} is no longer on host {order.host_id}"
    targets = (plan.target_host_id for plan in order.vms if plan.target_host_id is not None)
    return next((why for target in targets if (why := _unfit(target, inventory))), None)


def _unfit(target: str, inventory: Inventory) -> str | None:
    """Why the host takes no VMs any more, or null."""
    host = inventory.hosts.get(target)
    if host is None:
        return f"target host {target} is no longer in the inventory"
    return None if host.state == "in_service" else f"target host {target} is {host.state} and takes no VMs"


def _stopped_by(ledger: Ledger) -> str | None:
    stop = ledger.stopped()
    return stop.by if stop else None


def _backoff(first_seconds: float, round_: int) -> float:
    """Twice as long each round, less up to a half at random so that dispatchers do not meet again."""
    return float(first_seconds * 2**round_ * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


def _inventory(settings: Settings, now: datetime) -> Inventory:
    with read(settings.home) as con:
        at = situation.pictured_at(con, now)
        return Inventory(situation.hosts(con, at), situation.vms(con, at))


@contextmanager
def _turn(settings: Settings) -> Iterator[float]:
    """The lease to ask for, in seconds, once no other dispatcher of this ledger is at work.

    Dispatchers of an SQLite ledger take turns by a lock that the system frees when its holder dies. So a lease found
    open is a dead dispatcher's, and may be taken over at once: a lease of no time says so. Dispatchers of a ledger on a
    server may run anywhere, and rely on leases alone.
    """
    file = ledgers.sqlite_file(settings)
    if file is None:
        yield settings.executor.lease_seconds
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield 0.0
