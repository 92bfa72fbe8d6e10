"""From a situation to proposals: which action is chosen, and what must hold of every verdict."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.contracts import HORIZON_DAYS
from decisions.actions import MOVES, PRICED, ladder
from decisions.decide import decide
from decisions.domain import Action, Autonomy, Proposal, Situation
from decisions.incidents.values import Kind
from decisions.ledger.record import order_of
from decisions.policy import Policy, load
from decisions.schedule import Calendar
from decisions.sections import BreakerLimits
from decisions.windows import opening
from models.earned import Earned
from tests.decisions.fleets import ASOF, fleet, host, policies, risk, situation, situations, unknown, vm
from tests.decisions.populations import feed_incident

POLICY = load()
USUAL = timedelta(minutes=POLICY.notice.live_migrate_usual_minutes)
ROOMY = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def only(found: Situation, policy: Policy = POLICY) -> Proposal:
    """The single proposal of a situation with one host at risk."""
    (proposal,) = decide(found, policy).proposals
    return proposal


def test_a_host_likely_to_fail_is_emptied_live() -> None:
    """Moving costs next to nothing beside four VMs on a dying host, so the host's VMs are moved live."""
    proposal = only(fleet(10, {"h003": 0.6}))
    assert proposal.action is Action.LIVE_MIGRATE
    assert {plan.vm_id for plan in proposal.vms} == {f"h003-v{k}" for k in range(4)}
    assert all(plan.target_host_id not in {None, "h003"} for plan in proposal.vms)
    assert proposal.autonomy is Autonomy.AUTO


def test_the_price_of_every_action_is_kept() -> None:
    """The reader sees what each action would have cost, and the chosen one is the cheapest that is not blocked."""
    proposal = only(fleet(10, {"h003": 0.6}))
    by_action = {price.action: price for price in proposal.prices}
    assert set(by_action) == {Action.MONITOR, Action.BLOCK_PLACEMENTS, Action.INVESTIGATE, Action.LIVE_MIGRATE}
    assert min(by_action.values(), key=lambda p: p.interruptions).action is proposal.action


def test_hosts_below_the_floor_get_no_proposal() -> None:
    """A fleet without a risk above the policy's floor is left alone."""
    assert decide(fleet(20, {}), POLICY).proposals == ()


def test_pinned_vms_are_redeployed_only_when_failure_is_imminent() -> None:
    """At a middling risk the VMs that cannot move stay, their owners told; on a dying host they are evacuated."""
    pinned = [vm(f"v{k}", live_migratable=k > 1) for k in range(4)]
    hosts = [host("h1"), host("h2"), host("h3")]
    calm = only(situation(hosts, pinned, [risk("h1", 0.3)]))
    dying = only(situation(hosts, pinned, [risk("h1", curve={1: 0.9, 3: 0.95, 7: 0.97, 14: 0.98, 30: 0.99})]))
    assert (calm.action, dying.action) == (Action.LIVE_MIGRATE, Action.EVACUATE)
    assert dying.autonomy is Autonomy.APPROVE
    assert Counter(plan.technique for plan in calm.vms) == {Action.LIVE_MIGRATE: 2, Action.NOTIFY: 2}
    assert Counter(plan.technique for plan in dying.vms) == {Action.LIVE_MIGRATE: 2, Action.EVACUATE: 2}


def test_an_unknown_risk_asks_a_person() -> None:
    """Unknown is never low and never a ground to act: a person is asked, with the reason."""
    proposal = only(situation([host("h1"), host("h2")], [vm()], [unknown("h1")]))
    assert proposal.action is Action.INVESTIGATE
    assert "stale_telemetry" in proposal.reasons[0]
    assert proposal.prices == ()


def test_a_part_that_is_merely_new_is_watched() -> None:
    """A replaced drive is unknown for its first days: nobody is asked to look, and it is no target for VMs."""
    new = unknown("h1", reason="too_little_history")
    assert only(situation([host("h1"), host("h2")], [vm()], [new])).action is Action.MONITOR
    silent = unknown("h1", reason="stale_telemetry")
    assert only(situation([host("h1"), host("h2")], [vm()], [new, silent])).action is Action.INVESTIGATE


def test_a_precision_that_is_not_earned_leaves_moves_to_a_person() -> None:
    """Without a measured precision nothing is moved, and the proposal says what stood in the way."""
    proposal = only(fleet(20, {"h003": 0.6}, earned=()))
    assert proposal.action is Action.INVESTIGATE
    assert proposal.blocked[0].startswith("earned_precision: nobody has measured")


