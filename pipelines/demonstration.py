"""The whole job on a simulated fleet, from empty, with what it saved beside doing nothing and knowing the future."""

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from data.errors import UsageError
from data.simulator.fleet import FleetSpec
from data.simulator.world import World
from decisions.ledger import Ledger
from decisions.policy import load as load_policy
from models import registry
from models.predictor import Predictor
from pipelines import arms, cycle, ledgers
from pipelines.calls import Call, straight
from pipelines.clock import end_of
from pipelines.executors.opened import world_path
from pipelines.settings import FILE_NAME, LedgerSettings, MlflowSettings, PolicySettings, Settings
from pipelines.steps import simulate
from pipelines.steps.approve import approve_waiting
from pipelines.steps.dispatch import dispatch
from pipelines.steps.settle import settle
from pipelines.steps.train import train
from pipelines.steps.world import ingest_world

MARK: Final = ".foreshock-demo"
"""A folder that holds this file was made by a demo, and may be emptied by the next one."""
COMPONENT: Final = "disk"
DIMMS_PER_HOST: Final = 8
REASONS: Final = 200
"""Drives a night that get reasons: more than are ever near a decision in a fleet of this size."""
LEARNING_SHARE: Final = 0.8
"""Of the days: those before the first night; 96 of 120."""
POLICY: Final = """\
# The demonstration's policy. Its parts fail ten times as often as ordinary ones, so that four months hold what three
# years would. So hosts are worth a thought from a higher risk on, or every host would be; and the breakers, which look
# for more failures than usual, allow that much more.
[risk]
minimum_risk = 0.05
recovered_below = 0.02
[breaker]
fleet_share = 0.25
zone_share = 0.4
rack_share = 0.4
hardware_model_share = 0.6
drive_model_share = 0.6
firmware_share = 0.5
"""
SETTINGS: Final = """\
# Settings of the demonstration: FORESHOCK_HOME=<this folder> makes every command use them.
[policy]
path = "policy.toml"
"""
LAST_ORDERS: Final = timedelta(hours=12)
"""What the orders of the last night are given to end, after the interruptions were counted."""
SHOWN_METRICS: Final = ("average_precision", "rule_average_precision", "roc_auc")


@dataclass(frozen=True)
class Demo:
    """What to demonstrate, and where."""

    home: Path
    hosts: int = 520
    vms: int = 5_300
    days: int = 120
    seed: int = 7
    start: date = date(2026, 1, 1)

    @property
    def learning_until(self) -> date:
        """The last day before the first night."""
        return self.start + timedelta(days=int(self.days * LEARNING_SHARE) - 1)

    @property
    def nights(self) -> tuple[date, ...]:
        """The days whose ends are asked about."""
        last = self.start + timedelta(days=self.days - 1)
        return tuple(self.learning_until + timedelta(days=n + 1) for n in range((last - self.learning_until).days))


@dataclass(frozen=True)
class Interruptions:
    """VM interruptions over the same nights and the same failures."""

    no_action: int
    policy: int
    oracle: int


@dataclass(frozen=True)
class Night:
    """What one night added."""

    proposals: Mapping[str, int]
    rows_loaded: int
    outcomes: Mapping[str, int]
    episodes: Mapping[str, int]
    approved: int


@dataclass(frozen=True)
class DemoReport:
    """The demonstration in figures; all of it is simulated."""

    rows_ingested: int
    hosts: int
    vms: int
    days: int
    nights: int
    failures: int
    metrics: Mapping[str, float]
    champion: str | None
    """Null when the model missed a gate: then the demonstration acts on the challenger, which a real run never does."""
    proposals: Mapping[str, int]
    approved: int
    """Proposals that a stand-in for the on-call engineer let go."""
    orders: Mapping[str, int]
    outcomes: Mapping[str, int]
    episodes: Mapping[str, int]
    interruptions: Interruptions
    home: Path
    seconds: float
    simulated: bool = True


def empty(home: Path) -> None:
    """Make `home` an empty folder that is marked as a demo's.

    Raises:
        UsageError: it holds something that no demo made.
    """
    if home.exists() and any(home.iterdir()) and not (home / MARK).exists():
        msg = f"{home} holds something that no demo made, and is left alone. Give --home a new folder."
        raise UsageError(msg)
    if home.exists():
        shutil.rmtree(home)
    home.mkdir(parents=True)
    (home / MARK).write_text("Made by 'foreshock demo', which may empty this folder again.\n", encoding="utf-8")
    (home / "policy.toml").write_text(POLICY, encoding="utf-8")
    (home / FILE_NAME).write_text(SETTINGS, encoding="utf-8")


def settings_for(demo: Demo) -> Settings:
    """Settings that keep everything in the demo's home, whatever the surroundings say."""
    policy = PolicySettings(path=demo.home / "policy.toml")
    return Settings().model_copy(
        update={
            "home": demo.home,
            "policy": policy,
            "ledger": LedgerSettings(),
            "mlflow": MlflowSettings(),
            "sources": (),
        }
    )


