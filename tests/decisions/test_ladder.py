"""Every technique: chosen when it should be, refused when it must be. `docs/techniques.md` has a row for each."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.actions import MOVES
from decisions.decide import decide
from decisions.domain import Action, Autonomy, Host, Proposal, Situation, Vm
from decisions.incidents.values import Factor, Incident, Kind, Stance
from decisions.policy import Policy, load
from decisions.remedies import Remedy
from models.earned import Earned
from tests.decisions.fleets import ASOF, curve, host, risk, situation, vm

SHIPPED = load()
KERNEL = Remedy("lockup", "kernel", "5.10.1", "5.10.2", (Action.HOT_PATCH, Action.PRESERVE_MEMORY), 0.9)
PAUSE_ONLY = replace(KERNEL, techniques=(Action.PRESERVE_MEMORY,))
RESTART_ONLY = replace(KERNEL, techniques=())
IMMINENT = {1: 0.9, 3: 0.95, 7: 0.97, 14: 0.98, 30: 0.99}
SLOW = {1: 0.0, 3: 0.0, 7: 0.05, 14: 0.85, 30: 0.95}
"""Sure to fail, but not this week."""


def shared(kind: Kind, attribute: str, value: str) -> Incident:
    """An incident that host h1 is in: thirty parts affected, of which three by chance."""
    factor = Factor(
        shared=((attribute, value),),
        named=f"{attribute} {value}",
        stance=Stance.LEADING,
        affected=30,
        parts=100,
        rest_affected=3,
        rest_parts=100,
        expected=3.0,
        relative_risk=10.0,
        low=5.0,
        high=20.0,
        p_adjusted=1e-6,
        p_given_leading=None,
        leading_p_given=None,
        since=None,
        first_at=ASOF,
        last_at=ASOF,
        sentence="",
    )
    return Incident(
        incident_id="i1",
        kind=kind,
        components=("disk",),
        factors=(factor,),
        first_at=ASOF,
        last_at=ASOF,
        hosts_affected=("h1",),
        parts_at_risk=("h1-disk",),
        parts_failed=(),
        hosts_at_stake=("h9",),
        parts_at_stake=70,
        sentence=f"{attribute} {value} is shared by what fails",
    )


BAD_KERNEL = shared(Kind.SOFTWARE, "kernel", "5.10.1")


def policy(*remedies: Remedy, **changes: object) -> Policy:
    """The shipped policy with remedies and other sections."""
    return replace(SHIPPED, remedies=remedies, **changes)


def asked(
    vms: list[Vm],
    by: Policy = SHIPPED,
    at: Host | None = None,
    risk_curve: dict[int, float] | None = None,
    **more: object,
) -> Proposal:
    """The proposal for host h1, with two roomy hosts beside it."""
    first = at or host("h1")
    hosts = [first, *(replace(first, host_id=name, state="in_service", kernel="5.9.0") for name in ("h2", "h3"))]
    part = risk("h1", curve=risk_curve) if risk_curve else risk("h1", 0.6)
    (proposal,) = decide(situation(hosts, vms, [part, risk("h2", 0.001), risk("h3", 0.001)], **more), by).proposals
    return proposal


def price_of(proposal: Proposal, action: Action) -> str | None:
    """What forbade the action; `allowed`, or None where it has no price at all."""
    found = [price for price in proposal.prices if price.action is action]
    return (found[0].blocked_by or "allowed") if found else None


def movable(count: int = 4) -> list[Vm]:
    """VMs that can move live."""
    return [vm(f"v{k}") for k in range(count)]


def pinned(count: int = 4) -> list[Vm]:
    """VMs that cannot."""
    return [vm(f"p{k}", live_migratable=False) for k in range(count)]


# monitor, block placements


def test_monitor_is_chosen_where_acting_gains_less_than_it_costs() -> None:
    """An idle host that takes no new VMs has nobody to be protected: it is watched."""
    calm = asked([vm()], at=host("h1", state="blocked"), earned=())
    assert calm.action is Action.MONITOR


def test_block_placements_is_chosen_where_only_new_vms_can_be_kept_away() -> None:
    """Where moves have not been earned and one VM is at stake, the host at least takes no new ones."""
    assert asked([vm()], earned=(), risk_curve=curve(0.15)).action is Action.BLOCK_PLACEMENTS


def test_block_placements_is_refused_where_they_are_blocked() -> None:
    """What is closed already is not closed again."""
    assert price_of(asked(movable(), at=host("h1", state="blocked")), Action.BLOCK_PLACEMENTS) == "already_blocked"


# notify, investigate


def test_notify_is_chosen_where_vms_cannot_move_and_nothing_more_is_earned() -> None:
    """On-call is paged and the owners of pinned VMs are told, when no call has earned more than that."""
    proposal = asked(pinned(8), earned=())
    assert proposal.action is Action.NOTIFY
    assert {plan.technique for plan in proposal.vms} == {Action.NOTIFY}


def test_notify_is_refused_a_second_time_in_an_episode() -> None:
    """Nobody is told the same thing every night; a person is asked instead."""
    again = asked(pinned(8), earned=(), told_hosts=frozenset({"h1"}))
    assert price_of(again, Action.NOTIFY) == "already_told"


def test_investigate_is_chosen_where_moves_are_not_earned() -> None:
    """A likely failure that nobody may act on by itself goes to a person."""
    assert asked(movable(10), earned=()).action is Action.INVESTIGATE


def test_investigate_is_refused_where_people_have_enough_to_look_at() -> None:
    """With no looks left in the cycle, nobody is asked."""
    busy = policy(people=replace(SHIPPED.people, looks_per_cycle=0))
    assert price_of(asked(movable(10), busy, earned=()), Action.INVESTIGATE) == "looks_left"


# hot patch, memory-preserving maintenance


def test_hot_patch_is_chosen_for_a_software_cause_that_can_be_patched() -> None:
    """A kernel that locks up is patched where it runs, without touching a VM, by approval."""
    proposal = asked(movable(), policy(KERNEL), host("h1", kernel="5.10.1"), incidents=(BAD_KERNEL,))
    assert (proposal.action, proposal.autonomy, proposal.remedy) == (Action.HOT_PATCH, Autonomy.APPROVE, KERNEL.change)
    assert any("takes 81% of the risk away" in reason for reason in proposal.reasons)


def test_hot_patch_is_refused_for_degrading_hardware() -> None:
    """No patch helps a dying drive, even on a host whose kernel has one: its VMs are moved."""
    dying = replace(BAD_KERNEL, kind=Kind.HARDWARE)
    proposal = asked(movable(), policy(KERNEL), host("h1", kernel="5.10.1"), incidents=(dying,))
    assert proposal.action is Action.LIVE_MIGRATE
    assert price_of(proposal, Action.HOT_PATCH) is None


def test_hot_patch_is_refused_where_the_remedy_needs_the_host_to_stand_still() -> None:
    """A remedy that cannot be applied to running code is not priced as if it could."""
    proposal = asked(movable(), policy(PAUSE_ONLY), host("h1", kernel="5.10.1"), incidents=(BAD_KERNEL,))
    assert price_of(proposal, Action.HOT_PATCH) is None


def test_preserve_memory_is_chosen_where_a_pause_is_enough() -> None:
    """A cause that needs the host serviced costs pauses of seconds, less than leaving pinned VMs behind."""
    proposal = asked(pinned(), policy(PAUSE_ONLY), host("h1", kernel="5.10.1"), incidents=(BAD_KERNEL,))
    assert proposal.action is Action.PRESERVE_MEMORY
    assert {plan.technique for plan in proposal.vms} == {Action.PRESERVE_MEMORY}


@pytest.mark.parametrize("series", ["M", "N", "H"])
def test_preserve_memory_is_refused_for_series_that_cannot_be_paused(series: str) -> None:
    """One VM of the series M, N or H on the host rules it out, by name."""
    mixed = [*movable(2), vm("big", series=series, live_migratable=False)]
    proposal = asked(mixed, policy(PAUSE_ONLY), host("h1", kernel="5.10.1"), incidents=(BAD_KERNEL,))
    assert price_of(proposal, Action.PRESERVE_MEMORY) == "compatibility"


# live migration, self-service, evacuation


def test_live_migration_is_chosen_for_degrading_hardware() -> None:
    """VMs that can move live leave a host that is likely to fail, by the policy's own leave."""
    proposal = asked(movable())
    assert (proposal.action, proposal.autonomy) == (Action.LIVE_MIGRATE, Autonomy.AUTO)


