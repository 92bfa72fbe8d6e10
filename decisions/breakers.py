"""Breakers: many hosts of one scope emptied at once speak of a broken model or a shared cause, not of bad luck."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Final

from decisions.domain import Breaker, Host, HostRisk, Situation
from decisions.sections import BreakerLimits

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

_PLACES: Final[Mapping[str, Callable[[Host], str]]] = {
    "zone": lambda host: host.zone,
    "rack": lambda host: f"{host.zone}/{host.rack}",
    "hardware_model": lambda host: host.hardware_model,
    "firmware": lambda host: host.firmware,
}
"""Scopes by what a host itself is, and its name in each."""
_BREADTH: Final = {kind: at for at, kind in enumerate(LOOK_FOR)}


def scopes(host: Host, risk: HostRisk | None) -> tuple[Scope, ...]:
    """The scopes that a host is counted in; for the drive's model, its riskiest entity speaks."""
    placed = (("fleet", ""), *((kind, name_of(host)) for kind, name_of in _PLACES.items()))
    top = risk.entities[0].model if risk is not None and risk.entities else None
    return placed if top is None else (*placed, ("drive_model", top))


def labels(host: Host, risk: HostRisk | None) -> frozenset[str]:
    """The scopes that a host is counted in, as `Breaker.scope` names them."""
    return frozenset(map(_label, scopes(host, risk)))


@dataclass(frozen=True)
class _Counts:
    """How many hosts of each scope could be acted on, and how many may be emptied within the breaker's time."""

    lately: frozenset[str]
    """Hosts that were emptied within that time."""
    actionable: Mapping[Scope, int]
    limits: BreakerLimits

    def limit(self, scope: Scope) -> int:
        """Hosts of the scope that may be emptied: its share, rounded down, and never fewer than the floor."""
        return allowed(scope, self.actionable.get(scope, 0), self.limits)


def allowed(scope: Scope, actionable: int, limits: BreakerLimits) -> int:
    """How many hosts of a scope may be emptied: its share of those that could be, rounded down, or the floor."""
    share = float(getattr(limits, f"{scope[0]}_share"))
    return max(limits.floor_hosts, int(share * actionable))


def usable(hosts: Mapping[str, Host], housed: Mapping[str, Sized]) -> Mapping[Scope, int]:
    """How many hosts of each scope are in use, with VMs, by what they house; drives' models are left out."""
    return _by_scope({host_id: host for host_id, host in hosts.items() if _usable(host, housed)}, {})


def _counts(
    situation: Situation,
    risks: Mapping[str, HostRisk],
    flagged: Collection[str],
    limits: BreakerLimits,
    in_use: Mapping[Scope, int] | None = None,
) -> _Counts:
    since = situation.asof_at - timedelta(hours=limits.hours)
    lately = {host_id for host_id, at in situation.recent_evacuations if since < at <= situation.asof_at}
    lately &= situation.hosts.keys()
    housed = situation.vms if situation.rest is None else situation.rest.residents.taken
    counted = (set(flagged) & situation.hosts.keys()) | lately
    if in_use is None:
        counted |= {host.host_id for host in situation.hosts.values() if _usable(host, housed)}
    else:
        counted = {host_id for host_id in counted if not _usable(situation.hosts[host_id], housed)}
    actionable = Counter(in_use)
    actionable.update(_by_scope({host_id: situation.hosts[host_id] for host_id in counted}, risks))
    return _Counts(frozenset(lately), actionable, limits)


def _by_scope(hosts: Mapping[str, Host], risks: Mapping[str, HostRisk]) -> Counter[Scope]:
    """How many of the hosts each scope holds; a host counts for each drive model that it has a known risk of."""
    found: Counter[Scope] = Counter({("fleet", ""): len(hosts)})
    for kind, name_of in _PLACES.items():
        found.update({(kind, name): count for name, count in Counter(map(name_of, hosts.values())).items()})
    told = (risks[host_id].makes for host_id in hosts if host_id in risks)
    found.update({("drive_model", name): count for name, count in Counter(chain.from_iterable(told)).items()})
    return found


def trip(
    situation: Situation, risks: Mapping[str, HostRisk], flagged: Collection[str], limits: BreakerLimits
) -> Mapping[Scope, Breaker]:
    """The breakers that open: `trip_times` as many hosts of a scope are flagged, or were emptied lately, as may be.

    The broadest scope comes first. The share is taken of the hosts that could be acted on: in use, with VMs.
    `floor_hosts` are always allowed.
    """
    held = _counts(situation, risks, flagged, limits)
    flagged_by: Counter[Scope] = Counter()
    for host_id in (set(flagged) & situation.hosts.keys()) | held.lately:
        flagged_by.update(scopes(situation.hosts[host_id], risks.get(host_id)))
    opened = {}
    for scope, flags in sorted(flagged_by.items(), key=lambda item: (_BREADTH[item[0][0]], item[0][1])):
        most = max(limits.floor_hosts, int(limits.trip_times * held.limit(scope)))
        if flags > most:
            opened[scope] = _breaker(scope, flags, held.actionable[scope], most, limits.hours)
    return opened


def ration(
    situation: Situation,
    risks: Mapping[str, HostRisk],
    wanting: Sequence[str],
    limits: BreakerLimits,
    in_use: Mapping[Scope, int] | None = None,
) -> Mapping[str, str]:
    """The hosts that must wait because others of a scope of theirs went before them, and why; by host.

    Args:
        situation: who was emptied lately.
        risks: by host.
        wanting: hosts that want to be emptied, the most to gain first: those are let go until a scope has its share.
        limits: shares and floor.
        in_use: what `usable` says of the situation, for who asks without risks again and again.
    """
    held = _counts(situation, risks, wanting, limits, in_use)
    going: Counter[Scope] = Counter()
    for host_id in held.lately:
        going.update(scopes(situation.hosts[host_id], risks.get(host_id)))
    waiting = {}
    for host_id in wanting:
        own = scopes(situation.hosts[host_id], risks.get(host_id))
        full = next((scope for scope in own if going[scope] >= held.limit(scope)), None)
        if full is None or host_id in held.lately:
            going.update(own if host_id not in held.lately else ())
        else:
            waiting[host_id] = (
                f"{_label(full)}: {going[full]} others are emptied within {limits.hours:g} h, and policy allows no "
                "more; those with the most at stake go first"
            )
    return waiting


def _usable(host: Host, housed: Mapping[str, Sized]) -> bool:
    return host.state in {"in_service", "blocked", "probation"} and bool(housed.get(host.host_id))


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
