"""A small world of drives, as tables, for tests that need no warehouse."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.sources import backblaze
from data.warehouse import Warehouse
from models import examples, holdout, spec
from models.calibrate import Calibration, earned
from models.checked import Held, calibrated, check
from models.examples import Fate
from models.learning import Learned, boost
from models.predictor import Predictor
from models.slices import Members
from models.spec import Spec
from models.train import Trained
from models.windows import Windows, end_of

DAY_ZERO = date(2016, 1, 1)
NAMES = ("smart_5", "smart_187", "smart_188", "smart_197", "smart_198", "power_on_days")


@pytest.fixture(scope="session")
def small_spec() -> Spec:
    """The disk spec with a booster small enough for tests."""
    full = spec.load("disk")
    quick: Mapping[str, float | int | str | bool] = {
        **full.lightgbm,
        "num_leaves": 7,
        "min_data_in_leaf": 20,
        "learning_rate": 0.1,
    }
    raw = replace(full.raw, values=NAMES, trees=10)
    return replace(full, rounds=25, boosters=2, threads=1, lightgbm=quick, raw=raw)


def drives(rows: int, seed: int) -> tuple[pa.Table, Fate]:
    """A feature table of drives whose pending sectors foretell failures, and what became of each."""
    random = np.random.default_rng(seed)
    pending = np.where(random.random(rows) < 0.1, random.integers(1, 40, rows), 0).astype(float)
    chance = 0.01 + 0.5 * (pending > 5)
    failed_in = np.where(random.random(rows) < chance, random.integers(1, 31, rows).astype(float), np.nan)
    asof = end_of(date(2015, 6, 1))
    columns = {
        "entity_key": pa.array(np.arange(rows), pa.int32()),
        "entity_id": pa.array([f"Z{i}" for i in range(rows)]),
        "asof_at": pa.array([asof] * rows, pa.timestamp("us", tz="UTC")),
        "status": pa.array(["ok"] * rows),
        "reason": pa.nulls(rows, pa.string()),
        "smart_5": pa.array(random.poisson(0.05, rows).astype(float)),
        "smart_187": pa.nulls(rows, pa.float64()),
        "smart_188": pa.array(np.full(rows, np.inf)),
        "smart_197": pa.array(pending),
        "smart_198": pa.array(np.zeros(rows)),
        "power_on_days": pa.array(random.uniform(0, 2000, rows)),
    }
    return pa.table(columns), Fate(failed_in, np.full(rows, 60.0), np.full(rows, np.nan))


@pytest.fixture(scope="session")
def world() -> tuple[pa.Table, Fate]:
    """Four thousand drives on one day."""
    return drives(4000, 1)


@pytest.fixture(scope="session")
def trained(small_spec: Spec) -> Trained:
    """A whole training result on synthetic tables: what the registry is given."""
    table, fate = drives(4000, 2)
    values = examples.matrix(table, NAMES)
    failed, _ = fate.within(14)
    learned = Learned(
        NAMES,
        values,
        failed,
        np.ones(failed.size),
        table.slice(0, 50).select(list(NAMES)),
        "0" * 64,
        rows=failed.size,
        positives=int(failed.sum()),
    )
    draft = Predictor(
        "disk", "unregistered", "2015-08-01", small_spec, NAMES, boost(learned, small_spec), Calibration(())
    )
    later, later_fate = drives(4000, 3)
    score = draft.scores(examples.matrix(later, NAMES))
    rule = (later["smart_197"].to_numpy() > 0).astype(float)
    rows = np.arange(4000)
    members = Members(np.where(rows % 2, "M1", "M2").astype(object), later["power_on_days"].to_numpy())
    held = Held(rows, np.zeros(4000, dtype=np.int64), score, rule, np.zeros(4000), later_fate, members)
    calibration, seen = calibrated(held, small_spec), check(held, small_spec)
    judged = holdout.judge(held, calibration, seen, small_spec, compared=False)
    bought = earned(seen.outcomes.entity, seen.risk, seen.outcomes.failed)
    days = tuple(date(2015, 1, 1) + timedelta(days=7 * i) for i in range(10))
    return Trained(
        predictor=replace(draft, calibration=calibration, earned=bought),
        windows=Windows(14, days[:7], days[7:], days),
        until=date(2015, 8, 1),
        rows=4000,
        positives=int(learned.failed.sum()),
        metrics={**holdout.figures(judged), "shifted_gain": 0.1, "booster_megabytes": 0.1, "microseconds_a_row": 5.0},
        holdout=judged,
        sample=learned.sample,
        hashes={"spine_sha256": "0" * 64, "sql_sha256": "1" * 64},
    )


@pytest.fixture(scope="session")
def warehouse_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published warehouse: 400 drives over 140 days, a tenth of which grow pending sectors and then die."""
    folder = tmp_path_factory.mktemp("fleet")
    random = np.random.default_rng(5)
    rows: list[tuple[str, date, int, int]] = []
    for drive in range(400):
        dies = int(random.integers(20, 170)) if drive % 8 == 0 else 10_000
        for day in range(min(140, dies + 1)):
            pending = max(0, day - dies + 20) * 2
            rows.append((f"Z{drive:04d}", DAY_ZERO + timedelta(days=day), pending, int(day == dies)))
    serial, days, pending_sectors, failure = zip(*rows, strict=True)
    ones = pa.array([1] * len(rows), pa.int64())
    table = pa.table(
        {
            "date": pa.array(days, pa.date32()),
            "serial_number": pa.array(serial),
            "model": pa.array(["M"] * len(rows)),
            "capacity_bytes": pa.array([4_000_000_000_000] * len(rows), pa.int64()),
            "failure": pa.array(failure, pa.int64()),
            "smart_5_raw": pa.array([0] * len(rows), pa.int64()),
            "smart_9_raw": ones,
            "smart_194_raw": ones,
            "smart_197_raw": pa.array(pending_sectors, pa.int64()),
        }
    )
    pq.write_table(table, folder / "fleet.parquet")
    with Warehouse.open(folder) as warehouse:
        for _ in backblaze.load(warehouse, [folder / "fleet.parquet"]):
            pass
        warehouse.publish()
    return folder
