"""Orders through a network that loses, repeats, delays and reorders, to an executor that dies: all once in effect.

A Hypothesis state machine. The dispatcher with its ledger and the executor with its memory are the real ones, on SQLite
files; between them is a network that fails on demand, and beneath them a cloud in memory. Either side is killed at any
step: around any transaction of the executor, any deed of its cloud, and any message of the dispatcher.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from data.errors import ExecutorError
from decisions.domain import UNDER_WAY, Answer, Order, OrderState
from decisions.ledger import Ledger
from decisions.ledger.moving import take_over
from decisions.policy import load
from pipelines.contract import messages
from pipelines.executors.driven import Driven, Limits
from pipelines.executors.jobs import Jobs
from pipelines.settings import ExecutorSettings
from pipelines.steps.dispatch import Inventory, drain
from tests.decisions.fleets import ASOF, fleet
from tests.decisions.ledgers import NOW, automatic
from tests.pipelines.cloud import Cloud
from tests.postgres import Postgres

FLEET = fleet(50, {})
INVENTORY = Inventory(FLEET.hosts, FLEET.vms)
POLICY = load()
LIMITS = ExecutorSettings(attempts=3, backoff_seconds=1)
MEMORY = Path("/dev/shm")  # noqa: S108 - folders of their own
ENDED = frozenset(OrderState) - {OrderState.REQUESTED, *UNDER_WAY}


class Killed(BaseException):
    """A process died: nothing may catch it."""


@dataclass
class Fuse:
    """Kills after so many steps; null: never."""

    left: int | None = None

    def __call__(self) -> None:
        """One step."""
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise Killed


class FusedJobs(Jobs):
    """A memory whose process may die before a transaction and after it."""

    fuse: Fuse = Fuse()

    @contextmanager
    def _writing(self) -> Iterator[object]:  # type: ignore[override]
        self.fuse()
        with super()._writing() as con:
            yield con
        self.fuse()


@dataclass
class Network:
    """Between dispatcher and executor: each message meets the fate that stands first in `fates`."""

    executor: Callable[[], Driven]
    revive: Callable[[], None]
    fuse: Fuse = field(default_factory=Fuse)
    fates: list[str] = field(default_factory=list)
    late: list[bytes] = field(default_factory=list)

    def submit(self, order: Order) -> Answer:
        """The answer, if the network lets it through."""
        return self._send(messages.order_event(order, order.not_before))

    def cancel(self, order_id: str, reason: str) -> Answer:
        """The same for calling back."""
        return self._send(messages.cancel_event(order_id, reason, NOW))

    def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
        """Answers, or none."""
        self.fuse()
        if self._fate() in {"lost", "answer lost"}:
            msg = "no answer"
            raise ExecutorError(msg)
        return self.executor().poll(order_ids, now)

    def deliver(self, event: bytes) -> Answer:
        """The executor gets the message, and may die of it."""
        read = messages.read_event(event)
        try:
            if read.get_type() == messages.REQUESTED:
                return self.executor().submit(messages.read_order(read))
            wish = messages.read_cancel(read)
            return self.executor().cancel(wish.order_id, wish.reason)
        except Killed as error:
            self.revive()
            msg = "connection reset"
            raise ExecutorError(msg) from error

    def _send(self, event: bytes) -> Answer:
        self.fuse()
        fate = self._fate()
        if fate in {"lost", "late"}:
            self.late += [event] if fate == "late" else []
            msg = "no answer"
            raise ExecutorError(msg)
        answer = self.deliver(event)
        if fate == "twice":
            self.late.append(event)
        if fate == "answer lost":
            msg = "no answer"
            raise ExecutorError(msg)
        self.fuse()
        return answer

    def _fate(self) -> str:
        return self.fates.pop(0) if self.fates else "delivered"


def folder(prefix: str) -> Path:
    """A new folder, in memory where that can be: processes die here, disks do not."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if os.access(MEMORY, os.W_OK) else None))


