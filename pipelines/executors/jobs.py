"""What a driven executor remembers, in one SQLite file: each method is one transaction, and a kill loses none of it."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Final

from decisions.domain import Action, Answer, Order, OrderState, VmOutcome
from pipelines.contract import messages

MEMORY: Final = "executor.db"
"""The file's name in a home."""
MOVING: Final = (Action.LIVE_MIGRATE, Action.SELF_SERVICE, Action.EVACUATE)
"""Techniques that take a VM elsewhere."""
EMPTYING: Final = (*MOVING, Action.DECOMMISSION)
"""Actions that drain the host; the others leave its VMs where they are, whatever they list."""


@dataclass(frozen=True)
class Job:
    """An order that was taken, and where it stands."""

    order: Order
    state: OrderState
    reason: str | None
    at: datetime
    called_back: str | None
    service: str | None


@dataclass(frozen=True)
class Task:
    """What an order means for one VM, and how far that has come."""

    order_id: str
    vm_id: str
    technique: Action
    target_host_id: str | None
    seconds: float
    not_before: datetime
    deadline: datetime | None
    phase: str
    way: str | None
    attempts: int
    asked_at: datetime | None
    result: str | None
    reason: str | None
    host_id: str
    """The host that the order is about."""
    action: Action
    """What the order is."""