@pytest.mark.parametrize(
    "unfit",
    [{"live_migratable": False}, {"series": "M"}, {"series": "N"}, {"series": "H"}, {"dirty_bytes_per_second": 10**9}],
)
def test_live_migration_is_refused_for_vms_that_cannot_move(unfit: dict[str, object]) -> None:
    """Passthrough, pinned, a series that cannot, or one that writes faster than the link: it has no live price."""
    assert price_of(asked([vm("v0", **unfit)]), Action.LIVE_MIGRATE) is None


def test_live_migration_is_refused_without_a_target() -> None:
    """A VM larger than what any other host has free stays, and the proposal says why."""
    full = [vm(f"f{k}", name, vcpus=60) for k, name in enumerate(("h2", "h3"))]
    proposal = asked([*movable(3), *full])
    assert price_of(proposal, Action.LIVE_MIGRATE) in {"destination", None}
    assert proposal.action not in MOVES


def test_self_service_is_chosen_where_the_failure_is_sure_but_not_near() -> None:
    """Owners of pinned VMs get to pick their moment before the hardware goes; what can move live goes at once."""
    proposal = asked([*movable(2), *pinned(4)], risk_curve=SLOW)
    assert proposal.action is Action.SELF_SERVICE
    offers = [plan for plan in proposal.vms if plan.technique is Action.SELF_SERVICE]
    assert {plan.vm_id for plan in offers} == {f"p{k}" for k in range(4)}
    assert all(
        plan.deadline and ASOF + timedelta(days=1) <= plan.deadline <= ASOF + timedelta(days=7) for plan in offers
    )
    assert [plan.technique for plan in proposal.vms].count(Action.LIVE_MIGRATE) == 2


