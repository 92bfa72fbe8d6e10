"""Why a part's risk is what it is: its best reasons with their history, and where it stands among its peers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from dashboards import telemetry, words
from dashboards.charts import Chart, Series, Unit, number
from dashboards.fleet_view import FleetReader
from dashboards.queue import Look
from dashboards.telemetry import Part, Peers, Points
from decisions.domain import EntityRisk, Factor, Proposal
from features import wording

DAYS: Final = 90
REASONS: Final = 3
RISK: Final = "Risk of failing within 14 days"


@dataclass(frozen=True)
class Reason:
    """One piece of evidence: the factor that tells it best, its history, and where the part stands by it."""

    said: str
    contribution: float | None
    """What the factor adds to the log-odds; null: no reason, but what is always looked at."""
    chart: Chart | None
    peers: str


@dataclass(frozen=True)
class Exhibit:
    """The riskiest part of a host: its risk over time, where it stands among its peers, and its best reasons."""

    component: str
    entity_id: str
    model: str | None
    model_version: str
    asof_at: datetime
    risk_14d: float | None
    risk: Chart
    peers: str
    reasons: tuple[Reason, ...]


def evidence(look: Look, proposal: Proposal) -> Exhibit | None:
    """The evidence for the part that the proposal's risk is about; None when the snapshot knows nothing of it.

    It is as of the moment that the proposal asks about.
    """
    known = proposal.risk.entities or proposal.risk.unknown
    return exhibit(look, known[0]) if known else None


def exhibit(look: Look, risk: EntityRisk, told: Points | None = None) -> Exhibit | None:
    """The evidence for a part with that risk, from the snapshot that is looked at.

    Args:
        look: what is looked at.
        risk: the part and its risk.
        told: its risk over time, where that is known already.
    """
    part = telemetry.part(look.fleet, risk.component, risk.entity_id) if look.fleet else None
    if look.fleet is None or part is None:
        return None
    until, since = _last_whole_day(risk.asof_at), risk.asof_at - timedelta(days=DAYS)
    if told is None:
        told = telemetry.risks(look.fleet, [part.entity_key], since, risk.model_version).get(part.entity_key, ())
    points = tuple(point for point in told if point[0] <= risk.asof_at)
    standing = telemetry.peers(look.fleet, part, telemetry.by_risk(part.component, risk.asof_at, risk.model_version))
    return Exhibit(
        component=words.COMPONENTS.get(risk.component, risk.component),
        entity_id=risk.entity_id,
        model=part.model,
        model_version=risk.model_version,
        asof_at=risk.asof_at,
        risk_14d=risk.curve.get(words.RISK_DAYS),
        risk=risk_chart([Series(words.thing(risk), points)], risk.asof_at),
        peers=among(standing, part, "share"),
        reasons=tuple(_reason(look.fleet, part, gauge, factor, until) for gauge, factor in _best(risk)),
    )


def gather(fleet: FleetReader, risks: Sequence[EntityRisk]) -> None:
    """Ask for all that the exhibits of those risks rest on, each question once for all of them."""
    parts = telemetry.parts(fleet, [(risk.component, risk.entity_id) for risk in risks])
    named = {(part.component, part.entity_id): part for part in parts}
    told: dict[tuple[datetime, str, str], list[Part]] = {}
    drawn: dict[tuple[str, str, date], list[Part]] = {}
    for risk in risks:
        part = named.get((risk.component, risk.entity_id))
        if part is not None:
            told.setdefault((risk.asof_at, risk.component, risk.model_version), []).append(part)
            for gauge, _ in _best(risk):
                drawn.setdefault((risk.component, gauge or "", _last_whole_day(risk.asof_at)), []).append(part)
    for (asof_at, component, version), alike in told.items():
        telemetry.risks_told(fleet, [part.entity_key for part in alike], asof_at - timedelta(days=DAYS), version)
        telemetry.makes(fleet, _models(alike), telemetry.by_risk(component, asof_at, version))
    for (component, gauge, until), alike in drawn.items():
        if gauge:
            keys = [part.entity_key for part in alike]
            telemetry.histories(fleet, component, gauge, keys, until - timedelta(days=DAYS - 1), until)
            telemetry.makes(fleet, _models(alike), telemetry.by_gauge(component, gauge, until))


def _models(parts: Sequence[Part]) -> list[str]:
    return sorted({part.model or "" for part in parts})


def risk_chart(series: Sequence[Series], until: datetime) -> Chart:
    """The risk of parts over the last 90 days."""
    said = "; ".join(f"{one.name} {course(one, 'share')}" for one in series) or "no risk was told"
    return Chart(RISK, f"{said}.", tuple(series), until - timedelta(days=DAYS), until, "share")


def among(standing: Peers | None, part: Part, unit: Unit = "count") -> str:
    """Where a part stands among its peers of the same make, as a sentence."""
    thing = words.COMPONENTS.get(part.component, part.component)
    make = f" of make {part.model}" if part.model else ""
    if standing is None:
        return f"Nothing is known of its peers: other {thing}s{make}."
    if standing.count == 1:
        return f"It is the only {thing}{make}."
    own, middle = number(standing.value, unit), number(standing.middle, unit)
    if standing.value == standing.highest and standing.equal * standing.count < 2:
        place = f"the highest of {standing.count:,}"
    elif standing.below < 0.5 and standing.equal > 0.5:
        place = f"the same as {words.percent(standing.equal)} of {standing.count:,}"
    else:
        place = f"more than {_floor(standing.below)} of {standing.count:,}"
    return f"{own}: {place} live {thing}s{make}; the middle one has {middle}."


def _floor(share: float) -> str:
    """A share as a percentage that never says 100 % for less."""
    return words.percent(share) if share < 0.99 else f"{int(share * 1000) / 10}\N{NO-BREAK SPACE}%"


def _reason(fleet: FleetReader, part: Part, gauge: str | None, factor: Factor | None, until: date) -> Reason:
    said = wording.reason(factor.feature, factor.value) if factor else telemetry.named(part.component, gauge or "")
    pushes = factor.contribution if factor else None
    if gauge is None:
        return Reason(said, pushes, None, "No reading of its own stands behind this one.")
    heading = telemetry.named(part.component, gauge)
    points = telemetry.history(fleet, part, gauge, until - timedelta(days=DAYS - 1), until)
    series = Series(heading, points, "bar" if gauge == telemetry.EVENTS else "step")
    chart = None
    if series.last is not None:
        title = heading[:1].upper() + heading[1:]
        chart = Chart(title, f"{title} {course(series)}.", (series,), points[0][0], points[-1][0])
    return Reason(
        said, pushes, chart, among(telemetry.peers(fleet, part, telemetry.by_gauge(part.component, gauge, until)), part)
    )


def _best(risk: EntityRisk) -> list[tuple[str | None, Factor | None]]:
    """The factors that tell most with the gauge behind each, a gauge once; then what is always looked at."""
    found: list[tuple[str | None, Factor | None]] = []
    for factor in sorted(risk.factors, key=lambda one: -one.contribution):
        gauge = telemetry.gauge_of(risk.component, wording.evidence(factor.feature))
        if gauge is None or all(gauge != other for other, _ in found):
            found.append((gauge, factor))
    told = {gauge for gauge, _ in found}
    always = telemetry.ALWAYS.get(risk.component, (telemetry.EVENTS,))
    return [*found, *((gauge, None) for gauge in always if gauge not in told)][:REASONS]


def course(one: Series, unit: Unit = "count") -> str:
    """How a series went, in a few words that follow its name."""
    known = one.known
    if not known:
        return "is not known"
    first, last, top = (number(value, unit) for value in (known[0], known[-1], max(known)))
    if one.kind == "bar":
        return f"add up to {sum(known):,.0f} in {len(known)} days, {top} on the worst"
    if first == last == top:
        return f"stayed at {last}"
    return f"went from {first} to {last}" + (f", {top} at most" if top not in {first, last} else "")


def _last_whole_day(asof_at: datetime) -> date:
    return (asof_at - timedelta(microseconds=1)).date()
