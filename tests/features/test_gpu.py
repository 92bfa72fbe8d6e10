"""GPU features are those that pandas computes from the stays and the errors that had arrived."""

import math
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.contracts import EVENTS, FAILURES, STAYS
from data.snapshots import empty
from data.warehouse import Warehouse
from features import build

START = datetime(2016, 1, 1, tzinfo=UTC)
GRACE = timedelta(hours=build.GRACE_HOURS)
SLOTS = ("c0-0c0s0n0", "c0-0c0s0n1", "c0-0c1s0n0", "c1-0c0s0n0")

Stay = tuple[str, int, str, float, float | None, float]
"""Row: serial, number, slot, from day, until day (an error then), days after which the error was known."""


def at(days: float) -> datetime:
    """So many days after the start, to the second."""
    return START + timedelta(seconds=round(days * 86_400))


@st.composite
def histories(draw: st.DrawFn) -> list[Stay]:
    """GPUs of two batches that go through slots one after the other, each stay but the last ended by an error."""
    found: list[Stay] = []
    for number in range(draw(st.integers(1, 5))):
        serial, day = f"{'A' if number % 2 else 'B'}0001{number:03d}", float(draw(st.integers(0, 40)))
        for _ in range(draw(st.integers(0, 3))):
            ends = day + draw(st.floats(1, 60, width=32))
            late = draw(st.sampled_from([0.0, 0.0, 30.0]))
            found.append((serial, number, draw(st.sampled_from(SLOTS)), day, ends, late))
            day = ends + draw(st.integers(1, 10))
        found.append((serial, number, draw(st.sampled_from(SLOTS)), day, None, 0.0))
    return found


def put(warehouse: Warehouse, stays: list[Stay]) -> None:
    """The stays, and an error at the end of each that has one."""
    told = [
        {"component": "gpu", "entity_id": serial, "model": "K20X", "host_id": slot, "valid_from": at(begins),
         "valid_until": None if ends is None else at(ends)}
        for serial, _, slot, begins, ends, _ in stays
    ]  # fmt: skip
    errors = [
        {"component": "gpu", "entity_id": serial, "failed_at": at(ends), "ingested_at": at(ends + late), "cause": "dbe"}
        for serial, _, _, _, ends, late in stays
        if ends is not None
    ]
    warehouse.put_stays(pa.Table.from_pylist(told, STAYS))
    warehouse.put_failures(pa.Table.from_pylist(errors, FAILURES))


def oracle(stays: list[Stay], serial: str, asof: datetime) -> dict[str, float]:
    """Features of a GPU at a moment, the slow and obvious way."""
    rows = [
        (s, slot, at(begins), at(9e4) if ends is None else at(ends), ends, late)
        for s, _, slot, begins, ends, late in stays
    ]
    table = pd.DataFrame(rows, columns=["serial", "slot", "begins", "until", "ends", "late"])
    errors = table[table.ends.notna()]
    known = [
        u <= asof and at(e + late) <= asof + GRACE
        for u, e, late in zip(errors.until, errors.ends, errors.late, strict=True)
    ]
    errors = errors[pd.Series(known, index=errors.index, dtype=bool)]
    own = table[(table.serial == serial) & (table.begins <= asof)].sort_values("begins")
    slot = own.slot.iloc[-1]
    batch = table[table.serial.str[:-3] == serial[:-3]]
    sited = batch[(batch.begins <= asof) & (batch.until > asof)].serial.nunique()
    lately = errors[errors.until > asof - timedelta(days=90)]
    of_batch = (lately.serial.str[:-3] == serial[:-3]).sum()
    first = table.groupby("serial").begins.min().dt.date
    wave = table[table.serial.map(first) == first[serial]]
    of_wave = errors[(errors.until > asof - timedelta(days=365)) & (errors.serial.map(first) == first[serial])]
    wave_sited = wave[(wave.begins <= asof) & (wave.until > asof)].serial.nunique()
    fleet = table[(table.begins <= asof) & (table.until > asof)].serial.nunique()
    since = (asof - errors[errors.slot == slot].until.max()).total_seconds() / 86_400
    since_own = (asof - errors[errors.serial == serial].until.max()).total_seconds() / 86_400
    return {
        "wave_gpus": wave_sited,
        "wave_failure_rate_365d": (len(of_wave) + 20 * 0.03) / (wave_sited + 20),
        "fleet_failure_rate_90d": len(lately) / fleet * 365 / 90,
        "cage_errors_90d": (lately.slot.str[:-4] == slot[:-4]).sum(),
        "days_since_slot_error": since,
        "days_since_gpu_error": since_own,
        "double_bit_errors": (errors.serial == serial).sum(),
        "off_the_bus": 0,
        "stays": len(own),
        "gpu_age_days": (asof - own.begins.min()).total_seconds() / 86_400,
        "slot_days": (asof - own.begins.max()).total_seconds() / 86_400,
        "errors": (errors.serial == serial).sum(),
        "slot_errors": (errors.slot == slot).sum(),
        "slot_errors_90d": (lately.slot == slot).sum(),
        "blade_errors": (errors.slot.str[:-2] == slot[:-2]).sum(),
        "cage_errors": (errors.slot.str[:-4] == slot[:-4]).sum(),
        "cabinet_errors": (errors.slot.str[:-6] == slot[:-6]).sum(),
        "batch_gpus": sited,
        "batch_failure_rate_90d": (of_batch + 20 * 0.03 * 90 / 365) / (sited + 20) * 365 / 90,
        "cage": int(slot[5]),
        "cabinet_column": int(slot[1]),
    }