def test_a_proposal_carries_what_calls_of_its_risk_have_earned() -> None:
    """The band that holds the host's risk, with what is foretold of the next calls, and no other band."""
    bands = (Earned(0.1, 0.9, 0.8, 1.0, 90), Earned(0.5, 0.6, 0.5, 0.7, 90, 30, 12, 24))
    assert only(fleet(20, {"h003": 0.6}, earned=bands)).earned == bands[1:]


def test_a_full_cluster_names_the_missing_room() -> None:
    """Where no target has room nothing moves, and the reason names the VM and the cluster."""
    proposal = only(situation([host("h1"), host("h2")], [vm()], [risk("h1", 0.6)]))
    assert proposal.action not in MOVES
    assert any("destination: cluster c1 has 0 vCPU" in line for line in proposal.blocked)


def test_the_kill_switch_stops_everything_that_acts() -> None:
    """Once somebody has stopped all action only watching and asking remain."""
    verdict = decide(fleet(20, {"h003": 0.9, "h013": 0.9}, stopped_by="ana"), POLICY)
    assert {p.action for p in verdict.proposals} <= {Action.MONITOR, Action.INVESTIGATE}
    assert verdict.blocked == {"kill_switch": 2}


def test_starts_are_staggered_within_a_rack() -> None:
    """Two hosts of one rack are emptied one after the other, the one with more to lose first."""
    roomy = replace(POLICY, breaker=replace(POLICY.breaker, floor_hosts=10))
    first, second = decide(fleet(50, {"h001": 0.9, "h002": 0.5}), roomy).proposals
    assert (first.host_id, first.not_before) == ("h001", ASOF + USUAL)
    assert second.not_before > first.not_before


def test_an_open_order_holds_its_budget_and_its_room() -> None:
    """A host that is being emptied in the same rack makes the next one wait."""
    busy = decide(fleet(50, {"h001": 0.9}), POLICY).proposals[0]
    order = order_of(busy, busy.not_before)
    later = decide(fleet(50, {"h002": 0.5}, open_orders=(order,), owned_hosts=frozenset({"h001"})), POLICY)
    assert later.proposals[0].action is Action.LIVE_MIGRATE
    assert later.proposals[0].not_before > ASOF + USUAL


def test_the_same_question_has_the_same_id_and_another_has_not() -> None:
    """A proposal's id names moment, host, policy and model: the same question is the same proposal."""
    asked = fleet(10, {"h003": 0.6})
    other = fleet(10, {"h003": 0.6}, asof_at=ASOF + timedelta(hours=1))
    assert only(asked).proposal_id == only(asked).proposal_id != only(other).proposal_id


def test_a_storm_trips_the_breaker_and_stays_within_budgets() -> None:
    """Half the fleet flagged at once: nothing is moved, cordons stay within their share, and a sentence says why."""
    verdict = decide(fleet(200, {f"h{i:03d}": 0.8 for i in range(0, 200, 2)}), POLICY)
    done = Counter(p.action for p in verdict.proposals)
    assert done[Action.LIVE_MIGRATE] == done[Action.EVACUATE] == 0
    assert done[Action.BLOCK_PLACEMENTS] <= 4 * int(50 * POLICY.limits.blocked_hosts_share_per_cluster)
    assert done[Action.INVESTIGATE] <= POLICY.people.looks_per_cycle
    fleetwide = next(b for b in verdict.breakers if b.scope == "fleet")
    assert fleetwide.sentence == (
        "fleet: 100 of 200 hosts that could be acted on would be emptied within 24 h, and policy allows 30; "
        "look for a broken model or broken telemetry before letting more go"
    )


def test_a_storm_lets_recoveries_pass() -> None:
    """While every breaker stands open, people are asked to look and closed hosts stay within their share."""
    storm = fleet(200, {f"h{i:03d}": 0.8 for i in range(0, 200, 2)})
    verdict = decide(replace(storm, risks=(*storm.risks[:-1], unknown("h199"))), POLICY)
    blocked = Counter(price.blocked_by for p in verdict.proposals for price in p.prices if price.action not in MOVES)
    assert blocked["breaker"] == 0
    assert sum(p.action is Action.INVESTIGATE for p in verdict.proposals) == POLICY.people.looks_per_cycle


def test_orders_that_are_about_to_close_hosts_count_as_closed() -> None:
    """A cluster of fifty may have five hosts closed: with five such orders under way, a sixth gets none."""
    storm = fleet(50, {f"h{i:03d}": 0.8 for i in range(40)})
    first = decide(storm, POLICY).proposals
    closing = tuple(order_of(p, ASOF) for p in first if p.action is Action.BLOCK_PLACEMENTS)
    assert len(closing) == 5
    owned = frozenset(order.host_id for order in closing)
    again = decide(replace(storm, open_orders=closing, owned_hosts=owned), POLICY)
    assert [p for p in again.proposals if p.action is Action.BLOCK_PLACEMENTS] == []


