"""What one snapshot tells of the whole fleet; each answer is worked out once for each snapshot, which never changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dashboards.fleet_view import FleetReader
from data.snapshots import arrow
from decisions.breakers import Scope

QUIET_DAYS = 7
"""A model that has scored nothing for so long is not asked about."""


@dataclass(frozen=True)
class AtRisk:
    """Parts of one component: how many were scored, and on how many hosts any is at risk."""

    component: str
    model_version: str
    asof_at: datetime
    parts: int
    unknown: int
    hosts: int
    at_risk: int
    """Hosts with a part at least as risky as policy acts on."""
    likely: int
    """Hosts with a part that is more likely to fail than not."""


@dataclass(frozen=True)
class Source:
    """One source of telemetry or inventory, and when it last brought something."""

    source: str
    files: int
    newest_at: datetime
    rows: int
    """Loaded from the newest file."""
    quarantined_7d: int


@dataclass(frozen=True)
class Newest:
    """The newest thing told of one component."""

    component: str
    what: str
    newest_at: datetime | None


@dataclass(frozen=True)
class Hit:
    """A VM that stood on a host when a part of that host failed, by the inventory of that moment."""

    host_id: str
    vm_id: str
    failed_at: datetime


@dataclass(frozen=True)
class Quality:
    """What the watch measured of a model last."""

    component: str
    model_version: str
    asof_at: datetime
    measures: Mapping[str, Mapping[str, Any]]
    """By measure: value, low, high, threshold, alarm."""


def at_risk(fleet: FleetReader, versions: Mapping[str, str], threshold: float) -> tuple[AtRisk, ...]:
    """Hosts at risk by component, from the newest risks of those models."""
    moments = newest_asked(fleet, versions)
    query = """
        with believed as (
            select unnest($components) as component, unnest($versions) as model_version, unnest($moments) as asof_at
        ),
        newest as (
            select entity_key, component, model_version, asof_at, risk_14d
            from risk semi join believed using (component, model_version, asof_at)
            where list_contains($moments, asof_at) and asof_at >= $earliest
        )
        select component, any_value(model_version) as model_version, any_value(asof_at) as asof_at,
               count(*) as parts, count(*) filter (risk_14d is null) as unknown, count(distinct host_id) as hosts,
               count(distinct host_id) filter (risk_14d >= $threshold) as at_risk,
               count(distinct host_id) filter (risk_14d >= 0.5) as likely
        from newest left join (select entity_key, host_id from entity_host where valid_until is null) using (entity_key)
        group by component order by component"""
    asked = _believed(versions, moments) | {"threshold": threshold}

    def ask() -> tuple[AtRisk, ...]:
        return tuple(AtRisk(**row) for row in arrow(fleet.con, query, asked).to_pylist()) if moments else ()

    return fleet.remembered(f"at risk {sorted(versions.items())} {threshold}", ask)


def _believed(versions: Mapping[str, str], moments: Mapping[str, datetime]) -> dict[str, object]:
    """What a query binds that asks for the newest risks of each model; from the earliest of them on."""
    return {
        "components": list(moments),
        "versions": [versions[component] for component in moments],
        "moments": list(moments.values()),
        "earliest": min(moments.values(), default=None),
    }


def sources(fleet: FleetReader) -> tuple[Source, ...]:
    """Every source that ever brought a file, by name."""
    query = """
        with newest as (select max(ingested_at) as newest_at from ingest_file)
        select source, count(*) as files, max(ingested_at) as newest_at,
               arg_max(rows_loaded, ingested_at) as rows,
               coalesce(sum(rows_quarantined) filter (ingested_at > newest.newest_at - interval 7 days), 0)::bigint
                   as quarantined_7d
        from ingest_file, newest group by source order by source"""
    return fleet.remembered("sources", lambda: tuple(Source(**row) for row in arrow(fleet.con, query).to_pylist()))


def newest(fleet: FleetReader) -> tuple[Newest, ...]:
    """The newest reading, event and failure held of each component that there is."""
    query = """
        with told as (
            select entity_key, max(observed_at) as told_at from event group by entity_key
        )
        select component, 'events' as what, max(told_at) as newest_at
        from entity left join told using (entity_key) where component <> 'disk' group by component
        union all
        select 'disk', 'readings', (select (max(day) + 1)::timestamptz from disk_day)
        order by 1"""
    return fleet.remembered("newest", lambda: tuple(Newest(**row) for row in arrow(fleet.con, query).to_pylist()))


def hits(fleet: FleetReader, since: datetime) -> tuple[Hit, ...]:
    """VMs that stood on hosts when parts of them failed since then; a host's failures of one day count once."""
    query = """
        with failed as (
            select host_id, min(failed_at) as failed_at
            from failure join entity_host using (entity_key)
            where failed_at > $since and valid_from <= failed_at
              and (valid_until is null or valid_until >= failed_at)
            group by host_id, failed_at::date
        )
        select failed.host_id, vm_id, failed_at
        from failed join vm on vm.host_id = failed.host_id and vm.valid_from < failed_at
         and (vm.valid_until is null or vm.valid_until >= failed_at)"""
    asked: dict[str, object] = {"since": since}
    return fleet.remembered(
        f"hits {since}", lambda: tuple(Hit(**row) for row in arrow(fleet.con, query, asked).to_pylist())
    )


