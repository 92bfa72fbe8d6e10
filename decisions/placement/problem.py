"""The assignment problem of one cluster: what each placement costs, and what no assignment may break.

A placement costs, in expected VM interruptions: the chance that the target fails within the policy's horizon, plus the
traffic between racks and the large gaps that it uses up, both in proportion to the VM's memory. A VM left behind costs
what moving it would have avoided, plus the dearest placement there is: so no VM is left behind that fits.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from decisions.domain import Host, Vm
from decisions.rest import Residents, residents
from decisions.sections import Placing

GIB: Final = 1024**3
TIB: Final = 1024**4

EVERY: Final = slice(None)
NEAR: Final = 0.005
"""An assignment this much above a bound, as a share of it, is taken to be as good as the best."""
FEW: Final = 64
"""Of so many targets it is asked first whether they have room: mostly one of them has."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Domain = tuple[str, int]
"""Cluster and number of a fault domain."""


@dataclass(frozen=True)
class Occupancy:
    """Who lives where, which hosts take nobody, and how safe the others are."""

    vms: Mapping[str, Sequence[Vm]]
    """VMs by host."""
    closed: frozenset[str] = frozenset()
    """Hosts that must not be a target: at risk, of unknown risk, or with work going on."""
    reserved: Sequence[tuple[Vm, str]] = ()
    """VMs already on their way, with their target host."""
    spare_hosts_per_cluster: int = 1
    risk: Mapping[str, float] = field(default_factory=dict)
    """The chance that each open host fails within the policy's horizon."""
    risk_unless_known: float = 0.0
    """What counts for an open host without a risk of its own: no host is safer than its evidence."""
    together: Residents | None = None
    """What the VMs of each host take; null: `vms` tells of all."""

    @cached_property
    def residents(self) -> Residents:
        """What the VMs of each host take, and where the members of availability sets are."""
        return residents(self.vms) if self.together is None else self.together


@dataclass(frozen=True)
class Cluster:
    """One cluster's problem as arrays: VMs in the order of the requests, open hosts by id."""

    vms: tuple[Vm, ...]
    sources: tuple[Host, ...]
    targets: tuple[Host, ...]
    vcpus: Ints
    memory_bytes: Ints
    left: Floats
    """What each VM costs if it is left behind."""
    free_vcpus: Ints
    free_bytes: Ints
    spare_vcpus: int
    """What may be given out in the whole cluster beyond what it keeps to spare."""
    spare_bytes: int
    risk: Floats
    share: Floats
    """Free share of each target's memory, before the cycle."""
    racks: Ints
    """The rack of each target, numbered; a VM's source has `source_racks`."""
    source_racks: Ints
    domains: Ints
    source_domains: Ints
    barred: Mapping[int, frozenset[int]]
    """By VM of an availability set, fault domains but its own that others of its set are in, or may be in."""
    weights: Placing

    @cached_property
    def _room(self) -> Floats:
        return self.weights.free_room_interruptions_per_tib * self.share

    @cached_property
    def _rankings(self) -> dict[tuple[int, int], tuple[Ints, Floats]]:
        """By a VM's memory and the rack that it comes from."""
        return {}

    def cost_of(self, memory_bytes: int, rack: int) -> Floats:
        """What placing a VM of that memory, from that rack, costs on each target."""
        crossing = self.weights.rack_crossing_interruptions_per_tib * (self.racks != rack)
        found: Floats = self.risk + (memory_bytes / TIB) * (self._room + crossing)
        return found

    def ranked(self, v: int) -> tuple[Ints, Floats]:
        """The targets by what placing the VM costs, of equals the first first, and what it costs."""
        alike = int(self.memory_bytes[v]), int(self.source_racks[v])
        if alike not in self._rankings:
            costs = self.cost_of(*alike)
            order = costs.argsort(kind="stable")
            self._rankings[alike] = order, costs[order]
        return self._rankings[alike]

    def cost_on(self, v: int, t: int) -> float:
        """What placing the VM costs on one target."""
        crossing = self.weights.rack_crossing_interruptions_per_tib * (self.racks[t] != self.source_racks[v])
        return float(self.risk[t] + (self.memory_bytes[v] / TIB) * (self._room[t] + crossing))

    def objective(self, chosen: Ints) -> float:
        """The cost of an assignment: the target of each VM by number, -1 for one left behind."""
        gone = np.flatnonzero(chosen >= 0)
        at = chosen[gone]
        crossing = self.weights.rack_crossing_interruptions_per_tib * (self.racks[at] != self.source_racks[gone])
        placed = self.risk[at] + self.memory_bytes[gone] / TIB * (self._room[at] + crossing)
        return float(placed.sum() + self.left[chosen < 0].sum())

    def clear(self, taken: Iterable[int]) -> Flags:
        """Targets outside the fault domains."""
        outside = np.ones(int(self.domains.max(initial=0)) + 1, dtype=np.bool_)
        outside[[number for number in taken if number < len(outside)]] = False
        found: Flags = outside[self.domains]
        return found

    def permitted(self, v: int) -> Flags:
        """Targets that may ever take the VM: room for it alone, another host, a domain that no sibling holds."""
        fits = (self.free_vcpus >= self.vcpus[v]) & (self.free_bytes >= self.memory_bytes[v])
        if v in self.barred:
            fits &= self.clear(self.barred[v])
        found: Flags = fits
        return found