def test_a_pool_is_enabled_by_itself() -> None:
    """Moves are automatic in one pool, by approval in another, and each proposal keeps what held for it."""
    by_hand = {**POLICY.autonomy, Action.LIVE_MIGRATE: Autonomy.APPROVE}
    staged = replace(POLICY, pools={"c1": replace(POLICY.of("c1"), autonomy=by_hand)})
    found = {p.host_id: p for p in decide(fleet(100, {"h001": 0.8, "h077": 0.8}), staged).proposals}
    assert {p.action for p in found.values()} == {Action.LIVE_MIGRATE}
    assert (found["h001"].autonomy, found["h077"].autonomy) == (Autonomy.AUTO, Autonomy.APPROVE)
    assert found["h077"].pool == "c1"


def test_a_window_that_opens_too_late_is_named() -> None:
    """On a Sunday a host whose pool is open on Fridays only is not moved, and the reason says until when to wait."""
    fridays = replace(POLICY, windows=replace(POLICY.windows, days_utc=("fri",), urgent_risk=1.0))
    proposal = only(fleet(50, {"h001": 0.8}), fridays)
    assert proposal.action not in MOVES
    assert any(line.startswith("window: the maintenance window of pool c0 opens at Fri") for line in proposal.blocked)


def test_a_tripped_rack_leaves_other_racks_alone() -> None:
    """Seven of ten hosts of one rack open that rack's breaker only; a host elsewhere is still moved."""
    verdict = decide(fleet(400, {**{f"h00{n}": 0.8 for n in range(7)}, "h055": 0.8}), POLICY)
    assert [b.scope for b in verdict.breakers] == ["rack z0/r0"]
    assert {p.host_id for p in verdict.proposals if p.action in MOVES} == {"h055"}


def test_hosts_with_most_at_stake_go_first_where_a_share_is_used_up() -> None:
    """Of five hosts of a rack of ten two may go within a day: the likeliest to fail; the others wait and say why."""
    at_risk = {"h001": 0.4, "h002": 0.9, "h003": 0.5, "h004": 0.8, "h005": 0.45}
    verdict = decide(fleet(200, at_risk), POLICY)
    assert verdict.breakers == ()
    assert {p.host_id for p in verdict.proposals if p.action in MOVES} == {"h002", "h004"}
    waiting = next(p for p in verdict.proposals if p.host_id == "h003")
    assert any(line.startswith("share_used: rack z0/r0: 2 others are emptied") for line in waiting.blocked)


@ROOMY
@given(situations())
def test_no_vm_is_placed_twice_nor_beyond_room_nor_on_a_host_in_doubt(found: Situation) -> None:
    """Each VM has one plan at most, targets keep to their capacity, and none is at risk, owned or out of service."""
    verdict = decide(found, POLICY)
    plans = [plan for p in verdict.proposals if p.action in MOVES for plan in p.vms]
    assert len({plan.vm_id for plan in plans}) == len(plans)
    by_id = {v.vm_id: v for vms in found.vms.values() for v in vms}
    doubtful = {p.host_id for p in verdict.proposals} | found.owned_hosts
    for target in {plan.target_host_id for plan in plans if plan.target_host_id is not None}:
        there = found.hosts[target]
        guests = [*found.vms[target], *(by_id[plan.vm_id] for plan in plans if plan.target_host_id == target)]
        assert there.state == "in_service"
        assert target not in doubtful
        assert sum(v.vcpus for v in guests) <= there.vcpus
        assert sum(v.memory_bytes for v in guests) <= there.memory_bytes


@ROOMY
@given(situations(), st.randoms(use_true_random=False))
def test_no_availability_set_loses_a_fault_domain(found: Situation, dice) -> None:
    """Whichever of the moves come true, a set covers as many fault domains as before."""
    plans = [plan for p in decide(found, POLICY).proposals if p.action in MOVES for plan in p.vms]
    moved = {plan.vm_id: plan.target_host_id for plan in plans if plan.target_host_id and dice.random() < 0.7}
    for name in ("a", "b"):
        members = [v for vms in found.vms.values() for v in vms if v.availability_set == name]
        before = {_domain(found, v.host_id) for v in members}
        after = {_domain(found, moved.get(v.vm_id, v.host_id)) for v in members}
        assert len(after) >= len(before)


