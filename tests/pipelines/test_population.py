"""The population of a moment: who was watched for how long, as what, and only what was known then."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.contracts import ENTITIES, FAILURES, HOSTS
from data.warehouse import Warehouse
from decisions.incidents.population import Population
from decisions.policy import load
from pipelines.population import population
from tests.facts import DAY, entities, hosts, vms

POLICY = load()
ASOF = DAY + timedelta(days=60)


@pytest.fixture
def warehouse(home: Path) -> Iterator[Warehouse]:
    """Two hosts with a drive each since the first day."""
    with Warehouse.open(home) as opened:
        picture(opened, DAY)
        yield opened


def picture(warehouse: Warehouse, at: datetime, **told: str) -> None:
    """The inventory of that moment, with this told of both hosts."""
    rows = [{**row, **told} for row in hosts("h1", "h2").to_pylist()]
    warehouse.put_inventory(pa.Table.from_pylist(rows, HOSTS), vms(v1="h1"), entities(a="h1", b="h2"), at)


def fail(warehouse: Warehouse, part: str, at: datetime, known: datetime | None = None) -> None:
    """A drive's failure, known by then at the earliest."""
    row = {"component": "disk", "entity_id": part, "failed_at": at, "ingested_at": known or at, "cause": None}
    warehouse.put_failures(pa.Table.from_pylist([row], FAILURES))


def seen(warehouse: Warehouse, asof_at: datetime = ASOF, **versions: str) -> list[tuple[object, ...]]:
    """Each stay: part, firmware, days, whether something befell it in this stay."""
    found: Population = population(warehouse.con, asof_at, POLICY, versions)
    hit = ~np.isnat(found.event_at)
    columns = (found.part, found.attributes["firmware"], np.round(found.days, 3), hit)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_a_failure_ends_the_time_watched(warehouse: Warehouse) -> None:
    """Twenty of the window's thirty days, and the failure in them."""
    fail(warehouse, "a", ASOF - timedelta(days=10))
    assert seen(warehouse) == [("a", "1.0", 20.0, True), ("b", "1.0", 30.0, False)]


def test_a_failure_belongs_to_the_firmware_under_which_it_happened(warehouse: Warehouse) -> None:
    """Rolled out after one failure and before the other: each counts where it fell."""
    picture(warehouse, ASOF - timedelta(days=15), firmware="2.0")
    fail(warehouse, "a", ASOF - timedelta(days=20))
    fail(warehouse, "b", ASOF - timedelta(days=5))
    assert seen(warehouse) == [("a", "1.0", 10.0, True), ("b", "1.0", 15.0, False), ("b", "2.0", 10.0, True)]
    assert population(warehouse.con, ASOF, POLICY, {}).since == {("firmware", "2.0"): ASOF - timedelta(days=15)}


def test_what_was_learnt_later_is_not_there(warehouse: Warehouse) -> None:
    """A failure reported late, and an inventory that came late, change no earlier answer."""
    before = seen(warehouse)
    fail(warehouse, "a", ASOF - timedelta(days=10), known=ASOF + timedelta(hours=1))
    picture(warehouse, ASOF + timedelta(days=1), firmware="2.0")
    assert seen(warehouse) == before
    assert seen(warehouse, ASOF + timedelta(days=1)) != before


def test_an_old_failure_is_outside_the_window(warehouse: Warehouse) -> None:
    """A part that failed before the window was not watched in it."""
    fail(warehouse, "a", ASOF - timedelta(days=31))
    assert seen(warehouse) == [("b", "1.0", 30.0, False)]


def test_what_is_told_for_the_first_time_is_taken_to_have_held_before(warehouse: Warehouse) -> None:
    """An inventory that begins to name kernels makes no rollout: the kernel has no beginning and no gap."""
    picture(warehouse, ASOF - timedelta(days=15), kernel="6.1")
    found = population(warehouse.con, ASOF, POLICY, {})
    assert set(found.attributes["kernel"].tolist()) == {"6.1"}
    assert found.since == {}


def test_parts_at_risk_count_since_the_model_first_said_so(warehouse: Warehouse) -> None:
    """At risk on two nights up to now: an event at the first; at risk then and no more: none; another model's: none."""
    risky = [("a", 3, 0.6), ("a", 0, 0.6), ("b", 3, 0.6), ("b", 0, 0.01)]
    keys = dict(warehouse.con.execute("select entity_id, entity_key from entity").fetchall())
    for part, days_ago, risk in risky:
        row = [ASOF - timedelta(days=days_ago), keys[part], "disk", "disk-1", "ok", risk]
        warehouse.con.execute(
            "insert into risk (asof_at, entity_key, component, model_version, status, risk_14d) values (?,?,?,?,?,?)",
            row,
        )
    found = population(warehouse.con, ASOF, POLICY, {"disk": "disk-1"})
    events = {part: at for part, at in zip(found.part.tolist(), found.event_at.tolist(), strict=True) if at is not None}
    assert events == {"a": (ASOF - timedelta(days=3)).replace(tzinfo=None)}
    assert not found.failed.any()
    assert np.isnat(population(warehouse.con, ASOF, POLICY, {"disk": "disk-2"}).event_at).all()


def test_drives_without_a_host_are_watched_while_they_are_read(home: Path) -> None:
    """Telemetry alone, no inventory: days count from the first to the last reading, and makes are told."""
    with Warehouse.open(home) as warehouse:
        part = dict.fromkeys(ENTITIES.names) | {"component": "disk", "entity_id": "Z300A", "model": "M"}
        warehouse.put_entities(pa.Table.from_pylist([part | {"simulated": False}], ENTITIES))
        for days_ago in (12, 3):
            day = ASOF - timedelta(days=days_ago)
            values = [day.date(), day + timedelta(days=1)]
            warehouse.con.execute(
                "insert into disk_day (day, entity_key, ingested_at, smart_9_raw) values (?, 1, ?, 9000)", values
            )
        found = population(warehouse.con, ASOF, POLICY, {})
    assert found.days.tolist() == [10.0]
    assert {name: values.tolist() for name, values in found.attributes.items()} == {
        "model": ["M"], "batch": ["M Z300"], "age": ["1 to 2 years"],
    }  # fmt: skip
