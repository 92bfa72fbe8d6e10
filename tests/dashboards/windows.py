"""An order whose host's VMs may be started by their owners for a while, as an executor has it."""

from dataclasses import replace
from datetime import timedelta

from decisions.domain import Action, Answer, Autonomy, OrderState, Verdict, VmPlan
from tests.dashboards.conftest import ASOF, Night, proposal

ENDS = ASOF + timedelta(days=300)


def windowed(night: Night, host: str = "r13-01", besides: tuple[str, ...] = ()) -> str:
    """The order's id: of an earlier night, accepted, with two VMs and others besides."""
    at = ASOF - timedelta(hours=1)
    vms = (f"{host}-vm1", f"{host}-vm2", *besides)
    plans = tuple(VmPlan(each, Action.SELF_SERVICE, "r20-01", 12.0, ENDS) for each in vms)
    asked = replace(proposal(host, Action.SELF_SERVICE, Autonomy.AUTO), asof_at=at, not_before=at, vms=plans)
    with night.ledger() as ledger:
        ledger.record(Verdict(at, "policy-7", "disk-4", (asked,), {}, ()), at)
        (order_id,) = (each.order.order_id for each in ledger.orders() if each.order.host_id == host)
        ledger.mark_sent(order_id, at)
        ledger.apply(Answer(order_id, OrderState.ACCEPTED, at))
    return order_id
