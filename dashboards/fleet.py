"""The fleet: hosts at risk, what acting came to, orders, limits in use, telemetry and models, for a wall."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from dashboards import fleet_facts, outcome, words
from dashboards.charts import Chart, Series, Unit
from dashboards.evidence import course
from dashboards.fleet_facts import AtRisk, Quality
from dashboards.outcome import Week
from dashboards.queue import Look
from dashboards.views import StandingView
from data.contracts import COMPONENTS
from decisions.breakers import Scope, allowed
from decisions.domain import Action, OrderState
from decisions.ledger import tally

ORDERS: Final = 30
LATE: Final = timedelta(hours=36)
"""A source of daily files that has been silent for longer is late; live ones are shown with their age."""
FLEETWIDE_WEEKS: Final = 4
_SCOPES: Final = {
    "fleet": "Fleet",
    "zone": "Zone",
    "rack": "Rack",
    "hardware_model": "Hardware",
    "firmware": "Firmware",
    "drive_model": "Drive make",
}


_AT_WORK: Final = frozenset({Action.LIVE_MIGRATE.value, Action.EVACUATE.value})
"""Orders that count with the hosts worked on at once; owners who pick their moment do not."""


@dataclass(frozen=True)
class ComponentView:
    """One kind of part: hosts at risk for it, or that no model watches it."""

    component: str
    named: str
    model_version: str | None
    asof_at: datetime | None
    parts: int
    unknown: int
    hosts: int
    at_risk: int | None
    """Hosts at or above `threshold`; null: nobody watches."""
    likely: int | None


@dataclass(frozen=True)
class Budget:
    """How much of a limit is in use, in the scope that uses most of it."""

    limit: str
    """What the limit is about."""
    scope: str
    used: int
    allowed: int
    span: str
    """Over which time it counts."""


@dataclass(frozen=True)
class OrderView:
    """An order that has not come to an end."""

    order_id: str
    proposal_id: str
    host_id: str
    action_said: str
    state: str
    starts_at: datetime


@dataclass(frozen=True)
class SourceView:
    """One source, and how long it has been silent."""

    source: str
    files: int
    newest_at: datetime
    rows: int
    quarantined_7d: int
    late: bool


@dataclass(frozen=True)
class ToldView:
    """The newest thing told of one kind of part; null: nothing."""

    named: str
    what: str
    at: datetime | None


@dataclass(frozen=True)
class MeasureView:
    """A measure of a model with its 95 % interval, where it has one; null: not measured."""

    value: float | None
    low: float | None
    high: float | None
    alarm: str | None


@dataclass(frozen=True)
class ModelView:
    """A champion, and what the watch saw of it last."""

    component: str
    named: str
    version: str
    watched_at: datetime | None
    """Null: never; then no measure is."""
    measures: Mapping[str, MeasureView]
    alarms: tuple[str, ...]


@dataclass(frozen=True)
class FleetView:
    """The whole page."""

    now: datetime
    standing: StandingView
    threshold: float
    """Chance of failing within 14 days from which policy thinks about a host."""
    components: tuple[ComponentView, ...]
    hosts_at_risk: int | None
    """Hosts with an open episode; null without a ledger."""
    weeks: tuple[Week, ...]
    counted_at: datetime
    """As of when the weeks are."""
    lately: Week | None
    """The last four weeks as one; null: not measured."""
    air: Chart | None
    saving: Chart | None
    orders: tuple[OrderView, ...]
    orders_by_state: Mapping[str, int]
    budgets: tuple[Budget, ...]
    experiment_share: float
    """Hosts at risk whose action an experiment draws; 0: none is open."""
    sources: tuple[SourceView, ...]
    told: tuple[ToldView, ...]
    models: tuple[ModelView, ...]


def fleet(look: Look) -> FleetView:
    """The fleet as it stands."""
    cycle = look.cycle(None)
    counted = outcome.weeks(look)
    lived = counted.weeks
    waiting = tally.open_orders(look.book.con) if look.book else []
    return FleetView(
        now=look.now,
        standing=look.standing(cycle),
        threshold=look.policy.risk.minimum_risk,
        components=_components(look),
        hosts_at_risk=tally.episodes_open(look.book.con) if look.book else None,
        weeks=lived,
        counted_at=counted.counted_at,
        lately=outcome.added_up(lived[-FLEETWIDE_WEEKS:]),
        air=_chart("VM interruptions a year per 100 VMs (AIR)", lived, {"AIR": "air"}),
        saving=_chart(
            "Interruptions saved", lived, {"measured, a lower bound": "saving", "as foretold": "saving_foretold"}
        ),
        orders=tuple(_order(one) for one in waiting[:ORDERS]),
        orders_by_state=dict(sorted(Counter(_state(one) for one in waiting).items())),
        budgets=tuple(_budgets(look, waiting)),
        experiment_share=look.policy.experiment.share,
        sources=_sources(look),
        told=_told(look),
        models=_models(look),
    )


def _components(look: Look) -> tuple[ComponentView, ...]:
    if look.fleet is None:
        return ()
    scored = {one.component: one for one in fleet_facts.at_risk(look.fleet, look.champions, _threshold(look))}
    held = {one.component for one in fleet_facts.newest(look.fleet)}
    return tuple(_component(name, scored.get(name)) for name in COMPONENTS if name in held or name in scored)


def _threshold(look: Look) -> float:
    return look.policy.risk.minimum_risk


def _component(name: str, scored: AtRisk | None) -> ComponentView:
    named = words.COMPONENTS.get(name, name)
    if scored is None:
        return ComponentView(name, named, None, None, 0, 0, 0, None, None)
    return ComponentView(
        component=name,
        named=named,
        model_version=scored.model_version,
        asof_at=scored.asof_at,
        parts=scored.parts,
        unknown=scored.unknown,
        hosts=scored.hosts,
        at_risk=scored.at_risk,
        likely=scored.likely,
    )


def _chart(title: str, lived: Sequence[Week], measures: Mapping[str, str]) -> Chart | None:
    series = tuple(
        Series(name, tuple((week.until, getattr(week, measure)) for week in lived))
        for name, measure in measures.items()
    )
    if all(one.last is None for one in series):
        return None
    unit: Unit = "share" if "saving" in measures.values() else "count"
    said = "; ".join(f"{one.name} {course(one, unit)}" for one in series)
    return Chart(title, f"By week: {said}.", series, lived[0].until, lived[-1].until, unit)


def _state(one: tally.OpenOrder) -> str:
    return {"pending": "waits for dispatch", "leased": "being handed over", "dead": "not delivered"}.get(
        one.outbox_state, one.state
    )


def _order(one: tally.OpenOrder) -> OrderView:
    said = words.ACTIONS[Action(one.action)]
    return OrderView(one.order_id, one.proposal_id, one.host_id, said, _state(one), one.not_before)


def _budgets(look: Look, waiting: Sequence[tally.OpenOrder]) -> list[Budget]:
    """Every limit in the scope that uses most of it; the breakers' first, the broadest first."""
    if look.fleet is None or look.book is None:
        return []
    limits, hours = look.policy.limits, look.policy.breaker.hours
    emptied = tally.emptied(look.book.con, look.now - timedelta(hours=hours))
    busy = [one.host_id for one in waiting if one.state == OrderState.STARTED.value and one.action in _AT_WORK]
    scopes = fleet_facts.scopes_of(look.fleet, sorted({*emptied, *busy}), look.champions)
    going = Counter(scope for host_id in emptied for scope in scopes.get(host_id, ()))
    found = [_fullest(look, kind, going, f"in {hours:g} h") for kind in _SCOPES]
    racks = Counter(name for host_id in busy for kind, name in scopes.get(host_id, ()) if kind == "rack")
    rack, most = racks.most_common(1)[0] if racks else ("none", 0)
    found.append(Budget("Hosts worked on at once", "fleet", len(busy), limits.hosts_at_once_per_fleet, "now"))
    found.append(Budget("Hosts worked on at once in a rack", rack, most, limits.hosts_at_once_per_rack, "now"))
    for cluster, blocked, hosts in fleet_facts.blocked_shares(look.fleet)[:1]:
        share = max(1, int(limits.blocked_hosts_share_per_cluster * hosts))
        found.append(Budget("Hosts closed to new VMs in a cluster", cluster, blocked, share, "now"))
    return [one for one in found if one is not None]


