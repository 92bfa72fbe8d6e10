"""Decide: proposals from the risks, the fleet and the policy, written into the ledger in one transaction.

A cycle is recorded once: repeating it, after a kill or by mistake, changes nothing.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from decisions.cases import concerned
from decisions.decide import decide as weigh
from decisions.decide import model_version, policy_in_force
from decisions.domain import Breaker, Placement, Proposal, Situation, Verdict
from decisions.ledger import Ledger
from decisions.ledger.record import cycle_id_of
from decisions.policy import Policy
from decisions.policy import load as load_policy
from decisions.rest import Residents, Rest
from models.earned import Earned
from pipelines import ledgers, situation
from pipelines.clock import asked
from pipelines.settings import Settings
from pipelines.snapshot import snapshot
from pipelines.steps import incidents

if TYPE_CHECKING:
    import duckdb

    from models.predictor import Predictor


@dataclass(frozen=True)
class Listed:
    """One proposal in a line."""

    proposal_id: str
    host_id: str
    action: str
    autonomy: str
    interruptions: float | None
    """What it is expected to cost, in VM interruptions; null where the risk is unknown."""
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ListedIncident:
    """One incident in a line."""

    incident_id: str
    kind: str
    hosts_affected: int
    sentence: str
    response: str


@dataclass(frozen=True)
class Placed:
    """VMs that needed a target and that got one, at which cost in expected interruptions, and how near to the least."""

    vms: int
    placed: int
    objective: float
    bound: float
    """What no assignment can go below."""
    gap: float
    """By what share of the bound the objective may be above the least that is possible."""
    method: str


@dataclass(frozen=True)
class DecideReport:
    """Proposals by action, how often each guardrail bit, the breakers that are open, and the proposals one by one."""

    asof_at: datetime
    proposals: Mapping[str, int]
    blocked: Mapping[str, int]
    breaker: tuple[Breaker, ...]
    incidents: tuple[ListedIncident, ...]
    """What hosts that fail have in common, the most telling first."""
    orders: int
    """Orders that policy let happen by itself."""
    recorded: bool
    """False for a dry run, and for a cycle that the ledger held already."""
    already_decided: bool
    """The ledger held the cycle: what is reported is what was decided then."""
    under_kill_switch: bool
    """It was decided while the kill switch was thrown, so that nothing could be proposed to act."""
    placement: Placed | None
    """How well the VMs were placed; null when the ledger held the cycle."""
    listed: tuple[Listed, ...]
    policy_version: str
    model_version: str
    simulated: bool
    seconds: float


def decide_on(settings: Settings, now: datetime, *, dry_run: bool = False) -> DecideReport:
    """The champions' verdict on the last midnight up to `now`, by `decide`."""
    from pipelines.steps.score import champions

    return decide(settings, asked(now), champions(settings), now=now, dry_run=dry_run)


def decide(
    settings: Settings,
    asof_at: datetime,
    predictors: Mapping[str, "Predictor"],
    *,
    now: datetime | None = None,
    dry_run: bool = False,
) -> DecideReport:
    """The verdict on the fleet as of `asof_at`, recorded unless it is a dry run, which writes nothing at all.

    Args:
        settings: where snapshot, ledger and policy are.
        asof_at: the moment that was scored.
        predictors: the models to believe, by component.
        now: the moment of deciding, if it is not the one that was scored.
        dry_run: only say what would be proposed.

    Raises:
        UsageError: nothing was scored for that moment, or nothing that sits in a known host.
        InputError: nothing has reported for so long that nothing counts as live.
    """
    started = time.monotonic()
    policy = load_policy(settings.policy.path)
    ledger_of: AbstractContextManager[Ledger] = ledgers.scratch(settings) if dry_run else ledgers.opened(settings)
    with ledger_of as ledger:
        with snapshot(settings) as con:
            seen = woken(replace(look(con, ledger, policy, asof_at, predictors), now=now), ledger, policy)
        verdict = weigh(seen, policy)
        recorded = ledger.record(verdict, now or asof_at)
        if recorded.repeated:
            verdict = stored(ledger, verdict, recorded.cycle_id)
    return DecideReport(
        asof_at=asof_at,
        proposals=by_action(verdict),
        blocked=dict(verdict.blocked),
        breaker=verdict.breakers,
        incidents=tuple(
            ListedIncident(each.incident_id, each.kind, len(each.hosts_affected), each.sentence, each.response)
            for each in verdict.incidents
        ),
        orders=0 if dry_run else len(recorded.orders),
        recorded=not (dry_run or recorded.repeated),
        already_decided=recorded.repeated,
        under_kill_switch="kill_switch" in verdict.blocked,
        placement=_placed(verdict.placement),
        listed=tuple(_lines(verdict)),
        policy_version=verdict.policy_version,
        model_version=verdict.model_version,
        simulated=any(host.simulated for host in seen.hosts.values()),
        seconds=round(time.monotonic() - started, 3),
    )


