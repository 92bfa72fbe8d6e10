"""An executor that carries orders out itself, through a driver of VMs.

Before anything is done to a VM it is written down that it will be; after it, what became of it. Whatever dies in
between, the next `tick` asks the driver where the VM is, and goes on from there: no order takes effect twice, and none
is forgotten.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from data.errors import ExecutorError, Refused
from decisions.domain import Action, Answer, Order, OrderState, VmOutcome
from pipelines.drivers import Driver, Impossible, Moved, Restarted, Stopped
from pipelines.executors.jobs import EMPTYING, MOVING, Job, Jobs, Task
from pipelines.executors.service import Service, serviced, wake

CLOSING: Final = frozenset({Action.BLOCK_PLACEMENTS, Action.NOTIFY})
SERVICING: Final = frozenset({Action.HOT_PATCH, Action.PRESERVE_MEMORY})
LEFT: Final = frozenset({"moved", "redeployed", "chosen"})
LIVE: Final = "live"
ANEW: Final = "anew"
SERVICE: Final = ""
"""In the place of a VM: the service of the host itself."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What the executor keeps to."""

    moves_at_once: int = 2
    """VMs that leave one host at the same time."""
    attempts: int = 5
    """How often in all a move is begun whose outcome could not be learned and whose VM is still on its source."""
    patience: timedelta = timedelta(minutes=1)
    """How long a VM that is on no host that answers is waited for, before it is started anew, or counts as lost."""


def at_once(work: Callable[[], None]) -> None:
    """Do the work here and now."""
    work()


def wall() -> datetime:
    """The wall's time."""
    return datetime.now(UTC)


