"""Whether an order still makes sense: looked at once more when it is handed over, and as long as it is open."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from decisions import guardrails
from decisions.actions import MOVES, ladder
from decisions.breakers import Scope, labels, ration
from decisions.domain import Breaker, Host, HostRisk, OptOut, Order, OrderState, Proposal, Situation, Vm
from decisions.policy import Policy
from decisions.rest import Rest
from decisions.schedule import calendar_of, rack_of, work_seconds
from decisions.windows import opening

OUT_OF_SERVICE: Final = frozenset({"repair", "retired"})
NOTICEABLE: Final = timedelta(seconds=1)


@dataclass(frozen=True)
class Present:
    """What holds now."""

    hosts: Mapping[str, Host]
    vms: Mapping[str, tuple[Vm, ...]]
    policy: Policy
    risks: Mapping[str, HostRisk] = field(default_factory=dict)
    """The newest predictions, by host."""
    opt_outs: tuple[OptOut, ...] = ()
    breakers: tuple[Breaker, ...] = ()
    """Those that are open by the newest decision."""
    handed_over: Mapping[str, datetime] = field(default_factory=dict)
    """Hosts whose VMs the executor was told to move lately, and when."""
    stopped_by: str | None = None
    in_use: Mapping[Scope, int] | None = None
    """What `breakers.usable` says of the hosts; null: it is worked out for each order."""
    rest: Rest | None = None
    """What is told of hosts whose VMs `vms` leaves out; null: it tells of all."""


def broken(order: Order, proposal: Proposal, present: Present, now: datetime) -> str | None:
    """Why the order no longer makes sense, or None."""
    host = present.hosts.get(order.host_id)
    if order.expires_at <= now:
        return f"its prediction expired at {order.expires_at:%Y-%m-%d %H:%M} UTC; the next cycle decides anew"
    if host is None:
        return f"host {order.host_id} is no longer in the inventory"
    return _misplaced(order, host, present) or _unwanted(order, host, proposal, present, now)


def recalled(order: Order, state: OrderState, present: Present, now: datetime) -> str | None:
    """Why an open order should be called back, or None.

    A host that has recovered keeps what is left of it, even while it is being emptied. An opt-out and the kill switch
    stop what has not started, and an order of which a VM still waits for its owner's moment: that one is called back
    whole, and its moves under way end where they began. One that waits in the outbox is merely held by the kill switch.
    """
    host = present.hosts.get(order.host_id)
    reasons = [_recovered(order, present, now), _faded(order, present, now)]
    waits = state is OrderState.ACCEPTED or (state is OrderState.STARTED and _offers(order, now))
    if (waits or state is OrderState.REQUESTED) and host is not None:
        reasons.append(guardrails.opted_out(order.action, host.host_id, host.cluster, present.opt_outs, now))
    if waits:
        reasons.append(guardrails.kill_switch(present.stopped_by))
    return next((why for why in reasons if why is not None), None)


def start(order: Order, proposal: Proposal, present: Present, under_way: Iterable[Order], now: datetime) -> datetime:
    """When the order may start, handed over now: in its window, and beside the others that are under way.

    That is at or after the order's expiry where there is no such moment before. What is late by less than a second is
    in time.
    """
    at = max(order.not_before, now)
    host = present.hosts.get(order.host_id)
    if order.action not in MOVES or host is None:
        return at
    limits = present.policy.limits
    calendar = calendar_of(now, limits, (o for o in under_way if o.order_id != order.order_id), present.hosts)
    rack, slots = rack_of(host), calendar.at_once(order.vms)
    seconds = work_seconds(order.vms, limits.live_moves_at_once_per_source)
    while True:
        opens_at = opening(proposal.start_rule.window, at)
        starts_in = calendar.earliest_seconds(rack, slots, seconds, (opens_at - now).total_seconds())
        free_at = now + timedelta(seconds=ceil(starts_in))
        at = free_at if free_at - opens_at > NOTICEABLE else opens_at
        if at >= order.expires_at or opening(proposal.start_rule.window, at) == at:
            return at


def too_late(order: Order, proposal: Proposal, present: Present, starts_at: datetime, now: datetime) -> str | None:
    """Why no start is left before the order's prediction expires, or None."""
    opens_at = opening(proposal.start_rule.window, max(order.not_before, now))
    return guardrails.closed_window(proposal.pool, opens_at, order.expires_at) or guardrails.concurrency(
        starts_at, order.expires_at, rack_of(present.hosts[order.host_id])
    )


