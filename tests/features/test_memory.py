"""Memory features are those that pandas computes from the errors that had arrived, whenever they are asked."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_errors import DAY, START, Ce, day, histories, put

from data.warehouse import Warehouse
from features import build

GRACE = timedelta(hours=12)
HOUR = timedelta(hours=1)
SPANS = {"15min": HOUR / 4, "1h": HOUR, "6h": 6 * HOUR, "1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
MODES = {"none": 0, "cell": 1, "row": 2, "column": 3, "bank": 4, "device": 5, "rank": 6}


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    """An empty warehouse."""
    with Warehouse.open(tmp_path) as opened:
        yield opened


def known(errors: list[Ce], asof: datetime) -> list[Ce]:
    """The errors that a question at `asof` may see."""
    ends = {one: replace(one, known=None).ingested_at for one in errors}
    return [
        one for one in errors
        if one.at < asof and (one.ingested_at <= asof or (ends[one] <= asof and one.ingested_at <= ends[one] + GRACE))
    ]  # fmt: skip


def worst(frame: pd.DataFrame, by: list[str], what: list[str]) -> int:
    """Of all groups, the most distinct values of a part; of several parts the fewer."""
    told = frame.dropna(subset=[part for part in ("row", "column") if {"row", "column"} & {*by, *what}] + what)
    if told.empty:
        return 0
    grouped = told.groupby(by, dropna=False) if by else told.assign(one=1).groupby("one")
    return int(pd.concat([grouped[part].nunique() for part in what], axis=1).min(axis=1).max())


def spreads(month: pd.DataFrame) -> dict[str, float | None]:
    """How far a month's errors spread, the slow and obvious way; each row of `month` is one report."""
    bank, both = ["device", "bank"], not (month.row.isna().all() or month.column.isna().all())
    cells = month.dropna(subset=["row", "column"])
    per_cell = cells.groupby([*bank, "row", "column"], dropna=False).size()
    return {
        "cell_reports_30d": (int(per_cell.max()) if len(per_cell) else 0) if both else None,
        "row_columns_30d": worst(month, [*bank, "row"], ["column"]) if both else None,
        "column_rows_30d": worst(month, [*bank, "column"], ["row"]) if both else None,
        "bank_spread_30d": worst(month, bank, ["row", "column"]) if both else None,
        "device_banks_30d": None if month.bank.isna().all() else worst(month, ["device"], ["bank"]),
        "rank_devices_30d": None if month.device.isna().all() else worst(month, [], ["device"]),
        "cells_30d": len(cells[[*bank, "row", "column"]].drop_duplicates()) if both else None,
        "rows_30d": None if month.row.isna().all()
        else len(month.dropna(subset=["row"])[[*bank, "row"]].drop_duplicates()),
        "banks_30d": None if month.bank.isna().all()
        else len(month.dropna(subset=["bank"])[bank].drop_duplicates()),
        "devices_30d": None if month.device.isna().all() else month.device.nunique(),
    }  # fmt: skip


def mode(spread: dict[str, float | None]) -> int:
    """The fault mode that these spreads spell."""
    of = {name: value or 0 for name, value in spread.items()}
    for name, feature, least in (
        ("rank", "rank_devices_30d", 3),
        ("device", "device_banks_30d", 3),
        ("bank", "bank_spread_30d", 3),
    ):
        if of[feature] >= least:
            return MODES[name]
    if of["column_rows_30d"] >= 2 and of["column_rows_30d"] > of["row_columns_30d"]:
        return MODES["column"]
    if of["row_columns_30d"] >= 2:
        return MODES["row"]
    return MODES["cell"] if of["cell_reports_30d"] >= 2 else MODES["none"]


def oracle(errors: list[Ce], asof: datetime) -> dict[str, float | None]:
    """Features of one DIMM at `asof`."""
    seen = pd.DataFrame([vars(one) for one in known(errors, asof)], columns=list(Ce.__dataclass_fields__))
    age = asof - pd.to_datetime(seen["at"], utc=True)
    answer: dict[str, float | None] = {f"errors_{name}": seen.errors[age <= span].sum() for name, span in SPANS.items()}
    answer["errors_growth_7d"] = answer["errors_7d"] - seen.errors[(age > 7 * DAY) & (age <= 14 * DAY)].sum()  # type: ignore[operator]
    for name, span in (("15min", HOUR / 4), ("1h", HOUR)):
        ending = [seen.errors[(age >= one) & (age <= one + span)].sum() for one in age]
        for back in (1, 7):
            inside = [total for total, one in zip(ending, age, strict=True) if one <= back * DAY]
            answer[f"storm_{name}_{back}d"] = max(inside, default=0)
    answer["days_since_first_error"] = age.max() / DAY if len(seen) else None
    answer["days_since_last_error"] = age.min() / DAY if len(seen) else None
    month = seen[age <= 30 * DAY]
    answer["error_days_30d"] = pd.to_datetime(month["at"], utc=True).dt.date.nunique()
    answer["burst_bits_max_30d"], answer["burst_bits_mean_30d"] = month.bits.max(), month.bits.mean()
    told = month[month.scrub.notna()]
    answer["scrub_share_30d"] = told.errors[told.scrub == True].sum() / told.errors.sum() if len(told) else None  # noqa: E712
    if len(month):
        found = spreads(month)
        untold = all(month[part].isna().all() for part in ("row", "column", "bank", "device"))
        answer |= found | {"fault_mode": None if untold else mode(found)}
    else:
        answer |= {"fault_mode": 0, "cell_reports_30d": 0, "rank_devices_30d": 0, "cells_30d": 0}
    return answer