@cache
def template() -> Path:
    """A ledger with two orders in its outbox."""
    file = folder("ledger-") / "ledger.db"
    atexit.register(shutil.rmtree, file.parent)
    with closing(Ledger(f"sqlite:///{file}")) as ledger:
        ledger.record(automatic(), NOW)
    return file


FATES = st.lists(st.sampled_from(["delivered", "lost", "late", "twice", "answer lost"]), max_size=6)


class Histories(RuleBasedStateMachine):
    """What may happen, in any order."""

    @initialize()
    def begin(self) -> None:
        """Two orders are requested; nothing has been handed over."""
        self.folder = folder("history-")
        self.url = self.new_ledger()
        self.now = NOW
        self.jobs_fuse = Fuse()
        self.cloud = Cloud({vm.vm_id: {host} for host, vms in FLEET.vms.items() for vm in vms}, self.jobs_fuse)
        self.cloud.at_deed = self.deed
        self.asked: set[str] = set()
        self.revive()
        self.network = Network(lambda: self.driven, self.revive)
        self.open_ledger()
        self.orders = {listed.order.order_id: listed.order for listed in self.ledger.orders()}
        self.order_of = {vm.vm_id: order for order in self.orders.values() for vm in order.vms}

    def new_ledger(self) -> str:
        """The URL of a ledger with two orders in its outbox."""
        shutil.copy(template(), self.folder / "ledger.db")
        return f"sqlite:///{self.folder / 'ledger.db'}"

    def open_ledger(self) -> None:
        """A new dispatcher."""
        self.ledger = Ledger(self.url)

    def revive(self) -> None:
        """A new executor process on the memory of the one that died."""
        if hasattr(self, "jobs"):
            self.jobs.close()
        self.jobs_fuse.left = None
        self.jobs = FusedJobs(self.folder / "executor.db")
        self.jobs.fuse = self.jobs_fuse
        limits = Limits(patience=timedelta(minutes=1))
        self.driven = Driven(self.cloud, self.jobs, clock=lambda: self.now, limits=limits)

    def deed(self, vm_id: str) -> None:
        """Whatever is done to a VM is done within the moments of its order."""
        order, job = self.order_of[vm_id], self.jobs.job(self.order_of[vm_id].order_id)
        assert job is not None
        assert job.state is OrderState.STARTED, "a deed before the intent was written down"
        assert self.now >= order.not_before or vm_id in self.asked, "begun before its moment"

    @rule(minutes=st.sampled_from([0.1, 1, 10, 60, 600]))
    def time_passes(self, minutes: float) -> None:
        """The clock goes on."""
        self.now += timedelta(minutes=minutes)

    @rule(fates=FATES, fuse=st.none() | st.integers(0, 12), dying=st.none() | st.integers(0, 12))
    def dispatch(self, fates: list[str], fuse: int | None, dying: int | None) -> None:
        """A dispatcher runs, over a bad network, and may be killed; so may the executor."""
        self.network.fates, self.network.fuse.left, self.jobs_fuse.left = list(fates), fuse, dying
        try:
            drain(self.ledger, self.network, INVENTORY, self.now, LIMITS, lambda _: None, policy=POLICY)
        except Killed:
            self.ledger.close()
            self.open_ledger()
        except ExecutorError:
            pass
        self.network.fates, self.network.fuse.left, self.jobs_fuse.left = [], None, None

    @rule(dying=st.none() | st.integers(0, 25))
    def work(self, dying: int | None) -> None:
        """The executor works, and may be killed."""
        before = {job.order.order_id for job in self.jobs.open() if job.state is OrderState.ACCEPTED}
        self.jobs_fuse.left = dying
        try:
            self.driven.tick()
        except Killed:
            self.revive()
        self.jobs_fuse.left = None
        for job in (self.jobs.job(order_id) for order_id in before):
            if job is not None and job.state is OrderState.STARTED:
                assert self.now <= job.order.expires_at, "begun after its expiry"

    @rule(which=st.integers(0, 20))
    def a_late_message_arrives(self, which: int) -> None:
        """What the network kept comes, in any order, and perhaps long after."""
        if self.network.late:
            event = self.network.late.pop(which % len(self.network.late))
            try:
                self.network.deliver(event)
            except ExecutorError:
                return

    @rule(which=st.integers(0, 7))
    def an_owner_starts_early(self, which: int) -> None:
        """An owner says: now."""
        vm_id = sorted(self.order_of)[which % len(self.order_of)]
        for task in self.jobs.of_vm(vm_id)[1]:
            self.jobs.ask(task, self.now)
            self.asked.add(vm_id)

    @rule(which=st.integers(0, 1), fates=FATES)
    def an_order_is_called_back(self, which: int, fates: list[str]) -> None:
        """Somebody cancels an order at the executor."""
        self.network.fates = list(fates)
        with suppress(ExecutorError):
            self.network.cancel(sorted(self.orders)[which], "vetoed")
        self.network.fates = []

    @rule(fates=FATES)
    def settle(self, fates: list[str]) -> None:
        """Answers come back, or not."""
        self.network.fates = list(fates)
        with suppress(ExecutorError):
            self.hear()
        self.network.fates = []

    def hear(self) -> None:
        """Every answer goes into the ledger."""
        for answer in self.network.poll(sorted(self.orders), self.now):
            self.ledger.apply(answer)

    @invariant()
    def every_vm_runs_at_most_once_and_moves_at_most_once(self) -> None:
        """No VM runs on two hosts, and no order takes effect on a VM twice."""
        if not hasattr(self, "cloud"):
            return
        assert all(len(hosts) <= 1 for hosts in self.cloud.runs.values())
        assert len({vm_id for vm_id, _, _ in self.cloud.deeds}) == len(self.cloud.deeds)

    def teardown(self) -> None:
        """Once everything works again, every order comes to an end, and ledger and cloud agree on what became of it."""
        if not hasattr(self, "cloud"):
            return
        for _ in range(8):
            drain(self.ledger, self.network, INVENTORY, self.now, LIMITS, lambda _: None, policy=POLICY)
            for _ in range(4):
                self.driven.tick()
            self.hear()
            if all(listed.state in ENDED for listed in self.ledger.orders()):
                break
            self.now += timedelta(hours=6)
        for listed in self.ledger.orders():
            assert listed.state in ENDED, f"{listed.order.order_id} is {listed.state}"
            told = {vm.vm_id: vm for vm in self.ledger.outcomes(listed.order.order_id)}
            moved = {vm.vm_id for vm in listed.order.vms if self.cloud.runs[vm.vm_id] != {listed.order.host_id}}
            assert {vm_id for vm_id, vm in told.items() if vm.result == "moved"} == moved
            assert (listed.state is OrderState.COMPLETED) == (moved == {vm.vm_id for vm in listed.order.vms})
        self.ledger.close()
        self.jobs.close()
        shutil.rmtree(self.folder)


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    "histories", [pytest.param(100, marks=pytest.mark.slow), pytest.param(1_000, marks=pytest.mark.heavy)]
)
def test_an_order_takes_effect_once_whatever_dies_in_between(histories: int) -> None:
    """Many histories: no order takes effect twice, none is lost, none begins outside its moments."""
    go_through(Histories, histories)


@pytest.mark.slow
@pytest.mark.postgresql
def test_an_order_takes_effect_once_with_its_ledger_on_a_server(postgres: Postgres, empty_ledger: str) -> None:
    """The same with the ledger on PostgreSQL."""
    origin = postgres.copy(empty_ledger)
    take_over(f"sqlite:///{template()}", origin)

    class OnServer(Histories):
        def new_ledger(self) -> str:
            return postgres.copy(origin)

        def teardown(self) -> None:
            super().teardown()
            postgres.drop(self.url)

    go_through(OnServer, 20)


def go_through(machine: type[RuleBasedStateMachine], histories: int) -> None:
    """Run so many histories."""
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_histories_begin_with_orders_to_hand_over() -> None:
    """The template holds two orders with four VMs each, which start after now."""
    with closing(Ledger(f"sqlite:///{template()}")) as ledger:
        orders = [listed.order for listed in ledger.orders()]
    assert [len(order.vms) for order in orders] == [4, 4]
    assert all(order.not_before > ASOF for order in orders)
