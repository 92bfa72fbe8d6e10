"""What a decision may look at, read from the published snapshot as of one moment."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

from data.contracts import HORIZON_DAYS
from data.errors import ForeshockError, InputError, UsageError
from data.snapshots import arrow
from decisions.domain import EntityRisk, Factor, Host, Vm
from decisions.rest import Residents, Summary
from features.build import LIVE_LOOKBACK_DAYS

if TYPE_CHECKING:
    import duckdb

TELEMETRY_WITHIN_DAYS: Final = 60
"""How far back the newest reading is looked for; older than this is stale by any policy."""


def pictured_at(con: "duckdb.DuckDBPyConnection", asof_at: datetime) -> datetime:
    """The moment whose inventory answers for `asof_at`: that moment, or the first picture held if that came later."""
    rows = con.execute("select greatest($asof_at, min(valid_from)) from host", {"asof_at": asof_at}).fetchall()
    return cast("datetime", rows[0][0] or asof_at)


def hosts(con: "duckdb.DuckDBPyConnection", at: datetime) -> dict[str, Host]:
    """Hosts by id, as inventory had them at `at`."""
    rows = _rows(
        con,
        """
        select host_id, cluster, zone, rack, fault_domain, hardware_model, firmware, vcpus, memory_bytes, state,
               simulated, power_feed, switch, kernel, dedicated_to
        from host where valid_from <= $at and (valid_until is null or valid_until > $at) order by host_id""",
        at=at,
    )
    return {row["host_id"]: Host(**row) for row in rows}


def vms(
    con: "duckdb.DuckDBPyConnection", at: datetime, hosts: Collection[str] | None = None
) -> dict[str, tuple[Vm, ...]]:
    """VMs by host, as inventory had them at `at`; only those of the given hosts, or of all."""
    rows = _rows(
        con,
        """
        select vm_id, host_id, owner, series, vcpus, memory_bytes, dirty_bytes_per_second, availability_set,
               live_migratable, simulated
        from vm
        where valid_from <= $at and (valid_until is null or valid_until > $at)
          and ($hosts is null or host_id in (select unnest($hosts)))
        order by vm_id""",
        at=at,
        hosts=_listed(hosts),
    )
    found: dict[str, list[Vm]] = {}
    for row in rows:
        found.setdefault(row["host_id"], []).append(Vm(**row))
    return {host_id: tuple(members) for host_id, members in found.items()}


def homes(con: "duckdb.DuckDBPyConnection", at: datetime, vm_ids: Collection[str]) -> frozenset[str]:
    """The hosts that the VMs were on at `at`."""
    query = """
        select distinct host_id from vm
        where valid_from <= $at and (valid_until is null or valid_until > $at)
          and vm_id in (select unnest($ids))"""
    rows = con.execute(query, {"at": at, "ids": sorted(vm_ids)}).fetchall() if vm_ids else []
    return frozenset(host_id for (host_id,) in rows)


def residents(con: "duckdb.DuckDBPyConnection", at: datetime, told: Mapping[str, Sequence[Vm]]) -> Residents:
    """What the VMs of each host took at `at`, and where the others of the told VMs' availability sets were."""
    taken = con.execute(
        """
        select host_id, sum(vcpus)::bigint, sum(memory_bytes)::bigint from vm
        where valid_from <= $at and (valid_until is null or valid_until > $at) group by host_id order by host_id""",
        {"at": at},
    ).fetchall()
    names = {vm.availability_set for members in told.values() for vm in members if vm.availability_set is not None}
    members = con.execute(
        """
        select availability_set, vm_id, host_id from vm
        where valid_from <= $at and (valid_until is null or valid_until > $at)
          and availability_set in (select unnest($names::varchar[])) order by vm_id""",
        {"at": at, "names": sorted(names)},
    ).fetchall()
    sets: dict[str, list[tuple[str, str]]] = {}
    for name, vm_id, host_id in members:
        sets.setdefault(name, []).append((vm_id, host_id))
    return Residents({host_id: (vcpus, memory) for host_id, vcpus, memory in taken}, sets)