def numbers(values: dict[str, float | None]) -> dict[str, float]:
    """The values with NaN for what is not known."""
    return {name: float("nan") if value is None or pd.isna(value) else float(value) for name, value in values.items()}


def asked(warehouse: Warehouse, *days: int) -> dict[tuple[str, datetime], dict[str, float | None]]:
    """The features of all DIMMs at the ends of some days."""
    rows = build.frame(
        warehouse.con, "memory", build.spine(warehouse.con, "memory", [day(n) for n in days])
    ).to_pylist()
    return {(row["entity_id"], row["asof_at"]): row for row in rows}


@settings(max_examples=25, deadline=None)
@given(histories())
def test_features_equal_the_oracle_whenever_they_are_asked(errors: list[Ce]) -> None:
    """Late errors and untold address parts included, each day's features are those of what had arrived by then.

    The first of them is always told.
    """
    distinct = list({(one.dimm, one.at, one.detail, one.errors): one for one in errors}.values())
    with tempfile.TemporaryDirectory() as folder, Warehouse.open(Path(folder)) as warehouse:
        put(warehouse, distinct, ("a", "b"))
        got = asked(warehouse, 1, 7, 20, 40)
    assert len(got) == 8
    for (dimm, asof), features in got.items():
        expected = oracle([one for one in distinct if one.dimm == dimm], asof)
        assert features[build.feature_names("memory")[0]] is not None
        assert numbers({name: features[name] for name in expected}) == pytest.approx(
            numbers(expected), rel=1e-5, nan_ok=True
        )


@settings(max_examples=15, deadline=None)
@given(histories(), st.deferred(lambda: st.sets(st.sampled_from(build.feature_names("memory")), max_size=6)))
def test_features_asked_for_by_name_are_those_of_the_whole_frame(errors: list[Ce], names: set[str]) -> None:
    """Whichever are asked for, they have the values that they have among all, and stand in the same order."""
    with tempfile.TemporaryDirectory() as folder, Warehouse.open(Path(folder)) as warehouse:
        put(warehouse, errors, ("a", "b"))
        rows = build.spine(warehouse.con, "memory", [day(7), day(20)])
        whole = build.frame(warehouse.con, "memory", rows)
        made = build.frame(warehouse.con, "memory", rows, names=names)
    assert made.equals(whole.select([name for name in whole.column_names if name in {*rows.column_names, *names}]))


@settings(max_examples=15, deadline=None)
@given(histories())
def test_what_arrives_later_changes_no_answer_about_the_past(errors: list[Ce]) -> None:
    """Features as of a day are the same before and after later errors and late arrivals are loaded."""
    asof = START + 20 * DAY
    distinct = list({(one.dimm, one.at, one.detail, one.errors): one for one in errors}.values())
    answers = []
    for held in (known(distinct, asof), distinct):
        with tempfile.TemporaryDirectory() as folder, Warehouse.open(Path(folder)) as warehouse:
            put(warehouse, held, ("a", "b"))
            table = build.frame(warehouse.con, "memory", build.spine(warehouse.con, "memory", [day(20)]))
            answers.append(table.select(["entity_id", *build.feature_names("memory")]).sort_by("entity_id"))
    assert answers[0] == answers[1]


def test_a_storm_across_midnight_is_one_storm(warehouse: Warehouse) -> None:
    """Its errors before midnight count with those after it, though only the latter fall into the last day."""
    begins = START + 9 * DAY - timedelta(minutes=6)
    put(warehouse, [Ce(begins + timedelta(minutes=n), errors=2) for n in range(12)])
    features = asked(warehouse, 10)["d", START + 10 * DAY]
    assert features["errors_1d"] == 12
    assert features["storm_15min_1d"] == 24


def test_no_error_is_no_fault_and_no_word_is_no_knowledge(warehouse: Warehouse) -> None:
    """A quiet DIMM counts zero; one whose errors tell no address has counts and no fault mode."""
    put(warehouse, [Ce(START + 5 * DAY + HOUR, dimm="b", device=None, bank=None, row=None, column=None)], ("a", "b"))
    got = asked(warehouse, 6)
    quiet, mute = got["a", START + 6 * DAY], got["b", START + 6 * DAY]
    assert (quiet["errors_30d"], quiet["fault_mode"], quiet["cells_30d"], quiet["burst_bits_max_30d"]) == (
        0,
        0,
        0,
        None,
    )
    assert (mute["errors_30d"], mute["fault_mode"], mute["cells_30d"], mute["row_columns_30d"]) == (1, None, None, None)


@pytest.mark.parametrize("name", ["cell", "row", "column", "bank", "device", "rank"])
def test_each_planted_fault_mode_is_told_from_its_addresses(warehouse: Warehouse, name: str) -> None:
    """Errors that share what a fault of that mode shares are called by it."""
    varies = {"cell": (), "row": ("column",), "column": ("row",), "bank": ("row", "column"),
              "device": ("bank", "row", "column"), "rank": ("device", "bank", "row", "column")}[name]  # fmt: skip
    put(warehouse, [Ce(START + n * HOUR, **dict.fromkeys(varies, n)) for n in range(5)])  # type: ignore[arg-type]
    assert asked(warehouse, 1)["d", START + DAY]["fault_mode"] == MODES[name]