def failed_hosts(fleet: FleetReader, since: datetime) -> tuple[tuple[str, datetime], ...]:
    """Hosts of which a part failed since then, and when; a day's failures once."""
    query = """
        select host_id, min(failed_at) from failure join entity_host using (entity_key)
        where failed_at > $since and valid_from <= failed_at and (valid_until is null or valid_until >= failed_at)
        group by host_id, failed_at::date order by 2, 1"""
    return fleet.remembered(
        f"failed hosts {since}", lambda: tuple(fleet.con.execute(query, {"since": since}).fetchall())
    )


def vms_at(fleet: FleetReader, moments: Sequence[datetime]) -> tuple[int, ...]:
    """How many VMs there were at each moment, by the inventory; nought before the first picture."""
    query = "select count(*) from vm where valid_from <= $moment and (valid_until is null or valid_until > $moment)"

    def at(moment: datetime) -> int:
        ((count,),) = fleet.con.execute(query, {"moment": moment}).fetchall()
        return int(count)

    return fleet.remembered(f"vms {moments[0]} {moments[-1]} {len(moments)}", lambda: tuple(map(at, moments)))


def quality(fleet: FleetReader, versions: Mapping[str, str]) -> dict[str, Quality]:
    """What the watch measured of each champion last, by component; a champion that was never watched is missing."""
    query = """
        with believed as (select unnest($components) as component, unnest($versions) as model_version),
        newest as (
            select component, model_version, max(asof_at) as asof_at
            from drift join believed using (component, model_version) group by component, model_version
        )
        select component, model_version, asof_at, measure, value, low, high, threshold, alarm
        from drift join newest using (component, model_version, asof_at)
        where measure <> 'feature_psi' order by component, measure"""
    asked: dict[str, object] = {"components": list(versions), "versions": list(versions.values())}

    def ask() -> dict[str, Quality]:
        found: dict[str, Quality] = {}
        for row in arrow(fleet.con, query, asked).to_pylist():
            named = (row.pop("component"), row.pop("model_version"), row.pop("asof_at"))
            held = found.setdefault(named[0], Quality(*named, measures={}))
            found[named[0]] = Quality(*named, measures={**held.measures, row.pop("measure"): row})
        return found

    return fleet.remembered(f"quality {sorted(versions.items())}", ask)


def actionable(fleet: FleetReader) -> dict[Scope, int]:
    """How many hosts of each scope could be acted on: in use, with VMs, as the breakers count them."""
    query = """
        with usable as (
            select host_id, zone, zone || '/' || rack as rack, hardware_model, firmware from host
            where valid_until is null and state in ('in_service', 'blocked', 'probation')
              and host_id in (select host_id from vm where valid_until is null)
        ),
        makes as (
            select distinct host_id, model from entity_host join entity using (entity_key)
            where entity_host.valid_until is null and component = 'disk' and model is not null
        )
        select 'fleet' as kind, '' as name, count(*) as hosts from usable
        union all select 'zone', zone, count(*) from usable group by zone
        union all select 'rack', rack, count(*) from usable group by rack
        union all select 'hardware_model', hardware_model, count(*) from usable group by hardware_model
        union all select 'firmware', firmware, count(*) from usable group by firmware
        union all select 'drive_model', model, count(*) from usable join makes using (host_id) group by model"""
    return fleet.remembered(
        "actionable",
        lambda: {(row["kind"], row["name"]): row["hosts"] for row in arrow(fleet.con, query).to_pylist()},
    )