class Floor:
    """The free room of a cluster while targets are given out; it never lets a limit be broken."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.chosen: Ints = np.full(len(cluster.vms), -1, dtype=np.int64)
        self.vcpus, self.memory_bytes = cluster.free_vcpus.copy(), cluster.free_bytes.copy()
        self.spare_vcpus, self.spare_bytes = cluster.spare_vcpus, cluster.spare_bytes
        self._newcomers: dict[str | None, dict[int, int]] = defaultdict(dict)

    def within_spare(self, v: int) -> bool:
        """Whether the cluster keeps its spare room if the VM takes its part."""
        return bool(self.cluster.vcpus[v] <= self.spare_vcpus and self.cluster.memory_bytes[v] <= self.spare_bytes)

    def fits(self, v: int, targets: Ints | slice = EVERY) -> Flags:
        """Which of the targets have room for the VM now."""
        vcpus, memory = self.vcpus[targets], self.memory_bytes[targets]
        found: Flags = (vcpus >= self.cluster.vcpus[v]) & (memory >= self.cluster.memory_bytes[v])
        return found

    def roomy(self, v: int, below: float = np.inf) -> Iterator[int]:
        """Targets that have room for the VM now and cost less than `below`, the cheapest first."""
        order, costs = self.cluster.ranked(v)
        end = int(costs.searchsorted(below))
        for some in (order[: min(FEW, end)], order[FEW:end]):
            if len(some):
                yield from some[self.fits(v, some)].tolist()

    def cheapest(self, v: int) -> int | None:
        """The cheapest target that may take the VM now."""
        return next((t for t in self.roomy(v) if self.may(v, t)), None)

    def taken(self, v: int) -> frozenset[int]:
        """The fault domains in which the VM would meet another of its availability set."""
        new = self._newcomers[self.cluster.vms[v].availability_set]
        others = (domain for domain, by in new.items() if by != v and domain != self.cluster.source_domains[v])
        return self.cluster.barred.get(v, frozenset()).union(others)

    def may(self, v: int, t: int) -> bool:
        """Whether the VM may go to the target now."""
        cluster = self.cluster
        if self.vcpus[t] < cluster.vcpus[v] or self.memory_bytes[t] < cluster.memory_bytes[v]:
            return False
        domain = int(cluster.domains[t])
        return self.within_spare(v) and not (v in cluster.barred and domain in self.taken(v))

    def take(self, v: int, t: int) -> None:
        """Give the VM the target."""
        self._move(v, t, 1)
        self.chosen[v] = t

    def release(self, v: int) -> int:
        """Take the VM's target away again, and say which it was."""
        t = int(self.chosen[v])
        self._move(v, t, -1)
        self.chosen[v] = -1
        return t

    def _move(self, v: int, t: int, sign: int) -> None:
        vcpus, memory = sign * int(self.cluster.vcpus[v]), sign * int(self.cluster.memory_bytes[v])
        self.vcpus[t] -= vcpus
        self.memory_bytes[t] -= memory
        self.spare_vcpus -= vcpus
        self.spare_bytes -= memory
        if v in self.cluster.barred and self.cluster.domains[t] != self.cluster.source_domains[v]:
            new, domain = self._newcomers[self.cluster.vms[v].availability_set], int(self.cluster.domains[t])
            if sign > 0:
                new[domain] = v
            else:
                del new[domain]


def clusters(
    requests: Sequence[Vm],
    hosts: Mapping[str, Host],
    occupancy: Occupancy,
    values: Mapping[str, float],
    weights: Placing,
) -> list[Cluster]:
    """The problem of each cluster that VMs are to leave, by name: no move leaves its cluster, so they are apart.

    So are the hosts that serve one owner alone: nobody else's VMs come to them, and theirs go nowhere else. Hosts that
    VMs are to leave are no targets, and the room left behind is not given out: they are at risk.
    """
    leaving: dict[tuple[str, str], list[Vm]] = defaultdict(list)
    for vm in requests:
        leaving[_part(hosts[vm.host_id])].append(vm)
    shut = occupancy.closed | {vm.host_id for vm in requests}
    targets: dict[tuple[str, str], list[Host]] = defaultdict(list)
    for host_id in sorted(hosts):
        host = hosts[host_id]
        if _part(host) in leaving and host.state == "in_service" and host_id not in shut:
            targets[_part(host)].append(host)
    rooms = _rooms([host for listed in targets.values() for host in listed], occupancy)
    members = _members({vm.availability_set for vm in requests}, hosts, occupancy)
    found = []
    for part, vms in sorted(leaving.items()):
        sources = [hosts[vm.host_id] for vm in vms]
        barred = {
            v: frozenset(
                number
                for vm_id, (at, number) in members[vm.availability_set]
                if at == part[0] and vm_id != vm.vm_id and number != sources[v].fault_domain
            )
            for v, vm in enumerate(vms)
            if vm.availability_set is not None
        }
        gains = np.array([values.get(vm.vm_id, 1.0) for vm in vms])
        found.append(_cluster(vms, sources, targets[part], rooms, occupancy, barred, gains, weights))
    return found


