"""An order looked at once more: what ends it, what calls it back, and what makes it start later."""

from dataclasses import replace
from datetime import timedelta

import pytest

from decisions.actions import MOVES, ladder
from decisions.breakers import trip
from decisions.decide import decide
from decisions.domain import Action, Autonomy, Order, OrderState, Proposal, StartRule, Window
from decisions.ledger.record import order_of
from decisions.opt_outs import opt_out
from decisions.policy import load
from decisions.preconditions import Present, broken, recalled, start, too_late
from decisions.risk import host_risks
from tests.decisions.fleets import ASOF, fleet, risk, unknown

POLICY = load()
FLEET = fleet(50, {"h001": 0.8, "h022": 0.6})
LATER = ASOF + timedelta(hours=2)


def asked() -> tuple[Order, Proposal]:
    """The order that moves VMs off h001, and its proposal."""
    proposal = next(p for p in decide(FLEET, POLICY).proposals if p.host_id == "h001")
    return order_of(proposal, proposal.not_before), proposal


def present(**changes: object) -> Present:
    """The fleet as it was decided on."""
    return replace(Present(FLEET.hosts, FLEET.vms, POLICY), **changes)  # type: ignore[arg-type]


def told(risk_30d: float, **changes: object) -> dict[str, object]:
    """A newer prediction for h001."""
    return {"risks": host_risks([risk("h001", risk_30d, asof_at=LATER, **changes)])}


def why(now: Present, hours: float = 2) -> str | None:
    """Why the order is not handed over so many hours later."""
    return broken(*asked(), now, ASOF + timedelta(hours=hours))


def test_an_order_that_still_makes_sense_goes() -> None:
    """Nothing has changed, or the newest prediction still sees the risk: no reason against it."""
    assert why(present()) is None
    assert why(present(**told(0.7))) is None


def test_a_host_that_has_recovered_gets_no_order() -> None:
    """The newest prediction is clearly below the floor: the sentence says by which, and how low it is."""
    assert why(present(**told(0.001))) == (
        "host h001 has recovered: by the prediction of 2026-03-01 02:00 UTC it fails within 14 days with a chance of "
        "0.1%, and below 1.0% it is no longer at risk"
    )


@pytest.mark.parametrize("risk_30d", [0.04, 0.06])
def test_a_risk_just_below_the_floor_is_no_recovery(risk_30d: float) -> None:
    """Between 2 % and the floor of 5 % an order stands: a risk that wavers does not make it come and go."""
    assert why(present(**told(risk_30d))) is None


def test_what_is_not_known_is_no_recovery() -> None:
    """A part that fell silent, a prediction that has expired: neither says that the host is well."""
    silent = {"risks": host_risks([risk("h001", 0.001), unknown("h001")])}
    assert why(present(**silent)) is None
    old = {"risks": host_risks([risk("h001", 0.001, asof_at=ASOF - timedelta(hours=29))])}
    assert why(present(**old)) is None


def test_an_expired_order_is_refused() -> None:
    """A decision does not outlive its prediction."""
    assert "its prediction expired at 2026-03-02 06:00 UTC" in str(why(present(), hours=30))


def test_an_opt_out_given_meanwhile_is_respected() -> None:
    """A person has kept the pool out since: the order is refused with their name."""
    out = opt_out("pool", "c0", (), by="ann", reason="sale", at=LATER, days=1, longest_days=90)
    assert "ann keeps pool c0 out" in str(why(present(opt_outs=(out,))))


def test_a_policy_that_never_does_it_any_more_is_respected() -> None:
    """The action was switched off since."""
    off = replace(POLICY, autonomy={**POLICY.autonomy, Action.LIVE_MIGRATE: Autonomy.NEVER})
    assert "policy never does live_migrate" in str(why(present(policy=off)))


def test_a_breaker_that_opened_since_holds_the_order() -> None:
    """The newest decision saw half the fleet flagged: yesterday's order does not go either."""
    storm = decide(fleet(50, {f"h{i:03d}": 0.8 for i in range(0, 50, 2)}), POLICY)
    assert str(why(present(breakers=storm.breakers))).startswith("fleet: 25 of 50 hosts")
    elsewhere = tuple(b for b in storm.breakers if b.scope == "rack z0/r4")
    assert why(present(breakers=elsewhere)) is None


def test_hand_overs_are_counted_once_more() -> None:
    """Orders approved over a day add up: where as many hosts were emptied as a fleet may lose, the next is held."""
    done = {f"h00{n}": ASOF for n in (2, 3)}
    assert "fleet: 2 others are emptied within 24 h" in str(why(present(handed_over=done)))
    assert why(present(handed_over={"h002": ASOF})) is None


