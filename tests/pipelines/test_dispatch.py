"""Handing orders over: once in effect, whatever the executor does, and never without its precondition."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from benchmarks import executor_throughput as many
from data.errors import ExecutorError, LedgerError
from decisions.decide import decide
from decisions.domain import Action, Answer, Order, OrderState, VmOutcome
from decisions.ledger import Ledger
from decisions.opt_outs import opt_out
from decisions.risk import host_risks
from pipelines.executors import AsksToWait
from pipelines.executors.dry_run import DryRun
from pipelines.settings import ExecutorSettings
from pipelines.steps import dispatch
from pipelines.steps.dispatch import DispatchReport, Inventory, drain
from tests.decisions.fleets import fleet, risk
from tests.decisions.ledgers import NOW, POLICY, automatic

LIMITS = ExecutorSettings(attempts=3, backoff_seconds=1)
FLEET = fleet(50, {})
INVENTORY = Inventory(FLEET.hosts, FLEET.vms)


class Died(BaseException):
    """The dispatcher was killed: nothing may catch it."""


@dataclass
class Scripted:
    """An executor that keeps what it was given, by order, and does first what its script says."""

    script: list[Callable[[], None]] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    answers: OrderState = OrderState.ACCEPTED
    dropped: list[str] = field(default_factory=list)
    reachable: bool = True

    def submit(self, order: Order) -> Answer:
        """The scripted answer."""
        if self.script:
            self.script.pop(0)()
        self.taken[order.order_id] = 1
        if self.after:
            self.after.pop(0)()
        return Answer(order.order_id, self.answers, NOW)

    def cancel(self, order_id: str, reason: str) -> Answer:
        """Cancelled, when it can be reached."""
        if not self.reachable:
            fail()
        self.dropped.append(order_id)
        return Answer(order_id, OrderState.CANCELLED, NOW, reason)

    def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
        """The same answer for all that were taken."""
        return [Answer(order_id, self.answers, now) for order_id in order_ids if order_id in self.taken]


def fail() -> None:
    msg = "out of reach"
    raise ExecutorError(msg)


def die() -> None:
    raise Died


def fine() -> None:
    pass


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A ledger with two orders to hand over."""
    with Ledger(ledger_url) as opened:
        opened.record(automatic(), NOW)
        yield opened


def run(ledger: Ledger, executor: Scripted, at: datetime = NOW) -> DispatchReport:
    return drain(ledger, executor, INVENTORY, at, LIMITS, pause=lambda _: None)


def test_every_order_is_handed_over_once(ledger: Ledger) -> None:
    """Both orders go out; a second run finds nothing to do."""
    executor = Scripted()
    assert run(ledger, executor).sent == 2
    assert run(ledger, executor) == DispatchReport()
    assert [listed.outbox_state for listed in ledger.orders()] == ["sent", "sent"]


def test_what_fails_is_tried_again_in_the_same_run(ledger: Ledger) -> None:
    """An executor that is out of reach for a moment gets the order in the next round."""
    executor = Scripted(script=[fail])
    report = run(ledger, executor)
    assert (report.sent, report.dead, report.postponed) == (2, 0, 0)


