"""The queue of a night: the cycle's proposals and the fleet's standing, from one look at snapshot and ledger each."""

from collections.abc import Callable, Hashable, Iterator, Sequence, Sized
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from math import inf
from pathlib import Path
from threading import Lock, Thread
from time import monotonic
from typing import Final, TypeVar

from dashboards import words
from dashboards.answers import Answers
from dashboards.fleet_view import FleetReader, Freshness, open_fleet
from dashboards.ledger_view import LedgerView, Reader
from dashboards.picking import Wanted, parts
from dashboards.present import Surroundings, card, present
from dashboards.turns import Together, Turns
from dashboards.views import (
    BreakerView,
    Card,
    CycleView,
    OpenView,
    ProposalView,
    Queue,
    StandingView,
    StopView,
)
from dashboards.window import ANSWERS_MOST, AT_ONCE_BYTES, Pane, Window
from data.snapshots import one_thread
from decisions.domain import Action
from decisions.ledger import tally
from decisions.ledger.values import Cycle, ListedProposal
from decisions.policy import Policy
from decisions.policy import load as load_policy
from pipelines.clock import end_of

NIGHTS: Final = 14
OVERDUE: Final = timedelta(hours=30)
"""A nightly question that is older than this was not asked again when it should have been."""

TOLD_MOST_BYTES: Final = 64 * 1024**2
"""Of pages and answers that are kept; those of states that have passed go first."""
AT_ONCE: Final = 3
"""Answers that are made at the same time; more of them would only take turns, and each turn costs."""
LOOK_EVERY_SECONDS: Final = 1.0
"""How often it is looked whether a cycle has come that a large snapshot is not ready for."""
_SMALL_BYTES: Final = 1_000

Clock = Callable[[], datetime]
T = TypeVar("T")


class Room:
    """Where pages look, and what they have told."""

    def __init__(
        self,
        home: Path,
        ledger: LedgerView,
        clock: Clock | None = None,
        policy: Path | None = None,
        prepare: Callable[["Look"], None] = lambda _look: None,
        at_once_bytes: int = AT_ONCE_BYTES,
        memory_limit: str | None = None,
    ) -> None:
        """Nothing is opened before somebody looks.

        Args:
            home: State folder.
            ledger: The ledger.
            clock: Whose time it is; None: the wall's, or, where the fleet is simulated, the data's.
            policy: The policy file; None: the policy that ships.
            prepare: What to look at before a large new snapshot is shown in place of another.
            at_once_bytes: How large a snapshot may be to be shown without that.
            memory_limit: How much memory questions to one snapshot may use, such as `4GB`.
        """
        self.home, self.ledger, self.clock, self._policy_file = home, ledger, clock, policy
        self._prepare = prepare
        self._window = Window(home, self._make_ready, at_once_bytes, memory_limit)
        self._told = Answers(TOLD_MOST_BYTES, _size)
        self.aged = Answers(ANSWERS_MOST)
        self._policies = Answers(1)
        self._preparing = Lock()
        self._looked_at = -inf
        self._at_once = Turns(AT_ONCE)
        self._errands: dict[str, Together[str]] = {}

    @contextmanager
    def look(self) -> Iterator["Look"]:
        """One state of the snapshot and one of the ledger, for as long as they are held.

        Raises:
            WarehouseError: The snapshot is there, and cannot be read.
            LedgerError: The ledger is there, and cannot be read.
        """
        with open_fleet(self._window) as fleet, self.ledger.open() as book:
            yield Look(fleet, book, self)

    def shared(self, question: Hashable, make: Callable[["Look"], T], gather: Callable[[], object] = lambda: None) -> T:
        """What everybody is told alike: made once for each state of snapshot and ledger, and at most a minute old.

        Args:
            question: What is asked; nothing of who asks may go into the answer.
            make: Makes the answer.
            gather: What is done before, while others have their turn.
        """

        def ask() -> T:
            gather()
            return self.asked(make)

        return self._told.current(question, self._version, ask)

    def together(self, kind: str, name: str, gather: Callable[["Look", Sequence[str]], object]) -> None:
        """Have it gathered what an answer about that name rests on: once for all who want the same kind meanwhile."""
        errands = self._errands.setdefault(kind, Together())
        errands.run(name, lambda names: self.apart(lambda look: gather(look, names)))

    def apart(self, ask: Callable[["Look"], T]) -> T:
        """The answer of a look that takes long: it is not kept, and nobody else waits for it."""
        with self.look() as look:
            return ask(look)

    def asked(self, ask: Callable[["Look"], T]) -> T:
        """The answer, from a look of its own."""
        with self._at_once, self.look() as look:
            if monotonic() - self._looked_at > LOOK_EVERY_SECONDS:
                self._looked_at = monotonic()
                self.is_ready(look, look.now)
            return ask(look)

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        file = self._policy_file
        changed_at = file.stat().st_mtime_ns if file is not None and file.exists() else None
        return self._policies.get(changed_at, lambda: load_policy(file))

    def moment(self) -> datetime:
        """Whose time it is, where that does not go by the data."""
        return self.clock() if self.clock is not None else datetime.now(UTC)

    def _version(self) -> Hashable:
        """Changes with snapshot, ledger and minute; whatever is looked at after it was told is at least as new."""
        pane = self._window.pane()
        data = pane.answers.get("its clock", lambda: _clock_of(pane)) if pane is not None else None
        moments = [datetime.now(UTC), self.clock() if self.clock is not None else data]
        minutes = [at and at.replace(second=0, microsecond=0) for at in moments]
        seen = (pane.name, len(pane.ready)) if pane is not None else None
        return seen, self.ledger.version(), *minutes

    def is_ready(self, look: "Look", asof_at: datetime) -> bool:
        """Whether a proposal of that moment may be looked at with all that is around it.

        Only of a large snapshot and of the newest cycle it may not: then that is being found out for all its proposals.
        """
        pane = look.fleet.pane if look.fleet is not None else None
        newest = look.book.newest() if look.book is not None else None
        if pane is None or not pane.large or newest is None:
            return True
        cycle_id, newest_at = newest
        if cycle_id in pane.ready:
            return True
        if self._preparing.acquire(blocking=False):
            Thread(target=self._make_ready_and_release, args=(pane,), name="newest cycle", daemon=True).start()
        return asof_at != newest_at

    def _make_ready_and_release(self, pane: Pane) -> None:
        try:
            self._prepare_pane(pane)
        finally:
            self._preparing.release()

    def _make_ready(self, pane: Pane) -> None:
        with self._preparing, one_thread(pane.con):  # the others are for whoever reads meanwhile
            self._prepare_pane(pane)

    def _prepare_pane(self, pane: Pane) -> None:
        with ExitStack() as held, self.ledger.open() as book:
            newest = book.newest() if book is not None else None
            self._prepare(Look(FleetReader(pane, held), book, self))
        if newest is not None:
            pane.ready.add(newest[0])


