"""What a decision needs of the hosts that nothing is done with: in a large fleet nearly all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from decisions.domain import HostRisk, Vm


@dataclass(frozen=True)
class Summary(HostRisk):
    """The risk of a host whose parts are not told one by one."""

    told: frozenset[str] = frozenset()

    @property
    def makes(self) -> frozenset[str]:
        """The makes of its parts with a known risk."""
        return self.told


@dataclass(frozen=True)
class Residents:
    """What the VMs of each host take together, and where the members of availability sets are."""

    taken: Mapping[str, tuple[int, int]]
    """vCPUs and bytes, by host that has VMs."""
    sets: Mapping[str, Sequence[tuple[str, str]]]
    """VM and host of each member, by availability set; only of sets that a VM which is told of belongs to."""


@dataclass(frozen=True)
class Rest:
    """What is told of the whole fleet where single parts and VMs are told of some hosts only."""

    residents: Residents
    """Of all hosts."""
    risks: Mapping[str, Summary] = field(default_factory=dict)
    """Of the hosts whose parts are not told, by host."""
    model_versions: frozenset[str] = frozenset()
    """Of all risks, those told and the others."""


def residents(vms: Mapping[str, Sequence[Vm]]) -> Residents:
    """The same, from the VMs of all hosts."""
    taken, sets = dict[str, tuple[int, int]](), dict[str, list[tuple[str, str]]]()
    for host_id, members in vms.items():
        if members:
            taken[host_id] = (sum(vm.vcpus for vm in members), sum(vm.memory_bytes for vm in members))
        for vm in members:
            if vm.availability_set is not None:
                sets.setdefault(vm.availability_set, []).append((vm.vm_id, host_id))
    return Residents(taken, sets)