def test_two_hosts_with_drives_of_one_model_are_no_storm() -> None:
    """Only hosts with orders have their risks looked at: that both have the fleet's common drive means nothing."""
    both = host_risks([risk("h001", 0.8), risk("h022", 0.8)])
    assert why(present(risks=both, handed_over={"h022": ASOF})) is None


def test_recoveries_are_never_held_by_a_breaker() -> None:
    """Every recovery of the ladder passes while each breaker there is stands open; every move is held."""
    seen = fleet(50, {f"h{i:03d}": 0.8 for i in range(50)})
    risks = host_risks(seen.risks)
    opened = tuple(trip(seen, risks, set(seen.hosts), POLICY.breaker).values())
    order, proposal = asked()
    for action, rung in ladder().items():
        held = broken(
            replace(order, action=action, vms=()), proposal, present(breakers=opened, policy=_all_on()), LATER
        )
        assert (held is None) == (action not in MOVES), action
        assert not (rung.recovery and action in MOVES)
    assert {a for a, rung in ladder().items() if rung.recovery} >= {Action.DECOMMISSION, Action.INVESTIGATE}


def _all_on():
    return replace(POLICY, autonomy=dict.fromkeys(Action, Autonomy.AUTO))


@pytest.mark.parametrize("state", [OrderState.REQUESTED, OrderState.ACCEPTED, OrderState.STARTED])
def test_a_recovered_host_keeps_its_vms_whatever_has_begun(state: OrderState) -> None:
    """Waiting, accepted or half done: the order is called back; without a recovery it is not."""
    assert "has recovered" in str(recalled(asked()[0], state, present(**told(0.001)), LATER))
    assert recalled(asked()[0], state, present(**told(0.7)), LATER) is None


def test_people_stop_what_has_not_begun() -> None:
    """An opt-out and the kill switch call back an order that the executor has; what has begun is let finish."""
    out = opt_out("host", "h001", (), by="ann", reason="sale", at=LATER, days=1, longest_days=90)
    kept, stopped = present(opt_outs=(out,)), present(stopped_by="bob")
    order = asked()[0]
    assert [recalled(order, s, kept, LATER) is None for s in _OPEN] == [False, False, True]
    assert [recalled(order, s, stopped, LATER) is None for s in _OPEN] == [True, False, True]


def test_people_stop_what_owners_still_wait_for() -> None:
    """An order whose windows are open has started for weeks: an opt-out and the kill switch end it until they close."""
    out = opt_out("host", "h001", (), by="ann", reason="sale", at=LATER, days=30, longest_days=90)
    ends = LATER + timedelta(days=9)
    order = asked()[0]
    offered = replace(order, vms=tuple(replace(vm, deadline=ends) for vm in order.vms))
    for against in (present(opt_outs=(out,), **told(0.7)), present(stopped_by="bob", **told(0.7))):
        assert recalled(offered, OrderState.STARTED, against, LATER) is not None
        over = replace(against, risks=host_risks([risk("h001", 0.7, asof_at=ends)]))
        assert recalled(offered, OrderState.STARTED, over, ends) is None


_OPEN = (OrderState.REQUESTED, OrderState.ACCEPTED, OrderState.STARTED)


def test_an_order_in_time_starts_when_it_says() -> None:
    """Decided together, handed over one after the other: nobody is put off."""
    proposals = decide(FLEET, POLICY).proposals
    orders = [order_of(p, p.not_before) for p in proposals]
    for order, proposal in zip(orders, proposals, strict=True):
        assert start(order, proposal, present(), orders, ASOF) == order.not_before


def test_an_order_that_missed_its_window_waits_for_the_next() -> None:
    """Handed over after the window has closed, it starts at the next opening, or not at all if that is too late."""
    order, proposal = asked()
    nightly = replace(proposal, start_rule=StartRule(15.0, Window(("sun", "mon"), 0.0, 1.0)))
    assert start(order, nightly, present(), [], LATER) == ASOF + timedelta(days=1)
    weekly = replace(proposal, start_rule=StartRule(15.0, Window(("sun",), 0.0, 1.0)))
    at = start(order, weekly, present(), [], LATER)
    assert at >= order.expires_at
    assert "opens at Sun 2026-03-08 00:00 UTC" in str(too_late(order, weekly, present(), at, LATER))


def test_orders_approved_together_do_not_start_together() -> None:
    """Two hosts of one rack whose approvals came at the same time: the second waits until the first is done."""
    both = decide(
        fleet(50, {"h001": 0.8, "h002": 0.6}), replace(POLICY, breaker=replace(POLICY.breaker, floor_hosts=9))
    )
    first, second = (order_of(p, LATER) for p in both.proposals)
    begins = start(second, both.proposals[1], present(), [replace(first, not_before=LATER)], LATER)
    assert begins > LATER
    assert "rack z0/r0" in str(too_late(second, both.proposals[1], present(), second.expires_at, LATER))
