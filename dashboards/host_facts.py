"""What pages of hosts rest on, read from the snapshot that is looked at: several hosts cost a question as one does."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

from dashboards import telemetry, words
from dashboards.evidence import DAYS, gather
from dashboards.fleet_view import FleetReader
from dashboards.queue import Look
from data.snapshots import arrow
from decisions.domain import EntityRisk
from pipelines import situation

HOSTS_MOST: Final = 2_000
"""Hosts whose facts are kept."""
DRAWN: Final = 4
"""Parts whose risk is drawn, the riskiest first."""
VMS: Final = 200
FAILURES: Final = 100
"""The newest of a host."""
PART: Final = ("entity_key", "component", "entity_id", "model")

Rows = list[dict[str, Any]]


def gather_hosts(look: Look, hosts: Sequence[str]) -> None:
    """Ask for all that the pages of those hosts ask of the snapshot, each question once for all of them."""
    fleet = look.fleet
    if fleet is None:
        return
    here = [host_id for host_id, rows in inventory(fleet, hosts).items() if rows]
    vms(fleet, here)
    sited = [row for rows in parts(fleet, here).values() for row in rows]
    _failed(fleet, [row["entity_key"] for row in sited])
    telemetry.learn(fleet, [telemetry.Part(*(row[name] for name in PART)) for row in sited])
    found = risks(look, here)
    histories(fleet, list(found.values()))
    gather(fleet, [first for each in found.values() if (first := riskiest(each)) is not None])


def inventory(fleet: FleetReader, hosts: Sequence[str]) -> dict[str, Rows]:
    """What inventory has told of each host, the newest first; none of one that it does not know."""
    query = """
        select host.* from host semi join (select unnest($ids) as host_id) using (host_id)
        order by host_id, valid_from desc"""
    return _by_host(fleet, query, hosts)


def parts(fleet: FleetReader, hosts: Sequence[str]) -> dict[str, Rows]:
    """Every part that sits in each host or sat there, with from when until when."""
    query = """
        with sited as (
            select entity_key, host_id, valid_from, valid_until
            from entity_host semi join (select unnest($ids) as host_id) using (host_id)
        )
        select host_id, entity_key, component, entity_id, model, valid_from, valid_until
        from sited join entity using (entity_key) order by host_id, component, entity_id, valid_from"""
    return _by_host(fleet, query, hosts)


def vms(fleet: FleetReader, hosts: Sequence[str]) -> dict[str, Rows]:
    """The first VMs that run on each host now, and in each row how many do in all."""
    query = """
        with placed as (
            select host_id, vm_id, owner, series, memory_bytes, live_migratable, valid_from as since
            from vm semi join (select unnest($ids) as host_id) using (host_id) where valid_until is null
        )
        select *, count(*) over (partition by host_id) as in_all from placed
        qualify row_number() over (partition by host_id order by vm_id) <= $most order by host_id, vm_id"""
    return _by_host(fleet, query, hosts, most=VMS)


def failures(fleet: FleetReader, host_id: str) -> Rows:
    """The newest failures of parts while they sat in the host, each with what is told of the part."""
    sited = parts(fleet, [host_id])[host_id]
    failed = _failed(fleet, [row["entity_key"] for row in sited])
    found = [row | one for row in sited for one in failed.get(row["entity_key"], ()) if _sat(row, one["failed_at"])]
    return sorted(found, key=lambda one: one["failed_at"], reverse=True)[:FAILURES]


def _failed(fleet: FleetReader, keys: Sequence[int]) -> dict[int, Rows]:
    query = """
        select entity_key, failed_at, cause from failure
        semi join (select unnest($keys) as entity_key) using (entity_key) order by failed_at desc"""

    def ask(unknown: Sequence[int]) -> dict[int, Rows]:
        found: dict[int, Rows] = {key: [] for key in unknown}
        for row in arrow(fleet.con, query, {"keys": list(unknown)}).to_pylist():
            found[row["entity_key"]].append(row)
        return found

    return fleet.known("failures", keys, ask)


def _sat(row: Mapping[str, Any], at: datetime) -> bool:
    return bool(row["valid_from"] <= at and (row["valid_until"] is None or row["valid_until"] >= at))


def risks(look: Look, hosts: Sequence[str]) -> dict[str, tuple[EntityRisk, ...]]:
    """The newest risk of each part of each host by the models that decisions believe, the riskiest part first."""
    assert look.fleet is not None  # noqa: S101 - whoever asks has a snapshot
    fleet, at = look.fleet, _pictured_at(look.fleet, look.now)
    told = {component: (version, _asked_at(look, component, version)) for component, version in look.champions.items()}

    def ask(unknown: Sequence[str]) -> dict[str, tuple[EntityRisk, ...]]:
        found: dict[str, list[EntityRisk]] = {host_id: [] for host_id in unknown}
        for component, (version, asof_at) in sorted(told.items()):
            if asof_at is not None:
                for one in situation.risks(fleet.con, asof_at, at, {component: version}, unknown):
                    found[one.host_id].append(one)
        return {host_id: tuple(sorted(each, key=_from_the_riskiest)) for host_id, each in found.items()}

    return fleet.known(f"risks of hosts {at} {sorted(told.items())}", hosts, ask, HOSTS_MOST)


def riskiest(found: Sequence[EntityRisk]) -> EntityRisk | None:
    """The first part whose risk is known."""
    return next((each for each in found if each.curve), None)


def histories(fleet: FleetReader, found: Sequence[Sequence[EntityRisk]]) -> dict[int, telemetry.Points]:
    """The risk over time of the parts of each host that are drawn, by the part's key."""
    alike: dict[tuple[datetime, str], list[tuple[str, str]]] = {}
    for each in found:
        for one in each[:DRAWN]:
            until = max(other.asof_at for other in each)
            alike.setdefault((until, one.model_version), []).append((one.component, one.entity_id))
    named = telemetry.parts(fleet, [name for names in alike.values() for name in names])
    keys = {(part.component, part.entity_id): part.entity_key for part in named}
    told: dict[int, telemetry.Points] = {}
    for (until, version), names in alike.items():
        mine = [keys[name] for name in names if name in keys]
        told |= telemetry.risks(fleet, mine, until - timedelta(days=DAYS), version)
    return told