def _domain(found: Situation, host_id: str) -> tuple[str, int]:
    return found.hosts[host_id].cluster, found.hosts[host_id].fault_domain


@ROOMY
@given(situations(), policies())
def test_no_budget_is_exceeded_and_nothing_old_is_acted_on(found: Situation, policy: Policy) -> None:
    """At no moment are more hosts of a rack or the fleet emptied than allowed; stale or expired facts move nothing."""
    wide = replace(policy, breaker=replace(policy.breaker, floor_hosts=100))
    moves = [p for p in decide(found, wide).proposals if p.action in MOVES]
    fresh = found.telemetry_at is not None and ASOF - found.telemetry_at <= timedelta(hours=36)
    assert fresh or not moves
    for p in moves:
        assert ASOF <= p.not_before < p.expires_at
        assert p.host_id not in found.owned_hosts | found.recent_actions.keys()
        together = [q for q in moves if _start(q) <= _start(p) < _end(q)]
        assert len(together) <= wide.limits.hosts_at_once_per_fleet
        racks = Counter(found.hosts[q.host_id].rack for q in together)
        assert max(racks.values()) <= wide.limits.hosts_at_once_per_rack
        into: Counter[str] = Counter()
        for q in together:
            into.update(Calendar(ASOF, wide.limits).at_once(q.vms))
        assert max(into.values(), default=0) <= wide.limits.live_moves_at_once_per_target


@ROOMY
@given(situations(), policies())
def test_no_start_is_without_notice_nor_outside_a_window_unless_it_is_urgent(found: Situation, policy: Policy) -> None:
    """Owners get at least the minimum from now on, and what starts outside its pool's window says why."""
    now = found.now or found.asof_at
    for p in decide(found, policy).proposals:
        if p.action not in MOVES:
            continue
        holds = policy.of(p.pool)
        least = min(holds.notice.live_migrate_minimum_minutes, holds.notice.evacuate_minimum_minutes)
        assert now + timedelta(minutes=least) <= p.not_before < p.expires_at
        urgent = any(line.startswith("Urgent: the maintenance window") for line in p.reasons)
        assert urgent == (p.start_rule.window is None)
        assert urgent or opening(holds.windows.window, p.not_before) == p.not_before
        assert p.autonomy is holds.autonomy[p.action]


@ROOMY
@given(situations(), policies())
def test_nothing_acts_against_a_person_or_on_old_facts(found: Situation, policy: Policy) -> None:
    """No order for what a person keeps out, for an unknown or expired risk, or that the pool's autonomy rules out."""
    now = found.now or found.asof_at
    for p in decide(found, policy).proposals:
        if not ladder()[p.action].sent_to_executor:
            continue
        outs = [out for out in found.opt_outs if out.name in {p.host_id, p.pool} and out.expires_at > now]
        assert not any(not out.actions or p.action in out.actions for out in outs)
        assert p.risk.known
        assert now < p.risk.asof_at + policy.prediction_life == p.expires_at
        assert p.autonomy is not Autonomy.NEVER