def _part(host: Host) -> tuple[str, str]:
    """The hosts that VMs may go between: a cluster's shared ones, or those that serve the same owner alone."""
    return host.cluster, host.dedicated_to or ""


def _cluster(
    vms: Sequence[Vm],
    sources: Sequence[Host],
    targets: Sequence[Host],
    rooms: Mapping[str, tuple[int, int]],
    occupancy: Occupancy,
    barred: Mapping[int, frozenset[int]],
    gains: Floats,
    weights: Placing,
) -> Cluster:
    free_vcpus = _ints(rooms[host.host_id][0] for host in targets)
    free_bytes = _ints(rooms[host.host_id][1] for host in targets)
    memory = _ints(vm.memory_bytes for vm in vms)
    risk = np.array([occupancy.risk.get(host.host_id, occupancy.risk_unless_known) for host in targets])
    per_tib = weights.free_room_interruptions_per_tib + weights.rack_crossing_interruptions_per_tib
    shared = all(host.dedicated_to is None for host in sources)
    keep = occupancy.spare_hosts_per_cluster if shared else 0  # what one owner alone has is his to fill
    numbers = {rack: n for n, rack in enumerate(sorted({host.rack for host in (*sources, *targets)}))}
    return Cluster(
        vms=tuple(vms),
        sources=tuple(sources),
        targets=tuple(targets),
        vcpus=_ints(vm.vcpus for vm in vms),
        memory_bytes=memory,
        left=gains + max(risk, default=0.0) + memory / TIB * per_tib,
        free_vcpus=free_vcpus,
        free_bytes=free_bytes,
        spare_vcpus=int(free_vcpus.sum()) - keep * max((host.vcpus for host in targets), default=0),
        spare_bytes=int(free_bytes.sum()) - keep * max((host.memory_bytes for host in targets), default=0),
        risk=risk,
        share=free_bytes / np.array([host.memory_bytes for host in targets]),
        racks=_ints(numbers[host.rack] for host in targets),
        source_racks=_ints(numbers[host.rack] for host in sources),
        domains=_ints(host.fault_domain for host in targets),
        source_domains=_ints(host.fault_domain for host in sources),
        barred=barred,
        weights=weights,
    )


def _ints(values: Iterable[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64)


def _rooms(targets: Iterable[Host], occupancy: Occupancy) -> dict[str, tuple[int, int]]:
    """What is free on each target, as (vCPU, bytes), when the VMs on their way there have come."""
    coming: dict[str, list[Vm]] = defaultdict(list)
    for vm, target in occupancy.reserved:
        if vm.host_id != target:
            coming[target].append(vm)
    return {
        host.host_id: _free(host, occupancy.residents.taken.get(host.host_id, (0, 0)), coming[host.host_id])
        for host in targets
    }


def _free(host: Host, taken: tuple[int, int], coming: Iterable[Vm]) -> tuple[int, int]:
    vcpus, memory = host.vcpus - taken[0], host.memory_bytes - taken[1]
    for vm in coming:
        vcpus -= vm.vcpus
        memory -= vm.memory_bytes
    return max(0, vcpus), max(0, memory)


def _members(
    wanted: Iterable[str | None], hosts: Mapping[str, Host], occupancy: Occupancy
) -> dict[str, list[tuple[str, Domain]]]:
    """For each availability set, the fault domains that its VMs are in, or may be in when moves under way are done."""
    members: dict[str, list[tuple[str, Domain]]] = {name: [] for name in wanted if name is not None}
    sets = occupancy.residents.sets if members else {}
    places = ((name, *place) for name in members for place in sets.get(name, ()))
    coming = ((vm.availability_set, vm.vm_id, host_id) for vm, host_id in occupancy.reserved)
    for name, vm_id, host_id in chain(places, coming):
        if name in members and host_id in hosts:
            members[name].append((vm_id, domain_of(hosts[host_id])))
    return members


def domain_of(host: Host) -> Domain:
    """The fault domain of a host."""
    return host.cluster, host.fault_domain
