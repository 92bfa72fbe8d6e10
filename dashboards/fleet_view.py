"""The published snapshot as the review page sees it: where hosts stand, what VMs are, how fresh the facts are."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import duckdb
import pyarrow as pa

from dashboards.answers import Known
from dashboards.window import NAMES_MOST, Pane, Window
from data.errors import WarehouseError
from data.snapshots import arrow
from pipelines.clock import end_of, is_simulated, last_day, last_event

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Place(NamedTuple):
    """Where a host stands, and how many VMs it ran."""

    rack: str
    zone: str
    cluster: str
    hardware_model: str
    vms: int


class VmKind(NamedTuple):
    """What a VM is."""

    owner: str
    series: str
    memory_bytes: int
    live_migratable: bool
    availability_set: str | None


class Target(NamedTuple):
    """A host that VMs are to go to: where it stands, and how full it is before they come."""

    rack: str
    fault_domain: int
    memory_bytes: int
    used_bytes: int


class Member(NamedTuple):
    """A VM of an availability set, and where its host stands."""

    vm_id: str
    availability_set: str
    fault_domain: int


@dataclass(frozen=True)
class Freshness:
    """How large the fleet is, and how old what is known of it."""

    published_at: datetime | None
    telemetry_at: datetime | None
    """End of the newest day with a reading; where none is held, the newest moment that events tell of."""
    simulated: bool
    """Whether hosts and VMs are simulated; then the clock is the data's."""
    hosts: int
    vms: int


@contextmanager
def open_fleet(window: Window) -> Iterator["FleetReader | None"]:
    """The snapshot for as long as it is held; None before anything is published.

    Raises:
        WarehouseError: There is a snapshot, but it cannot be read.
    """
    try:
        pane = window.pane()
        if pane is None:
            yield None
            return
        with ExitStack() as held:
            yield FleetReader(pane, held)
    except duckdb.Error as error:
        msg = f"The snapshot in {window.home} cannot be read: {error}. Publish it again with `foreshock ingest`."
        raise WarehouseError(msg) from error