def test_self_service_is_refused_where_the_failure_is_sooner_than_any_window() -> None:
    """On a host that may die today nobody is left to choose: its VMs are evacuated."""
    proposal = asked(pinned(), risk_curve=IMMINENT, earned=(Earned(0.0, 0.9, 0.8, 0.95, 200),))
    assert proposal.action is Action.EVACUATE


def test_evacuation_is_refused_where_its_precision_is_not_earned() -> None:
    """Redeploying sound hosts' VMs harms: calls that came true one time in ten may not interrupt anybody."""
    weak = (Earned(0.0, 0.1, 0.08, 0.12, 500),)
    proposal = asked(pinned(), risk_curve=IMMINENT, earned=weak)
    assert price_of(proposal, Action.EVACUATE) == "earned_precision"
    assert proposal.action not in MOVES


# whole hosts of one owner


DEDICATED = host("h1", dedicated_to="bank")


def test_the_owner_of_a_whole_host_has_the_say_on_when() -> None:
    """On a dedicated host nothing is moved over its owner's head: all its VMs are offered a window."""
    proposal = asked(movable(), at=DEDICATED, risk_curve=SLOW)
    assert proposal.action is Action.SELF_SERVICE
    assert {plan.technique for plan in proposal.vms} == {Action.SELF_SERVICE}
    assert price_of(proposal, Action.LIVE_MIGRATE) == "owner_control"


