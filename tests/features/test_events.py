"""Who is asked about, and what became of them, where a component is watched by its events."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data.contracts import EVENTS, FAILURES, STAYS
from data.warehouse import Warehouse
from features import build

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    """An empty warehouse."""
    with Warehouse.open(tmp_path) as opened:
        yield opened


def at(days: float) -> datetime:
    """So many days after the start."""
    return START + days * DAY


def day(number: int) -> date:
    """The day that ends so many days after the start."""
    return (START + (number - 1) * DAY).date()


def stay(warehouse: Warehouse, name: str, begins: float, ends: float | None = None) -> None:
    """A GPU that sits in a host of its own for so long."""
    row = {
        "component": "gpu", "entity_id": name, "model": "K20X", "host_id": f"host of {name}",
        "valid_from": at(begins), "valid_until": None if ends is None else at(ends),
    }  # fmt: skip
    warehouse.put_stays(pa.Table.from_pylist([row], STAYS))


def fail(warehouse: Warehouse, name: str, when: float, known: float | None = None) -> None:
    """A GPU fails, and it is known then or later."""
    row = {
        "component": "gpu", "entity_id": name, "failed_at": at(when),
        "ingested_at": at(when if known is None else known), "cause": "dbe",
    }  # fmt: skip
    warehouse.put_failures(pa.Table.from_pylist([row], FAILURES))


def event(warehouse: Warehouse, name: str, kind: str, when: float) -> None:
    """Something is told of a GPU."""
    row = {
        "component": "gpu", "entity_id": name, "observed_at": at(when), "ingested_at": at(when), "kind": kind,
        "value": None, "detail": None,
    }  # fmt: skip
    warehouse.put_events(pa.Table.from_pylist([row], EVENTS))


def asked(warehouse: Warehouse, number: int) -> dict[str, dict[str, Any]]:
    """The rows of the spine at the end of a day, by entity."""
    rows = build.spine(warehouse.con, "gpu", [day(number)]).to_pylist()
    return {row["entity_id"]: row for row in rows}


def fate(warehouse: Warehouse, number: int, known: float) -> dict[str, dict[str, Any]]:
    """What became of those asked about at the end of a day, by entity."""
    spine = build.spine(warehouse.con, "gpu", [day(number)])
    names = dict(zip(spine["entity_key"].to_pylist(), spine["entity_id"].to_pylist(), strict=True))
    rows = build.labels(warehouse.con, "gpu", spine, at(known)).to_pylist()
    return {names[row["entity_key"]]: row for row in rows}


def test_an_entity_is_asked_about_while_it_sits_in_a_host(warehouse: Warehouse) -> None:
    """From the day it is put in to the day it is taken out, also where it never says a word."""
    stay(warehouse, "a", 0)
    stay(warehouse, "b", 5, 20)
    event(warehouse, "a", "xid", 9.5)
    assert set(asked(warehouse, 4)) == {"a"}
    assert set(asked(warehouse, 10)) == {"a", "b"}
    assert set(asked(warehouse, 21)) == {"a"}


def test_a_failed_entity_is_not_asked_about_until_it_returns(warehouse: Warehouse) -> None:
    """Down from its failure on, until it is told to have returned or is put in again."""
    for name in ("a", "b"):
        stay(warehouse, name, 0, 12 if name == "b" else None)
        fail(warehouse, name, 10)
    assert asked(warehouse, 11) == {}
    event(warehouse, "a", "returned", 12)
    stay(warehouse, "b", 13)
    assert set(asked(warehouse, 13)) == {"a", "b"}


def test_a_failure_is_not_known_before_it_has_arrived(warehouse: Warehouse) -> None:
    """A failure that is reported a week late leaves the entity among those asked about until then."""
    stay(warehouse, "a", 0)
    fail(warehouse, "a", 10, known=17)
    event(warehouse, "a", "xid", 9)
    assert set(asked(warehouse, 11)) == {"a"}
    assert asked(warehouse, 18) == {}


def test_silence_of_all_makes_everyone_unknown(warehouse: Warehouse) -> None:
    """While others speak a quiet entity is well; when nothing was told for a month it is unknown."""
    stay(warehouse, "a", 0)
    stay(warehouse, "b", 0)
    event(warehouse, "b", "xid", 10)
    assert asked(warehouse, 12)["a"]["status"] == "ok"
    assert asked(warehouse, 42)["a"]["reason"] == "stale_telemetry"
    stay(warehouse, "c", 41)
    assert asked(warehouse, 42)["a"]["status"] == "ok"


def test_a_new_entity_is_unknown_for_a_week(warehouse: Warehouse) -> None:
    """As long as it has sat nowhere for a week its history is too short."""
    stay(warehouse, "a", 0)
    stay(warehouse, "b", 20)
    event(warehouse, "a", "xid", 21.5)
    assert asked(warehouse, 22)["b"]["reason"] == "too_little_history"


def test_an_entity_taken_out_unfailed_is_censored_then(warehouse: Warehouse) -> None:
    """It was seen to live until it was taken out, and a failure in a later stay says nothing of this one."""
    stay(warehouse, "a", 0, 14)
    stay(warehouse, "a", 20)
    stay(warehouse, "b", 0)
    fail(warehouse, "a", 25)
    event(warehouse, "b", "xid", 60)
    of = fate(warehouse, 10, known=60)
    assert (of["a"]["failed_in_days"], of["a"]["observed_days"]) == (None, 4)
    assert of["b"]["observed_days"] == 50


def test_a_failure_that_ends_a_stay_is_a_failure(warehouse: Warehouse) -> None:
    """An entity that is taken out because it failed failed."""
    stay(warehouse, "a", 0, 14)
    fail(warehouse, "a", 14)
    assert fate(warehouse, 10, known=60)["a"]["failed_in_days"] == 4


def test_each_question_has_the_next_failure_of_a_repaired_entity(warehouse: Warehouse) -> None:
    """What fails, returns and fails again is asked about in between, with the failure that comes next."""
    stay(warehouse, "a", 0)
    for when in (10, 30):
        fail(warehouse, "a", when)
        event(warehouse, "a", "returned", when + 1)
    assert fate(warehouse, 8, known=60)["a"]["failed_in_days"] == 2
    assert fate(warehouse, 15, known=60)["a"]["failed_in_days"] == 15
    assert fate(warehouse, 15, known=25)["a"]["failed_in_days"] is None
    assert fate(warehouse, 15, known=25)["a"]["observed_days"] == 0


def test_stays_that_are_told_again_change_nothing(warehouse: Warehouse) -> None:
    """A stay is held once; its end is taken when it becomes known."""
    stay(warehouse, "a", 0)
    stay(warehouse, "a", 0)
    stay(warehouse, "a", 0, 9)
    held = warehouse.con.execute("select valid_from, valid_until from entity_host").fetchall()
    assert held == [(at(0), at(9))]


@pytest.mark.parametrize("component", build.components())
def test_every_component_makes_the_features_that_are_asked_for(warehouse: Warehouse, component: str) -> None:
    """Every other one, and a name that is none: those that there are come, in their order."""
    wanted = build.feature_names(component)[::2]
    rows = build.spine(warehouse.con, component, [day(3)])
    made = build.frame(warehouse.con, component, rows, names={*wanted, "no_such_feature"})
    assert made.column_names == [*rows.column_names, *wanted]
