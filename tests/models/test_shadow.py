"""Risks told beside the champion's: what became of them decides whether a challenger may follow it."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.contracts import HORIZON_DAYS
from data.warehouse import Warehouse
from features import build
from models import examples
from models.gates import Gate
from models.score import SCHEMA
from models.shadow import Shadow, gate, shadow
from models.spec import load
from models.windows import end_of
from tests.models.conftest import DAY_ZERO

DISK = load("disk")
DISK = replace(DISK, gates=replace(DISK.gates, budgets=(0.02,), least_positives=5))
NIGHTS = [DAY_ZERO + timedelta(days=day) for day in (60, 74, 88)]
LATER = end_of(DAY_ZERO + timedelta(days=139))


@pytest.fixture
def warehouse(warehouse_home: Path, tmp_path: Path) -> Iterator[Warehouse]:
    """A copy of the small fleet, to write risks into."""
    shutil.copytree(warehouse_home, tmp_path / "home", symlinks=True)
    with Warehouse.open(tmp_path / "home") as opened:
        yield opened


def _tell(warehouse: Warehouse, version: str, *, backwards: bool = False) -> None:
    """Store the risks of a model that believes in pending sectors, or in their absence."""
    for night in NIGHTS:
        frame = build.frame(warehouse.con, "disk", build.spine(warehouse.con, "disk", [night]))
        pending = np.nan_to_num(examples.doubles(frame, "smart_197"))
        risk = np.clip(0.01 + pending / 100, 0, 0.99)
        risk = 1 - risk if backwards else risk
        rows = frame.num_rows
        columns = {
            "asof_at": frame["asof_at"],
            "entity_key": frame["entity_key"],
            "entity_id": frame["entity_id"],
            "host_id": pa.nulls(rows, pa.string()),
            "component": pa.array(["disk"] * rows),
            "model_version": pa.array([version] * rows),
            "status": pa.array(["ok"] * rows),
            "reason": pa.nulls(rows, pa.string()),
            "factors": pa.nulls(rows, pa.string()),
            **{f"risk_{days}d": pa.array(risk) for days in HORIZON_DAYS},
        }
        warehouse.put_risks(pa.table([columns[name] for name in SCHEMA.names], names=SCHEMA.names).cast(SCHEMA))


def _gate(warehouse: Warehouse, known_until: datetime = LATER) -> tuple[Shadow, Gate]:
    seen = shadow(warehouse.con, DISK, ("2", "1"), known_until)
    return seen, gate(seen, DISK)


def test_a_challenger_that_told_as_well_may_follow(warehouse: Warehouse) -> None:
    """The same risks have no gap, on every night that is over."""
    _tell(warehouse, "1")
    _tell(warehouse, "2")
    seen, found = _gate(warehouse)
    assert seen.days == tuple(NIGHTS)
    assert seen.failing_entities >= 5
    assert seen.over_champion["average_precision"].value == 0
    assert found.passed


def test_a_challenger_that_told_the_opposite_is_kept_out(warehouse: Warehouse) -> None:
    """The gate fails beyond the interval, and says on how many nights."""
    _tell(warehouse, "1")
    _tell(warehouse, "2", backwards=True)
    _, found = _gate(warehouse)
    assert not found.passed
    assert found.sentence.startswith("on 3 nights told beside the champion, average precision is -")


def test_nights_that_are_not_over_do_not_count(warehouse: Warehouse) -> None:
    """What was told less than the longest horizon ago is left out, however well it is known by now."""
    _tell(warehouse, "1")
    _tell(warehouse, "2")
    seen, _ = _gate(warehouse, end_of(NIGHTS[1] + timedelta(days=30)))
    assert seen.days == tuple(NIGHTS[:2])


def test_nights_that_only_one_model_told_of_do_not_count(warehouse: Warehouse) -> None:
    """Without a common night nothing is held against the challenger, and the sentence says so."""
    _tell(warehouse, "1")
    seen, found = _gate(warehouse)
    assert (seen.days, seen.rows) == ((), 0)
    assert found.passed
    assert "0 entities failed of those told of on 0 nights that are over" in found.sentence