@dataclass(frozen=True)
class FleetReader:
    """What the page asks of one snapshot."""

    pane: Pane
    held: ExitStack
    """What is let go of when nobody looks any more."""

    @cached_property
    def con(self) -> duckdb.DuckDBPyConnection:
        """A connection on the snapshot, made when something is asked that is not known yet."""
        return self.held.enter_context(self.pane.open())

    def remembered(self, question: str, ask: Callable[[], T]) -> T:
        """The answer, worked out once for each snapshot, which never changes.

        Args:
            question: What is asked, in words that nobody asks anything else with.
            ask: Works it out.
        """
        return self.pane.answers.get(question, ask)

    def known(
        self, question: str, names: Sequence[K], ask: Callable[[Sequence[K]], Mapping[K, T]], most: int = NAMES_MOST
    ) -> dict[K, T]:
        """What is known of each of the names; each is asked about once for each snapshot, and several together."""
        known = self.pane.known.get(question) or self.pane.known.setdefault(question, Known(most))
        return known.of(names, ask)

    def freshness(self) -> Freshness:
        """How large the fleet is now, and how old what is known of it."""
        return self.remembered("freshness", self._freshness)

    def _freshness(self) -> Freshness:
        day = last_day(self.con)
        sizes = arrow(
            self.con,
            """
            select (select count(*) from host where valid_until is null) as hosts,
                   (select count(*) from vm where valid_until is null) as vms""",
        ).to_pylist()[0]
        return Freshness(
            published_at=self.pane.published_at,
            telemetry_at=end_of(day) if day else last_event(self.con),
            simulated=is_simulated(self.con),
            **sizes,
        )

    def versions(self, believed: frozenset[str] | None) -> dict[str, str]:
        """The model version whose risks count, by component: of those believed, or of any, the one that scored last."""
        return self.remembered(f"versions {sorted(believed or ())}", lambda: self._versions(believed))

    def _versions(self, believed: frozenset[str] | None) -> dict[str, str]:
        rows = arrow(
            self.con,
            """
            with newest as (select max(asof_at) as newest_at from risk),
            scored as (
                select component, model_version, max(asof_at) as asof_at from risk, newest
                where asof_at >= newest.newest_at - interval 7 days group by component, model_version
            )
            select component, arg_max(model_version, asof_at) as version from scored
            where $believed is null or list_contains($believed, model_version)
            group by component order by component""",
            {"believed": None if believed is None else sorted(believed)},
        ).to_pylist()
        return {row["component"]: row["version"] for row in rows}

    def places(self, hosts: Sequence[str], at: datetime) -> Mapping[str, Place]:
        """Where the hosts stood at the moment, or in the first picture held if that came later."""
        return self.known(f"places {at}", hosts, lambda unknown: self._places(unknown, at))

    def _places(self, hosts: Sequence[str], at: datetime) -> dict[str, Place]:
        told = self._pictured(
            """
            with picture as (select greatest($at, min(valid_from)) as at from host),
            asked as (select unnest($ids) as host_id),
            housed as (
                select host_id, count(*) as vms from vm semi join asked using (host_id), picture
                where valid_from <= picture.at and (valid_until is null or valid_until > picture.at)
                group by host_id
            )
            select host_id, rack, zone, cluster, hardware_model, coalesce(vms, 0) as vms
            from asked join host using (host_id) left join housed using (host_id), picture
            where valid_from <= picture.at and (valid_until is null or valid_until > picture.at)""",
            hosts,
            at,
        )
        return _by_name(told, Place._make)

    def kinds(self, vms: Sequence[str], at: datetime) -> Mapping[str, VmKind]:
        """What the VMs were at the moment, or in the first picture held if that came later."""
        return self.known(f"kinds {at}", vms, lambda unknown: self._kinds(unknown, at))

    def _kinds(self, vms: Sequence[str], at: datetime) -> dict[str, VmKind]:
        told = self._pictured(
            """
            with picture as (select greatest($at, min(valid_from)) as at from vm),
            asked as (select unnest($ids) as vm_id)
            select vm_id, owner, series, memory_bytes, live_migratable, availability_set
            from asked join vm using (vm_id), picture
            where valid_from <= picture.at and (valid_until is null or valid_until > picture.at)""",
            vms,
            at,
        )
        return _by_name(told, VmKind._make)

    def targets(self, hosts: Sequence[str], at: datetime) -> Mapping[str, Target]:
        """How full the hosts were at the moment, or in the first picture held if that came later."""
        return self.known(f"targets {at}", hosts, lambda unknown: self._targets(unknown, at))

    def _targets(self, hosts: Sequence[str], at: datetime) -> dict[str, Target]:
        told = self._pictured(
            """
            with picture as (select greatest($at, min(valid_from)) as at from host),
            asked as (select unnest($ids) as host_id),
            housed as (
                select host_id, sum(memory_bytes) as used_bytes from vm semi join asked using (host_id), picture
                where valid_from <= picture.at and (valid_until is null or valid_until > picture.at)
                group by host_id
            )
            select host_id, rack, fault_domain, memory_bytes, coalesce(used_bytes, 0)::bigint as used_bytes
            from asked join host using (host_id) left join housed using (host_id), picture
            where valid_from <= picture.at and (valid_until is null or valid_until > picture.at)""",
            hosts,
            at,
        )
        return _by_name(told, Target._make)

    def members(self, vms: Sequence[str], at: datetime) -> list[Member]:
        """Every VM of the availability sets that the VMs belong to, and the fault domain it stands in."""
        named = (kind.availability_set for kind in self.kinds(vms, at).values())
        sets = list(dict.fromkeys(name for name in named if name is not None))
        found = self.known(f"members {at}", sets, lambda unknown: self._members(unknown, at))
        return [member for members in found.values() for member in members]

    def _members(self, sets: Sequence[str], at: datetime) -> dict[str, list[Member]]:
        told = self._pictured(
            """
            with picture as (select greatest($at, min(valid_from)) as at from vm),
            asked as (select unnest($ids) as availability_set),
            member as (
                select vm_id, availability_set, host_id from vm semi join asked using (availability_set), picture
                where valid_from <= picture.at and (valid_until is null or valid_until > picture.at)
            ),
            stood as (
                select host_id, fault_domain from host semi join member using (host_id), picture
                where valid_from <= picture.at and (valid_until is null or valid_until > picture.at)
            )
            select vm_id, availability_set, fault_domain from member join stood using (host_id)
            order by availability_set""",
            sets,
            at,
        )
        members = map(Member._make, zip(*_columns(told), strict=True))
        return {name: list(own) for name, own in groupby(members, attrgetter("availability_set"))}

    def _pictured(self, query: str, ids: Sequence[str], at: datetime) -> pa.Table:
        return arrow(self.con, query, {"ids": list(ids), "at": at})


def _by_name(told: pa.Table, made: Callable[[Iterable[Any]], T]) -> dict[str, T]:
    """A value made of each row, by what the first column tells."""
    names, *columns = _columns(told)
    return dict(zip(names, map(made, zip(*columns, strict=True)), strict=True))


def _columns(told: pa.Table) -> list[list[Any]]:
    return [column.to_pylist() for column in told.columns]