def test_an_imminent_failure_overrules_the_owner_of_a_whole_host() -> None:
    """Where the host is about to die its VMs are moved without waiting for the owner's choice."""
    assert asked(movable(), at=DEDICATED, risk_curve=IMMINENT).action is Action.LIVE_MIGRATE


@pytest.mark.parametrize(("at", "days"), [(host("h1", kernel="5.10.1"), 30), (replace(DEDICATED, kernel="5.10.1"), 35)])
def test_planned_maintenance_leaves_owners_a_month_and_those_of_whole_hosts_35_days(at: Host, days: int) -> None:
    """A restart that is due is offered for about a month, 35 days to the owner of a whole host, then scheduled."""
    due = replace(RESTART_ONLY, due=date(2026, 12, 31))
    proposal = asked(pinned(), policy(due), at, risk_curve=curve(0.001))
    assert (proposal.action, proposal.remedy, proposal.planned) == (Action.SELF_SERVICE, KERNEL.change, True)
    assert {plan.deadline - proposal.not_before for plan in proposal.vms if plan.deadline} == {timedelta(days=days)}
    assert [step.action for step in proposal.steps][-2:] == [Action.EVACUATE, Action.DECOMMISSION]


# planned maintenance, the least disturbing way first


@pytest.mark.parametrize(
    ("techniques", "chosen"),
    [
        ((Action.HOT_PATCH, Action.PRESERVE_MEMORY), Action.HOT_PATCH),
        ((Action.PRESERVE_MEMORY,), Action.LIVE_MIGRATE),
        ((), Action.LIVE_MIGRATE),
    ],
)
def test_planned_maintenance_takes_the_way_that_interrupts_least(
    techniques: tuple[Action, ...], chosen: Action
) -> None:
    """A patch in place before anything else; VMs that can move live do so rather than stand still for it."""
    due = replace(KERNEL, techniques=techniques, due=date(2026, 12, 31))
    proposal = asked(movable(), policy(due), host("h1", kernel="5.10.1"), risk_curve=curve(0.001))
    assert proposal.action is chosen


def test_planned_maintenance_is_over_after_its_day() -> None:
    """A remedy whose day has passed asks for nothing any more."""
    past = replace(KERNEL, due=date(2026, 2, 1))
    found = situation([host("h1", kernel="5.10.1"), host("h2")], movable(), [risk("h1", 0.001)])
    assert decide(found, policy(past)).proposals == ()


def test_only_so_many_hosts_are_serviced_in_one_cycle() -> None:
    """Where a whole fleet is due, a cycle services what policy allows and leaves the rest to the next."""
    due = replace(KERNEL, due=date(2026, 12, 31))
    few = policy(due, service=replace(SHIPPED.service, hosts_per_cycle=3))
    hosts = [host(f"h{k}", kernel="5.10.1") for k in range(9)]
    vms = [vm(f"v{k}", f"h{k}") for k in range(9)]
    verdict = decide(situation(hosts, vms, [risk(f"h{k}", 0.001) for k in range(9)]), few)
    assert [p.action for p in verdict.proposals].count(Action.HOT_PATCH) == 3
    assert verdict.blocked["services_left"] == 6


# decommission


def test_an_empty_host_at_risk_is_sent_to_repair() -> None:
    """Once nobody is on it, the faulty host goes to repair, by approval, instead of back into service."""
    proposal = asked([], at=host("h1", state="empty"))
    assert (proposal.action, proposal.autonomy) == (Action.DECOMMISSION, Autonomy.APPROVE)


def test_a_host_with_vms_on_it_is_not_sent_to_repair() -> None:
    """While a VM is on the host, sending it away has no price at all."""
    assert price_of(asked(movable()), Action.DECOMMISSION) is None


