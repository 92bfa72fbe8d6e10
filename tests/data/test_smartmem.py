"""SmartMem logs become events of DIMMs, once, and what cannot be believed is set aside with its reason."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pytest

from data.sources import smartmem
from data.sources.smartmem import burst, load, read
from data.warehouse import Warehouse

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROW: dict[str, Any] = {
    "LogTime": 1_718_031_248, "CpuId": 0, "ChannelId": 1, "DimmId": 0, "RankId": 0, "BankgroupId": 1, "BankId": 2,
    "RowId": 53_266, "ColumnId": 216, "deviceID": 7.0, "error_type_full_name": "CE.READ", "Capacity": 32,
    "Manufacturer": "B", "Model": "H", "PN": "BH",
    "burst_info": "{'0': [60], '1': [62], '2': [60, 62], '3': []}",
}  # fmt: skip


def log(folder: Path, *changes: dict[str, Any], name: str = "sn_1") -> Path:
    """A file with one row for each set of changes."""
    path = folder / f"{name}.feather"
    feather.write_feather(pa.Table.from_pylist([ROW | change for change in changes]), path)
    return path


def test_a_row_becomes_an_event_with_its_address(tmp_path: Path) -> None:
    """Time, DIMM, address parts, access and burst arrive as told; the DIMM learns its make and size."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        load(warehouse, log(tmp_path, {}, {"error_type_full_name": "CE.SCRUB", "deviceID": None}), now=NOW)
        rows = warehouse.con.execute(
            "select entity_id, epoch(observed_at), errors, scrub, rank, device, bank_group, bank, row_number, "
            "column_number, dqs, beats, bits from memory_error join entity using (entity_key) order by scrub"
        ).fetchall()
        assert rows == [
            ("sn_1", 1_718_031_248, 1, False, 0, 7, 1, 2, 53_266, 216, 2, 3, 4),
            ("sn_1", 1_718_031_248, 1, True, 0, None, 1, 2, 53_266, 216, 2, 3, 4),
        ]
        assert warehouse.con.execute("select model, capacity_bytes from entity").fetchall() == [("B-H-BH", 32 * 2**30)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"LogTime": -5}, "bad_time"),
        ({"LogTime": 4_000_000_000}, "future_date"),
        ({"RowId": -1}, "bad_value"),
        ({"error_type_full_name": "NOTICE"}, "unknown_error_type"),
    ],
)
def test_a_bad_row_is_set_aside_and_the_rest_is_loaded(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    """It stands in quarantine once, however often the file is sent."""
    path = log(tmp_path, {}, change)
    with Warehouse.open(tmp_path / "home") as warehouse:
        for loaded in (1, 0):
            done = load(warehouse, path, now=NOW)
            assert (done.rows_read, done.rows_loaded, done.rows_duplicate, done.rows_quarantined) == (
                2, loaded, 1 - loaded, 1,
            )  # fmt: skip
        assert warehouse.con.execute("select reason from quarantine").fetchall() == [(reason,)]


def test_an_uncorrected_error_is_a_failure(tmp_path: Path) -> None:
    """It labels the DIMM with the cause `ue` and is no corrected error."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        load(warehouse, log(tmp_path, {"error_type_full_name": "UE.READ"}), now=NOW)
        assert warehouse.con.execute("select cause from failure").fetchall() == [("ue",)]
        assert warehouse.con.execute("select count(*) from event").fetchall() == [(0,)]


@pytest.mark.parametrize("kind", ["text", "columns"])
def test_a_file_that_is_none_is_set_aside_whole(tmp_path: Path, kind: str) -> None:
    """A damaged file, or one that lacks a column, loads nothing and says why."""
    path = tmp_path / "sn_1.feather"
    if kind == "text":
        path.write_text("this is no Feather file")
    else:
        feather.write_feather(pa.table({"LogTime": [1]}), path)
    with Warehouse.open(tmp_path / "home") as warehouse:
        assert load(warehouse, path, now=NOW).rows_loaded == 0
        (reason,) = warehouse.con.execute("select reason from quarantine").fetchone() or ("",)
    assert reason == {"text": "unreadable_file", "columns": "missing_required_column"}[kind]


@pytest.mark.parametrize("told", [None, "", "nonsense", "{'0': []}", "[1]"])
def test_a_burst_that_is_not_told_has_no_counts(told: str | None) -> None:
    """Nothing is made up where nothing can be read."""
    assert burst(told) == {}


@pytest.mark.real
def test_the_sample_loads_whole_and_once(real: Path, tmp_path: Path) -> None:
    """Every published row is an error at its second, and the same files again change nothing."""
    files = sorted((real / "memory" / "smartmem_sample").glob("*.feather"))
    frames = {file.stem: pd.DataFrame(feather.read_table(file).to_pandas()) for file in files}
    with Warehouse.open(tmp_path / "home") as warehouse:
        done = [load(warehouse, file, now=NOW) for file in files]
        again = [load(warehouse, file, now=NOW) for file in files]
        held = warehouse.con.execute(
            "select entity_id, min(epoch(observed_at)), max(epoch(observed_at)), count(distinct observed_at), "
            "count(distinct row_number) from memory_error join entity using (entity_key) group by 1"
        ).fetchall()
    assert sum(one.rows_read for one in done) == sum(map(len, frames.values())) == 10_092
    assert sum(one.rows_quarantined for one in done) == 0
    assert sum(one.rows_loaded for one in again) == 0
    assert {name: tuple(rest) for name, *rest in held} == {
        name: (f.LogTime.min(), f.LogTime.max(), f.LogTime.nunique(), f.RowId.nunique()) for name, f in frames.items()
    }


@pytest.mark.real
def test_rows_that_are_left_out_of_the_sample_repeat_one_that_is_kept(real: Path) -> None:
    """Of one second and one DIMM only rows that are alike in everything that is kept count once."""
    logs = [read(file) for file in sorted((real / "memory" / "smartmem_sample").glob("*.feather"))]
    kept = {(row.entity_id, row.observed_at, tuple(sorted(row.detail.items()))) for one in logs for row in one.rows}
    assert sum(len(one.rows) for one in logs) - len(kept) < 20
    assert {".feather"} == smartmem.SUFFIXES