def build(demo: Demo) -> simulate.SimulateReport:
    """The fleet that is demonstrated on, made in the demo's empty home."""
    spec = FleetSpec(
        hosts=demo.hosts,
        vms=demo.vms,
        days=demo.days,
        seed=demo.seed,
        start=demo.start,
        dimms_per_host=DIMMS_PER_HOST,
    )
    return simulate.fleet(settings_for(demo), spec)


def run(demo: Demo, made: simulate.SimulateReport, started: float, call: Call = straight) -> DemoReport:
    """What became of the fleet over its nights; each step goes through `call`.

    Args:
        demo: what to demonstrate.
        made: what `build` made.
        started: `time.monotonic()` when it all began.
        call: how the steps are called.
    """
    settings = settings_for(demo)
    history = call(ingest_world, settings, end_of(demo.learning_until))
    trained = call(train, settings, COMPONENT, demo.learning_until)
    predictors = {COMPONENT: registry.load(settings.model_store, COMPONENT, trained.version)}
    rivals = call(rival_arms, settings, demo)
    nights = [call(night, settings, day, predictors) for day in demo.nights]
    figures = replace(rivals, policy=policy_interruptions(settings, demo))
    last = call(settle, settings, end_of(demo.nights[-1]) + LAST_ORDERS)
    return DemoReport(
        rows_ingested=history.rows_loaded + sum(one.rows_loaded for one in nights),
        hosts=made.hosts,
        vms=made.vms,
        days=demo.days,
        nights=len(nights),
        failures=made.failures,
        metrics={name: trained.metrics[name] for name in SHOWN_METRICS if name in trained.metrics},
        champion=trained.champion,
        proposals=_summed(one.proposals for one in nights),
        approved=sum(one.approved for one in nights),
        orders=_orders(settings),
        outcomes=_summed([*(one.outcomes for one in nights), last.outcomes]),
        episodes=_summed([*(one.episodes for one in nights), last.why]),
        interruptions=figures,
        home=demo.home,
        seconds=round(time.monotonic() - started, 1),
    )


def night(settings: Settings, day: date, predictors: Mapping[str, Predictor]) -> Night:
    """What one cycle added, with a stand-in for the on-call engineer who approves what waits for a person."""
    report = cycle.run(settings, day, predictors=predictors, reasons=REASONS)
    now = report.asof_at
    with ledgers.opened(settings) as ledger:
        approved = approve_waiting(ledger, now)
    if approved:
        dispatch(settings, now)
    return Night(
        proposals=report.decide.proposals,
        rows_loaded=report.ingest.rows_loaded,
        outcomes=report.settle.outcomes,
        episodes=report.settle.why,
        approved=approved,
    )


def rival_arms(settings: Settings, demo: Demo) -> Interruptions:
    """What doing nothing and perfect foresight cost over the nights, from the world as it is now; `policy` is blank."""
    until = end_of(demo.nights[-1])
    ledger_url = f"{ledgers.SQLITE}{(settings.home / 'oracle.db').absolute()}"
    with World.open(world_path(settings)) as world, world.fork() as idle, world.fork() as foretold:
        with Ledger(ledger_url) as ledger:
            best = arms.oracle(foretold, ledger, load_policy(settings.policy.path), until)
        return Interruptions(no_action=arms.no_action(idle, until), policy=0, oracle=best)


def policy_interruptions(settings: Settings, demo: Demo) -> int:
    """What the nights cost as they really went."""
    with World.open(world_path(settings)) as world:
        return arms.interruptions(world, end_of(demo.learning_until))


def summary(report: DemoReport) -> str:
    """The report for a person."""
    cost = report.interruptions
    avoided = 1 - cost.policy / cost.no_action if cost.no_action else 0.0
    possible = 1 - cost.oracle / cost.no_action if cost.no_action else 0.0
    lines = [
        f"Foreshock's demonstration: everything below is simulated ({report.seconds:.0f} s, {report.home})",
        "",
        f"  fleet       {report.hosts:,} hosts, {report.vms:,} VMs, {report.days} days, {report.failures:,} failures",
        f"  telemetry   {report.rows_ingested:,} rows ingested",
        f"  model       {_figures(report.metrics)}",
        f"  nights      {report.nights}: {_counted(report.proposals)} proposed",
        f"  approvals   {report.approved:,} by a stand-in for the on-call engineer",
        f"  orders      {_counted(report.orders)}",
        f"  VMs         {_counted(report.outcomes)}",
        f"  episodes    {_counted(report.episodes)}",
        "",
        "  VM interruptions over the nights, by the same failures:",
        f"    nobody acts         {cost.no_action:>7,}",
        f"    this policy         {cost.policy:>7,}   {avoided:.0%} avoided",
        f"    perfect foresight   {cost.oracle:>7,}   {possible:.0%} avoided, with the same actions and limits",
    ]
    if report.champion is None:
        lines += ["", "  The model missed a gate: a real run would not act on it, this demonstration did."]
    lines += ["", f"  See it:  FORESHOCK_HOME={report.home} foreshock review"]
    return "\n".join(lines)


def _orders(settings: Settings) -> dict[str, int]:
    with ledgers.opened(settings) as ledger:
        return dict(sorted(Counter(listed.state.value for listed in ledger.orders()).items()))


def _summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def _figures(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in metrics.items()) or "no figures"