class Driven:
    """Takes orders at once, and carries them out in `tick`, which somebody has to call again and again."""

    def __init__(
        self,
        driver: Driver,
        jobs: Jobs,
        *,
        clock: Callable[[], datetime] = wall,
        service: Service | None = None,
        limits: Limits | None = None,
        run: Callable[[Callable[[], None]], object] = at_once,
    ) -> None:
        """An executor on a memory that no other process works on.

        Args:
            driver: what moves VMs.
            jobs: what is remembered.
            clock: whose time it is.
            service: services a host that is empty, or whose VMs stand still; null: orders that need it are refused.
            limits: what is kept to.
            run: where the slow part of the work is done.
        """
        self._driver, self._jobs, self._clock, self._service = driver, jobs, clock, service
        self._limits, self._run = limits or Limits(), run
        self._lock = threading.RLock()
        self._at_work: dict[tuple[str, str], threading.Event] = {}
        self._silent: dict[tuple[str, str], datetime] = {}

    # The Executor

    def submit(self, order: Order) -> Answer:
        """The first answer; an order that has come before gets that again."""
        with self._lock:
            if (known := self._jobs.first(order.order_id)) is not None:
                return known
            now = self._clock()
            if max(now, order.not_before) > order.expires_at:
                why = f"it would start at {max(now, order.not_before):%Y-%m-%dT%H:%M:%SZ}, after it expires"
                return self._jobs.take(order, OrderState.EXPIRED, why, now)
            unfit = self._unfit(order)
            return self._jobs.take(order, OrderState.REFUSED if unfit else OrderState.ACCEPTED, unfit, now)

    def cancel(self, order_id: str, reason: str) -> Answer:
        """Where the order stands after it was called back; what is being aborted right now is still `started`."""
        with self._lock:
            job = self._jobs.job(order_id)
            if job is None:
                msg = f"order {order_id} was never submitted here"
                raise ExecutorError(msg)
            if job.state is OrderState.ACCEPTED:
                self._jobs.finish(order_id, OrderState.CANCELLED, reason, self._clock())
            elif job.state is OrderState.STARTED:
                self._jobs.call_back(order_id, reason)
                self._stop(order_id)
                self.tick(order_id)
        return self._jobs.answers([order_id])[0]

    def start_vm(self, order_id: str, vm_id: str, reason: str) -> Answer:
        """Where the order stands; the next `tick` begins with the VM, as it does when its owner asks for it."""
        del reason
        with self._lock:
            job = self._jobs.job(order_id)
            if job is None:
                msg = f"order {order_id} was never submitted here"
                raise ExecutorError(msg)
            _, tasks = self._jobs.of_vm(vm_id)
            task = next((task for task in tasks if task.order_id == order_id), None)
            if task is None or job.called_back is not None:
                msg = f"VM {vm_id} has nothing left to start in order {order_id}: it is done, or was called back"
                raise Refused(msg)
            self._jobs.ask(task, self._clock())
        return self._jobs.answers([order_id])[0]

    def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
        """Where the orders stand at this moment, whatever `now` says: real hosts know no other."""
        del now
        return self._jobs.answers(order_ids)

    # The work

    def tick(self, only: str | None = None) -> None:
        """Do what is due; what cannot be reached is left for the next time, and holds nothing else up."""
        with self._lock:
            for job in self._jobs.open():
                if only in (None, job.order.order_id):
                    self._try(job)
            self._jobs.lapse(self._clock())
            for task in self._jobs.wished():
                self._take_up(task, partial(self._leave, task))

    def _try(self, job: Job) -> None:
        try:
            if job.state is OrderState.STARTED or self._begin(job):
                self._go_on(job)
        except ExecutorError as error:
            _log.warning("order %s on host %s waits: %s", job.order.order_id, job.order.host_id, error)

    def _begin(self, job: Job) -> bool:
        """Whether the order begins now; it may end instead: too late, or no longer fit."""
        order, now = job.order, self._clock()
        asked = any(task.asked_at is not None for task in self._jobs.tasks(order.order_id) if task.phase == "waiting")
        if now < order.not_before and not asked:
            return False
        if now > order.expires_at:
            self._jobs.finish(order.order_id, OrderState.EXPIRED, "it could not begin before it expired", now)
            return False
        if why := self._unfit(order):
            self._jobs.finish(order.order_id, OrderState.REFUSED, why, now)
            return False
        self._jobs.start(order.order_id, now)
        return True

    def _unfit(self, order: Order) -> str | None:
        """Why the order makes no sense on the hosts as they are, or null."""
        if order.action in SERVICING:
            return self._unserviceable(order)
        for vm in order.vms:
            if order.action not in EMPTYING or vm.technique not in MOVING:
                continue
            if (other := self._jobs.busy(vm.vm_id)) not in (None, order.order_id):
                return f"VM {vm.vm_id} belongs to another open order, {other}"
            where = self._driver.host_of(vm.vm_id)
            must_be_live = vm.technique is Action.LIVE_MIGRATE and order.action is not Action.EVACUATE
            if where != order.host_id and (where is not None or must_be_live):
                return f"VM {vm.vm_id} is not on host {order.host_id}" + (f" but on {where}" if where else "")
            if must_be_live and (why := self._driver.unmovable(vm.vm_id)):
                return f"VM {vm.vm_id} cannot be moved live: {why}"
        return None

    def _unserviceable(self, order: Order) -> str | None:
        if self._service is None:
            return "this executor has no way to service hosts: set drive.service_command"
        if order.action is Action.PRESERVE_MEMORY:
            known = {vm.vm_id for vm in order.vms}
            came = [vm_id for vm_id in self._driver.vms_on(order.host_id) if vm_id not in known]
            if came:
                return f"VM {came[0]} has come to host {order.host_id} since this was decided, and would be paused too"
        return None

    def _go_on(self, job: Job) -> None:
        order = job.order
        if order.action in SERVICING:
            self._serve(job)
            return
        if order.action in (*CLOSING, *EMPTYING) and self._jobs.closed(order.host_id) != order.order_id:
            self._driver.close(order.host_id, f"{order.action} by order {order.order_id}")
            state = "draining" if order.action in EMPTYING else "blocked"
            self._jobs.close_host(order.host_id, order.order_id, state, self._clock())
        if order.action in EMPTYING:
            self._drain(job)
        else:
            self._jobs.finish(order.order_id, OrderState.COMPLETED, None, self._clock(), "blocked")

    def _drain(self, job: Job) -> None:
        """Take up moves that are due, as many as may be under way at once, and end the order after the last."""
        tasks, now = self._jobs.tasks(job.order.order_id), self._clock()
        doing = [task for task in tasks if task.phase == "doing"]
        waiting = [task for task in tasks if task.phase == "waiting" and job.called_back is None]
        due = [task for task in waiting if task.asked_at is not None or task.not_before <= now]
        for task in [*doing, *due][: max(len(doing), self._limits.moves_at_once)]:
            self._take_up(task, partial(self._move, task))
        current = self._jobs.job(job.order.order_id) or job
        open_ = ("doing",) if current.called_back is not None else ("doing", "waiting")
        if not any(task.phase in open_ for task in self._jobs.tasks(job.order.order_id)):
            self._conclude(current)

    def _take_up(self, task: Task, work: Callable[[threading.Event], None]) -> None:
        """Have the work done unless it is being done; what ends in doubt is taken up again by a later tick."""
        if (task.order_id, task.vm_id) not in self._at_work:
            self._have_done((task.order_id, task.vm_id), work)

    def _have_done(self, key: tuple[str, str], work: Callable[[threading.Event], None]) -> None:
        stop = self._at_work[key] = threading.Event()

        def done() -> None:
            try:
                work(stop)
            except ExecutorError as error:
                _log.warning("order %s, VM %s: %s", *key, error)
            finally:
                self._at_work.pop(key, None)

        self._run(done)

    def _stop(self, order_id: str) -> None:
        for (owner, _), stop in list(self._at_work.items()):
            if owner == order_id:
                stop.set()

    # One VM

    def _move(self, task: Task, stop: threading.Event) -> None:
        """Move the VM, or find out what became of a move that was begun before."""
        where, way = self._driver.host_of(task.vm_id), task.way or self._way(task)
        if where is not None:
            self._silent.pop((task.order_id, task.vm_id), None)
        if where not in (None, task.host_id):
            self._elsewhere(task, where)
            return
        if where is None and way == LIVE:
            if self._patient(task.order_id, task.vm_id):
                return
            way = ANEW
        if task.attempts >= self._limits.attempts and where is not None:
            self._end(task, "stayed", where, f"what came of {task.attempts} attempts is not known")
            return
        self._jobs.begin(task, way, self._clock())
        try:
            moved = self._carry(task, way, stop)
        except Impossible as error:
            self._could_not(task, error)
        else:
            self._arrived(task, moved)

    def _elsewhere(self, task: Task, where: str) -> None:
        """The VM is on a third host: by a move of ours whose end was not seen, or not by us."""
        if task.way is None:
            self._end(task, "stayed", where, f"it had left host {task.host_id} before its move began")
            return
        self._arrived(task, Moved(where, 0.0, interrupted=task.way == ANEW), "found there; its pause was not measured")

    def _could_not(self, task: Task, error: Impossible) -> None:
        """The back end says no: the VM stays, unless it runs nowhere, which is waited out before it counts as lost."""
        if isinstance(error, Restarted):
            self._end(task, "failed", task.host_id, str(error), interrupted=True)
        elif isinstance(error, Stopped) or self._driver.host_of(task.vm_id) is not None:
            self._end(task, "stayed", task.host_id, str(error))
        elif not self._patient(task.order_id, task.vm_id):
            self._end(task, "lost", None, str(error), interrupted=True)

    def _patient(self, order_id: str, vm_id: str) -> bool:
        """Whether a VM that is on no host that answers, or its host, should be waited for a little longer."""
        return (now := self._clock()) - self._silent.setdefault((order_id, vm_id), now) < self._limits.patience

    def _way(self, task: Task) -> str:
        if task.technique is Action.EVACUATE:
            return ANEW
        if task.technique is Action.LIVE_MIGRATE or self._driver.unmovable(task.vm_id) is None:
            return LIVE
        return ANEW

    def _carry(self, task: Task, way: str, stop: threading.Event) -> Moved:
        """Have the VM moved; under `evacuate` one that will not move live is started anew."""
        if way == LIVE:
            try:
                return self._driver.migrate(task.vm_id, task.host_id, task.target_host_id, stop)
            except Impossible as error:
                if isinstance(error, Stopped) or task.action is not Action.EVACUATE:
                    raise
            self._jobs.begin(task, ANEW, self._clock())
        try:
            return self._driver.redeploy(task.vm_id, task.host_id, task.target_host_id)
        except Impossible as error:
            if isinstance(error, Restarted) or task.target_host_id is None:
                raise
            return self._driver.redeploy(task.vm_id, task.host_id, None)

    def _arrived(self, task: Task, moved: Moved, reason: str | None = None) -> None:
        early = task.asked_at is not None
        result = "moved" if not moved.interrupted else "chosen" if early else "redeployed"
        outcome = VmOutcome(task.vm_id, result, moved.host_id, moved.pause_seconds, moved.interrupted)
        self._jobs.end(task, outcome, reason)

    def _end(self, task: Task, result: str, host_id: str | None, reason: str, *, interrupted: bool = False) -> None:
        self._jobs.end(task, VmOutcome(task.vm_id, result, host_id, 0.0, interrupted), reason)

    def _leave(self, task: Task, stop: threading.Event) -> None:
        """An owner who was told wants to leave: the VM is started anew wherever there is room."""
        del stop
        where = self._driver.host_of(task.vm_id)
        if where not in (None, task.host_id):
            self._elsewhere(task, where)
            return
        self._jobs.begin(task, ANEW, self._clock())
        try:
            self._arrived(task, self._driver.redeploy(task.vm_id, task.host_id, None))
        except Impossible as error:
            self._could_not(task, error)

    # The host

    def _serve(self, job: Job) -> None:
        """Service the host; a service that nobody knows the end of is never begun again."""
        order, key = job.order, (job.order.order_id, SERVICE)
        if key in self._at_work:
            return
        if job.service is not None:
            wake(self._driver, self._jobs, order, {})
            why = "the executor died while the host was being serviced; whether the service took place is not known"
            self._served(order, why)
            return
        self._have_done(key, lambda _: self._serviced(order))

    def _serviced(self, order: Order) -> None:
        assert self._service is not None  # noqa: S101 - without one the order was refused
        self._jobs.serviced(order.order_id, "doing")
        why = serviced(self._driver, self._jobs, self._service, order)
        self._jobs.serviced(order.order_id, "done")
        self._served(order, why)

    def _served(self, order: Order, why: str | None) -> None:
        """The order ends with the service of its host, which took place or did not."""
        state = OrderState.FAILED if why else OrderState.COMPLETED
        self._jobs.finish(order.order_id, state, why, self._clock(), "empty" if order.action in EMPTYING else None)

    def _conclude(self, job: Job) -> None:
        """The last move has ended: the host is empty, or keeps VMs and takes no more."""
        order, now = job.order, self._clock()
        left = self._left(order)
        moves = [task for task in self._jobs.tasks(order.order_id) if task.technique in MOVING]
        stayed = [task for task in moves if task.result not in LEFT]
        host_state = "blocked" if left != [] else "repair" if order.action is Action.DECOMMISSION else "empty"
        state, reason = OrderState.COMPLETED, f"host {order.host_id} does not answer" if left is None else None
        if job.called_back is not None and stayed:
            state, reason = OrderState.CANCELLED, job.called_back
            self._driver.reopen(order.host_id)
            self._jobs.open_host(order.host_id, f"order {order.order_id} was called back: {reason}", now)
            host_state = "in_service"
        elif stayed:
            nothing = all(task.result == "stayed" for task in moves)
            state = OrderState.REFUSED if nothing else OrderState.FAILED
            told = "; ".join(f"VM {task.vm_id}: {task.reason}" for task in stayed[:3])
            reason = f"{len(stayed)} of {len(moves)} VMs did not leave. {told}"[:2_000]
        elif left != [] and order.action is Action.DECOMMISSION:
            state, reason = OrderState.FAILED, reason or f"{len(left or ())} VMs are still on host {order.host_id}"
        elif left == [] and order.remedy is not None and self._service is not None:
            self._serve(job)
            return
        self._jobs.finish(order.order_id, state, reason, now, host_state)

    def _left(self, order: Order) -> list[str] | None:
        """The VMs that are still on the host; null: it has not answered for longer than patience lasts."""
        try:
            return self._driver.vms_on(order.host_id)
        except ExecutorError:
            if self._patient(order.order_id, SERVICE):
                raise
            return None