def _from_the_riskiest(one: EntityRisk) -> float:
    return -one.curve.get(words.RISK_DAYS, 0.0)


def _by_host(fleet: FleetReader, query: str, hosts: Sequence[str], **values: object) -> dict[str, Rows]:
    def ask(unknown: Sequence[str]) -> Mapping[str, Rows]:
        found: dict[str, Rows] = {host_id: [] for host_id in unknown}
        for row in arrow(fleet.con, query, {"ids": list(unknown), **values}).to_pylist():
            found[row["host_id"]].append(row)
        return found

    return fleet.known(query, hosts, ask, HOSTS_MOST)


def _pictured_at(fleet: FleetReader, now: datetime) -> datetime:
    """The moment since which inventory says what it says `now`, or in the first picture held if that came later."""

    def ask() -> tuple[datetime | None, list[datetime]]:
        ((first,),) = fleet.con.execute("select min(valid_from) from host").fetchall()
        changed = fleet.con.execute("select valid_from from entity_host union select valid_until from entity_host")
        return first, sorted(at for (at,) in changed.fetchall() if at is not None)

    first, changes = fleet.remembered("when parts were moved", ask)
    at = max(now, first) if first is not None else now
    before = bisect_right(changes, at)
    return changes[before - 1] if before else at


def _asked_at(look: Look, component: str, version: str) -> datetime | None:
    """The newest moment up to now at which that model was asked about such parts."""
    assert look.fleet is not None  # noqa: S101 - whoever asks has a snapshot
    fleet, told = look.fleet, {"component": component, "version": version}
    query = "select max(asof_at) from risk where component = $component and model_version = $version"
    newest: datetime | None = fleet.remembered(
        f"asked {component} {version}", lambda: fleet.con.execute(query, told).fetchall()[0][0]
    )
    if newest is None or newest <= look.now:
        return newest
    ((earlier,),) = fleet.con.execute(f"{query} and asof_at <= $now", told | {"now": look.now}).fetchall()
    return cast("datetime | None", earlier)
