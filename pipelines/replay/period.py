"""A period run through by several arms at once, night by night: the same risks and failures, worlds of their own."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from data.simulator.arrivals import Arrival
from data.simulator.world import World
from decisions.domain import Verdict
from decisions.policy import Policy
from pipelines.clock import end_of
from pipelines.replay.arms import Arm, Cost, Run, cost
from pipelines.replay.night import Night, late, look
from pipelines.replay.scores import Scores

NO_PROPOSAL: Final = "none"


@dataclass(frozen=True)
class Change:
    """A host for which two policies decided otherwise, in the fleet as the first of them had it."""

    on: date
    host_id: str
    policy: str
    against: str


@dataclass(frozen=True)
class Period:
    """The days in which things happen, and how often somebody decides."""

    first: date
    last: date
    every: int = 1
    """A decision each so many nights."""

    @property
    def nights(self) -> tuple[date, ...]:
        """The days whose ends are midnights of the period, from the one before the first day on."""
        return tuple(self.first + timedelta(days=n - 1) for n in range((self.last - self.first).days + 1))

    @property
    def starts_at(self) -> datetime:
        """The first midnight."""
        return end_of(self.nights[0])


@dataclass(frozen=True)
class Played:
    """What each arm cost, and where two policies differed."""

    costs: Mapping[str, Cost]
    hosts: tuple[str, ...]
    failures: int
    models: tuple[str, ...]
    changes: tuple[Change, ...]


@dataclass
class _Fleet:
    """Who has come so far."""

    due: deque[Arrival]
    home_of: dict[str, str] = field(default_factory=dict)
    model_of: dict[str, str | None] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)

    def come(self, until: datetime) -> list[Arrival]:
        """What has come by `until` and was not there before."""
        came = []
        while self.due and self.due[0].at <= until:
            came.append(self.due.popleft())
            self._know(came[-1])
        return came

    def _know(self, arrival: Arrival) -> None:
        self.hosts += (row["host_id"] for row in arrival.tables["hosts"].to_pylist())
        for row in arrival.tables["entities"].to_pylist():
            self.home_of[row["entity_id"]], self.model_of[row["entity_id"]] = row["host_id"], row["model"]


def play(
    scores: Scores,
    arrivals: Sequence[Arrival],
    arms: Sequence[Arm],
    period: Period,
    *,
    seed: int,
    compare: tuple[str, Policy] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Played:
    """What the arms cost over the period.

    Args:
        scores: where the risks of a night come from.
        arrivals: what stands there at the first midnight, and what comes later, in order of time.
        arms: who runs it; one that is paced by another comes after that one.
        period: when.
        seed: of all chance in the worlds.
        compare: an arm's name, and the policy whose decisions are laid beside its own.
        tell: is told what is being worked on.
    """
    fleet = _Fleet(deque(arrivals))
    first, *more = fleet.come(period.starts_at)
    with World.create(":memory:", first.tables, first.failures, period.starts_at, seed) as world:
        runs = {arm.name: _begin(arm, world, first) for arm in arms}
    seen: deque[Night] = deque(maxlen=1 + max(arm.delay_days for arm in arms))
    changes: list[Change] = []
    models: dict[str, None] = {}
    for at, day in enumerate(period.nights):
        tell(str(day))
        for arrival in more:
            for run in runs.values():
                run.arrive(arrival)
        if at % period.every == 0:
            seen.append(look(scores, day, fleet.home_of, fleet.model_of))
            models[seen[-1].model_version] = None
            changes += _night(runs, seen, day, compare)
        for run in runs.values():
            run.advance(end_of(day) + timedelta(days=1))
        more = fleet.come(end_of(day) + timedelta(days=1))
    costs = {name: cost(run) for name, run in runs.items()}
    failures = next(iter(runs.values())).world.failures().num_rows
    for run in runs.values():
        run.world.close()
    return Played(costs, tuple(fleet.hosts), failures, tuple(models), tuple(changes))


def _begin(arm: Arm, world: World, first: Arrival) -> Run:
    run = Run(arm, world.fork(spec=arm.spec))
    run.meet(first.tables)
    run.refresh()
    return run


def _night(
    runs: Mapping[str, Run], seen: Sequence[Night], day: date, compare: tuple[str, Policy] | None
) -> list[Change]:
    changes: list[Change] = []
    for name, run in runs.items():
        if len(seen) <= run.arm.delay_days:
            continue
        night = seen[-1] if not run.arm.delay_days else late(seen[-1], seen[-1 - run.arm.delay_days])
        if run.arm.paced_by is not None:
            run.allowed = runs[run.arm.paced_by].memory.moves
        against = compare[1] if compare is not None and compare[0] == name else None
        verdicts = run.night(night, against)
        if against is not None:
            changes += _changes(day, *verdicts)
    return changes


def _changes(day: date, own: Verdict, other: Verdict) -> list[Change]:
    ours = {proposal.host_id: proposal.action.value for proposal in own.proposals}
    theirs = {proposal.host_id: proposal.action.value for proposal in other.proposals}
    pairs = ((h, ours.get(h, NO_PROPOSAL), theirs.get(h, NO_PROPOSAL)) for h in sorted(ours.keys() | theirs.keys()))
    return [Change(day, host_id, one, two) for host_id, one, two in pairs if one != two]
