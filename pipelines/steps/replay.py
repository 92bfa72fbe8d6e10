"""Replay: a past period once more, through a policy and a model, beside what else could have been done.

Nothing in the home is written: the snapshot is read, worlds and memories live in this process, and models and risks go
into a folder of their own.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from data.errors import ModelError, UsageError
from data.simulator.arrivals import Arrival, held, overlaid
from data.simulator.overlay import OverlaySpec
from decisions.policy import Policy
from decisions.policy import load as load_policy
from pipelines.clock import end_of, last_day
from pipelines.replay import arms
from pipelines.replay.arms import Arm, Cost
from pipelines.replay.fixed import grid
from pipelines.replay.measure import figures
from pipelines.replay.period import Period, Played, play
from pipelines.replay.scores import Scores
from pipelines.settings import Settings
from pipelines.snapshot import snapshot

if TYPE_CHECKING:
    import duckdb

    from models.spec import Spec

NOBODY, RULE, ALWAYS, POLICY, HINDSIGHT, ORACLE = ARMS = (
    "no_action",
    "rule",
    "always_evacuate",
    "policy",
    "hindsight",
    "oracle",
)
AGAINST: Final = "against"
RETRAINED: Final[Mapping[str, int]] = {"monthly": 1, "quarterly": 3}
"""How many months a model is in use that is trained on the way."""


@dataclass(frozen=True)
class Asked:
    """What to replay."""

    period: Period
    policy: Policy
    against: Policy
    component: str = "disk"
    model: str = "champion"
    """A version, or a key of `RETRAINED`: models trained on the way, on what was known before each month or quarter."""
    hindsight: bool = True
    """Whether to look for the best fixed policy, which takes most of the time."""
    overlay: OverlaySpec = field(default_factory=OverlaySpec)
    more: tuple[Arm, ...] = ()
    """Further arms, for studies."""
    spec: "Spec | None" = None
    """How models are trained on the way; null: as the shipped spec says."""


def asked(
    settings: Settings, period: Period, policy: Path | None, against: Path | None, component: str, model: str
) -> Asked:
    """What was asked for; no `policy` is the one in force, and no `against` that one, or the one that ships."""
    current = load_policy(settings.policy.path)
    own = load_policy(policy) if policy else current
    compared = load_policy(against) if against else current if policy else load_policy()
    return Asked(period, own, compared, component, model)


def replay(
    settings: Settings, want: Asked, cache: Path | None = None, tell: Callable[[str], None] = lambda _: None
) -> Mapping[str, Any]:
    """The report in figures, JSON-ready; nothing in the home is written.

    Args:
        settings: where the facts and the registry are.
        want: what to replay.
        cache: folder for models and risks, which a later replay of the same finds there; null: thrown away.
        tell: is told what is being worked on.

    Raises:
        UsageError: the period holds no day, or days of which nothing is held yet.
        ModelError: the model has seen labels of the period.
    """
    started = time.monotonic()
    with snapshot(settings) as con, _folder(settings, cache) as folder:
        _check(con, want.period)
        scores = _scores(settings, con, want, folder)
        arrivals, placement = _arrivals(con, want)
        lineup = _lineup(want)
        compare = (POLICY, want.against)
        played = play(scores, arrivals, lineup, want.period, seed=want.overlay.seed, compare=compare, tell=tell)
    return {**_report(want, played), "placement": placement, "seconds": round(time.monotonic() - started, 1)}


def _check(con: "duckdb.DuckDBPyConnection", period: Period) -> None:
    newest = last_day(con)
    if period.first > period.last:
        msg = f"A replay from {period.first} to {period.last} holds no day: give an earlier --from or a later --to."
        raise UsageError(msg)
    if newest is None or period.last > newest:
        msg = f"The last day held is {newest}, so what became of {period.last} is not known: give an earlier --to."
        raise UsageError(msg)


@contextmanager
def _folder(settings: Settings, cache: Path | None) -> Iterator[Path]:
    """The cache, or a folder that is thrown away."""
    if cache is None:
        with tempfile.TemporaryDirectory(prefix="foreshock-") as scratch:
            yield Path(scratch)
        return
    if cache.resolve().is_relative_to(settings.home.resolve()):
        msg = f"{cache} lies in {settings.home}, which a replay does not touch: give --cache a folder elsewhere."
        raise UsageError(msg)
    yield cache


def _scores(settings: Settings, con: "duckdb.DuckDBPyConnection", want: Asked, folder: Path) -> Scores:
    from models import registry
    from models import spec as specs

    if want.model in RETRAINED:
        return Scores(con, want.spec or specs.load(want.component), folder, months=RETRAINED[want.model])
    model = registry.load(settings.model_store, want.component, want.model)
    if date.fromisoformat(model.until) >= want.period.first:
        msg = (
            f"{want.component} model {model.version} knows what happened until {model.until}, and would be asked about "
            f"days from {want.period.first} on. Give a later --from, an older --model, or --retrain monthly."
        )
        raise ModelError(msg)
    return Scores(con, model.spec, folder, model)


def _arrivals(con: "duckdb.DuckDBPyConnection", want: Asked) -> tuple[Sequence[Arrival], str]:
    """The fleet over the period, and where its placement comes from."""
    period = want.period
    known = held(con, period.starts_at, end_of(period.last))
    if known:
        return known, "inventory"
    return overlaid(con, period.nights[0], period.last, want.overlay), "simulated overlay"


def _lineup(want: Asked) -> list[Arm]:
    policy = want.policy
    lineup = [
        Arm(NOBODY, policy, None),
        Arm(POLICY, policy, arms.as_scored),
        Arm(RULE, policy, arms.by_rule, paced_by=POLICY),
        Arm(ALWAYS, policy, arms.riskiest, paced_by=POLICY),
        Arm(ORACLE, policy, arms.foreseen),
    ]
    if want.against.version != policy.version:
        lineup.append(Arm(AGAINST, want.against, arms.as_scored))
    if want.hindsight:
        lineup += [Arm(name, fixed, arms.as_scored) for name, fixed in grid(policy)]
    return [*lineup, *want.more]


def _report(want: Asked, played: Played) -> dict[str, Any]:
    tried = {name: cost for name, cost in played.costs.items() if name in {POLICY, *(n for n, _ in grid(want.policy))}}
    best = min(tried, key=lambda name: (tried[name].interruptions, name != POLICY))
    costs: dict[str, Cost] = {name: cost for name, cost in played.costs.items() if name not in tried or name == POLICY}
    costs[HINDSIGHT] = played.costs[best]
    found = figures(costs, played.hosts, NOBODY, want.overlay.seed)
    order = [name for name in (*ARMS, AGAINST, *(arm.name for arm in want.more)) if name in costs]
    return {
        "from": want.period.first,
        "to": want.period.last,
        "nights": len(want.period.nights[:: want.period.every]),
        "hosts": len(played.hosts),
        "vm_days": costs[NOBODY].vm_days,
        "failures": played.failures,
        "policy_version": want.policy.version,
        "against_version": want.against.version,
        "models": played.models,
        "interruptions": {name: asdict(found.interruptions[name]) for name in order},
        "air": {name: asdict(found.air[name]) for name in order},
        "saving": {name: asdict(found.saving[name]) for name in order},
        "ahead": {name: asdict(found.difference(POLICY, name)) for name in order if name != POLICY},
        "regret": asdict(found.difference(HINDSIGHT, POLICY)),
        "to_oracle": asdict(found.difference(ORACLE, POLICY)),
        "migrations": {name: costs[name].migrations for name in order},
        "hosts_emptied": {name: costs[name].hosts_emptied for name in order},
        "causes": {name: dict(costs[name].causes) for name in order},
        "actions": {name: dict(costs[name].actions) for name in order},
        "hindsight": {
            "chosen": best,
            "tried": {name: cost.interruptions for name, cost in tried.items()},
        },
        "diff": _diff(played),
        "simulated": True,
    }


def _diff(played: Played) -> dict[str, Any]:
    changes = played.changes
    return {
        "changed": dict(sorted(Counter(f"{c.against} -> {c.policy}" for c in changes).items())),
        "decisions": [asdict(change) for change in changes],
    }