class Jobs:
    """The memory; threads of one process share it."""

    def __init__(self, path: Path | str) -> None:
        """Open the file, which is made if it is not there."""
        self._con = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
        self._con.row_factory = sqlite3.Row
        self._lock = threading.RLock()
        self._con.execute("pragma journal_mode = wal")
        self._con.executescript((resources.files(__package__) / "jobs.sql").read_text(encoding="utf-8"))

    def close(self) -> None:
        """Let go of the file."""
        self._con.close()

    def take(self, order: Order, state: OrderState, reason: str | None, now: datetime) -> Answer:
        """The first answer to the order, which is remembered with what it means for each VM."""
        with self._writing() as con:
            at = _text(now)
            event = messages.order_event(order, now).decode()
            con.execute(
                "insert into job (order_id, host_id, action, order_event, first_state, first_reason, first_at, state, "
                "reason, state_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (order.order_id, order.host_id, order.action, event, state, reason, at, state, reason, at),
            )
            if state is OrderState.ACCEPTED:
                con.executemany(
                    "insert into task (order_id, position, vm_id, technique, target_host_id, seconds, not_before, "
                    "deadline, phase, result) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    _tasks(order, now),
                )
        return Answer(order.order_id, state, now, reason)

    def first(self, order_id: str) -> Answer | None:
        """The answer that the order got when it first came; null if it never did."""
        row = self._one("select * from job where order_id = ?", order_id)
        if row is None:
            return None
        return Answer(order_id, OrderState(row["first_state"]), _moment(row["first_at"]), row["first_reason"])

    def answers(self, order_ids: Sequence[str]) -> list[Answer]:
        """Where orders stand; unknown ones are left out."""
        rows = (self._one("select * from job where order_id = ?", order_id) for order_id in order_ids)
        return [self._answer(row) for row in rows if row is not None]

    def job(self, order_id: str) -> Job | None:
        """The order, if it was ever taken."""
        row = self._one("select * from job where order_id = ?", order_id)
        return None if row is None else _job(row)

    def open(self) -> list[Job]:
        """Orders that have not ended, the oldest first."""
        query = "select * from job where state in ('accepted', 'started') order by first_at, order_id"
        return [_job(row) for row in self._all(query)]

    def tasks(self, order_id: str) -> list[Task]:
        """What an order means for its VMs."""
        return [_task(row) for row in self._all(f"{_TASKS} where order_id = ? order by position", order_id)]

    def of_vm(self, vm_id: str) -> tuple[int, list[Task]]:
        """How often anything about the VM has changed, and what it waits for or is going through."""
        held = self._one("select coalesce(sum(revision), 0) as n from task where vm_id = ?", vm_id)
        query = f"{_TASKS} where vm_id = ? and phase in ('offered', 'waiting', 'doing') order by not_before, order_id"
        return int(held["n"]) if held else 0, [_task(row) for row in self._all(query, vm_id)]

    def wished(self) -> list[Task]:
        """VMs whose owners were told, and want to be started anew elsewhere; those under way included."""
        query = (
            f"{_TASKS} where technique = 'notify' and (phase = 'offered' and asked_at is not null or phase = 'doing')"
        )
        return [_task(row) for row in self._all(query)]

    def busy(self, vm_id: str) -> str | None:
        """The open order that the VM belongs to, if any."""
        row = self._one("select order_id from task where vm_id = ? and phase in ('waiting', 'doing')", vm_id)
        return None if row is None else str(row["order_id"])

    def begin(self, task: Task, way: str, now: datetime) -> None:
        """From now on something may have happened to the VM."""
        self._touch(
            task, "phase = 'doing', way = ?, attempts = attempts + 1, began_at = coalesce(began_at, ?)", way, _text(now)
        )

    def end(self, task: Task, outcome: VmOutcome, reason: str | None = None) -> None:
        """What became of the VM."""
        self._touch(
            task,
            "phase = 'done', result = ?, host_id = ?, pause_seconds = ?, interrupted = ?, reason = ?",
            outcome.result,
            outcome.target_host_id,
            outcome.pause_seconds,
            outcome.interrupted,
            reason,
        )

    def ask(self, task: Task, now: datetime) -> None:
        """The VM's owner wants it now; the first wish counts."""
        self._touch(task, "asked_at = coalesce(asked_at, ?)", _text(now))

    def start(self, order_id: str, now: datetime) -> None:
        """The order begins, at this moment and no sooner."""
        self._stand(order_id, OrderState.STARTED, None, now)

    def finish(
        self, order_id: str, state: OrderState, reason: str | None, now: datetime, host_state: str | None = None
    ) -> None:
        """The order has ended; VMs that nothing was begun with stay, and their owners are told no longer."""
        with self._writing() as con:
            con.execute(
                "update task set phase = 'withdrawn', result = 'stayed', revision = revision + 1 "
                "where order_id = ? and phase = 'waiting'",
                (order_id,),
            )
            if state is not OrderState.COMPLETED:
                self._withdraw(con, "order_id = ?", order_id)
            values = (state, reason, _text(now), host_state, order_id)
            con.execute("update job set state = ?, reason = ?, state_at = ?, host_state = ? where order_id = ?", values)
            if host_state is not None:
                con.execute(
                    "update host set state = ?, since = ? where order_id = ?", (*values[3:4], *values[2:3], order_id)
                )

    def lapse(self, now: datetime) -> None:
        """Take back offers to owners that have expired."""
        offering = "select order_id from task where phase = 'offered'"
        query = f"select order_id, order_event from job where order_id in ({offering})"  # noqa: S608 - nothing of others
        for row in self._all(query):
            if _order(row).expires_at < now:
                with self._writing() as con:
                    self._withdraw(con, "order_id = ?", row["order_id"])

    def call_back(self, order_id: str, reason: str) -> None:
        """The order is to stop; the first reason counts."""
        with self._writing() as con:
            con.execute("update job set called_back = coalesce(called_back, ?) where order_id = ?", (reason, order_id))

    def serviced(self, order_id: str, phase: str) -> None:
        """How far the service of the order's host is: `doing` or `done`."""
        with self._writing() as con:
            con.execute("update job set service = ? where order_id = ?", (phase, order_id))

    def closed(self, host_id: str) -> str | None:
        """The order for which the host was closed to new VMs, if one did."""
        row = self._one("select order_id from host where host_id = ? and state <> 'in_service'", host_id)
        return None if row is None else str(row["order_id"])

    def hosts(self) -> list[dict[str, str | None]]:
        """Hosts that orders closed: host_id, order_id, state, since, and what was said when one was opened again."""
        return [dict(row) for row in self._all("select * from host order by host_id")]

    def close_host(self, host_id: str, order_id: str, state: str, now: datetime) -> None:
        """The host takes no new VMs because of the order."""
        with self._writing() as con:
            con.execute(
                "insert into host values (?, ?, ?, ?, null) on conflict (host_id) do update set "
                "order_id = excluded.order_id, state = excluded.state, since = excluded.since, said = null",
                (host_id, order_id, state, _text(now)),
            )

    def open_host(self, host_id: str, said: str, now: datetime) -> bool:
        """Whether a host that an order had closed takes VMs again from now on."""
        with self._writing() as con:
            change = (
                "update host set state = 'in_service', said = ?, since = ? where host_id = ? and state <> 'in_service'"
            )
            return con.execute(change, (said, _text(now), host_id)).rowcount > 0

    def promises(self) -> dict[str, int]:
        """Moments that owners were told of: kept, broken (begun earlier, unasked), withdrawn, or still open."""
        row = self._one(
            """
            select
                count(*) filter (where began_at >= not_before or began_at is not null and asked_at is not null) as kept,
                count(*) filter (where began_at < not_before and asked_at is null) as broken,
                count(*) filter (where phase = 'withdrawn') as withdrawn,
                count(*) filter (where phase in ('waiting', 'offered') and began_at is null) as open
            from task
            where phase <> 'done' or began_at is not null"""
        )
        assert row is not None  # noqa: S101 - an aggregate always has its row
        return {name: int(row[name]) for name in ("kept", "broken", "withdrawn", "open")}

    def _stand(self, order_id: str, state: OrderState, reason: str | None, now: datetime) -> None:
        with self._writing() as con:
            values = (state, reason, _text(now), order_id)
            con.execute("update job set state = ?, reason = ?, state_at = ? where order_id = ?", values)

    def _touch(self, task: Task, change: str, *values: object) -> None:
        with self._writing() as con:
            query = f"update task set {change}, revision = revision + 1 where order_id = ? and vm_id = ?"  # noqa: S608
            con.execute(query, (*values, task.order_id, task.vm_id))

    @staticmethod
    def _withdraw(con: sqlite3.Connection, where: str, *values: object) -> None:
        change = "phase = 'withdrawn', revision = revision + 1"
        con.execute(f"update task set {change} where phase = 'offered' and asked_at is null and {where}", values)  # noqa: S608

    def _answer(self, row: sqlite3.Row) -> Answer:
        """The order's answer; of an order that has not begun nothing has become of any VM."""
        state = OrderState(row["state"])
        query = "select * from task where order_id = ? and result is not null order by position"
        told = () if state is OrderState.ACCEPTED else self._all(query, row["order_id"])
        vms = tuple(
            VmOutcome(one["vm_id"], one["result"], one["host_id"], one["pause_seconds"], bool(one["interrupted"]))
            for one in told
        )
        return Answer(row["order_id"], state, _moment(row["state_at"]), row["reason"], vms, row["host_state"])

    def _one(self, query: str, *values: object) -> sqlite3.Row | None:
        with self._lock:
            row: sqlite3.Row | None = self._con.execute(query, values).fetchone()
            return row

    def _all(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._con.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._con:  # which commits, or rolls back what was begun
            self._con.execute("begin immediate")
            yield self._con


_TASKS: Final = (
    "select task.order_id, vm_id, technique, target_host_id, seconds, not_before, deadline, phase, way, attempts, "
    "asked_at, result, task.reason, job.host_id, job.action from task join job using (order_id)"
)


def _tasks(order: Order, now: datetime) -> Iterator[tuple[object, ...]]:
    """A row for each VM: nothing happens to it before the moment that its owner is told of."""
    starts = max(order.not_before, now)
    for position, vm in enumerate(order.vms):
        moves = order.action in EMPTYING and vm.technique in MOVING
        halts = order.action is Action.PRESERVE_MEMORY
        told = vm.technique is Action.NOTIFY
        phase = "waiting" if moves or halts else "offered" if told else "done"
        until = max(starts, vm.deadline) if vm.technique is Action.SELF_SERVICE and vm.deadline else starts
        begins = order.expires_at if told else until
        yield (
            order.order_id,
            position,
            vm.vm_id,
            vm.technique.value,
            vm.target_host_id,
            vm.seconds,
            _text(begins),
            _text(vm.deadline) if vm.deadline else None,
            phase,
            None if moves or halts else "stayed",
        )


def _job(row: sqlite3.Row) -> Job:
    return Job(
        _order(row),
        OrderState(row["state"]),
        row["reason"],
        _moment(row["state_at"]),
        row["called_back"],
        row["service"],
    )


def _order(row: sqlite3.Row) -> Order:
    return messages.read_order(messages.read_event(row["order_event"]))


def _task(row: sqlite3.Row) -> Task:
    held = dict(row)
    moments = {name: _moment(held[name]) if held[name] else None for name in ("deadline", "asked_at")}
    named = {name: Action(held[name]) for name in ("technique", "action")}
    return Task(**{**held, **moments, **named, "not_before": _moment(held["not_before"])})


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