@settings(max_examples=15, deadline=None)
@given(histories())
def test_features_equal_the_oracle_whenever_they_are_asked(stays: list[Stay]) -> None:
    """Of each GPU in a slot, at several moments, with errors that became known late; the first is always told."""
    with empty() as con:
        warehouse = Warehouse.__new__(Warehouse)
        warehouse.con = con
        put(warehouse, stays)
        days = [(at(day) - timedelta(days=1)).date() for day in (30, 80, 150)]
        rows = build.frame(con, "gpu", build.spine(con, "gpu", days)).to_pylist()
    for row in rows:
        expected = oracle(stays, row["entity_id"], row["asof_at"])
        found = {name: math.nan if row[name] is None else row[name] for name in expected}
        assert found == pytest.approx(expected, rel=1e-5, nan_ok=True), row["entity_id"]
        assert row[build.feature_names("gpu")[0]] is not None


@settings(max_examples=10, deadline=None)
@given(histories(), st.sampled_from([30, 80, 150]))
def test_later_facts_change_no_feature(stays: list[Stay], day: int) -> None:
    """What begins, ends or becomes known after a moment and its grace leaves that moment's features as they were."""

    def features(told: list[Stay]) -> list[dict[str, object]]:
        with empty() as con:
            warehouse = Warehouse.__new__(Warehouse)
            warehouse.con = con
            put(warehouse, told)
            asked = build.spine(con, "gpu", [(at(day) - timedelta(days=1)).date()])
            rows = build.frame(con, "gpu", asked).drop_columns(["entity_key"]).to_pylist()
        return sorted(rows, key=lambda row: str(row["entity_id"]))

    horizon = day + GRACE / timedelta(days=1)
    begun = [one for one in stays if one[3] <= day]
    unended = [one if one[4] is None or one[4] <= day else (*one[:4], None, 0.0) for one in begun]
    unheard = [one if one[4] is None or one[4] + one[5] <= horizon else (*one[:5], 9_000.0) for one in unended]
    assert features(unheard) == features(stays)


def test_errors_that_the_driver_logged_are_counted() -> None:
    """Xid codes of the last day, week and month, and the last of them."""
    events = [
        {"component": "gpu", "entity_id": "g", "observed_at": at(day), "ingested_at": at(day), "kind": "xid",
         "value": code, "detail": None}
        for day, code in ((1, 31.0), (20, 48.0), (29.5, 79.0))
    ]  # fmt: skip
    with empty() as con:
        warehouse = Warehouse.__new__(Warehouse)
        warehouse.con = con
        put(warehouse, [("g", 0, "host-1", 0, None, 0.0)])
        warehouse.put_events(pa.Table.from_pylist(events, EVENTS))
        (row,) = build.frame(con, "gpu", build.spine(con, "gpu", [(at(30) - timedelta(days=1)).date()])).to_pylist()
    assert [row[name] for name in ("xids_1d", "xids_7d", "xids_30d", "xid_codes_30d", "last_xid")] == [1, 1, 3, 3, 79]
    assert row["cage"] is None
    assert row["slot_errors"] == 0