def test_an_empty_host_of_little_risk_is_left_as_it_is() -> None:
    """A repair costs more than a host that hardly ever fails: it is only watched."""
    assert asked([], at=host("h1", state="empty"), risk_curve=curve(0.08)).action is Action.MONITOR


# a cause that many hosts share


def test_single_moves_wait_where_power_or_a_switch_is_the_cause() -> None:
    """Many hosts, one cause: no host is moved for its feed by itself, and a person is asked to look at the feed."""
    found = situation([host("h1"), host("h2"), host("h3")], movable(10), [risk("h1", 0.6)])
    verdict = decide(replace(found, incidents=(shared(Kind.FACILITY, "power_feed", "f1"),)), SHIPPED)
    (proposal,) = verdict.proposals
    assert proposal.action is Action.INVESTIGATE
    assert price_of(proposal, Action.LIVE_MIGRATE) == "correlation_veto"
    assert proposal.incident_id == "i1"
    assert verdict.incidents[0].response.startswith("Hold:")


def test_the_hosts_are_drained_in_order_where_policy_says_so() -> None:
    """A policy that does not hold moves drains the hosts of the incident within the rack's budget."""
    drains = policy(incidents=replace(SHIPPED.incidents, holds_moves=False))
    found = situation([host("h1"), host("h2"), host("h3")], movable(4), [risk("h1", 0.6)])
    verdict = decide(replace(found, incidents=(shared(Kind.FACILITY, "power_feed", "f1"),)), drains)
    assert verdict.proposals[0].action is Action.LIVE_MIGRATE
    assert verdict.incidents[0].response.startswith("Drain in order, 1 at a time in a rack")


def test_hosts_that_share_a_curable_cause_are_serviced_before_they_fail() -> None:
    """A host without any sign of its own is due for the remedy of what others like it fail for."""
    sound = asked(movable(), policy(KERNEL), host("h1", kernel="5.10.1"), curve(0.001), incidents=(BAD_KERNEL,))
    assert (sound.action, sound.planned) == (Action.HOT_PATCH, True)


# what holds of all


def test_the_plan_says_what_follows() -> None:
    """Blocked, moved, offered, redeployed at the deadline, repaired: each step with its VMs and its moment."""
    proposal = asked([*movable(2), *pinned(4)], risk_curve=SLOW)
    told = [(step.action, step.vms) for step in proposal.steps]
    assert told == [
        (Action.BLOCK_PLACEMENTS, 0),
        (Action.LIVE_MIGRATE, 2),
        (Action.SELF_SERVICE, 4),
        (Action.EVACUATE, 4),
        (Action.DECOMMISSION, 0),
    ]


@given(st.floats(0.07, 0.5), st.floats(1.0, 2.0), st.integers(0, 5), st.integers(0, 5), st.booleans())
def test_a_greater_risk_as_a_whole_never_leaves_more_exposed(
    low: float, times: float, live: int, stuck: int, patchable: bool
) -> None:
    """Where a service could cure the cause: of a risk scaled up, the chosen action exposes no larger a share."""
    by = policy(KERNEL if patchable else PAUSE_ONLY)
    at = host("h1", kernel="5.10.1")
    vms = [*movable(live), *pinned(stuck)]
    shares = []
    for chance in (low, min(1.0, low * times)):
        proposal = asked(vms, by, at, curve(chance), incidents=(BAD_KERNEL,))
        (price,) = (p for p in proposal.prices if p.action is proposal.action)
        shares.append(price.failing_first / chance)
    assert shares[1] <= shares[0] + 1e-9


def test_the_same_situation_without_causes_is_as_before() -> None:
    """Remedies that no host needs change nothing."""
    found: Situation = situation([host("h1"), host("h2"), host("h3")], movable(), [risk("h1", 0.6)])
    plain, with_remedies = (decide(found, each).proposals[0] for each in (SHIPPED, policy(KERNEL)))
    assert plain.prices == with_remedies.prices
