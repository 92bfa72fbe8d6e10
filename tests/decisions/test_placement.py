"""Targets for VMs."""

import pytest

from decisions.domain import Host, Vm
from decisions.placement import Assignment, Occupancy, assign
from decisions.policy import load
from tests.decisions.fleets import GIB, host, vm


def place(requests: list[Vm], hosts: list[Host], vms: dict[str, tuple[Vm, ...]], **changes: object) -> Assignment:
    """The assignment without hosts to spare, unless asked for."""
    occupancy = Occupancy(vms, **{"spare_hosts_per_cluster": 0, **changes})  # type: ignore[arg-type]
    return assign(requests, {h.host_id: h for h in hosts}, occupancy, load().placement)


def test_the_tightest_host_that_fits_is_taken() -> None:
    """Best fit keeps large gaps for large VMs."""
    vms = {"h1": (vm(),), "h3": tuple(vm(f"w{k}", "h3") for k in range(10))}
    assert place([vm()], [host("h1"), host("h2"), host("h3")], vms).targets == {"v1": "h3"}


@pytest.mark.parametrize("changes", [{"state": "blocked"}, {"cluster": "c2"}, {"vcpus": 3}, {"memory_bytes": 15 * GIB}])
def test_unfit_hosts_are_no_targets(changes: dict[str, object]) -> None:
    """Not in service, another cluster, too few vCPU, too little memory."""
    result = place([vm()], [host("h1"), host("h2", **changes)], {"h1": (vm(),)})
    assert result.targets == {}
    assert "VM v1" in result.unplaced["v1"]


def test_closed_hosts_are_no_targets() -> None:
    """A host at risk takes nobody in."""
    assert place([vm()], [host("h1"), host("h2")], {"h1": (vm(),)}, closed=frozenset({"h2"})).targets == {}


def test_a_host_to_spare_stays_free() -> None:
    """With two empty hosts and one to spare, one host's worth of VMs is placed and no more."""
    requests = [vm(f"v{k}", memory_bytes=64 * GIB) for k in range(6)]
    hosts = [host("h1"), host("h2"), host("h3")]
    result = place(requests, hosts, {"h1": tuple(requests)}, spare_hosts_per_cluster=1, closed=frozenset({"h1"}))
    assert (len(result.targets), len(result.unplaced)) == (4, 2)


def test_vms_on_their_way_hold_their_room() -> None:
    """Room that an open order is about to fill is not given out again."""
    big = vm("big", "h9", memory_bytes=250 * GIB)
    result = place([vm()], [host("h1"), host("h2")], {"h1": (vm(),)}, reserved=((big, "h2"),))
    assert result.targets == {}


def test_an_availability_set_keeps_its_spread() -> None:
    """The only host with room in a free fault domain is chosen over a tighter one beside a sibling."""
    a, b = vm("a", "h1", availability_set="s"), vm("b", "h2", availability_set="s")
    hosts = [host("h1", fault_domain=0), host("h2", fault_domain=1), host("h3", fault_domain=2)]
    assert place([a], hosts, {"h1": (a,), "h2": (b,)}).targets == {"a": "h3"}
    assert "fault domain 1" in place([a], hosts[:2], {"h1": (a,), "h2": (b,)}).unplaced["a"]


def test_two_of_a_set_leaving_one_host_part() -> None:
    """Of two siblings on a dying host one may go to the free domain; the other would only follow it there."""
    pair = tuple(vm(f"p{k}", "h1", availability_set="s") for k in range(2))
    hosts = [host("h1", fault_domain=0), host("h2", fault_domain=1)]
    result = place(list(pair), hosts, {"h1": pair})
    assert (result.targets, list(result.unplaced)) == ({"p0": "h2"}, ["p1"])


def test_hosts_of_one_owner_alone_keep_to_themselves() -> None:
    """Nobody else's VM comes to a dedicated host, and its own go only to others of the same owner."""
    hosts = [host("h1"), host("h2", dedicated_to="bank"), host("h3", dedicated_to="bank"), host("h4")]
    shared, owned = vm("a", "h1"), vm("b", "h2")
    assert place([shared], hosts, {"h1": (shared,)}).targets == {"a": "h4"}
    assert place([owned], hosts, {"h2": (owned,)}).targets == {"b": "h3"}
    assert place([owned], [*hosts[:2], hosts[3]], {"h2": (owned,)}).targets == {}


def test_a_large_fleet_is_placed_whole() -> None:
    """Sixty thousand VMs on six thousand hosts, ten thousand of them to place."""
    hosts = [host(f"h{i:04d}", cluster=f"c{i // 1000}") for i in range(6000)]
    vms = {h.host_id: tuple(vm(f"{h.host_id}-{k}", h.host_id) for k in range(10)) for h in hosts}
    leaving = [v for h in hosts[::6] for v in vms[h.host_id]]
    result = place(leaving, hosts, vms, closed=frozenset(h.host_id for h in hosts[::6]))
    assert len(result.targets) == 10_000
