"""What forbids an action: each function answers None, or a reason that a person understands at 3 a.m."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from data.contracts import HORIZON_DAYS
from decisions.actions import MOVES, ladder
from decisions.domain import Action, Autonomy, Breaker, Host, HostRisk, OptOut, Vm
from decisions.incidents.values import Incident, Kind
from decisions.remedies import Service
from decisions.sections import EarnedPrecision, Owners
from models.earned import Earned

GIB: Final = 1024**3


def autonomy_never(action: Action, autonomy: Mapping[Action, Autonomy], key: str = "") -> str | None:
    """Whether policy rules the action out altogether; `key` is where it says so."""
    if autonomy[action] is Autonomy.NEVER:
        return f'policy never does {action} ({key or f"autonomy.{action}"} = "never")'
    return None


def opted_out(action: Action, host_id: str, pool: str, opt_outs: Sequence[OptOut], at: datetime) -> str | None:
    """Whether a person keeps the host or its pool out of the action; of several, the one that lasts longest speaks."""
    named = {("host", host_id), ("pool", pool)}
    holding = [
        out
        for out in opt_outs
        if (out.scope, out.name) in named
        and at < out.expires_at
        and (action in out.actions if out.actions else ladder()[action].sent_to_executor)
    ]
    if not holding:
        return None
    last = max(holding, key=lambda out: (out.expires_at, out.opt_out_id))
    what = "everything that acts" if not last.actions else ", ".join(last.actions)
    until = f"{last.expires_at:%Y-%m-%d %H:%M} UTC"
    return f"{last.by} keeps {last.scope} {last.name} out of {what} until {until}: {last.reason}"


def kill_switch(stopped_by: str | None) -> str | None:
    """Whether somebody has stopped all action."""
    return None if stopped_by is None else f"{stopped_by} has stopped all action; `foreshock start` lifts it"


def stale_telemetry(now: datetime, telemetry_at: datetime | None, hours: float) -> str | None:
    """Whether the newest reading, or event where no drives are judged, is too old to act on."""
    if telemetry_at is None:
        return "there is no telemetry at all; look at the ingest flow"
    age = now - telemetry_at
    if age <= timedelta(hours=hours):
        return None
    return (
        f"the newest reading or event is {_hours(age)} old, and policy allows {hours:g} h; look at the ingest flow. A "
        "fleet of which only events tell, and so few, needs more (freshness.telemetry_hours)"
    )


def expired_prediction(now: datetime, predicted_at: datetime, hours: float) -> str | None:
    """Whether the host's prediction is too old to act on."""
    age = now - predicted_at
    if age < timedelta(hours=hours):
        return None
    return f"the host's risk was predicted {_hours(age)} ago and expired after {hours:g} h; score again"


def unknown_risk(risk: HostRisk) -> str | None:
    """Whether nothing is known of the host's risk: unknown is never low, and never a ground to act."""
    if risk.known:
        return None
    return f"the host's risk is unknown ({unknown_reasons(risk)})"


def unknown_reasons(risk: HostRisk) -> str:
    """Why entities of the host have an unknown risk, at most three of them by name."""
    named = [f"{r.component} {r.entity_id}: {r.reason or 'no reason given'}" for r in risk.unknown[:3]]
    more = len(risk.unknown) - len(named)
    return "; ".join([*named, f"and {more} more"] if more else named)


def one_owner(host_id: str, owned_hosts: Collection[str]) -> str | None:
    """Whether somebody is already at work on the host."""
    if host_id not in owned_hosts:
        return None
    return f"host {host_id} has an open order, waits for a person, or a person has said no for now: one owner at a time"


def being_emptied(host: Host) -> str | None:
    """Whether the host is on its way out by other hands."""
    return (
        f"host {host.host_id} is already {host.state}"
        if host.state not in {"in_service", "blocked", "probation"}
        else None
    )


def already_blocked(host: Host) -> str | None:
    """Whether new placements are off already."""
    return None if host.state == "in_service" else f"host {host.host_id} is {host.state} and takes no new VMs already"


def already_told(host_id: str, told_hosts: Collection[str]) -> str | None:
    """Whether the owners on the host have been told in this episode: nobody is told the same thing every night."""
    return f"the owners on host {host_id} have been told already" if host_id in told_hosts else None


def out_already(host: Host) -> str | None:
    """Whether the host is at repair, or out for good."""
    return f"host {host.host_id} is already at {host.state}" if host.state in {"repair", "retired"} else None


