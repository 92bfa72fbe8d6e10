"""Where VMs go: targets with room, spread over fault domains, with hosts to spare, never a host in doubt."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from decisions.domain import Host, Vm
from decisions.guardrails import destination_capacity, fault_domain_spread, spare_capacity


@dataclass(frozen=True)
class Occupancy:
    """Who lives where, and which hosts take nobody."""

    vms: Mapping[str, Sequence[Vm]]
    """VMs by host."""
    closed: frozenset[str] = frozenset()
    """Hosts that must not be a target: at risk, of unknown risk, or with work going on."""
    reserved: Sequence[tuple[Vm, str]] = ()
    """VMs already on their way, with their target host."""
    spare_hosts_per_cluster: int = 1


@dataclass(frozen=True)
class Assignment:
    """The target host of each VM that was placed, and for each other VM the reason why not."""

    targets: Mapping[str, str]
    unplaced: Mapping[str, str]


@dataclass
class _Room:
    """What is free on a host, in its own units."""

    vcpus: int
    memory_bytes: int

    def take(self, vm: Vm) -> None:
        self.vcpus -= vm.vcpus
        self.memory_bytes -= vm.memory_bytes


def assign(requests: Sequence[Vm], hosts: Mapping[str, Host], occupancy: Occupancy) -> Assignment:
    """Targets for the VMs, first come first served: best fit by memory among the hosts of the VM's own cluster.

    Deterministic. The room that the VMs leave behind is not given out again: their hosts are at risk.
    An availability set never covers fewer fault domains afterwards, whichever of the moves come true.
    """
    floor = _Floor(requests, hosts, occupancy)
    targets: dict[str, str] = {}
    unplaced: dict[str, str] = {}
    for vm in requests:
        target, why = floor.place(vm)
        if target is None:
            unplaced[vm.vm_id] = why
        else:
            targets[vm.vm_id] = target
    return Assignment(targets, unplaced)


class _Floor:
    """The free room of every open host while targets are being given out."""

    def __init__(self, requests: Sequence[Vm], hosts: Mapping[str, Host], occupancy: Occupancy) -> None:
        self._hosts = hosts
        clusters = {hosts[vm.host_id].cluster for vm in requests}
        self._free = {h.host_id: _Room(h.vcpus, h.memory_bytes) for h in hosts.values() if h.cluster in clusters}
        for host_id, room in self._free.items():
            for vm in occupancy.vms.get(host_id, ()):
                room.take(vm)
        for vm, target in occupancy.reserved:
            if target in self._free and vm.host_id != target:
                self._free[target].take(vm)
        self._domains = _domains({vm.availability_set for vm in requests}, hosts, occupancy)
        self._shelves: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._spare: dict[str, _Room] = {}
        self._open(occupancy)

    def _open(self, occupancy: Occupancy) -> None:
        """Shelve the open hosts of each cluster by free memory, and reckon what may be given out beyond the spare."""
        largest: dict[str, _Room] = defaultdict(lambda: _Room(0, 0))
        free: dict[str, _Room] = defaultdict(lambda: _Room(0, 0))
        for host_id, room in sorted(self._free.items()):
            host = self._hosts[host_id]
            if host.state != "in_service" or host_id in occupancy.closed:
                continue
            self._shelves[host.cluster].append((room.memory_bytes, host_id))
            free[host.cluster].vcpus += max(0, room.vcpus)
            free[host.cluster].memory_bytes += max(0, room.memory_bytes)
            most = largest[host.cluster]
            most.vcpus, most.memory_bytes = max(most.vcpus, host.vcpus), max(most.memory_bytes, host.memory_bytes)
        for cluster, shelf in self._shelves.items():
            shelf.sort()
            keep, room = occupancy.spare_hosts_per_cluster, free[cluster]
            self._spare[cluster] = _Room(
                room.vcpus - keep * largest[cluster].vcpus, room.memory_bytes - keep * largest[cluster].memory_bytes
            )

    def place(self, vm: Vm) -> tuple[str | None, str]:
        """The VM's target, taken off the free room; or None and the reason."""
        source = self._hosts[vm.host_id]
        spare = self._spare.get(source.cluster, _Room(0, 0))
        why = spare_capacity(vm, source.cluster, spare.vcpus, spare.memory_bytes)
        if why is not None:
            return None, why
        shelf = self._shelves[source.cluster]
        why = destination_capacity(vm, source.cluster, 0, 0)
        for at in range(bisect_left(shelf, (vm.memory_bytes, "")), len(shelf)):
            host_id = shelf[at][1]
            room = self._free[host_id]
            if host_id == source.host_id or room.vcpus < vm.vcpus:
                continue
            why = self._spread(vm, source, self._hosts[host_id])
            if why is None:
                self._take(vm, at, shelf, source.cluster)
                return host_id, ""
        return None, why or ""

    def _spread(self, vm: Vm, source: Host, target: Host) -> str | None:
        if vm.availability_set is None:
            return None
        members = self._domains[vm.availability_set]
        taken = {domain for vm_id, domain in members if vm_id != vm.vm_id}
        return fault_domain_spread(vm, _domain(source), _domain(target), taken)

    def _take(self, vm: Vm, at: int, shelf: list[tuple[int, str]], cluster: str) -> None:
        _, host_id = shelf.pop(at)
        self._free[host_id].take(vm)
        self._spare[cluster].take(vm)
        insort(shelf, (self._free[host_id].memory_bytes, host_id))
        if vm.availability_set is not None:
            self._domains[vm.availability_set].append((vm.vm_id, _domain(self._hosts[host_id])))


def _domain(host: Host) -> tuple[str, int]:
    return host.cluster, host.fault_domain


def _domains(
    wanted: Iterable[str | None], hosts: Mapping[str, Host], occupancy: Occupancy
) -> dict[str, list[tuple[str, tuple[str, int]]]]:
    """For each availability set, the fault domains that its VMs are in, or may be in when moves under way are done."""
    members: dict[str, list[tuple[str, tuple[str, int]]]] = {name: [] for name in wanted if name is not None}
    if not members:
        return members
    places = [(vm, host_id) for host_id, vms in occupancy.vms.items() for vm in vms]
    for vm, host_id in [*places, *occupancy.reserved]:
        if vm.availability_set in members and host_id in hosts:
            members[vm.availability_set].append((vm.vm_id, _domain(hosts[host_id])))
    return members
