"""Each guardrail, one by one: when it is silent, and the sentence when it is not."""

from dataclasses import replace
from datetime import timedelta

import pytest

from decisions import guardrails
from decisions.breakers import trip
from decisions.domain import Action, Autonomy, Breaker
from decisions.incidents.values import Kind
from decisions.policy import load
from decisions.risk import host_risks
from models.earned import Earned
from tests.decisions.fleets import ASOF, GIB, fleet, host, risk, unknown, vm
from tests.decisions.populations import feed_incident

POLICY = load()


def known(risk_30d: float = 0.4):
    """The risk of a host with one drive."""
    return host_risks([risk("h1", risk_30d)])["h1"]


def test_autonomy_never() -> None:
    """An action that policy never does is out, whatever it costs."""
    assert guardrails.autonomy_never(Action.EVACUATE, {Action.EVACUATE: Autonomy.APPROVE}) is None
    assert 'autonomy.evacuate = "never"' in str(
        guardrails.autonomy_never(Action.EVACUATE, {Action.EVACUATE: Autonomy.NEVER})
    )


def test_kill_switch() -> None:
    """The reason says who stopped it and how to go on."""
    assert guardrails.kill_switch(None) is None
    assert guardrails.kill_switch("ana") == "ana has stopped all action; `foreshock start` lifts it"


def test_stale_telemetry() -> None:
    """Readings of 36 hours ago will do, a minute more will not, and none at all never."""
    assert guardrails.stale_telemetry(ASOF, ASOF - timedelta(hours=36), 36) is None
    said = str(guardrails.stale_telemetry(ASOF, ASOF - timedelta(hours=36, minutes=1), 36))
    assert "36.0 h old" in said
    assert "only events tell, and so few, needs more (freshness.telemetry_hours)" in said
    assert "no telemetry at all" in str(guardrails.stale_telemetry(ASOF, None, 36))


def test_expired_prediction() -> None:
    """A prediction is good until its time is up, and not at that moment any more."""
    assert guardrails.expired_prediction(ASOF, ASOF - timedelta(hours=29), 30) is None
    assert "expired after 30 h" in str(guardrails.expired_prediction(ASOF, ASOF - timedelta(hours=30), 30))


def test_unknown_risk() -> None:
    """Nothing is known of the host: the reason names the drive and why."""
    assert guardrails.unknown_risk(known()) is None
    nothing = host_risks([unknown("h1", "stale telemetry")])["h1"]
    assert guardrails.unknown_risk(nothing) == "the host's risk is unknown (disk h1-disk: stale telemetry)"


def test_one_owner() -> None:
    """A host in somebody's hands is left to them."""
    assert guardrails.one_owner("h1", {"h2"}) is None
    assert "one owner at a time" in str(guardrails.one_owner("h1", {"h1"}))


@pytest.mark.parametrize(("state", "silent"), [("in_service", True), ("blocked", True), ("draining", False)])
def test_being_emptied(state: str, silent: bool) -> None:
    """A host on its way out is not emptied a second time."""
    assert (guardrails.being_emptied(host(state=state)) is None) is silent


def test_already_blocked() -> None:
    """Placements can be blocked once."""
    assert guardrails.already_blocked(host()) is None
    assert "takes no new VMs already" in str(guardrails.already_blocked(host(state="blocked")))


def test_cool_down() -> None:
    """A host acted on yesterday may be acted on, one acted on this morning not."""
    assert guardrails.cool_down("h1", ASOF, {"h1": ASOF - timedelta(hours=24)}, 24) is None
    assert "5.0 h ago" in str(guardrails.cool_down("h1", ASOF, {"h1": ASOF - timedelta(hours=5)}, 24))


def test_attempt_cap() -> None:
    """After the last allowed attempt a person must look."""
    assert guardrails.attempt_cap("h1", {"h1": 2}, 3) is None
    assert "a person must look" in str(guardrails.attempt_cap("h1", {"h1": 3}, 3))


def test_earned_precision_needs_a_bucket_that_holds_the_host() -> None:
    """A bucket of higher risks says nothing about this host."""
    above = (Earned(0.5, 0.9, 0.8, 0.95, 50),)
    reason = guardrails.earned_precision(Action.LIVE_MIGRATE, known(0.4), above, POLICY.earned, 0.0)
    assert "nobody has measured" in str(reason)
    assert guardrails.earned_precision(Action.LIVE_MIGRATE, known(0.6), above, POLICY.earned, 0.0) is None


