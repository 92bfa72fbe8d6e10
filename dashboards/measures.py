"""What there is to measure, from one look at snapshot and ledger; a value that nobody knows yet is null or left out."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Final

from dashboards.fleet_view import FleetReader
from dashboards.ledger_view import Reader
from dashboards.queue import Look
from data.snapshots import arrow
from decisions.breakers import LOOK_FOR
from decisions.ledger import counts, queries
from decisions.ledger.values import Cycle, Standing
from decisions.policy import Policy

RECENT: Final = timedelta(hours=24)
"""Orders that the lag of dispatch is told of."""


@dataclass(frozen=True)
class ModelMeasures:
    """The model of one component that the newest cycle believed."""

    version: str
    asof_at: datetime
    """What it was asked about last."""
    first_at: datetime
    """What it was first asked about, as champion or beside one: soon after its training."""
    hosts_at_risk: int
    """Hosts with a part whose risk is at least the policy's least."""
    parts: int
    parts_unknown: int
    alarms: int | None
    """Of the last watch over its drift; null: it has not been watched."""


@dataclass(frozen=True)
class FleetMeasures:
    """What the snapshot tells."""

    hosts: int
    vms: int
    hosts_actionable: int
    """In use, with VMs: what the breakers' shares are taken of."""
    published_at: datetime | None
    telemetry_at: datetime | None
    models: Mapping[str, ModelMeasures] = field(default_factory=dict)
    """By component; empty before a cycle."""


@dataclass(frozen=True)
class LedgerMeasures:
    """What the ledger tells."""

    cycle: Cycle | None
    proposals: Mapping[tuple[str, Standing], int]
    """Of the newest cycle."""
    orders: Mapping[str, int]
    waiting: int
    waiting_since: datetime | None
    dead_letters: int
    bad_answers: int
    lag_median_seconds: float | None
    """From the request until the executor took the order, of orders requested lately."""
    lag_most_seconds: float | None
    outcomes: Mapping[tuple[str, bool], int]
    emptied: int
    """Hosts, within the breaker's time."""
    moving: int
    episodes: int
    incidents: int
    stopped: bool
    failures: Mapping[str, int]
    """In a row, by notification channel."""

    @property
    def breakers(self) -> Mapping[str, int]:
        """Open breakers by the kind of their scope."""
        scopes = [breaker.scope for breaker in self.cycle.breakers] if self.cycle else []
        return Counter(kind for scope in scopes for kind in LOOK_FOR if _is_of(scope, kind))


@dataclass(frozen=True)
class Measures:
    """All there is to measure at the moment `now` of the fleet's clock; what is missing is null."""

    now: datetime
    wall: datetime
    policy: Policy
    fleet: FleetMeasures | None
    ledger: LedgerMeasures | None


def measure(look: Look, policy: Policy, wall: datetime) -> Measures:
    """What there is to measure now."""
    ledger = _ledger(look.book, policy, look.now) if look.book else None
    fleet = _fleet(look, look.fleet, ledger.cycle if ledger else None, policy) if look.fleet else None
    return Measures(look.now, wall, policy, fleet, ledger)


def _ledger(book: Reader, policy: Policy, now: datetime) -> LedgerMeasures:
    con, cycle = book.con, book.cycle()
    waiting, since = counts.waiting(con)
    lags = counts.lags(con, now - RECENT)
    lately = now - timedelta(hours=policy.breaker.hours)
    return LedgerMeasures(
        cycle=cycle,
        proposals=queries.standings(con, now, cycle.cycle_id) if cycle else {},
        orders=counts.orders(con),
        waiting=waiting,
        waiting_since=since,
        dead_letters=counts.dead_letters(con),
        bad_answers=counts.bad_answers(con),
        lag_median_seconds=median(lags) if lags else None,
        lag_most_seconds=lags[-1] if lags else None,
        outcomes=counts.outcomes(con),
        emptied=len(queries.recent(con, lately, None, moves_only=True)),
        moving=counts.moving(con),
        episodes=counts.open_episodes(con),
        incidents=counts.incidents(con, cycle.cycle_id) if cycle else 0,
        stopped=book.stopped is not None,
        failures={each.channel: each.failures for each in book.channels()},
    )


def _fleet(look: Look, fleet: FleetReader, cycle: Cycle | None, policy: Policy) -> FleetMeasures:
    fresh = look.freshness
    usable = """
        with housing as (select distinct host_id from vm where valid_until is null)
        select count(*) as hosts_actionable from host semi join housing using (host_id)
        where valid_until is null and state in ('in_service', 'blocked', 'probation')"""
    return FleetMeasures(
        hosts=fresh.hosts,
        vms=fresh.vms,
        **_row(fleet, usable, {}),
        published_at=fresh.published_at,
        telemetry_at=fresh.telemetry_at,
        models=_models(fleet, cycle, policy.risk.minimum_risk) if cycle else {},
    )


def _models(fleet: FleetReader, cycle: Cycle, least: float) -> dict[str, ModelMeasures]:
    return {
        component: ModelMeasures(**_row(fleet, _ONE_MODEL, {**believed, "at": cycle.asof_at, "least": least}))
        for component, believed in _believed(fleet, cycle).items()
    }


_ONE_MODEL: Final = """
    with asked as (
        select min(asof_at) as first_at, max(asof_at) as asof_at from risk
        where component = $component and model_version = $version
    ), scored as (
        select entity_key, status, risk_14d from risk
        where component = $component and model_version = $version and asof_at = $at
    ), risky as (
        select entity_key from scored where risk_14d >= $least
    ), picture as (
        select greatest($at, min(valid_from)) as at from host
    ), sited as (
        select entity_key, host_id from entity_host, picture
        where valid_from <= picture.at and (valid_until is null or valid_until > picture.at)
    ), watches as (
        select asof_at, count(alarm) as alarms from drift
        where component = $component and model_version = $version group by asof_at
    )
    select $version as version, asked.*,
           (select count(distinct host_id) from risky join sited using (entity_key)) as hosts_at_risk,
           (select count(*) from scored) as parts,
           (select count(*) from scored where status <> 'ok') as parts_unknown,
           (select arg_max(alarms, asof_at) from watches) as alarms
    from asked"""


def _believed(fleet: FleetReader, cycle: Cycle) -> dict[str, dict[str, str]]:
    """The component and version of each model that the cycle believed, by component.

    The cycle names its versions, but not whose they are. A challenger that was scored beside a champion is newer than
    it, so of a component's versions that the cycle names, the oldest is the one that was believed.
    """
    query = "select distinct component, model_version as version from risk where asof_at = $at"
    rows: list[dict[str, str]] = arrow(fleet.con, query, {"at": cycle.asof_at}).to_pylist()
    named = set(cycle.model_version.split("+"))
    found: dict[str, dict[str, str]] = {}
    for row in sorted(rows, key=lambda row: _age_of(row["version"])):
        if row["version"] in named:
            found.setdefault(row["component"], row)
    return dict(sorted(found.items()))


def _row(fleet: FleetReader, query: str, values: Mapping[str, object]) -> dict[str, Any]:
    """The only row that the query answers with."""
    row: dict[str, Any] = arrow(fleet.con, query, dict(values)).to_pylist()[0]
    return row


def _age_of(version: str) -> tuple[tuple[int, str], ...]:
    """Sorts versions by their numbers, the oldest first."""
    return tuple((int(part or 0), text) for text, part in re.findall(r"(\D*)(\d*)", version))


def _is_of(scope: str, kind: str) -> bool:
    named = kind.replace("_", " ")
    return scope == named or scope.startswith(f"{named} ")