@pytest.mark.parametrize(
    ("attempts", "asked", "paused"),
    [
        pytest.param(3, [2.0], [2.0, 1.0], id="waited for before the next order"),
        pytest.param(3, [3600.0], [3.0, 1.0], id="no longer than all tries take"),
        pytest.param(3, [2.0] * 6, [2.0, 1.0, 1.0, 2.0], id="in all"),
        pytest.param(3, [0.0], [1.0], id="no time"),
        pytest.param(1, [3600.0] * 2, [], id="one try takes none"),
    ],
)
def test_an_executor_that_asks_for_time_gets_it(
    attempts: int, asked: list[float], paused: list[float], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the next order is handed over, and within bounds."""
    monkeypatch.setattr(dispatch, "_backoff", lambda first, round_: first * 2**round_)
    limits, slept = ExecutorSettings(attempts=attempts, backoff_seconds=1), list[float]()
    executor = Scripted(script=[partial(ask, seconds) for seconds in asked])
    report = drain(ledger, executor, INVENTORY, NOW, limits, slept.append)
    assert slept == paused
    assert report.sent + report.dead == 2


def ask(seconds: float) -> None:
    msg = "busy"
    raise AsksToWait(msg, seconds)


def test_what_never_works_becomes_a_dead_letter_with_its_reason(ledger: Ledger) -> None:
    """After the last attempt the order is put aside, and a person can read why."""
    report = run(ledger, Scripted(script=[fail] * 6))
    assert (report.sent, report.dead) == (0, 2)
    assert {listed.last_error for listed in ledger.orders()} == {"out of reach"}


def test_an_answer_about_vms_that_are_not_in_the_order_is_a_failed_attempt(ledger: Ledger) -> None:
    """The executor that tells of a stranger's VM is asked again, and at last a person reads why; no outcome is kept."""

    class Confused(Scripted):
        def submit(self, order: Order) -> Answer:
            return replace(super().submit(order), vms=(VmOutcome("elsewhere", "moved", None, 0.0, interrupted=False),))

    report = run(ledger, Confused())
    assert (report.sent, report.dead) == (0, 2)
    for listed in ledger.orders():
        assert str(listed.last_error).endswith(f"not in order {listed.order.order_id}: elsewhere")
        assert ledger.outcomes(listed.order.order_id) == []


def test_a_dead_letter_goes_out_after_a_retry(ledger: Ledger) -> None:
    """`orders retry` brings it back, and the next run hands it over."""
    run(ledger, Scripted(script=[fail] * 6))
    for listed in ledger.orders():
        ledger.retry(listed.order.order_id, "ann", NOW)
    assert run(ledger, Scripted()).sent == 2


@pytest.mark.parametrize("when", ["script", "after"])
@pytest.mark.parametrize("nth", [0, 1])
def test_a_dispatcher_that_dies_loses_and_repeats_nothing(ledger: Ledger, when: str, nth: int) -> None:
    """Killed before or after the executor took an order: the next run hands over the rest and repeats no effect."""
    executor = Scripted(**{when: [*[fine] * nth, die]})  # type: ignore[arg-type]
    with pytest.raises(Died):
        run(ledger, executor)
    run(ledger, executor)
    assert sorted(executor.taken) == sorted(listed.order.order_id for listed in ledger.orders())
    assert {listed.state for listed in ledger.orders()} == {OrderState.ACCEPTED}


def test_an_expired_order_never_leaves(ledger: Ledger) -> None:
    """Past its expiry an order ends here, whatever the executor would say."""
    executor = Scripted()
    late = max(listed.order.expires_at for listed in ledger.orders())
    assert run(ledger, executor, late).expired == 2
    assert executor.taken == {}


def test_a_host_that_is_gone_gets_no_order(ledger: Ledger) -> None:
    """An order for a host that left the inventory, or is at repair, is refused with that reason."""
    first, second = (listed.order.host_id for listed in ledger.orders())
    hosts = {name: host for name, host in FLEET.hosts.items() if name != first}
    hosts[second] = replace(hosts[second], state="repair")
    executor = Scripted()
    assert drain(ledger, executor, replace(INVENTORY, hosts=hosts), NOW, LIMITS).refused == 2
    assert executor.taken == {}
    assert {listed.reason for listed in ledger.orders()} == {
        f"host {first} is no longer in the inventory",
        f"host {second} is out of service already: repair",
    }


def test_an_order_whose_plan_no_longer_holds_is_refused(ledger: Ledger) -> None:
    """A planned VM that has left its host, or a target that takes no VMs now, ends the order with its name."""
    first, second = (listed.order for listed in ledger.orders())
    vms = {**FLEET.vms, first.host_id: tuple(v for v in FLEET.vms[first.host_id] if v.vm_id != first.vms[0].vm_id)}
    target = second.vms[0].target_host_id or ""
    hosts = {**FLEET.hosts, target: replace(FLEET.hosts[target], state="draining")}
    executor = Scripted()
    assert drain(ledger, executor, Inventory(hosts, vms), NOW, LIMITS).refused == 2
    assert executor.taken == {}
    assert {ledger.order(order.order_id).reason for order in (first, second)} == {
        f"VM {first.vms[0].vm_id} is no longer on host {first.host_id}",
        f"target host {target} is draining and takes no VMs",
    }


def test_nothing_leaves_while_the_kill_switch_is_thrown(ledger: Ledger) -> None:
    """Stopped, the outbox keeps its orders; started again, they go."""
    ledger.stop("ann", "storm", NOW)
    executor = Scripted()
    assert run(ledger, executor) == DispatchReport(stopped_by="ann")
    ledger.start("ann", NOW)
    assert run(ledger, executor).sent == 2


def test_a_kill_switch_thrown_midway_holds_the_rest(ledger: Ledger) -> None:
    """The order in hand goes; the next one waits in the outbox."""
    executor = Scripted(after=[lambda: ledger.stop("ann", "storm", NOW)])
    assert (run(ledger, executor).sent, len(executor.taken)) == (1, 1)
    assert sorted(listed.outbox_state for listed in ledger.orders()) == ["pending", "sent"]


def test_an_executor_that_refuses_is_counted_as_such(ledger: Ledger) -> None:
    """The executor's refusal ends the order."""
    assert run(ledger, Scripted(answers=OrderState.REFUSED)).refused == 2
    assert {listed.state for listed in ledger.orders()} == {OrderState.REFUSED}


def test_a_dry_run_executor_accepts_in_time_and_refuses_late(ledger: Ledger) -> None:
    """It answers as a real one would at that moment, and cancels all it is later asked about."""
    order = ledger.orders()[0].order
    assert DryRun(NOW).submit(order).state is OrderState.ACCEPTED
    assert DryRun(order.expires_at + timedelta(seconds=1)).submit(order).state is OrderState.REFUSED
    assert [answer.state for answer in DryRun(NOW).poll([order.order_id], NOW)] == [OrderState.CANCELLED]


def test_a_person_who_keeps_the_pool_out_ends_what_waits(ledger: Ledger) -> None:
    """Both orders are of the pool: they are called back out of the outbox, and the executor never hears of them."""
    ledger.opt_out(opt_out("pool", "c0", (), by="ann", reason="sale", at=NOW, days=1, longest_days=90))
    executor = Scripted()
    assert (run(ledger, executor).recalled, executor.taken) == (2, {})
    assert {listed.reason for listed in ledger.orders()} == {
        "policy: ann keeps pool c0 out of everything that acts until 2026-03-02 00:05 UTC: sale"
    }


def test_a_recovered_host_is_dropped_by_an_executor_that_has_it(ledger: Ledger) -> None:
    """Accepted, then the host recovers: the executor is asked to drop it; out of reach, it is asked again next time."""
    executor = Scripted()
    run(ledger, executor)
    well = host_risks([risk(listed.order.host_id, 0.001) for listed in ledger.orders()])
    recovered = replace(INVENTORY, risks=well)
    assert drain(ledger, replace(executor, reachable=False), recovered, NOW, LIMITS).recalled == 0
    assert drain(ledger, executor, recovered, NOW, LIMITS).recalled == 2
    assert {listed.state for listed in ledger.orders()} == {OrderState.CANCELLED}


def test_an_order_that_died_in_hand_over_is_dropped_by_the_executor_too(ledger: Ledger) -> None:
    """The executor took it, the dispatcher died, the host was retired: the refusal reaches the executor."""
    executor = Scripted(after=[die])
    with pytest.raises(Died):
        run(ledger, executor)
    (taken,) = executor.taken
    hosts = {name: replace(host, state="retired") for name, host in FLEET.hosts.items()}
    assert drain(ledger, executor, replace(INVENTORY, hosts=hosts), NOW, LIMITS).refused == 2
    assert executor.dropped == [taken]


def test_orders_handed_over_late_do_not_start_together(ledger_url: str) -> None:
    """Two hosts of a rack, both overdue: one starts now, the other when that is done, and the history says so."""
    limits = replace(POLICY, breaker=replace(POLICY.breaker, floor_hosts=9))
    late = NOW + timedelta(hours=6)
    with Ledger(ledger_url) as ledger:
        ledger.record(decide(fleet(50, {"h001": 0.8, "h002": 0.6}), limits), NOW)
        assert drain(ledger, Scripted(), INVENTORY, late, LIMITS, policy=limits).sent == 2
        first, second = sorted((listed.order for listed in ledger.orders()), key=lambda order: order.not_before)
        assert first.not_before < late < second.not_before
        assert [order.not_before for order in ledger.open_orders()] == [first.not_before, second.not_before]
        assert ledger.verify().ok


def test_a_storm_hands_over_no_move_and_lets_what_helps_pass(ledger_url: str) -> None:
    """Half the fleet flagged: hosts are closed within their share, none is emptied, and orders can be called back."""
    with Ledger(ledger_url) as ledger:
        ledger.record(automatic(), NOW)
        waiting = [listed.order for listed in ledger.orders()]
        storm = decide(fleet(50, {f"h{i:03d}": 0.8 for i in range(0, 50, 2)}, asof_at=NOW), POLICY)
        ledger.record(storm, NOW)
        ledger.cancel(waiting[0].order_id, "ann", "not in a storm", NOW)
        executor = Scripted()
        report = run(ledger, executor)
        assert str(ledger.order(waiting[1].order_id).reason).startswith("fleet: 25 of 50 hosts that could be acted on")
        sent = [listed.order for listed in ledger.orders() if listed.order.order_id in executor.taken]
        assert {order.action for order in sent} == {Action.BLOCK_PLACEMENTS}
        assert (report.refused, report.sent) == (1, len(sent))
        assert len(sent) <= 50 * POLICY.limits.blocked_hosts_share_per_cluster


def test_two_dispatchers_at_once_hand_each_order_over_once(ledger_url: str) -> None:
    """Both find forty orders due: whoever is second in turn finds nothing left, and no order goes out twice."""
    hosts, vms, proposals = many.fleet(40)
    handed, policy = Counter[str](), many.roomy(40)

    class Counting(DryRun):
        def submit(self, order: Order) -> Answer:
            handed[order.order_id] += 1
            return super().submit(order)

    def dispatch(_: int) -> int:
        with Ledger(ledger_url) as ledger, ledger.turn() as still:
            fleet_now = Inventory(hosts, vms)
            return drain(ledger, Counting(many.NOW), fleet_now, many.NOW, LIMITS, policy=policy, still=still).sent

    with Ledger(ledger_url) as ledger:
        ledger.record(many.verdict(proposals), many.NOW)
    with ThreadPoolExecutor(2) as dispatchers:
        assert sorted(dispatchers.map(dispatch, range(2))) == [0, 40]
    assert set(handed.values()) == {1}


def test_a_dispatcher_that_has_lost_its_turn_hands_nothing_over(ledger: Ledger) -> None:
    """The check comes before each order; what it leaves is handed over by the next run."""
    executor, turns = Scripted(), iter([True, False])

    def still() -> None:
        if not next(turns):
            msg = "the turn is another's"
            raise LedgerError(msg)

    with pytest.raises(LedgerError):
        drain(ledger, executor, INVENTORY, NOW, LIMITS, pause=lambda _: None, still=still)
    assert len(executor.taken) == 1
    assert run(ledger, executor).sent == 1