def test_earned_precision_is_that_of_the_band_that_holds_the_risk() -> None:
    """A better band below or above lends nothing, and a band without a call has measured nothing."""
    bands = (
        Earned(0.1, 0.99, 0.95, 1.0, 90),
        Earned(0.3, 0.1, 0.004, 0.2, 40),
        Earned(0.5, 0.95, 0.9, 1.0, 50),
        Earned(0.8, 0.0, 0.0, 1.0, 0),
    )
    for top, said in ((0.2, None), (0.3, "at least 0.4%"), (0.4, "at least 0.4%"), (0.5, None), (0.9, "nobody has")):
        reason = guardrails.earned_precision(Action.LIVE_MIGRATE, known(top), bands, POLICY.earned, 0.0)
        assert reason is None if said is None else said in str(reason)


def test_earned_precision_of_two_models_is_the_worse() -> None:
    """Two models that begin a band at the same risk: the lower bound that is lower counts."""
    bands = (Earned(0.1, 0.9, 0.8, 1.0, 50), Earned(0.1, 0.5, 0.005, 0.7, 50))
    reason = guardrails.earned_precision(Action.LIVE_MIGRATE, known(0.4), bands, POLICY.earned, 0.0)
    assert "at least 0.5%" in str(reason)


def test_earned_precision_counts_the_lower_bound_against_threshold_and_break_even() -> None:
    """The lower bound must reach the policy's bar and exceed what the action itself would interrupt."""
    bucket = (Earned(0.0, 0.5, 0.35, 0.6, 50),)
    assert guardrails.earned_precision(Action.EVACUATE, known(), bucket, POLICY.earned, 0.2) is None
    assert guardrails.earned_precision(Action.EVACUATE, known(), bucket, POLICY.earned, 0.35) is not None
    low = (Earned(0.0, 0.5, 0.25, 0.6, 50),)
    assert "at least 25.0%" in str(guardrails.earned_precision(Action.EVACUATE, known(), low, POLICY.earned, 0.2))


def test_destination_capacity() -> None:
    """A VM must fit by vCPU and by memory."""
    assert guardrails.destination_capacity(vm(), "c1", 4, 16 * GIB) is None
    assert "4 vCPU, 16.0 GiB" in str(guardrails.destination_capacity(vm(), "c1", 3, 16 * GIB))
    assert guardrails.destination_capacity(vm(), "c1", 4, 16 * GIB - 1) is not None


def test_spare_capacity() -> None:
    """What a cluster keeps to spare is not given out."""
    assert guardrails.spare_capacity(vm(), "c1", 4, 16 * GIB) is None
    assert "keeps to spare" in str(guardrails.spare_capacity(vm(), "c1", 0, -GIB))


def test_fault_domain_spread() -> None:
    """A VM may stay in its domain or go where no other of its set is, and nowhere else."""
    member = vm(availability_set="a")
    assert guardrails.fault_domain_spread(member, ("c1", 0), ("c1", 0), {("c1", 0)}) is None
    assert guardrails.fault_domain_spread(member, ("c1", 0), ("c1", 2), {("c1", 1)}) is None
    assert "fault domain 1" in str(guardrails.fault_domain_spread(member, ("c1", 0), ("c1", 1), {("c1", 1)}))


def test_concurrency() -> None:
    """Work that could only start after the prediction expires is not begun."""
    assert guardrails.concurrency(ASOF, ASOF + timedelta(hours=1), "z1/r1") is None
    assert "rack z1/r1" in str(guardrails.concurrency(ASOF, ASOF, "z1/r1"))


def test_blocked_share_and_looks_left() -> None:
    """Cordons and people's attention have their limits too."""
    assert guardrails.blocked_share("c1", 1, 2) is None
    assert "policy allows 2" in str(guardrails.blocked_share("c1", 2, 2))
    assert guardrails.looks_left(19, 20) is None
    assert "20 hosts this cycle" in str(guardrails.looks_left(20, 20))


def test_an_open_breaker_stops_moves_and_nothing_else() -> None:
    """The breaker's sentence is the reason; blocking placements and asking a person go on."""
    breaker = Breaker("fleet", 9, 10, 1, "too many")
    assert guardrails.open_breaker(Action.LIVE_MIGRATE, ()) is None
    assert guardrails.open_breaker(Action.LIVE_MIGRATE, (breaker,)) == "too many"
    assert guardrails.open_breaker(Action.BLOCK_PLACEMENTS, (breaker,)) is None


