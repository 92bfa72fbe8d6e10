"""`/metrics` of the review app in Prometheus' text format: base units, and no label that grows with the fleet.

Every scrape is one look at snapshot and ledger; nothing is kept between scrapes. Ages are by the fleet's clock, which
for a simulated fleet is the data's.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.registry import Collector

from dashboards.measures import FleetMeasures, LedgerMeasures, Measures
from decisions.breakers import LOOK_FOR
from decisions.domain import OrderState
from decisions.policy import Policy

__all__ = ["CONTENT_TYPE", "exposition"]

RESULTS: Final = ("moved", "redeployed", "chosen", "paused", "stayed", "failed", "lost")
"""What may become of a VM, as `decisions.domain.VmOutcome` has it: each is told from the start, so that rates begin."""

Labels = Mapping[str, str]
Value = float | timedelta | None


def exposition(measures: Measures) -> bytes:
    """The measures as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Scrape(measures))
    return generate_latest(registry)


class _Scrape(Collector):
    """The families of one scrape."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Metric]:
        """Families with what is known; one of which nothing is known has no sample."""
        measures, policy = self._measures, self._measures.policy
        yield _gauge("build_info", "The program's version; always 1.", [({"version": version("foreshock")}, 1)])
        yield from _limits(policy)
        if measures.fleet is not None:
            yield from _fleet(measures.fleet, measures)
            yield from _models(measures.fleet, measures.now)
        if measures.ledger is not None:
            yield from _cycle(measures.ledger, measures.now)
            yield from _orders(measures.ledger, measures.now)

    def describe(self) -> Iterator[Metric]:
        """Nothing: one collector has a registry to itself, so no name can clash."""
        return iter(())


def _limits(policy: Policy) -> Iterator[Metric]:
    fresh, limits = policy.freshness, policy.limits
    yield _one(
        "telemetry_age_limit_seconds", "Policy: nothing is done on older telemetry.", hours(fresh.telemetry_hours)
    )
    yield _one(
        "prediction_age_limit_seconds", "Policy: a prediction expires after this.", hours(fresh.prediction_hours)
    )
    yield _one(
        "breaker_window_seconds", "Policy: the time within which emptied hosts count.", hours(policy.breaker.hours)
    )
    yield _one("hosts_moving_limit", "Policy: hosts that may be emptied at once.", limits.hosts_at_once_per_fleet)


def _fleet(fleet: FleetMeasures, measures: Measures) -> Iterator[Metric]:
    breaker = measures.policy.breaker
    allowed = max(breaker.floor_hosts, int(breaker.fleet_share * fleet.hosts_actionable))
    yield _one("hosts", "Hosts of the inventory.", fleet.hosts)
    yield _one("vms", "VMs of the inventory.", fleet.vms)
    yield _one(
        "hosts_actionable", "Hosts in use that run VMs, which the breakers' shares are of.", fleet.hosts_actionable
    )
    yield _one(
        "hosts_emptied_limit", "Policy: hosts of the fleet that may be emptied within the breaker's window.", allowed
    )
    telemetry = _age(fleet.telemetry_at, measures.now)
    yield _one("telemetry_age_seconds", "Time since the end of the newest day with a reading.", telemetry)
    published = _age(fleet.published_at, measures.wall)
    yield _one("snapshot_age_seconds", "Time since the snapshot was published, by the wall's clock.", published)


def _models(fleet: FleetMeasures, now: datetime) -> Iterator[Metric]:
    models = [({"component": component}, model) for component, model in fleet.models.items()]
    named = [({**labels, "version": model.version}, 1) for labels, model in models]
    yield _gauge("model_info", "The model version that the newest cycle believed; always 1.", named)
    told = "Time since the model in force was first asked, as champion or beside one: soon after its training."
    yield _gauge("model_age_seconds", told, [(labels, now - model.first_at) for labels, model in models])
    told = "Time since what the newest predictions of the model in force were asked about."
    yield _gauge("prediction_age_seconds", told, [(labels, now - model.asof_at) for labels, model in models])
    told = "Hosts with a part whose risk within 14 days is at least the policy's minimum_risk."
    yield _gauge("hosts_at_risk", told, [(labels, model.hosts_at_risk) for labels, model in models])
    yield _gauge("parts_scored", "Parts that the newest cycle asked about.", [(at, m.parts) for at, m in models])
    told = "Parts whose risk the newest cycle did not know, which is not low."
    yield _gauge("parts_unknown", told, [(labels, model.parts_unknown) for labels, model in models])
    told = "Measures beyond their threshold when the model in force was last watched."
    yield _gauge("drift_alarms", told, [(labels, model.alarms) for labels, model in models])


def _cycle(ledger: LedgerMeasures, now: datetime) -> Iterator[Metric]:
    cycle = ledger.cycle
    age = _age(cycle.asof_at if cycle else None, now)
    yield _one("cycle_age_seconds", "Time since the moment that the newest cycle asked about.", age)
    policies = [({"version": cycle.policy_version}, 1)] if cycle else []
    yield _gauge("policy_info", "The policy's version of the newest cycle; always 1.", policies)
    states = [({"action": a, "state": s.value}, count) for (a, s), count in sorted(ledger.proposals.items())]
    yield _gauge("proposals", "Proposals of the newest cycle, by action and by where they stand.", states)
    blocked = sorted(cycle.blocked.items()) if cycle else []
    told = "Hosts of the newest cycle that a guardrail bound."
    yield _gauge("guardrail_hosts", told, [({"guardrail": name}, count) for name, count in blocked])
    found = [({"scope": kind}, ledger.breakers.get(kind, 0)) for kind in LOOK_FOR] if cycle else []
    yield _gauge("breakers_open", "Breakers that were open when the newest cycle was decided.", found)
    yield _one("incidents", "Incidents that the newest cycle found.", ledger.incidents)
    yield _one("episodes_open", "Hosts whose time at risk is not over.", ledger.episodes)
    yield _one("kill_switch", "Whether the kill switch is thrown: 1 yes, 0 no.", int(ledger.stopped))


def _orders(ledger: LedgerMeasures, now: datetime) -> Iterator[Metric]:
    states = [({"state": state.value}, ledger.orders.get(state.value, 0)) for state in OrderState]
    yield _gauge("orders", "All orders of the ledger, by where they stand.", states)
    yield _one("orders_waiting", "Orders still to be handed over to the executor.", ledger.waiting)
    waited = _age(ledger.waiting_since, now) if ledger.waiting else 0
    yield _one("dispatch_oldest_wait_seconds", "Since when the oldest order that waits has been due.", waited)
    yield _one(
        "dead_letters", "Orders whose handing over was given up, and that wait for a person.", ledger.dead_letters
    )
    yield _one("bad_answers", "Open orders of which the executor's last answer was of no use.", ledger.bad_answers)
    told = "From an order's request until the executor took it, over the orders of the last 24 hours"
    yield _one("dispatch_lag_median_seconds", f"{told}: the median.", ledger.lag_median_seconds)
    yield _one("dispatch_lag_max_seconds", f"{told}: the longest.", ledger.lag_most_seconds)
    yield _one("hosts_emptied", "Hosts that were to be emptied within the breaker's window.", ledger.emptied)
    yield _one("hosts_moving", "Hosts that the executor is emptying, or is about to.", ledger.moving)
    yield _outcomes(ledger)
    told = "How often each notification channel has failed in a row; 0 where it works."
    yield _gauge("notification_failures", told, [({"channel": name}, n) for name, n in ledger.failures.items()])


def _outcomes(ledger: LedgerMeasures) -> Metric:
    found = CounterMetricFamily(
        "foreshock_vm_outcomes", "VMs of orders, by what became of them.", labels=["result", "interrupted"]
    )
    known = {(result, False): 0 for result in RESULTS} | {(result, True): 0 for result in RESULTS}
    for (result, interrupted), count in sorted({**known, **ledger.outcomes}.items()):
        found.add_metric([result, str(interrupted).lower()], count)
    return found


def hours(count: float) -> timedelta:
    """So many hours."""
    return timedelta(hours=count)


def _one(name: str, told: str, value: Value) -> GaugeMetricFamily:
    return _gauge(name, told, [({}, value)])


def _gauge(name: str, told: str, samples: Sequence[tuple[Labels, Value]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"foreshock_{name}", told)
    for labels, value in samples:
        if value is not None:
            number = value.total_seconds() if isinstance(value, timedelta) else value
            family.add_sample(family.name, dict(labels), number)
    return family


def _age(at: datetime | None, now: datetime) -> timedelta | None:
    return now - at if at is not None else None