def newest_risks(
    con: "duckdb.DuckDBPyConnection", now: datetime, at: datetime, versions: Mapping[str, str], hosts: Collection[str]
) -> tuple[EntityRisk, ...]:
    """The newest risks up to `now` by the given model version of each component, for entities that sit in the hosts."""
    found: list[EntityRisk] = []
    for component, version in sorted(versions.items()):
        query = "select max(asof_at) from risk where component = $component and model_version = $v and asof_at <= $now"
        ((newest,),) = con.execute(query, {"component": component, "v": version, "now": now}).fetchall()
        if newest is not None:
            found += risks(con, newest, at, {component: version}, hosts)
    return tuple(found)


def risks(
    con: "duckdb.DuckDBPyConnection",
    asof_at: datetime,
    at: datetime,
    versions: Mapping[str, str],
    hosts: Collection[str] | None = None,
) -> tuple[EntityRisk, ...]:
    """Risks of `asof_at` by the given model version of each component, for entities that sit in a known host.

    Args:
        con: the snapshot.
        asof_at: the moment the risks were asked for.
        at: the moment whose inventory says which host an entity sits in.
        versions: the model version to believe, by component.
        hosts: only entities that sit in these; by default all.
    """
    table = arrow(
        con,
        """
        with believed as (
            select unnest($components) as component, unnest($versions) as model_version
        ), sited as (
            select entity_key, host_id from entity_host
            where valid_from <= $at and (valid_until is null or valid_until > $at)
              and ($hosts is null or host_id in (select unnest($hosts)))
        )
        select entity.entity_id, risk.component, sited.host_id, risk.model_version, risk.status, risk.reason,
               entity.model, factors, risk_1d, risk_3d, risk_7d, risk_14d, risk_30d
        from risk
        join believed using (component, model_version)
        join sited using (entity_key)
        join entity using (entity_key)
        where risk.asof_at = $asof_at
        order by sited.host_id, risk.component, entity.entity_id""",
        {
            "asof_at": asof_at,
            "at": at,
            "components": list(versions),
            "versions": list(versions.values()),
            "hosts": _listed(hosts),
        },
    )
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    return tuple(_entity_risk(asof_at, row) for row in rows)


def summaries(
    con: "duckdb.DuckDBPyConnection", asof_at: datetime, at: datetime, versions: Mapping[str, str]
) -> tuple[dict[str, Summary], frozenset[str], frozenset[str]]:
    """The risk of each host whose parts are all known, by host; who needs a closer look; and the models' versions.

    The same risks as `decisions.risk.host_risks` makes of the parts, to the last bit: each part is a cause of its own,
    in the same order. A host with a part of unknown risk, or one that has told its reasons and so may share a cause
    with others, needs the closer look.
    """
    values = {"asof_at": asof_at, "at": at, "components": list(versions), "versions": list(versions.values())}
    table = arrow(con, (files("pipelines") / "summaries.sql").read_text(encoding="utf-8"), values)
    found, closer, seen = dict[str, Summary](), set[str](), set[str]()
    makes: dict[tuple[str, ...], frozenset[str]] = {}
    for host_id, models, told, plain, *curve in zip(*(column.to_pylist() for column in table.columns), strict=True):
        seen.update(models)
        if plain:
            shared = makes.setdefault(tuple(told), frozenset(told))
            found[host_id] = Summary(host_id, asof_at, dict(zip(HORIZON_DAYS, curve, strict=True)), (), (), shared)
        else:
            closer.add(host_id)
    return found, frozenset(closer), frozenset(seen)


