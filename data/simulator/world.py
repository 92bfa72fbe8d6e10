"""A simulated world that lives in one SQLite file: a clock, hosts, VMs, failures to come, and orders carried out.

It is moved by `advance` and `submit` alone. Every call is one transaction, so a process that dies inside one leaves the
world as it was before; and all chance comes from (seed, order, VM), so asking again gives the same answer.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa

from data.contracts import FAILURES, INVENTORY, UTC
from data.errors import InputError, UsageError
from data.simulator import faults, watch, work
from data.simulator.creation import FORMAT, fill, put
from data.simulator.motion import WorldSpec
from data.simulator.state import DAY, micros, moment
from data.simulator.work import VmAsked

_MOMENT: Final[pa.DataType] = UTC
INTERRUPTIONS: Final = pa.schema(
    [
        ("vm_id", pa.string()),
        ("at", _MOMENT),
        ("cause", pa.string()),
        ("host_id", pa.string()),
        ("order_id", pa.string()),
    ]
)
"""`cause` is `failure`, `failed_move`, `failed_pause`, `redeploy` or `chosen` (by its owner), at `host_id`."""


@dataclass(frozen=True)
class VmAnswer:
    """What became of a VM: `moved`, `redeployed`, `chosen`, `paused`, `stayed`, `failed` or `lost`; null: not yet.

    `failed` was interrupted by its own failed move or pause, `lost` by its host's failure, `chosen` by its owner.
    """

    vm_id: str
    technique: str
    result: str | None
    target_host_id: str | None
    pause_seconds: float
    interrupted: bool


@dataclass(frozen=True)
class OrderAnswer:
    """Where an order stands, and since when."""

    order_id: str
    host_id: str
    action: str
    state: str
    at: datetime
    reason: str | None
    vms: tuple[VmAnswer, ...]


class World:
    """The open world. Use it as a context manager, or `close` it."""

    def __init__(self, con: sqlite3.Connection) -> None:
        """A world over a connection that `create` or `open` made; use those."""
        self._con = con
        self.seed = int(self._meta("seed"))
        self.spec = WorldSpec(**json.loads(self._meta("spec")))
        self.started_at = moment(int(self._meta("start")))

    @classmethod
    def create(
        cls,
        path: str | Path,
        tables: Mapping[str, pa.Table],
        failures: pa.Table,
        start: datetime,
        seed: int,
        spec: WorldSpec | None = None,
    ) -> "World":
        """A new world at `path` (or ":memory:"), its clock at `start`.

        `tables` holds `hosts`, `vms` and `entities` by `data.contracts.INVENTORY`. `failures` holds what will happen:
        component, entity_id, failed_at, and optionally cause and replacement_id; those up to `start`, or of entities
        that are not in `tables`, are left out.

        Raises:
            UsageError: there is a world at `path` already, or the VMs do not fit their hosts.
        """
        in_memory = str(path) == ":memory:"
        if not in_memory and Path(path).exists():
            msg = f"{path} exists already: open that world, or give another path"
            raise UsageError(msg)
        draft = path if in_memory else Path(f"{path}.new")
        if not in_memory:
            Path(draft).unlink(missing_ok=True)
        con = _connect(draft)
        fill(con, tables, failures, micros(start), seed, spec or WorldSpec())
        if in_memory:
            return cls(con)
        con.close()
        Path(draft).rename(path)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> "World":
        """The world at `path`, where it was left.

        Raises:
            InputError: there is no world at `path`.
        """
        if not Path(path).exists():
            msg = f"{path} is not there: create a world first"
            raise InputError(msg)
        con = _connect(path)
        try:
            found = con.execute("select value from meta where key = 'format'").fetchone()
        except sqlite3.DatabaseError:
            found = None
        if found is None or found["value"] != FORMAT:
            con.close()
            msg = f"{path} is not a simulated world: give the path of one, or create it anew"
            raise InputError(msg)
        con.execute("pragma journal_mode = wal")
        con.execute("pragma synchronous = normal")
        return cls(con)

    def fork(self, path: str | Path = ":memory:", spec: WorldSpec | None = None) -> "World":
        """A copy of this world as it is now, which goes its own way from here: one arm of an experiment.

        With a `spec` of its own it behaves differently from here on.

        Raises:
            UsageError: there is a file at `path` already.
        """
        if str(path) != ":memory:" and Path(path).exists():
            msg = f"{path} exists already: give another path for the copy"
            raise UsageError(msg)
        con = _connect(path)
        self._con.backup(con)
        if spec is not None:
            con.execute("update meta set value = ? where key = 'spec'", (json.dumps(asdict(spec)),))
        return World(con)

    def close(self) -> None:
        """Let go of the file."""
        self._con.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def now(self) -> datetime:
        """The world's clock."""
        return moment(int(self._meta("now")))

    def advance(self, to: datetime) -> int:
        """How many things happened up to and including `to`; the clock then stands there, and never goes back."""
        with self._transaction():
            return self._run(micros(to))

    def arrive(self, tables: Mapping[str, pa.Table], failures: pa.Table) -> None:
        """Add hosts with their VMs, and entities, as of now; `tables` and `failures` are as for `create`.

        Raises:
            UsageError: a VM's host is not among the hosts that arrive, or an id is taken; then nothing is added.
        """
        with self._transaction():
            put(self._con, tables, failures, micros(self.now))
            missed = tables["vms"].num_rows * (micros(self.now) - micros(self.started_at))
            self._con.execute(
                "insert into meta values ('missed', ?) "
                "on conflict (key) do update set value = cast(value as integer) + cast(excluded.value as integer)",
                (str(missed),),
            )

    def submit(
        self,
        order_id: str,
        host_id: str,
        action: str,
        vms: Sequence[VmAsked | tuple[str, str, str | None]],
        not_before: datetime,
        expires_at: datetime,
        at: datetime,
        change: tuple[str, str] | None = None,
    ) -> tuple[str, str | None]:
        """`accepted`, `refused` or `expired`, and why; the world is first advanced to `at`.

        The same `order_id` again gets the same answer and has no further effect. An accepted order keeps room on its
        targets and starts by itself at `not_before` or `at`, whichever is later. A VM's target may be null: the world
        then chooses. `change` is a host attribute and its value once the host has been serviced. It is refused as a
        whole when the host is out of service, a VM is not there, is not movable that way or belongs to another open
        order, or a target takes no VMs or lacks room.
        """
        with self._transaction():
            self._run(micros(at))
            known = self._con.execute("select * from work where order_id = ?", (order_id,)).fetchone()
            if known is None:
                asked = [VmAsked(*vm) for vm in vms]
                known = self._accept(order_id, host_id, action, asked, micros(not_before), micros(expires_at), change)
            return str(known["first_state"]), known["first_reason"]

    def cancel(self, order_id: str, reason: str) -> OrderAnswer:
        """Where the order stands after asking it to stop: `cancelled`, unless it had already ended.

        Raises:
            UsageError: no such order was ever submitted.
        """
        with self._transaction():
            self._require(order_id)
            work.cancel(self._con, self.spec, order_id, reason, micros(self.now))
        return self.answers([order_id])[0]

    def start_vm(self, order_id: str, vm_id: str, at: datetime) -> tuple[OrderAnswer, str | None]:
        """Where the order stands after a VM's move was made at `at`, and why it was not, or null.

        Raises:
            UsageError: no such order was ever submitted.
        """
        with self._transaction():
            self._run(micros(at))
            self._require(order_id)
            why = work.hasten(self._con, order_id, vm_id, micros(self.now))
            self._run(micros(self.now))
        return self.answers([order_id])[0], why

    def answers(self, order_ids: Sequence[str]) -> list[OrderAnswer]:
        """The latest answer of each order that was submitted, in the order asked; unknown ones are left out."""
        found = []
        for order_id in order_ids:
            row = self._con.execute("select * from work where order_id = ?", (order_id,)).fetchone()
            if row is not None:
                found.append(self._answer(row))
        return found

    def inventory(self, *names: str) -> dict[str, pa.Table]:
        """`hosts`, `vms` and `entities` by `data.contracts.INVENTORY`, as of now, or only those named.

        Parts that failed are gone.
        """
        queries = {
            "hosts": "select * from host order by host_id",
            "vms": "select * from vm order by vm_id",
            "entities": "select * from entity where host_id is not null order by component, entity_id",
        }
        return {name: self._table(queries[name], INVENTORY[name]) for name in names or queries}

    def interruptions(self) -> pa.Table:
        """Every VM interruption so far, by `INTERRUPTIONS`, in order of time."""
        return self._table("select * from interruption order by at, rowid", INTERRUPTIONS)

    def vm_days(self) -> float:
        """Days that VMs have existed since the start, all together: the denominator of an annual interruption rate."""
        count = int(self._con.execute("select count(*) from vm").fetchone()[0])
        missed = self._con.execute("select value from meta where key = 'missed'").fetchone()
        gone_by = count * (micros(self.now) - micros(self.started_at))
        return (gone_by - (int(missed["value"]) if missed else 0)) / DAY

    def changes(self) -> tuple[dict[str, str], dict[str, str]]:
        """Hosts whose state has changed since the last call, and VMs that have moved, with what they are and where.

        The first call begins the watch, and what went before it is not told. It lasts for as long as the world is open.
        """
        with self._transaction():
            return watch.changes(self._con)

    def failures(self) -> pa.Table:
        """Failures that have happened by now, by `data.contracts.FAILURES`; `ingested_at` is the moment itself."""
        return self._table(
            "select component, entity_id, failed_at, failed_at as ingested_at, cause from failure "
            "where state in ('happened', 'replaced') order by failed_at, component, entity_id",
            FAILURES,
        )

    def failed_hosts(self, since: datetime) -> dict[str, datetime]:
        """The hosts of parts that failed after `since`, and when last."""
        query = "select host_id, max(failed_at) from failure where state <> 'future' and failed_at > ? group by host_id"
        return {row[0]: moment(row[1]) for row in self._con.execute(query, (micros(since),))}

    def migrations(self) -> int:
        """How many VMs orders have taken elsewhere, live or by starting them anew."""
        query = "select count(*) from work_vm where result in ('moved', 'redeployed')"
        return int(self._con.execute(query).fetchone()[0])

    def upcoming_failures(self, within_days: float) -> pa.Table:
        """The truth about the next `within_days`: entity_id, component, host_id, failed_at. For oracle arms only."""
        now = micros(self.now)
        rows = self._con.execute(
            "select entity_id, component, host_id, failed_at from failure "
            "where state = 'future' and failed_at <= ? order by failed_at, component, entity_id",
            (now + round(within_days * DAY),),
        ).fetchall()
        names = ("entity_id", "component", "host_id")
        columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in names}
        return pa.table({**columns, "failed_at": pa.array([row["failed_at"] for row in rows], pa.int64()).cast(UTC)})

    def _accept(
        self,
        order_id: str,
        host_id: str,
        action: str,
        vms: Sequence[VmAsked],
        not_before: int,
        expires_at: int,
        change: tuple[str, str] | None,
    ) -> sqlite3.Row:
        con, now = self._con, micros(self.now)
        con.execute(
            "insert into work values (?, ?, ?, ?, ?, 'accepted', null, 'accepted', ?, null, ?, ?)",
            (order_id, host_id, action, not_before, expires_at, now, *(change or (None, None))),
        )
        order = con.execute("select * from work where order_id = ?", (order_id,)).fetchone()
        state, reason = "expired", work.lapse(order, now)
        if reason is None:
            con.execute("savepoint taking")
            state, reason = "refused", work.take(con, order, vms, now)
            if reason is not None:
                con.execute("rollback to taking")
            con.execute("release taking")
        if reason is not None:
            con.execute(
                "update work set first_state = ?, first_reason = ?, state = ?, reason = ? where order_id = ?",
                (state, reason, state, reason, order_id),
            )
        row: sqlite3.Row = con.execute("select * from work where order_id = ?", (order_id,)).fetchone()
        return row

    def _require(self, order_id: str) -> None:
        if self._con.execute("select 1 from work where order_id = ?", (order_id,)).fetchone() is None:
            msg = f"order {order_id} was never submitted here: check its id"
            raise UsageError(msg)

    def _run(self, to: int) -> int:
        """Carry out the agenda up to `to`, and set the clock."""
        con, count = self._con, 0
        while True:
            due = con.execute("select * from agenda where at <= ? order by at, rank, seq limit 1", (to,)).fetchone()
            if due is None:
                break
            con.execute("delete from agenda where seq = ?", (due["seq"],))
            self._happen(due["kind"], due["at"], due["a"], due["b"])
            count += 1
        con.execute("update meta set value = ? where key = 'now' and cast(value as integer) < ?", (str(to), to))
        return count

    def _happen(self, kind: str, at: int, a: str, b: str) -> None:
        con, spec = self._con, self.spec
        match kind:
            case "failure":
                faults.fail(con, spec, at, a, b)
            case "move":
                work.move(con, spec, self.seed, a, b, at)
            case "finish":
                work.finish(con, spec, a, at)
            case "return":
                faults.come_back(con, spec, a, b, at)
            case "choice":
                work.choose(con, a, b, at)
            case "release":
                faults.release(con, a, b)
            case _:
                work.start(con, spec, self.seed, a, at)

    def _answer(self, row: sqlite3.Row) -> OrderAnswer:
        query = "select * from work_vm where order_id = ? order by position"
        vms = tuple(
            VmAnswer(
                vm["vm_id"],
                vm["technique"],
                vm["result"],
                vm["target_host_id"],
                vm["pause_seconds"],
                bool(vm["interrupted"]),
            )
            for vm in self._con.execute(query, (row["order_id"],))
        )
        at = moment(row["state_at"])
        return OrderAnswer(row["order_id"], row["host_id"], row["action"], row["state"], at, row["reason"], vms)

    def _meta(self, key: str) -> str:
        return str(self._con.execute("select value from meta where key = ?", (key,)).fetchone()["value"])

    def _table(self, query: str, schema: pa.Schema) -> pa.Table:
        """The query's rows; its columns stand in the schema's order, and further ones are left out."""
        cursor = self._con.cursor()
        cursor.row_factory = None
        rows = cursor.execute(query).fetchall()
        values = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
        columns = []
        for field, column in zip(schema, values[: len(schema)], strict=True):
            raw = pa.int64() if field.type in (UTC, pa.bool_()) else field.type
            columns.append(pa.array(column, raw).cast(field.type))
        return pa.Table.from_arrays(columns, schema=schema)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._con:
            self._con.execute("begin immediate")
            yield


def _connect(path: str | Path) -> sqlite3.Connection:
    con = sqlite3.connect(path, isolation_level=None, timeout=60)
    con.row_factory = sqlite3.Row
    return con
