"""What decisions that chance had a part in came to: VMs followed from host to host, and the command that tells."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from data.contracts import FAILURES
from data.warehouse import Warehouse
from decisions.decide import decide
from decisions.domain import Proposal
from decisions.ledger import Ledger
from decisions.ledger.tried import Touched
from decisions.policy import load
from decisions.sections import Experiment
from pipelines import aftermath, cli
from tests.decisions.fleets import fleet
from tests.facts import DAY, entities, hosts, vms
from tests.pipelines.nights import hashes

POLICY = replace(load(), experiment=Experiment(share=1.0, most_extra_interruptions=10.0, seed=1), version="chance")
FORTNIGHT = timedelta(days=14)


def at(days: float) -> datetime:
    """So many days after the first picture."""
    return DAY + timedelta(days=days)


def failed(**when: float) -> pa.Table:
    """Drives that fail so many days after the first picture."""
    rows = [
        {"component": "disk", "entity_id": name, "failed_at": at(days), "ingested_at": at(days), "cause": "x"}
        for name, days in when.items()
    ]
    return pa.Table.from_pylist(rows, FAILURES)


def decided(host_id: str, days: float = 0.0) -> Proposal:
    """A decision about a host."""
    (one,) = decide(fleet(10, {"h003": 0.6}), POLICY).proposals
    return replace(one, host_id=host_id, asof_at=at(days))


def cost(warehouse: Warehouse, proposals: Sequence[Proposal], *touched: Touched) -> list[float]:
    """What they came to within a fortnight."""
    return aftermath.costs(warehouse.con, proposals, FORTNIGHT, touched, POLICY.costs)


@pytest.fixture
def warehouse(home: Path) -> Warehouse:
    """Three hosts with a drive each; v1 and v2 start on h1, and from the third day on v1 is on h2."""
    opened = Warehouse.open(home)
    parts = entities(d1="h1", d2="h2", d3="h3")
    opened.put_inventory(hosts("h1", "h2", "h3"), vms(v1="h1", v2="h1", w="h3"), parts, DAY)
    opened.put_inventory(hosts("h1", "h2", "h3"), vms(v1="h2", v2="h1", w="h3"), parts, at(3))
    return opened


def test_vms_are_followed_to_where_they_went(warehouse: Warehouse) -> None:
    """A failure of the old host meets who stayed, one of the new host who moved there; of others, nobody."""
    with warehouse:
        warehouse.put_failures(failed(d1=5, d2=6, d3=7), "test")
        assert cost(warehouse, [decided("h1"), decided("h3"), decided("h2")]) == [2.0, 1.0, 0.0]


def test_only_the_time_after_a_decision_counts(warehouse: Warehouse) -> None:
    """A failure before the moment asked, or a fortnight after it, is no cost of the decision."""
    with warehouse:
        warehouse.put_failures(failed(d1=5, d3=15), "test")
        assert cost(warehouse, [decided("h1", 6), decided("h3"), decided("h3", 2), decided("h1", 4)]) == [
            0,
            0,
            1,
            2 - 1,
        ]


def test_a_vm_that_an_order_took_off_is_spared_before_inventory_knows(warehouse: Warehouse) -> None:
    """v2 was redeployed half a day before its host failed: half an interruption, as policy weighs it."""
    with warehouse:
        warehouse.put_failures(failed(d1=5), "test")
        gone = Touched("v2", "h1", at(4.5), "redeployed", interrupted=True)
        late = replace(gone, at=at(5.5))
        assert cost(warehouse, [decided("h1")], gone) == [0.5]
        assert cost(warehouse, [decided("h1")], late) == [1.5]


@pytest.mark.parametrize(
    ("result", "interrupted", "weight"),
    [
        ("moved", False, 0.0),
        ("chosen", True, 0.1),
        ("paused", False, 0.02),
        ("failed", True, 1.0),
        ("stayed", False, 0.0),
    ],
)
def test_what_orders_do_counts_as_policy_weighs_it(
    warehouse: Warehouse, result: str, interrupted: bool, weight: float
) -> None:
    """A live move costs nothing, an owner's moment little, a move that fails a whole interruption."""
    with warehouse:
        touched = Touched("v2", "h1", at(1), result, interrupted)
        assert cost(warehouse, [decided("h1")], touched, replace(touched, vm_id="w")) == [weight]


def recorded(home: Path, nights: Sequence[float]) -> None:
    """A home with a ledger of nights that left ten hosts to chance, an inventory, and a drive that failed meanwhile."""
    names = [f"h{n:03d}" for n in range(100)]
    seen = fleet(100, {f"h{n:03d}": 0.2 for n in range(0, 100, 10)})
    with Warehouse.open(home) as warehouse:
        housed = vms(**{f"{name}-v{k}": name for name in names for k in range(4)})
        warehouse.put_inventory(hosts(*names), housed, entities(**{f"{name}-disk": name for name in names}), DAY)
        warehouse.put_failures(failed(**{"h010-disk": 3, "h011-disk": 3}), "test")
        last = at(20)
        warehouse.con.execute("insert into disk_day (entity_key, day, ingested_at) values (1, $1::date, $1)", [last])
        warehouse.publish()
    with Ledger(f"sqlite:///{home / 'ledger.db'}") as ledger:
        for night in nights:
            known = tuple(replace(one, asof_at=at(night)) for one in seen.risks)
            asked = replace(seen, asof_at=at(night), telemetry_at=at(night), risks=known)
            ledger.record(decide(asked, POLICY), at(night))


def told(capsys: pytest.CaptureFixture[str], first: date, last: date) -> dict[str, object]:
    """What the command answers."""
    assert cli.main(["value", "--from", str(first), "--to", str(last), "--json"]) == 0
    answer: dict[str, object] = json.loads(capsys.readouterr().out)
    return answer


def test_the_command_values_what_was_left_to_chance(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first decision of each draw counts, whatever days are asked for, once its time is over.."""
    monkeypatch.setenv("FORESHOCK_HOME", str(home))
    recorded(home, nights=(0, 1, 14))
    before, first = hashes(home), (DAY - timedelta(days=1)).date()
    found = told(capsys, first, first + timedelta(days=30))
    drawn = found["decisions"]
    assert isinstance(drawn, int)
    assert drawn >= 5
    assert (found["hosts"], found["repeated"], found["not_over"]) == (drawn, 2 * drawn, 0)
    assert (found["horizon_days"], found["simulated"]) == (14.0, True)
    policies = found["policies"]
    assert isinstance(policies, dict)
    assert {"as_decided", "cheapest", "least_protective", "monitor_where_open"} <= policies.keys()
    assert policies["as_decided"]["ips"]["value"] * drawn == pytest.approx(4.0)
    later = told(capsys, first + timedelta(days=1), first + timedelta(days=30))
    assert (later["decisions"], later["repeated"]) == (0, 2 * drawn)
    assert hashes(home) == before
    assert cli.main(["value", "--from", str(first), "--to", str(first + timedelta(days=30))]) == 0
    assert "over the cheapest" in capsys.readouterr().out


def test_without_an_experiment_there_is_nothing_to_value(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Days without a decision left to chance say how to have some; days in the wrong order are wrong usage."""
    monkeypatch.setenv("FORESHOCK_HOME", str(home))
    recorded(home, nights=())
    first = DAY.date()
    assert cli.main(["value", "--from", str(first), "--to", str(first)]) == 0
    assert "experiment.share" in capsys.readouterr().out
    assert cli.main(["value", "--from", str(first), "--to", str(first - timedelta(days=1)), "--json"]) == 2
    assert "no day" in capsys.readouterr().err