def silence(con: "duckdb.DuckDBPyConnection", asof_at: datetime) -> str:
    """Why no drive counts as live at `asof_at`, if the last reading before it is too old for that; else nothing."""
    ((newest,),) = con.execute("select max(day) from disk_day where day < $at::date", {"at": asof_at}).fetchall()
    day = asof_at.date() - timedelta(days=1)
    if newest is None or (day - newest).days <= LIVE_LOOKBACK_DAYS:
        return ""
    return (
        f"The newest reading up to {day} is of {newest}: no drive counts as live, as each has been silent for more "
        f"than {LIVE_LOOKBACK_DAYS} days. See why ingest stands still, or ask about a day up to {newest}."
    )


def undecidable(con: "duckdb.DuckDBPyConnection", asof_at: datetime, versions: Mapping[str, str]) -> ForeshockError:
    """The error that says why there is no risk of an entity on a known host to decide on."""
    query = """
        select count(*) from risk join (select unnest($components) as component, unnest($versions) as model_version)
        using (component, model_version) where asof_at = $at"""
    values = {"components": list(versions), "versions": list(versions.values()), "at": asof_at}
    ((scored,),) = con.execute(query, values).fetchall()
    if scored:
        return UsageError(
            f"{scored} entities have a risk as of {asof_at:%Y-%m-%d %H:%M} UTC, and none of them sits in a host that "
            "is known. Ingest an inventory (foreshock ingest inventory FOLDER)."
        )
    if "disk" in versions and (why := silence(con, asof_at)):
        return InputError(f"There is nothing to decide on. {why}")
    return UsageError(
        f"No risk as of {asof_at:%Y-%m-%d %H:%M} UTC is held. Score that day first "
        f"(foreshock score {min(versions)} --on {asof_at - timedelta(days=1):%Y-%m-%d})."
    )


def telemetry_at(con: "duckdb.DuckDBPyConnection", asof_at: datetime, components: Collection[str]) -> datetime | None:
    """The end of the newest day with a reading known by `asof_at`, or null when it is more than two months old.

    Where `components`, which are judged, are all watched by their events, it is the newest moment that these tell of.
    """
    first = asof_at - timedelta(days=TELEMETRY_WITHIN_DAYS)
    if "disk" in components:
        rows = con.execute(
            "select (max(day) + interval 1 day)::timestamptz from disk_day "
            "where day between $first and $last and ingested_at <= $asof_at",
            {"first": first.date(), "last": asof_at.date(), "asof_at": asof_at},
        ).fetchall()
    else:
        rows = con.execute(
            """
            with told as (
                select entity_key, observed_at as told_at, ingested_at from event
                union all select entity_key, failed_at, ingested_at from failure
            )
            select max(told_at) from told semi join
                   (select entity_key from entity where component in (select unnest($components))) using (entity_key)
            where told_at between $first and $asof_at and ingested_at <= $asof_at""",
            {"components": sorted(components), "first": first, "asof_at": asof_at},
        ).fetchall()
    return cast("datetime | None", rows[0][0])


def _entity_risk(asof_at: datetime, row: tuple[Any, ...]) -> EntityRisk:
    entity_id, component, host_id, model_version, status, reason, model, told, *risk = row
    return EntityRisk(
        entity_id=entity_id,
        component=component,
        host_id=host_id,
        asof_at=asof_at,
        model_version=model_version,
        status=status,
        reason=reason,
        curve={days: value for days, value in zip(HORIZON_DAYS, risk, strict=True) if value is not None},
        factors=factors(told),
        model=model,
    )


def factors(text: str | None) -> tuple[Factor, ...]:
    """The factors that a risk row holds as JSON."""
    found: Sequence[Mapping[str, Any]] = json.loads(text) if text else ()
    return tuple(Factor(f["feature"], f["value"], f["contribution"]) for f in found)


def _listed(hosts: Collection[str] | None) -> list[str] | None:
    return None if hosts is None else sorted(hosts)


def _rows(con: "duckdb.DuckDBPyConnection", query: str, **values: object) -> list[dict[str, Any]]:
    used = {name: value for name, value in values.items() if f"${name}" in query}
    rows: list[dict[str, Any]] = arrow(con, query, used).to_pylist()
    return rows