@ROOMY
@given(situations(), policies())
def test_no_breaker_holds_a_recovery(found: Situation, policy: Policy) -> None:
    """With breakers that let next to nothing through, no other action is held, and each look that was due still is."""
    patient = replace(policy, people=replace(policy.people, looks_per_cycle=1000))
    shut = replace(patient, breaker=BreakerLimits(24.0, 1, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    held = decide(found, shut).proposals
    assert {price.action for p in held for price in p.prices if price.blocked_by == "breaker"} <= MOVES
    asked = {p.host_id for p in held if p.action is Action.INVESTIGATE}
    assert asked >= {p.host_id for p in decide(found, patient).proposals if p.action is Action.INVESTIGATE}


@ROOMY
@given(situations(), policies())
def test_the_same_inputs_give_the_same_verdict_under_any_policy(found: Situation, policy: Policy) -> None:
    """Windows, notice, pools and opt-outs leave no chance in a verdict."""
    assert decide(found, policy) == decide(replace(found, risks=tuple(reversed(found.risks))), policy)


def _start(p: Proposal) -> float:
    return (p.not_before - ASOF).total_seconds()


def _end(p: Proposal) -> float:
    """The earliest moment at which the work can be done, by the host's own lanes: at least the longest move."""
    return _start(p) + max(plan.seconds for plan in p.vms) - 1e-3


@ROOMY
@given(situations())
def test_the_same_inputs_give_the_same_verdict(found: Situation) -> None:
    """Asking twice, with the risks in another order, gives the same answer to the last digit."""
    assert decide(found, POLICY) == decide(replace(found, risks=tuple(reversed(found.risks))), POLICY)


@ROOMY
@given(situations(), st.data())
def test_a_higher_risk_never_gets_less_protection(found: Situation, data: st.DataObject) -> None:
    """When a failure gets likelier in any interval and in none unlikelier, the action does not get weaker.

    Breakers and the cluster's share of blocked hosts are left out: they depend on what other hosts get.
    """
    roomy = replace(
        POLICY,
        breaker=replace(POLICY.breaker, floor_hosts=1000),
        limits=replace(POLICY.limits, blocked_hosts_share_per_cluster=1.0),
    )
    known = [at for at, r in enumerate(found.risks) if r.status == "ok"]
    if not known:
        return
    at = data.draw(st.sampled_from(known))
    chosen = found.risks[at]
    steps = [b - a for a, b in pairwise((0.0, *(chosen.curve[d] for d in HORIZON_DAYS)))]
    spare = 1.0 - chosen.curve[30]
    added = [data.draw(st.floats(0.0, spare / len(steps))) for _ in steps]
    total, higher = 0.0, {}
    for days, step, more in zip(HORIZON_DAYS, steps, added, strict=True):
        total += step + more
        higher[days] = min(1.0, total)
    raised = replace(found, risks=(*found.risks[:at], replace(chosen, curve=higher), *found.risks[at + 1 :]))
    assert _protection(raised, roomy, chosen.host_id) >= _protection(found, roomy, chosen.host_id)


def _protection(found: Situation, policy: Policy, host_id: str) -> int:
    action = next((p.action for p in decide(found, policy).proposals if p.host_id == host_id), None)
    return -1 if action is None else PRICED.index(action)


def test_a_large_fleet_is_decided_whole() -> None:
    """Of six thousand hosts, each of the three hundred at risk gets its proposal."""
    found = fleet(6000, {f"h{i:03d}": 0.5 for i in range(0, 6000, 20)}, vms_per_host=0)
    guests = {h: tuple(vm(f"{h}-v{k}", h) for k in range(10)) for h in found.hosts}
    found = replace(found, vms=guests)
    assert len(decide(found, POLICY).proposals) == 300


@pytest.mark.parametrize("key", ["minimum_risk = 0.9", "minimum_risk = 0.0"])
def test_the_floor_is_the_policys(tmp_path: Path, key: str) -> None:
    """What counts as a risk worth a thought is set by policy."""
    file = tmp_path / "policy.toml"
    file.write_text(f"[risk]\n{key}\n")
    count = len(decide(fleet(10, {"h003": 0.6}), load(file)).proposals)
    assert count == (0 if "0.9" in key else 10)


@pytest.mark.parametrize(("hours", "guardrail"), [(31, "expired_prediction"), (37, "stale_telemetry")])
def test_facts_are_aged_by_the_moment_of_deciding(hours: float, guardrail: str) -> None:
    """A question of the night that is decided on a day later moves nothing: its facts are too old."""
    late = decide(fleet(50, {"h001": 0.8}, now=ASOF + timedelta(hours=hours)), POLICY)
    assert decide(fleet(50, {"h001": 0.8}), POLICY).proposals[0].action in MOVES
    assert {p.action for p in late.proposals} & (MOVES | {Action.BLOCK_PLACEMENTS}) == set()
    assert any(guardrail in line for p in late.proposals for line in (*p.reasons, *p.blocked)), late.blocked


def test_moves_wait_while_a_shared_cause_is_seen_to() -> None:
    """A host at risk for its feed is not moved, says why, and names the incident; a bad make's hosts are moved."""
    incident = replace(feed_incident(), parts_at_risk=("h001-disk",))
    at_risk = {"h001": 0.8, "h022": 0.8}
    held = decide(fleet(50, at_risk, incidents=(incident,)), POLICY)
    by_host = {each.host_id: each for each in held.proposals}
    assert by_host["h001"].action not in MOVES
    assert by_host["h022"].action in MOVES
    assert any(line.startswith("correlation_veto: many hosts, one cause") for line in by_host["h001"].blocked)
    assert (by_host["h001"].incident_id, by_host["h022"].incident_id) == (incident.incident_id, None)
    assert [each.incident_id for each in held.incidents] == [incident.incident_id]
    bad_make = decide(fleet(50, at_risk, incidents=(replace(incident, kind=Kind.HARDWARE),)), POLICY)
    assert {each.host_id for each in bad_make.proposals if each.action in MOVES} == {"h001", "h022"}
    assert bad_make.proposals[0].incident_id == incident.incident_id
