"""What a decision is told of the fleet: of every host its risk as a whole, and its VMs' size."""

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from data.contracts import HORIZON_DAYS, VMS
from data.errors import InputError, UsageError
from data.warehouse import Warehouse
from decisions.rest import residents
from decisions.risk import host_risks
from pipelines import situation
from tests.facts import DAY, entities, events, hosts, vms

NAMES = [f"h{number:02d}" for number in range(30)]
VERSIONS = {"disk": "1"}


@pytest.fixture
def warehouse(home: Path) -> Iterator[Warehouse]:
    """Thirty hosts with four drives and three VMs each, some of them in sets; every seventh drive is unknown."""
    with Warehouse.open(home) as opened:
        housed = vms(**{f"{name}-v{k}": name for name in NAMES for k in range(3)}).to_pylist()
        grouped = [{**row, "availability_set": f"s{nth % 7}"} for nth, row in enumerate(housed)]
        parts = entities(**{f"{name}-d{k}": name for name in NAMES for k in range(4)})
        opened.put_inventory(hosts(*NAMES), pa.Table.from_pylist(grouped, VMS), parts, DAY)
        tell(opened)
        yield opened


def tell(warehouse: Warehouse) -> None:
    """Put a risk of every drive into the warehouse."""
    dice = random.Random(7)  # noqa: S311
    for entity_key, entity_id in warehouse.con.execute("select entity_key, entity_id from entity").fetchall():
        known = entity_key % 7 > 0
        curve = sorted(dice.random() / 10 for _ in HORIZON_DAYS) if known else [None] * len(HORIZON_DAYS)
        reasons = '[{"feature": "smart_5", "value": 1, "contribution": 1}]' if entity_id.startswith("h00") else None
        row = [DAY, entity_key, "disk", "1", "ok" if known else "unknown", None, *curve, reasons]
        warehouse.con.execute("insert into risk values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def test_a_hosts_risk_as_a_whole_is_that_of_its_parts(warehouse: Warehouse) -> None:
    """Worked out by the database, it is what the parts one by one make of it, to the last bit."""
    found, closer, versions = situation.summaries(warehouse.con, DAY, DAY, VERSIONS)
    whole = host_risks(situation.risks(warehouse.con, DAY, DAY, VERSIONS))
    assert {name: risk.curve for name, risk in found.items()} == {name: whole[name].curve for name in found}
    assert {name: risk.makes for name, risk in found.items()} == {name: whole[name].makes for name in found}
    assert closer == {name for name, risk in whole.items() if risk.unknown} | {"h00"}
    assert closer | found.keys() == whole.keys()
    assert versions == {"1"}


def test_what_the_vms_of_hosts_take_is_told_without_them(warehouse: Warehouse) -> None:
    """Room taken is told of all hosts, members of availability sets of those sets that are asked about."""
    told = situation.vms(warehouse.con, DAY, {"h03"})
    assert told.keys() == {"h03"}
    found, whole = situation.residents(warehouse.con, DAY, told), residents(situation.vms(warehouse.con, DAY))
    assert found.taken == whole.taken
    asked = {vm.availability_set for vm in told["h03"]}
    assert {name: sorted(members) for name, members in found.sets.items()} == {
        name: sorted(members) for name, members in whole.sets.items() if name in asked
    }
    assert situation.homes(warehouse.con, DAY, {"h03-v1", "h09-v0"}) == {"h03", "h09"}


def test_why_there_is_nothing_to_decide_on_is_said(warehouse: Warehouse) -> None:
    """Drives without a host, a day that was not scored, and a fleet that fell silent are told apart."""
    scored, unscored = (situation.undecidable(warehouse.con, at, VERSIONS) for at in (DAY, DAY + timedelta(days=1)))
    warehouse.con.execute(
        "insert into disk_day by name select $day::date as day, 1 as entity_key, now() as ingested_at", {"day": DAY}
    )
    heard, silent = (situation.undecidable(warehouse.con, DAY + timedelta(days=n), VERSIONS) for n in (15, 16))
    assert [type(error) for error in (scored, unscored, heard, silent)] == [
        UsageError,
        UsageError,
        UsageError,
        InputError,
    ]
    assert "120 entities have a risk" in str(scored)
    assert f"foreshock score disk --on {DAY:%Y-%m-%d}" in str(unscored)
    assert f"is of {DAY.date()}: no drive counts as live" in str(silent)


def test_a_fleet_watched_by_events_alone_has_telemetry(warehouse: Warehouse) -> None:
    """Its newest event is its newest evidence, once it has arrived; where drives are judged, their readings are."""
    warehouse.put_events(events(1.0))
    asked = DAY + timedelta(hours=5)
    assert situation.telemetry_at(warehouse.con, asked, {"memory"}) == DAY
    assert situation.telemetry_at(warehouse.con, asked, {"gpu"}) is None
    assert situation.telemetry_at(warehouse.con, DAY - timedelta(hours=1), {"memory"}) is None
    assert situation.telemetry_at(warehouse.con, asked, {"memory", "disk"}) is None