def _size(told: object) -> int:
    """Of an answer, in bytes or so."""
    return len(told) if isinstance(told, Sized) else _SMALL_BYTES


def _clock_of(pane: Pane) -> datetime | None:
    """The clock of a simulated fleet; None: the fleet is real."""
    with ExitStack() as held:
        fresh = FleetReader(pane, held).freshness()
    return fresh.telemetry_at if fresh.simulated else None


@dataclass(frozen=True)
class Look:
    """One state of snapshot and ledger; either may be missing."""

    fleet: FleetReader | None
    book: Reader | None
    room: Room
    gathered: bool = True
    """Whether what the snapshot knows around proposals may be asked."""

    @property
    def around(self) -> FleetReader | None:
        """What tells what is around proposals."""
        return self.fleet if self.gathered else None

    def aged(self, question: str, ask: Callable[["Look"], T], for_seconds: float) -> T:
        """An answer that rests on the ledger too, and is good enough for so long; it must say as of when it is.

        While nobody waits for it, it is worked out anew, from a look of its own. A small snapshot is asked at once; a
        large one is not counted anew merely because it has come.
        """
        if self.fleet is None:
            return ask(self)
        answers = self.room.aged if self.fleet.pane.large else self.fleet.pane.answers
        return answers.aged(question, lambda: ask(self), lambda: self.room.asked(ask), for_seconds)

    @property
    def home(self) -> Path:
        """State folder."""
        return self.room.home

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.room.policy

    @cached_property
    def champions(self) -> dict[str, str]:
        """The model version that the newest cycle believed, by component; without a cycle, the newest that scored."""
        if self.fleet is None:
            return {}
        cycle = self.cycle(None)
        return self.fleet.versions(frozenset(cycle.model_version.split("+")) if cycle else None)

    @cached_property
    def freshness(self) -> Freshness:
        """How large the fleet is, and how old what is known of it."""
        return self.fleet.freshness() if self.fleet else Freshness(None, None, simulated=False, hosts=0, vms=0)

    @cached_property
    def now(self) -> datetime:
        """The moment that "in 4 h" and "expired" count from."""
        if self.room.clock is not None:
            return self.room.clock()
        told = self.freshness.telemetry_at if self.freshness.simulated else None
        return told or datetime.now(UTC)

    @cached_property
    def stopped(self) -> StopView | None:
        """Who threw the kill switch, or None."""
        stop = self.book.stopped if self.book else None
        return StopView(stop.by, stop.reason, stop.at) if stop else None

    def cycle(self, on: date | None) -> Cycle | None:
        """The newest cycle, or the newest that asked about the end of the day (or a moment within it)."""
        if self.book is None:
            return None
        if on is None:
            return self.book.cycle()
        return self.book.cycle(after=end_of(on) - timedelta(days=1), until=end_of(on))

    def queue(self, wanted: Wanted) -> Queue:
        """The whole page, with the most urgent of each part; or one part, or an incident's of it, page by page."""
        cycle = self.cycle(wanted.on)
        asked = self.book.asked(cycle.cycle_id) if self.book and cycle else ()
        briefs = self.book.briefs(cycle.cycle_id, self.now) if self.book and cycle else {}
        found = parts(asked, briefs, self.now)
        picked = wanted.picked(found)
        names = [each.proposal_id for part in picked for group in part.groups for each in group.shown]
        cards = {each.proposal_id: each for each in self.cards(names)}
        newest = wanted.on is None or cycle is None or self.book is None or self.book.cycle() == cycle
        return Queue(
            standing=self.standing(cycle, newest=newest),
            counts={part: len(asked) for part, asked in found.items()},
            parts=tuple(part.filled(cards) for part in picked),
            open_besides=self._open_besides(cycle) if newest else (),
            nights=tuple(self.book.nights(NIGHTS)) if self.book else (),
        )

    def cards(self, proposal_ids: Sequence[str]) -> list[Card]:
        """The proposals of one cycle as people see them among others, in that order."""
        listed = self.book.named(proposal_ids, self.now) if self.book else []
        around = self._around(listed, vms=())
        return [card(each, around) for each in listed]

    def views(self, listed: Sequence[ListedProposal]) -> list[ProposalView]:
        """The proposals as people see them, in the same order; all of one cycle."""
        around = self._around(listed, [plan.vm_id for each in listed for plan in each.proposal.vms])
        return [present(each, around) for each in listed]

    def _around(self, listed: Sequence[ListedProposal], vms: Sequence[str]) -> Surroundings:
        """What is known around proposals of one cycle, and of those VMs."""
        if not listed or self.book is None:
            return Surroundings(self.now)
        at = listed[0].proposal.asof_at
        ids = [each.order_id for each in listed if each.order_id is not None]
        return Surroundings(
            now=self.now,
            stop=self.book.stopped,
            places=self.around.places([each.proposal.host_id for each in listed], at) if self.around else {},
            kinds=self.around.kinds(vms, at) if self.around else {},
            orders=self.book.orders(ids),
            outcomes=self.book.outcomes(ids),
        )

    def standing(self, cycle: Cycle | None, *, newest: bool = True) -> StandingView:
        """What holds for the whole fleet; notices are about the newest cycle only."""
        fresh = self.freshness
        hours = self.policy.freshness.telemetry_hours
        age = self.now - fresh.telemetry_at if fresh.telemetry_at else None
        return StandingView(
            now=self.now,
            clock="data" if self.now == fresh.telemetry_at else "wall",
            cycle=_cycle(cycle) if cycle else None,
            published_at=fresh.published_at,
            telemetry_at=fresh.telemetry_at,
            telemetry_stale=age is not None and age > timedelta(hours=hours),
            simulated=fresh.simulated,
            hosts=fresh.hosts,
            vms=fresh.vms,
            stopped=self.stopped,
            breakers=tuple(BreakerView(**asdict(breaker)) for breaker in cycle.breakers) if cycle else (),
            incidents=tuple(self.book.incidents(cycle.cycle_id)) if self.book and cycle else (),
            notices=self._notices(cycle) if newest else (),
        )

    def _notices(self, cycle: Cycle | None) -> tuple[str, ...]:
        return (*self._overdue(cycle), *self._unheard())

    def _unheard(self) -> tuple[str, ...]:
        """Channels that fail, whose news nobody hears."""
        held = self.book.channels() if self.book else []
        return tuple(
            f"The notification channel {each.channel} has failed {words.plural(each.failures, 'time')} in a row, so "
            f"what it should tell is not heard: {each.last_error}. It is tried again from "
            f"{each.next_attempt_at:%Y-%m-%d %H:%M} UTC."
            for each in held
            if each.failures
        )

    def _overdue(self, cycle: Cycle | None) -> tuple[str, ...]:
        if cycle is None or self.now - cycle.asof_at <= OVERDUE:
            return ()
        asked = words.ago(cycle.asof_at, self.now)
        return (f"The newest cycle asked about {cycle.asof_at:%Y-%m-%d %H:%M} UTC, {asked}: look at the nightly run.",)

    def _open_besides(self, cycle: Cycle | None) -> tuple[OpenView, ...]:
        if cycle is None or self.book is None:
            return ()
        return tuple(
            OpenView(order.order_id, order.host_id, words.ACTIONS[Action(order.action)], order.not_before)
            for order in tally.open_orders(self.book.con, besides=cycle.cycle_id)
        )


def _cycle(cycle: Cycle) -> CycleView:
    return CycleView(
        cycle_id=cycle.cycle_id,
        asof_at=cycle.asof_at,
        recorded_at=cycle.recorded_at,
        policy_version=cycle.policy_version,
        model_version=cycle.model_version,
        proposals=cycle.proposals,
        blocked={name.replace("_", " "): count for name, count in cycle.blocked.items()},
    )
