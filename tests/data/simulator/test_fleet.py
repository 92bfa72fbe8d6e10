"""The planned fleet: sizes, room, spares, spread, and the same fleet for the same seed."""

import pytest

from data.contracts import ENTITIES, HOSTS, VMS
from data.errors import SettingsError
from data.simulator.fleet import Fleet, FleetSpec, plan
from data.simulator.truth import failures


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """The default fleet."""
    return plan(FleetSpec())


def test_default_fleet_has_the_size_asked_for(fleet: Fleet) -> None:
    """Six hundred hosts, about six thousand VMs, about 4,800 drives."""
    disks = [row for row in fleet.entities.to_pylist() if row["component"] == "disk"]
    assert fleet.hosts.num_rows == 600
    assert 5_500 < fleet.vms.num_rows < 6_500
    assert 4_600 < len(disks) <= 4_800


def test_tables_follow_the_contracts_and_say_simulated(fleet: Fleet) -> None:
    """Every table has its contract's schema, and every row is marked simulated."""
    for table, schema in ((fleet.hosts, HOSTS), (fleet.vms, VMS), (fleet.entities, ENTITIES)):
        assert table.schema.equals(schema)
        assert set(table["simulated"].to_pylist()) == {True}


def test_no_host_is_overfull_and_the_fleet_is_about_two_thirds_full(fleet: Fleet) -> None:
    """No host exceeds its vCPUs or memory; the whole fleet is between 55 and 75 % full."""
    hosts = {row["host_id"]: row for row in fleet.hosts.to_pylist()}
    for size in ("vcpus", "memory_bytes"):
        used: dict[str, int] = dict.fromkeys(hosts, 0)
        for vm in fleet.vms.to_pylist():
            used[vm["host_id"]] += vm[size]
        assert all(used[host] <= hosts[host][size] for host in hosts)
        assert 0.55 < sum(used.values()) / sum(row[size] for row in hosts.values()) < 0.75


def test_each_cluster_has_an_empty_host(fleet: Fleet) -> None:
    """At least one host of every cluster runs nothing."""
    busy = set(fleet.vms["host_id"].to_pylist())
    spare = {row["cluster"] for row in fleet.hosts.to_pylist() if row["host_id"] not in busy}
    assert spare == set(fleet.hosts["cluster"].to_pylist())


def test_availability_sets_are_spread_over_fault_domains(fleet: Fleet) -> None:
    """No two VMs of a set share a fault domain, and a set has one owner and at least two VMs."""
    domain = {row["host_id"]: (row["cluster"], row["fault_domain"]) for row in fleet.hosts.to_pylist()}
    sets: dict[str, list[dict[str, str]]] = {}
    for vm in fleet.vms.to_pylist():
        if vm["availability_set"]:
            sets.setdefault(vm["availability_set"], []).append(vm)
    assert len(sets) > 100
    for members in sets.values():
        assert len(members) > 1
        assert len({domain[vm["host_id"]] for vm in members}) == len(members)
        assert len({vm["owner"] for vm in members}) == 1


def test_special_series_cannot_move_live(fleet: Fleet) -> None:
    """Large-memory, high-performance and passthrough VMs exist and are not live-migratable; most others are."""
    vms = fleet.vms.to_pylist()
    assert {vm["series"] for vm in vms} == {"D", "E", "M", "H", "N"}
    assert not any(vm["live_migratable"] for vm in vms if vm["series"] in {"M", "H", "N"})
    assert sum(vm["live_migratable"] for vm in vms) > 0.85 * len(vms)


def test_passthrough_vms_are_on_gpu_hosts(fleet: Fleet) -> None:
    """Hosts with GPUs run the passthrough series and nothing else does."""
    gpu_hosts = {row["host_id"] for row in fleet.entities.to_pylist() if row["component"] == "gpu"}
    assert gpu_hosts
    assert all((vm["series"] == "N") == (vm["host_id"] in gpu_hosts) for vm in fleet.vms.to_pylist())


def test_same_seed_same_fleet_other_seed_another() -> None:
    """A fleet and its failures are a function of the spec."""
    small = FleetSpec(hosts=40, vms=300, days=30)
    other = FleetSpec(hosts=40, vms=300, days=30, seed=8)
    assert plan(small) == plan(small)
    assert failures(plan(small)).equals(failures(plan(small)))
    assert plan(small).vms != plan(other).vms


@pytest.mark.parametrize(
    ("name", "value"), [("hosts", 1), ("silent_share", 1.5), ("acceleration", -1.0), ("repair_days", 0.0), ("days", 0)]
)
def test_spec_out_of_bounds_names_the_field(name: str, value: float) -> None:
    """A number out of bounds is refused with its name."""
    with pytest.raises(SettingsError, match=name):
        FleetSpec(**{name: value})  # type: ignore[arg-type]


def test_more_vms_than_fit_are_refused() -> None:
    """A spec that cannot fit says so instead of planning something else."""
    with pytest.raises(SettingsError, match="do not fit"):
        FleetSpec(hosts=10, vms=1_000)