def compatibility(action: Action, vms: Sequence[Vm]) -> str | None:
    """Whether a VM on the host is of a series for which the technique does not work."""
    unfit = ladder()[action].incompatible_series
    first = next((vm for vm in vms if vm.series in unfit), None)
    return None if first is None else f"VM {first.vm_id} is of series {first.series}: {unfit[first.series]}"


def owner_control(action: Action, host: Host, risk: HostRisk, owners: Owners) -> str | None:
    """Whether the owner of a whole host has the say on when its VMs are touched, as its failure is not imminent."""
    if host.dedicated_to is None or not risk.known or risk.within(owners.override_days) >= owners.override_risk:
        return None
    return (
        f"{host.dedicated_to} has host {host.host_id} for himself and the say on when; {action} would overrule him, "
        f"which is allowed from a chance of {owners.override_risk:.0%} to fail within {owners.override_days:g} days"
    )


def cure_first(possible: Collection[Action], helps: Service | None, least_share: float) -> str | None:
    """Whether the cause can be cured where the host stands: others have it too, so moving VMs would not end it."""
    if helps is None or not possible or helps.cured < least_share:
        return None
    remedy = helps.remedy
    return (
        f"{helps.cured:.0%} of the risk comes from {remedy.attribute} {remedy.value}; {remedy.name} cures it in place, "
        "and other hosts may have it too"
    )


def services_left(served: int, cap: int) -> str | None:
    """Whether enough hosts are serviced in this cycle."""
    return None if served < cap else f"{served} hosts are serviced this cycle, the most that policy allows"


def cool_down(host_id: str, asof_at: datetime, recent_actions: Mapping[str, datetime], hours: float) -> str | None:
    """Whether the host was acted on too lately."""
    last = recent_actions.get(host_id)
    if last is None or asof_at - last >= timedelta(hours=hours):
        return None
    return f"host {host_id} was acted on {_hours(asof_at - last)} ago; it is left in peace for {hours:g} h"


def attempt_cap(host_id: str, attempts: Mapping[str, int], cap: int) -> str | None:
    """Whether enough has been tried in this episode."""
    tried = attempts.get(host_id, 0)
    if tried < cap:
        return None
    return f"host {host_id} has had {tried} orders in this episode, the most that policy allows; a person must look"


def earned_by(risk: HostRisk, earned: Sequence[Earned]) -> tuple[Earned, ...]:
    """What calls of the band that holds the host's 30-day risk, that of its riskiest entity, have earned.

    One from each model that has measured the band; none where nobody has, or where the risk is unknown.
    """
    if not risk.known:
        return ()
    top = risk.entities[0].curve[HORIZON_DAYS[-1]]
    begins = max((band.risk_from for band in earned if band.risk_from <= top), default=None)
    return tuple(band for band in earned if band.risk_from == begins)


def earned_precision(
    action: Action, risk: HostRisk, earned: Sequence[Earned], policy: EarnedPrecision, break_even: float
) -> str | None:
    """Whether calls like this one have not been right often enough to move VMs.

    A host counts by its riskiest entity, and only the band that holds its 30-day risk speaks for it: what higher or
    lower risks have earned is no evidence. Where several models have measured a band, the worst of them counts.
    """
    if not policy.required or not risk.known:
        return None
    top = risk.entities[0].curve[HORIZON_DAYS[-1]]
    holding = earned_by(risk, earned)
    if not holding or any(band.alerts == 0 for band in holding):
        return f"nobody has measured how often a 30-day risk of {top:.0%} comes true; evaluate the model first"
    low = min(band.precision_low for band in holding)
    wanted = {
        Action.LIVE_MIGRATE: policy.live_migrate_precision_low,
        Action.SELF_SERVICE: policy.self_service_precision_low,
        Action.EVACUATE: policy.evacuate_precision_low,
    }
    bar = max(wanted[action], break_even)
    if low >= bar and low > break_even:
        return None
    return (
        f"risks like this one come true in at least {low:.1%} of cases (lower bound); "
        f"{action} pays and is allowed from {bar:.1%} only"
    )


def destination_capacity(vm: Vm, cluster: str, free_vcpus: int, free_bytes: int) -> str | None:
    """Whether a VM does not fit into what is free."""
    if vm.vcpus <= free_vcpus and vm.memory_bytes <= free_bytes:
        return None
    return (
        f"no sound host of cluster {cluster} has room for VM {vm.vm_id} "
        f"({vm.vcpus} vCPU, {vm.memory_bytes / GIB:.1f} GiB)"
    )