def stored(ledger: Ledger, verdict: Verdict, cycle_id: str) -> Verdict:
    """The verdict that was recorded for the same question, in place of one that was given anew."""
    cycle = ledger.cycle(cycle_id)
    listed = ledger.proposals(verdict.asof_at, cycle_id=cycle_id)
    proposals = tuple(each.proposal for each in listed)
    recorded = replace(verdict, proposals=proposals, blocked=cycle.blocked, breakers=cycle.breakers)
    return replace(recorded, incidents=tuple(ledger.incidents(cycle_id)), placement=None)


def look(
    con: "duckdb.DuckDBPyConnection",
    ledger: Ledger,
    policy: Policy,
    asof_at: datetime,
    predictors: Mapping[str, "Predictor"],
) -> Situation:
    """All that the decision of `asof_at` may look at, from the snapshot and the ledger.

    Parts and VMs are told one by one of hosts with which something may have to be done, or is being done.
    """
    at = situation.pictured_at(con, asof_at)
    versions = {component: predictor.version for component, predictor in predictors.items()}
    quiet, closer, seen = situation.summaries(con, asof_at, at, versions)
    if not seen:
        raise situation.undecidable(con, asof_at, versions)
    earlier = ledger.earlier_incidents(asof_at, policy.incidents.window_days)
    blank = Situation(
        asof_at=asof_at,
        hosts=situation.hosts(con, at),
        vms={},
        risks=(),
        earned=earned(predictors.values()),
        telemetry_at=situation.telemetry_at(con, asof_at, versions),
        incidents=incidents.found(con, asof_at, policy, versions, earlier),
        rest=Rest(Residents({}, {}), quiet, seen),
    )
    known = remembering(blank, ledger, policy)
    under_way = {vm.vm_id for order in known.open_orders for vm in order.vms}
    hosts = closer | concerned(known, policy, quiet) | situation.homes(con, at, under_way)
    vms = situation.vms(con, at, hosts)
    others = {host_id: risk for host_id, risk in quiet.items() if host_id not in hosts}
    rest = Rest(situation.residents(con, at, vms), others, seen)
    return replace(known, vms=vms, risks=situation.risks(con, asof_at, at, versions, hosts), rest=rest)


def remembering(seen: Situation, ledger: Ledger, policy: Policy) -> Situation:
    """The situation with what the ledger knows of other cycles; of the cycle itself, nothing.

    A kill switch thrown after the night was decided holds its orders back, and is no reason to decide it once more.
    """
    asof_at, models, stop = seen.asof_at, model_version(seen), ledger.stopped()
    decided = ledger.holds(cycle_id_of(asof_at, policy.version, models))
    stopped_by = stop.by if stop and not decided else None
    itself = cycle_id_of(asof_at, policy_in_force(policy, stopped_by), models)
    cooling = asof_at - timedelta(hours=policy.limits.cool_down_hours)
    return replace(
        seen,
        owned_hosts=ledger.owned_hosts(asof_at, besides=itself),
        open_orders=tuple(ledger.open_orders(besides=itself)),
        recent_actions=ledger.recent_actions(cooling, itself),
        attempts=ledger.attempts(besides=itself),
        told_hosts=ledger.told_hosts(besides=itself),
        recent_evacuations=ledger.recent_evacuations(asof_at - timedelta(hours=policy.breaker.hours), itself),
        stopped_by=stopped_by,
        opt_outs=ledger.opted_out(asof_at),
    )


def woken(seen: Situation, ledger: Ledger, policy: Policy) -> Situation:
    """The situation in which a snooze no longer holds a host whose action or risk band would be another by now."""
    itself = cycle_id_of(seen.asof_at, policy_in_force(policy, seen.stopped_by), model_version(seen))
    snoozed = ledger.put_off(seen.asof_at, itself)
    if not snoozed:
        return seen
    free = ledger.owned_hosts(seen.asof_at, itself, [each.proposal_id for each in snoozed])
    anew = {each.host_id: each for each in weigh(replace(seen, owned_hosts=free), policy).proposals}
    changed = [each.proposal_id for each in snoozed if _told_of(each) != _told_of(anew.get(each.host_id))]
    return replace(seen, owned_hosts=ledger.owned_hosts(seen.asof_at, itself, changed))


def _told_of(proposal: Proposal | None) -> tuple[object, ...]:
    """What a person is told again for when it changes: the action, and the band of the risk."""
    if proposal is None:
        return ()
    return proposal.action, proposal.risk.known, tuple(band.risk_from for band in proposal.earned)


def earned(predictors: Iterable["Predictor"]) -> tuple[Earned, ...]:
    """How good each risk bucket's calls have been, as the models measured it themselves."""
    return tuple(bucket for predictor in predictors for bucket in predictor.earned)


def by_action(verdict: Verdict) -> dict[str, int]:
    """How many proposals there are of each action."""
    return dict(sorted(Counter(proposal.action.value for proposal in verdict.proposals).items()))


def _placed(found: Placement | None) -> Placed | None:
    return None if found is None else Placed(**asdict(found), gap=round(found.gap, 6))


def _lines(verdict: Verdict) -> Iterable[Listed]:
    for proposal in verdict.proposals:
        price = next((p.interruptions for p in proposal.prices if p.action is proposal.action), None)
        yield Listed(
            proposal.proposal_id,
            proposal.host_id,
            proposal.action.value,
            proposal.autonomy.value,
            price,
            proposal.reasons,
        )