def _fullest(look: Look, kind: str, going: Mapping[Scope, int], span: str) -> Budget | None:
    """The scope of that kind which has used most of what may be emptied; None where there is no such scope."""
    assert look.fleet is not None  # noqa: S101 - `_budgets` asks only then
    usable, limits = fleet_facts.actionable(look.fleet), look.policy.breaker
    largest = fleet_facts.largest(look.fleet).get(kind)
    if largest is None:
        return None
    own = {scope for scope in going if scope[0] == kind} or {largest}
    shares = {scope: (going.get(scope, 0), allowed(scope, usable.get(scope, 0), limits)) for scope in sorted(own)}
    scope, (used, most) = max(shares.items(), key=lambda item: (item[1][0] / item[1][1], item[1][1]))
    name = (scope[1] or "all hosts") if used else "none"
    return Budget(f"Hosts emptied: {_SCOPES[kind].lower()}", name, used, most, span)


def _sources(look: Look) -> tuple[SourceView, ...]:
    if look.fleet is None:
        return ()
    return tuple(
        SourceView(one.source, one.files, one.newest_at, one.rows, one.quarantined_7d, look.now - one.newest_at > LATE)
        for one in fleet_facts.sources(look.fleet)
    )


def _told(look: Look) -> tuple[ToldView, ...]:
    if look.fleet is None:
        return ()
    return tuple(
        ToldView(words.COMPONENTS.get(one.component, one.component), one.what, one.newest_at)
        for one in fleet_facts.newest(look.fleet)
    )


def _models(look: Look) -> tuple[ModelView, ...]:
    if look.fleet is None:
        return ()
    seen = fleet_facts.quality(look.fleet, look.champions)
    return tuple(_model(name, version, seen.get(name)) for name, version in look.champions.items())


MEASURES: Final = ("precision", "recall", "observed_over_predicted", "risk_psi", "model_mix_psi", "shifted_features")


def _model(name: str, version: str, seen: Quality | None) -> ModelView:
    told = seen.measures if seen else {}
    alarms = tuple(str(row["alarm"]) for row in told.values() if row["alarm"])
    measures = {measure: _measure(told.get(measure)) for measure in MEASURES}
    named = words.COMPONENTS.get(name, name)
    return ModelView(name, named, version, seen.asof_at if seen else None, measures, alarms)


def _measure(row: Mapping[str, Any] | None) -> MeasureView:
    if row is None:
        return MeasureView(None, None, None, None)
    return MeasureView(row["value"], row["low"], row["high"], row["alarm"])