def test_a_breaker_always_allows_its_floor() -> None:
    """One host of a rack of ten may always go; a second one opens the breaker when the share allows none."""
    limits = replace(POLICY.breaker, trip_times=1.0, rack_share=0.0, fleet_share=1.0, zone_share=1.0)
    limits = replace(limits, hardware_model_share=1.0, firmware_share=1.0, drive_model_share=1.0)
    found = fleet(20, {"h001": 0.5, "h002": 0.5})
    risks = host_risks(found.risks)
    assert trip(found, risks, {"h001"}, limits) == {}
    assert [b.limit for b in trip(found, risks, {"h001", "h002"}, limits).values()] == [1]


def test_a_breaker_counts_only_hosts_that_could_be_acted_on() -> None:
    """Empty hosts do not make a share look smaller than it is."""
    full = fleet(40, {"h001": 0.5, "h011": 0.5, "h021": 0.5})
    half = replace(full, vms={h: vms if h < "h025" else () for h, vms in full.vms.items()})
    limits = replace(POLICY.breaker, trip_times=1.0, fleet_share=0.1)
    flagged = {"h001", "h011", "h021"}
    risks = host_risks(full.risks)
    assert ("fleet", "") not in trip(full, risks, flagged, limits)
    assert trip(half, risks, flagged, limits)[("fleet", "")].actionable == 25


def test_a_breaker_remembers_what_was_emptied_lately() -> None:
    """Two hosts emptied this morning and one tonight are three; what was emptied last week is forgotten."""
    found = fleet(20, {"h005": 0.5})
    lately = tuple((h, ASOF - timedelta(hours=6)) for h in ("h001", "h002"))
    old = tuple((h, ASOF - timedelta(days=7)) for h in ("h001", "h002"))
    risks = host_risks(found.risks)
    at_once = replace(POLICY.breaker, trip_times=1.0)
    opened = trip(replace(found, recent_evacuations=lately), risks, {"h005"}, at_once)
    assert opened[("rack", "z0/r0")].flagged == 3
    assert trip(replace(found, recent_evacuations=old), risks, {"h005"}, at_once) == {}


def test_short_notice() -> None:
    """An hour's notice before a prediction that expires in half an hour cannot be given."""
    assert guardrails.short_notice(ASOF, 60, ASOF + timedelta(minutes=61)) is None
    assert "told 60 min ahead" in str(guardrails.short_notice(ASOF, 60, ASOF + timedelta(minutes=60)))


def test_closed_window() -> None:
    """A window that opens after the prediction expires is left to a later cycle, which pool and opening say."""
    opens = ASOF + timedelta(days=6)
    assert guardrails.closed_window("c1", opens, opens + timedelta(hours=1)) is None
    said = str(guardrails.closed_window("c1", opens, ASOF + timedelta(hours=30)))
    assert said.startswith("the maintenance window of pool c1 opens at Sat 2026-03-07 00:00 UTC, after")


def test_recovered() -> None:
    """A fresh risk that is known as a whole and below the threshold; nothing else is a recovery."""
    low, later = host_risks([risk("h1", 0.01)])["h1"], ASOF + timedelta(hours=31)
    assert "has recovered" in str(guardrails.recovered(low, ASOF, 14, 0.02, 30))
    assert guardrails.recovered(low, later, 14, 0.02, 30) is None
    assert guardrails.recovered(known(0.4), ASOF, 14, 0.02, 30) is None
    assert guardrails.recovered(host_risks([unknown("h1")])["h1"], ASOF, 14, 0.02, 30) is None


def test_correlation_veto() -> None:
    """Many hosts, one cause: moves wait for the cause, unless the parts themselves are bad or policy does not wait."""
    incident = feed_incident()
    assert guardrails.correlation_veto(None, holds_moves=True) is None
    assert guardrails.correlation_veto(replace(incident, kind=Kind.HARDWARE), holds_moves=True) is None
    assert guardrails.correlation_veto(incident, holds_moves=False) is None
    why = str(guardrails.correlation_veto(incident, holds_moves=True))
    assert why.startswith("many hosts, one cause: power feed f1 is shared by")
    assert incident.incident_id in why


def test_the_riskiest_part_says_which_incident_a_host_is_in() -> None:
    """A host on the feed whose own drive is the riskiest is not held for the feed."""
    incident = replace(feed_incident(), parts_at_risk=("h1-disk",))
    assert guardrails.incident_of(known(), [incident]) == incident
    assert guardrails.incident_of(host_risks([risk("h1", entity_id="own")])["h1"], [incident]) is None
    assert guardrails.incident_of(host_risks([unknown("h1")])["h1"], [incident]) is None
