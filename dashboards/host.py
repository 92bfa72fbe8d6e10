"""One host: where it stands, the risk of its parts over time, what happened to it, and its VMs now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from starlette.exceptions import HTTPException

from dashboards import host_facts, telemetry, timeline, words
from dashboards.charts import Chart, Series
from dashboards.evidence import Exhibit, exhibit, risk_chart
from dashboards.fleet_view import FleetReader
from dashboards.queue import Look
from dashboards.timeline import Moment
from decisions.domain import EntityRisk
from decisions.ledger import story

NEWEST: Final = 60
"""Proposals and orders of the timeline, the newest first."""
MOMENTS: Final = 150


@dataclass(frozen=True)
class PartView:
    """A part of the host with its newest risk; `risk` maps a horizon in days to a probability, empty: unknown."""

    component: str
    entity_id: str
    model: str | None
    status: str
    """`ok`, `unknown`, or `not scored` where no model watches such parts."""
    reason: str | None
    risk: Mapping[int, float]


@dataclass(frozen=True)
class HostedVm:
    """A VM that runs on the host now."""

    vm_id: str
    owner: str
    series: str
    memory_bytes: int
    live_migratable: bool
    since: datetime


@dataclass(frozen=True)
class HostView:
    """The whole page of a host."""

    host_id: str
    now: datetime
    known: bool
    """Whether the inventory has it now; the ledger may remember a host that is gone."""
    place: Mapping[str, str]
    """What inventory tells of it, by name, in the order in which people ask."""
    state: str
    simulated: bool
    risk_14d: float | None
    """Chance that any of its parts fails; null: no part has a known risk."""
    asof_at: datetime | None
    parts: tuple[PartView, ...]
    """The riskiest first."""
    risk: Chart | None
    exhibit: Exhibit | None
    timeline: tuple[Moment, ...]
    """The newest first."""
    vms: tuple[HostedVm, ...]
    vms_in_all: int


def host(look: Look, host_id: str) -> HostView:
    """What is known of the host.

    Raises:
        HTTPException: 404, neither inventory nor ledger knows it.
    """
    row = _newest(look, host_id)
    told = story.of_host(look.book.con, host_id, row.get("cluster"), look.now, NEWEST) if look.book else None
    if not row and (told is None or not (told.proposals or told.orders)):
        raise HTTPException(404, f"There is no host {host_id}: neither the inventory nor the ledger knows it.")
    parts, risks, chart = _risks(look, host_id) if row else ((), (), None)
    vms, in_all = _vms(look, host_id)
    first = host_facts.riskiest(risks)
    whole = any_fails(risks)
    return HostView(
        host_id=host_id,
        now=look.now,
        known=bool(row),
        place={name: str(row[key]) for key, name in PLACE.items() if row.get(key) is not None},
        state=str(row.get("state", "not in the inventory")).replace("_", " "),
        simulated=bool(row.get("simulated")),
        risk_14d=whole,
        asof_at=first.asof_at if first else None,
        parts=parts,
        risk=chart,
        exhibit=exhibit(look, first, chart.series[0].points if chart and chart.series else None) if first else None,
        timeline=timeline.moments(look, host_id, told)[:MOMENTS],
        vms=vms,
        vms_in_all=in_all,
    )


PLACE: Final = {
    "rack": "Rack",
    "zone": "Zone",
    "cluster": "Cluster",
    "fault_domain": "Fault domain",
    "hardware_model": "Hardware",
    "firmware": "Firmware",
    "kernel": "Kernel",
    "power_feed": "Power feed",
    "switch": "Switch",
    "dedicated_to": "Serves alone",
}


def any_fails(risks: Sequence[EntityRisk]) -> float | None:
    """The chance that any of the parts fails within 14 days, each for itself; None when no risk is known."""
    survives, known = 1.0, False
    for each in risks:
        if each.curve:
            survives, known = survives * (1 - each.curve[words.RISK_DAYS]), True
    return 1 - survives if known else None


def _newest(look: Look, host_id: str) -> dict[str, Any]:
    """The host's newest row of the inventory; empty when there is none."""
    rows = host_facts.inventory(look.fleet, [host_id])[host_id] if look.fleet else []
    if not rows:
        return {}
    gone = rows[0]["valid_until"] is not None
    return rows[0] | ({"state": "gone from the inventory"} if gone else {})


def _risks(look: Look, host_id: str) -> tuple[tuple[PartView, ...], tuple[EntityRisk, ...], Chart | None]:
    """The host's parts, those with a risk as decisions know them, and a chart of the riskiest."""
    if look.fleet is None:
        return (), (), None
    risks = host_facts.risks(look, [host_id])[host_id]
    return _parts(look.fleet, host_id, risks), risks, _chart(look.fleet, risks)


def _parts(fleet: FleetReader, host_id: str, risks: Sequence[EntityRisk]) -> tuple[PartView, ...]:
    scored = [
        PartView(one.component, one.entity_id, one.model, one.status, words.cause(one) if one.reason else None,
                 dict(sorted(one.curve.items())))
        for one in risks
    ]  # fmt: skip
    seen = {(one.component, one.entity_id) for one in scored}
    others = [
        PartView(row["component"], row["entity_id"], row["model"], "not scored", None, {})
        for row in host_facts.parts(fleet, [host_id])[host_id]
        if row["valid_until"] is None and (row["component"], row["entity_id"]) not in seen
    ]
    named = (replace(one, component=words.COMPONENTS.get(one.component, one.component)) for one in (*scored, *others))
    return tuple(named)


def _chart(fleet: FleetReader, risks: Sequence[EntityRisk]) -> Chart | None:
    if not risks:
        return None
    shown = risks[: host_facts.DRAWN]
    named = telemetry.parts(fleet, [(one.component, one.entity_id) for one in shown])
    found = {(part.component, part.entity_id): part.entity_key for part in named}
    told = host_facts.histories(fleet, [risks])
    keys = [(one, found.get((one.component, one.entity_id))) for one in shown]
    series = [Series(words.thing(one), told.get(key, ())) for one, key in keys if key is not None]
    return risk_chart(series, max(one.asof_at for one in risks))


def _vms(look: Look, host_id: str) -> tuple[tuple[HostedVm, ...], int]:
    rows = host_facts.vms(look.fleet, [host_id])[host_id] if look.fleet else []
    in_all = rows[0]["in_all"] if rows else 0
    return tuple(HostedVm(**{k: v for k, v in row.items() if k not in {"host_id", "in_all"}}) for row in rows), in_all