def spare_capacity(vm: Vm, cluster: str, free_vcpus: int, free_bytes: int) -> str | None:
    """Whether a VM would take room that its cluster keeps to spare."""
    if vm.vcpus <= free_vcpus and vm.memory_bytes <= free_bytes:
        return None
    return (
        f"cluster {cluster} has {max(0, free_vcpus)} vCPU and {max(0, free_bytes) / GIB:.1f} GiB beyond what it keeps "
        f"to spare; VM {vm.vm_id} needs {vm.vcpus} vCPU and {vm.memory_bytes / GIB:.1f} GiB"
    )


def fault_domain_spread(
    vm: Vm, source: tuple[str, int], target: tuple[str, int], taken: Collection[tuple[str, int]]
) -> str | None:
    """Whether a VM would join another of its availability set in one fault domain (cluster, number).

    Staying in its own domain changes nothing, and a domain with no other member can only widen the set: so the set
    covers no fewer domains afterwards, whichever of several such moves come true.
    """
    if target == source or target not in taken:
        return None
    return f"VM {vm.vm_id} would share fault domain {target[1]} with another of availability set {vm.availability_set}"


def short_notice(told_at: datetime, notice_minutes: float, expires_at: datetime) -> str | None:
    """Whether the owners could not be told early enough before the prediction expires."""
    if told_at + timedelta(minutes=notice_minutes) < expires_at:
        return None
    return (
        f"owners are told {notice_minutes:g} min ahead, which from {told_at:%Y-%m-%d %H:%M} UTC is after the "
        f"prediction expires at {expires_at:%H:%M} UTC; the next cycle decides anew"
    )


def closed_window(pool: str, opens_at: datetime, expires_at: datetime) -> str | None:
    """Whether the pool's maintenance window opens only after the prediction expires."""
    if opens_at < expires_at:
        return None
    return (
        f"the maintenance window of pool {pool} opens at {opens_at:%a %Y-%m-%d %H:%M} UTC, after the prediction "
        f"expires at {expires_at:%Y-%m-%d %H:%M} UTC; the cycle before the opening decides anew"
    )


def recovered(risk: HostRisk, now: datetime, days: float, below: float, hours: float) -> str | None:
    """Whether a fresh prediction that knows all of the host says that it is clearly not at risk any more."""
    fresh = expired_prediction(now, risk.asof_at, hours) is None
    if not fresh or not risk.known or risk.unknown or risk.within(days) >= below:
        return None
    return (
        f"host {risk.host_id} has recovered: by the prediction of {risk.asof_at:%Y-%m-%d %H:%M} UTC it fails within "
        f"{days:g} days with a chance of {risk.within(days):.1%}, and below {below:.1%} it is no longer at risk"
    )


def concurrency(start_at: datetime, expires_at: datetime, rack: str) -> str | None:
    """Whether the budgets of rack, fleet and targets leave no start before the prediction expires."""
    if start_at < expires_at:
        return None
    return (
        f"moves at once are limited: rack {rack}, the fleet or a target is free at {start_at:%Y-%m-%d %H:%M} UTC, "
        f"after the prediction expires at {expires_at:%H:%M} UTC"
    )


def blocked_share(cluster: str, blocked: int, limit: int) -> str | None:
    """Whether a cluster has as many hosts closed to new VMs as policy allows."""
    if blocked < limit:
        return None
    return f"cluster {cluster} already has {blocked} hosts closed to new VMs, and policy allows {limit}"


def looks_left(asked: int, cap: int) -> str | None:
    """Whether people have enough to look at from this cycle."""
    return (
        None
        if asked < cap
        else f"people have been asked to look at {asked} hosts this cycle, the most that policy allows"
    )


def incident_of(risk: HostRisk, incidents: Sequence[Incident]) -> Incident | None:
    """The incident that puts the host at risk: the one to which its riskiest part belongs, the most telling first."""
    if not risk.entities:
        return None
    return next((each for each in incidents if risk.entities[0].entity_id in each.parts_at_risk), None)


def correlation_veto(incident: Incident | None, *, holds_moves: bool) -> str | None:
    """Whether the host is at risk for what many share: then the cause is seen to, not one host after another.

    A bad make or batch of parts is no reason to wait: their moves go on.
    """
    if incident is None or incident.kind is Kind.HARDWARE or not holds_moves:
        return None
    return f"many hosts, one cause: {incident.sentence} (incident {incident.incident_id})"


def open_breaker(action: Action, breakers: Sequence[Breaker]) -> str | None:
    """Whether a breaker that covers the host stops the action: moves only, never a recovery."""
    stops = action in MOVES and not ladder()[action].recovery
    return breakers[0].sentence if breakers and stops else None


def _hours(age: timedelta) -> str:
    return f"{age.total_seconds() / 3600:.1f} h"