def newest_asked(fleet: FleetReader, versions: Mapping[str, str]) -> dict[str, datetime]:
    """The moment of the newest risks by each of those models, by component; a model silent for a week has none."""
    query = """
        select component, max(asof_at) as asof_at
        from risk semi join (select unnest($components) as component, unnest($versions) as model_version)
        using (component, model_version) where asof_at > $since group by component"""

    def ask() -> dict[str, datetime]:
        ((last,),) = fleet.con.execute("select max(asof_at) from risk").fetchall()
        if last is None:
            return {}
        since = last - timedelta(days=QUIET_DAYS)
        asked = {"components": list(versions), "versions": list(versions.values()), "since": since}
        return dict(fleet.con.execute(query, asked).fetchall())

    return fleet.remembered(f"newest asked {sorted(versions.items())}", ask)


def scopes_of(fleet: FleetReader, hosts: Sequence[str], versions: Mapping[str, str]) -> dict[str, list[Scope]]:
    """The scopes that each of the hosts counts in now; for the drive's model, its riskiest part speaks."""
    moments = newest_asked(fleet, versions)
    if not hosts:
        return {}
    query = """
        with asked as (select unnest($hosts) as host_id),
        believed as (
            select unnest($components) as component, unnest($versions) as model_version, unnest($moments) as asof_at
        ),
        sited as (
            select entity_key, host_id from entity_host semi join asked using (host_id) where valid_until is null
        ),
        top as (
            select host_id, arg_max(entity.model, risk_14d) as model
            from risk semi join believed using (component, model_version, asof_at) join sited using (entity_key)
            join entity using (entity_key)
            where list_contains($moments, asof_at) and asof_at >= $earliest group by host_id
        )
        select host_id, zone, zone || '/' || rack as rack, hardware_model, firmware, top.model as drive_model
        from asked join host using (host_id) left join top using (host_id) where valid_until is null"""
    asked = _believed(versions, moments) | {"hosts": list(hosts)}

    def ask() -> dict[str, list[Scope]]:
        rows = arrow(fleet.con, query, asked).to_pylist()
        return {row.pop("host_id"): [("fleet", ""), *((k, name) for k, name in row.items() if name)] for row in rows}

    return fleet.remembered(f"scopes {sorted(versions.items())} {' '.join(hosts)}", ask)


def largest(fleet: FleetReader) -> dict[str, Scope]:
    """The scope of each kind with the most hosts that could be acted on."""
    usable = actionable(fleet)
    return fleet.remembered(
        "largest", lambda: {scope[0]: scope for scope in sorted(usable, key=lambda each: (usable[each], each))}
    )


def blocked_shares(fleet: FleetReader) -> tuple[tuple[str, int, int], ...]:
    """Hosts closed to new VMs by cluster, and how many hosts the cluster has; the fullest first."""
    query = """
        select cluster, count(*) filter (state = 'blocked') as blocked, count(*) as hosts from host
        where valid_until is null group by cluster order by blocked / hosts desc, cluster"""
    return fleet.remembered("blocked", lambda: tuple(fleet.con.execute(query).fetchall()))


def chances(
    fleet: FleetReader, asked: Sequence[tuple[str, datetime]], versions: Mapping[str, str]
) -> Mapping[tuple[str, datetime], float]:
    """The chance that any part of each host failed within 14 days, as it was told at that moment, each for itself."""
    if not asked:
        return {}
    query = """
        with asked as (select unnest($hosts) as host_id, unnest($moments) as asof_at),
        believed as (select unnest($components) as component, unnest($versions) as model_version)
        select host_id, asof_at, 1 - product(1 - risk_14d) as chance
        from asked join entity_host using (host_id) join risk using (entity_key, asof_at)
        semi join believed using (component, model_version)
        where risk_14d is not null and valid_from <= asof_at and (valid_until is null or valid_until > asof_at)
        group by host_id, asof_at"""
    bound: dict[str, object] = {
        "hosts": [host_id for host_id, _ in asked],
        "moments": [moment for _, moment in asked],
        "components": list(versions),
        "versions": list(versions.values()),
    }

    def ask() -> dict[tuple[str, datetime], float]:
        rows = arrow(fleet.con, query, bound).to_pylist()
        return {(row["host_id"], row["asof_at"]): row["chance"] for row in rows}

    return fleet.remembered(f"chances {len(asked)} {asked[0]} {asked[-1]} {sorted(versions.items())}", ask)


def weeks(until: datetime, count: int) -> tuple[datetime, ...]:
    """The ends of so many weeks up to that moment, the oldest first."""
    return tuple(until - timedelta(days=7 * n) for n in reversed(range(count)))
