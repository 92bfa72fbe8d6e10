"""Breakers: many hosts of one scope emptied at once speak of a broken model or a shared cause, not of bad luck."""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

from decisions.domain import Breaker, Host, HostRisk, Situation
from decisions.policy import BreakerLimits

Scope = tuple[str, str]

LOOK_FOR: Final = {
    "fleet": "a broken model or broken telemetry",
    "zone": "power, cooling or the network of the zone",
    "rack": "power, cooling or the switch of the rack",
    "hardware_model": "a fault of that hardware, or a model that has not learnt it",
    "drive_model": "a bad batch of that drive, or a model that has not learnt it",
    "firmware": "a fault of that firmware, or counters that it reports differently",
}
"""What a person looks for first when the breaker of a scope opens; the broadest scope first."""

_BREADTH: Final = {kind: at for at, kind in enumerate(LOOK_FOR)}


def scopes(host: Host, risk: HostRisk | None) -> tuple[Scope, ...]:
    """The scopes that a host is counted in; for the drive's model, its riskiest entity speaks."""
    placed = (
        ("fleet", ""),
        ("zone", host.zone),
        ("rack", f"{host.zone}/{host.rack}"),
        ("hardware_model", host.hardware_model),
        ("firmware", host.firmware),
    )
    top = risk.entities[0].model if risk is not None and risk.entities else None
    return placed if top is None else (*placed, ("drive_model", top))


def labels(host: Host, risk: HostRisk | None) -> frozenset[str]:
    """The scopes that a host is counted in, as `Breaker.scope` names them."""
    return frozenset(map(_label, scopes(host, risk)))


def trip(
    situation: Situation, risks: Mapping[str, HostRisk], flagged: Collection[str], limits: BreakerLimits
) -> Mapping[Scope, Breaker]:
    """The breakers that open when the flagged hosts are emptied besides those emptied lately, by scope.

    The broadest scope comes first. The share is taken of the hosts that could be acted on: in use, with VMs.
    `floor_hosts` are always allowed.
    """
    since = situation.asof_at - timedelta(hours=limits.hours)
    lately = {host_id for host_id, at in situation.recent_evacuations if since < at <= situation.asof_at}
    counted = (set(flagged) | lately) & situation.hosts.keys()
    actionable = {h.host_id for h in situation.hosts.values() if _usable(h, situation)} | counted
    flagged_by: Counter[Scope] = Counter()
    for host_id in counted:
        flagged_by.update(scopes(situation.hosts[host_id], risks.get(host_id)))
    actionable_by: Counter[Scope] = Counter()
    for host_id in actionable:
        actionable_by.update(_possible_scopes(situation.hosts[host_id], risks.get(host_id)))
    opened = {}
    for scope, flags in sorted(flagged_by.items(), key=lambda item: (_BREADTH[item[0][0]], item[0][1])):
        limit = max(limits.floor_hosts, int(getattr(limits, f"{scope[0]}_share") * actionable_by[scope]))
        if flags > limit:
            opened[scope] = _breaker(scope, flags, actionable_by[scope], limit, limits.hours)
    return opened


def _usable(host: Host, situation: Situation) -> bool:
    return host.state in {"in_service", "blocked", "probation"} and bool(situation.vms.get(host.host_id))


def _possible_scopes(host: Host, risk: HostRisk | None) -> set[Scope]:
    """As `scopes`, with the model of every entity that could have been the riskiest."""
    models = {entity.model for entity in risk.entities if entity.model is not None} if risk is not None else set()
    return {*scopes(host, None), *(("drive_model", model) for model in models)}


def _breaker(scope: Scope, flagged: int, actionable: int, limit: int, hours: float) -> Breaker:
    kind, label = scope[0], _label(scope)
    sentence = (
        f"{label}: {flagged} of {actionable} hosts that could be acted on would be emptied within {hours:g} h, "
        f"and policy allows {limit}; look for {LOOK_FOR[kind]} before letting more go"
    )
    return Breaker(label, flagged, actionable, limit, sentence)


def _label(scope: Scope) -> str:
    kind, name = scope
    return f"{kind.replace('_', ' ')} {name}".strip()