def _misplaced(order: Order, host: Host, present: Present) -> str | None:
    """What is no longer where the order says."""
    if host.state in OUT_OF_SERVICE and not ladder()[order.action].recovery:
        return f"host {order.host_id} is out of service already: {host.state}"
    there = {vm.vm_id for vm in present.vms.get(order.host_id, ())}
    gone = next((plan.vm_id for plan in order.vms if plan.vm_id not in there), None)
    if gone is not None:
        return f"VM {gone} is no longer on host {order.host_id}"
    targets = (plan.target_host_id for plan in order.vms if plan.target_host_id is not None)
    return next((why for target in targets if (why := _unfit(target, present))), None)


def _unfit(target: str, present: Present) -> str | None:
    """Why the host takes no VMs any more, or None."""
    host = present.hosts.get(target)
    if host is None:
        return f"target host {target} is no longer in the inventory"
    return None if host.state == "in_service" else f"target host {target} is {host.state} and takes no VMs"


def _unwanted(order: Order, host: Host, proposal: Proposal, present: Present, now: datetime) -> str | None:
    """Who or what is against it by now."""
    policy, pool = present.policy, host.cluster
    key = policy.autonomy_key(pool, order.action)
    reasons = (
        guardrails.autonomy_never(order.action, policy.of(pool).autonomy, key),
        guardrails.opted_out(order.action, host.host_id, pool, present.opt_outs, now),
        _recovered(order, present, now),
        _crowded(order, host, proposal, present, now),
    )
    return next((why for why in reasons if why is not None), None)


def _recovered(order: Order, present: Present, now: datetime) -> str | None:
    risk, policy = present.risks.get(order.host_id), present.policy
    if risk is None or ladder()[order.action].recovery:
        return None
    days, hours = policy.horizon.decision_days, policy.freshness.prediction_hours
    return guardrails.recovered(risk, now, days, policy.risk.recovery, hours)


def _faded(order: Order, present: Present, now: datetime) -> str | None:
    """Whether owners wait for a deadline that no fresh prediction stands behind any more.

    A warning that nobody repeats must not age into a redeployment. What is planned, for a service, rests on none.
    """
    if order.remedy is not None or not any(vm.deadline is not None for vm in order.vms):
        return None
    risk, hours = present.risks.get(order.host_id), present.policy.freshness.prediction_hours
    if risk is not None and risk.known and now - risk.asof_at < timedelta(hours=hours):
        return None
    return f"no fresh prediction stands behind its deadline any more ({hours:g} h at most); the offer is withdrawn"


def _offers(order: Order, now: datetime) -> bool:
    """Whether a window in which owners pick their moment is open still: such an order starts weeks before its moves."""
    return any(vm.deadline is not None and now < vm.deadline for vm in order.vms)


def _crowded(order: Order, host: Host, proposal: Proposal, present: Present, now: datetime) -> str | None:
    """Which breaker of the newest decision covers the host, or which share others that were handed over have used up.

    Of the shares, not a drive model's: how many hosts have such drives takes the risks of all, which are not looked at.
    """
    covering = [breaker for breaker in present.breakers if breaker.scope in labels(host, proposal.risk)]
    opened = guardrails.open_breaker(order.action, covering)
    if opened is not None or order.action not in MOVES or proposal.planned:
        return opened
    moved = tuple(present.handed_over.items())
    seen = Situation(now, present.hosts, present.vms, (), recent_evacuations=moved, rest=present.rest)
    return ration(seen, {}, [host.host_id], present.policy.breaker, present.in_use).get(host.host_id)
