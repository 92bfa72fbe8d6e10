"""Disk features are those that pandas computes from the readings that had arrived."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from drives import START, Reading, histories, put
from hypothesis import given, settings
from hypothesis import strategies as st

from data.snapshots import empty
from features.build import added, feature_names, fleet, fleet_lately, frame, labels, spine, statements
from features.history import WINDOW_DAYS

GRACE = timedelta(hours=12)


def known(readings: list[Reading], asof: datetime) -> list[Reading]:
    """The readings that a question at `asof` may see."""
    return [
        r for r in readings
        if datetime.combine(r.day, datetime.min.time(), UTC) + timedelta(days=1) <= asof
        and r.ingested_at <= max(asof, datetime.combine(r.day, datetime.min.time(), UTC) + timedelta(days=1) + GRACE)
    ]  # fmt: skip


def oracle(readings: list[Reading], asof: datetime) -> dict[str, dict[str, float | None]]:
    """Features of each drive at `asof`, the slow and obvious way."""
    answers: dict[str, dict[str, float | None]] = {}
    seen = pd.DataFrame([vars(r) for r in known(readings, asof)])
    if seen.empty:
        return answers
    for drive, days in seen.groupby("entity_id"):
        history = days.sort_values("day").set_index("day")
        last = history.index.max()
        if (asof.date() - timedelta(days=1) - last).days > 14:
            continue
        answer: dict[str, float | None] = {"observed_days": (last - history.index.min()).days + 1}
        for stem in ("smart_5", "smart_187"):
            values = history[stem].astype("Float64")
            moves = values.diff()
            moved = moves.fillna(0) != 0
            answer[stem] = values.iloc[-1]
            answer[f"{stem}_per_year"] = (
                np.float32(values.iloc[-1] * 365.0 / (100 / 24.0 + 30)) if pd.notna(values.iloc[-1]) else None
            )
            for window in WINDOW_DAYS:
                before = values[values.index <= last - timedelta(days=window)]
                answer[f"{stem}_rise_{window}d"] = values.iloc[-1] - before.iloc[-1] if len(before) else None
                if window >= 7:
                    answer[f"{stem}_changes_{window}d"] = (
                        int(moved[moved.index > last - timedelta(days=window)].sum()) if len(before) else None
                    )
            answer[f"{stem}_days_since_change"] = (last - moved[moved].index.max()).days if moved.any() else None
            positive = values[(values > 0).fillna(False)]
            answer[f"{stem}_days_since_nonzero"] = (last - positive.index.min()).days if len(positive) else None
            answer[f"{stem}_max_rise"] = max(0.0, float(moves.max())) if moves.notna().any() else 0.0
        answers[str(drive)] = {k: None if v is None or pd.isna(v) else float(v) for k, v in answer.items()}
    return answers


@settings(max_examples=12, deadline=None)
@given(histories(late=True))
def test_features_equal_the_oracle_whenever_they_are_asked(readings: list[Reading]) -> None:
    """Late, vanished and falling readings included, each day's features are those of what had arrived by then.

    The first of them is always told.
    """
    days = [START + timedelta(days=n) for n in (0, 5, 12, 20, 26)]
    with empty() as con:
        for moment in sorted({r.ingested_at for r in readings}):
            put(con, [r for r in readings if r.ingested_at == moment])
        rows = frame(con, "disk", spine(con, "disk", days)).to_pylist()
    for day in days:
        asof = datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=1)
        expected = oracle(readings, asof)
        got = {row["entity_id"]: row for row in rows if row["asof_at"] == asof}
        assert got.keys() == expected.keys()
        for drive, features in expected.items():
            assert {name: got[drive][name] for name in features} == features
            assert got[drive][feature_names("disk")[0]] is not None


@settings(max_examples=25, deadline=None)
@given(histories(late=True), st.deferred(lambda: st.sets(st.sampled_from(feature_names("disk")), max_size=12)))
def test_features_asked_for_by_name_are_those_of_the_whole_frame(readings: list[Reading], names: set[str]) -> None:
    """Whichever are asked for, they have the values that they have among all, and stand in the same order."""
    with empty() as con:
        put(con, readings)
        rows = spine(con, "disk", [START + timedelta(days=n) for n in (5, 20)])
        whole = frame(con, "disk", rows)
        made = frame(con, "disk", rows, names=names)
    assert made.equals(whole.select([name for name in whole.column_names if name in {*rows.column_names, *names}]))


def test_the_failure_rate_of_a_model_is_what_was_known_then() -> None:
    """Failures of other drives of the model count from the moment they had arrived, for as long as the window is."""
    fleet = [Reading(f"D{n}", START + timedelta(days=day), 0, 0) for n in range(20) for day in range(50)]
    dead = [
        Reading("X", START + timedelta(days=5), 0, 0, failure=1),
        Reading("Y", START + timedelta(days=5), 0, 0, failure=1, late_hours=24 * 10),
    ]
    days = [START + timedelta(days=n) for n in (4, 6, 20, 45)]
    with empty() as con:
        put(con, [*fleet, *dead])
        rows = [row for row in frame(con, "disk", spine(con, "disk", days)).to_pylist() if row["entity_id"] == "D0"]
    assert {row["model_drives"] for row in rows} == {20}

    def rate(failures: int, days: int) -> float:
        return (failures + 100 * 0.0365 * days / 365) / 120 * 365 / days

    assert [row["model_failure_rate_30d"] for row in rows] == pytest.approx([rate(n, 30) for n in (0, 1, 2, 0)])
    assert [row["model_failure_rate_90d"] for row in rows] == pytest.approx([rate(n, 90) for n in (0, 1, 2, 2)])


def test_a_day_that_has_come_in_part_is_counted_on_the_day_before() -> None:
    """How many drives a model has is told by the newest day that has half the readings of the fullest."""
    fleet_of_20 = [Reading(f"D{n}", START + timedelta(days=day), 0, 0) for n in range(20) for day in range(30)]
    first = [Reading("D3", START + timedelta(days=30), 0, 0)]
    with empty() as con:
        put(con, fleet_of_20)
        put(con, first)

        def drives(day: int, *, at_night: bool) -> set[float | None]:
            asked = START + timedelta(days=day)
            counts = fleet_lately(lambda days: fleet(con, "disk", days), asked) if at_night else None
            rows = frame(con, "disk", spine(con, "disk", [asked]), counts)
            return set(rows["model_drives"].to_pylist())

        assert drives(30, at_night=False) == {1}
        assert drives(31, at_night=False) == {None}
        assert [drives(day, at_night=True) for day in (0, 29, 30, 31)] == [{20}] * 4


def test_windows_end_where_they_say_however_long_the_history() -> None:
    """Of half a year of changes, one 90 days and one 91 days before, days asked at both ends and gaps between."""
    moved = {"A": (1, 30, 79, 80, 81, 169), "B": (80,), "C": (78, 79), "D": (170,), "E": ()}
    readings = [
        Reading(drive, START + timedelta(days=n), sum(n >= day for day in days) * 3, None)
        for drive, days in moved.items()
        for n in range(0 if drive != "E" else 160, 171)
        if drive != "D" or n not in range(100, 165)
    ]
    days = [START + timedelta(days=n) for n in (2, 100, 169, 170)]
    with empty() as con:
        put(con, readings)
        rows = frame(con, "disk", spine(con, "disk", days)).to_pylist()
        one_by_one = [row for day in days for row in frame(con, "disk", spine(con, "disk", [day])).to_pylist()]
    assert one_by_one == rows
    for day in days:
        asof = datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=1)
        got = {row["entity_id"]: row for row in rows if row["asof_at"] == asof}
        for drive, features in oracle(readings, asof).items():
            assert {name: got[drive][name] for name in features} == features


def test_an_earlier_belief_keeps_its_first_day() -> None:
    """A reading before all others that comes weeks later makes a drive older from then on, and not before."""
    told = [Reading("A", START + timedelta(days=n), n // 2, 0) for n in range(9)]
    first = Reading("A", START - timedelta(days=5), 0, 0, late_hours=24 * 20)
    days = [START + timedelta(days=n) for n in (4, 8, 20)]
    with empty() as con:
        put(con, told)
        before = spine(con, "disk", days).select(["asof_at", "history_days", "status"]).to_pylist()
        put(con, [first])
        after = spine(con, "disk", days)
        rows = frame(con, "disk", after).to_pylist()
    assert [row["history_days"] for row in before] == [5, 9, 9]
    assert after["history_days"].to_pylist() == [5, 9, 14]
    assert after["status"].to_pylist() == ["unknown", "ok", "unknown"]
    assert [row["observed_days"] for row in rows] == [5, 9, 14]


def test_packed_counters_are_taken_apart() -> None:
    """A number that holds three counters of 16 bits is given as the three."""
    with empty() as con:
        put(con, [Reading("A", START, 0, 0)])
        con.execute("update disk_current set smart_188_raw = 3 + 5 * 65536 + 7 * 4294967296")
        row = frame(con, "disk", spine(con, "disk", [START])).to_pylist()[0]
    assert [row[f"smart_188_{word}_word"] for word in ("low", "middle", "high")] == [3, 5, 7]


def test_a_row_that_arrives_later_is_not_seen_earlier() -> None:
    """A question about the past gives the same answer after a late reading has rewritten that past."""
    early = [Reading("A", START + timedelta(days=n), 0, 0) for n in (0, 1, 3, 4)]
    late = Reading("A", START + timedelta(days=2), 7, 0, late_hours=24 * 10)
    day = START + timedelta(days=4)
    with empty() as con:
        put(con, early)
        before = frame(con, "disk", spine(con, "disk", [day])).to_pylist()
        put(con, [late])
        after = frame(con, "disk", spine(con, "disk", [day])).to_pylist()
        much_later = frame(con, "disk", spine(con, "disk", [day + timedelta(days=10)])).to_pylist()
    assert after == before
    assert before[0]["smart_5_max_rise"] == 0
    assert much_later[0]["smart_5_max_rise"] == 7


def test_a_published_day_joins_every_belief() -> None:
    """After a late reading, published days before and after it are seen at their own ends all the same."""
    with empty() as con:
        put(con, [Reading("A", START + timedelta(days=10), 3, 0, late_hours=24 * 300)])
        put(con, [Reading("A", START + timedelta(days=9), 1, 0), Reading("A", START + timedelta(days=11), 7, 0)])
        days = [START + timedelta(days=n) for n in (9, 10, 11, 330)]
        rows = frame(con, "disk", spine(con, "disk", days, lookback_days=400)).to_pylist()
    assert [(row["smart_5"], row["smart_5_changes_7d"]) for row in rows] == [(1, None), (1, None), (7, None), (7, None)]
    assert [row["smart_5_max_rise"] for row in rows] == [0, 0, 6, 4]


def test_a_reading_of_a_clock_that_stood_wrong_is_no_history() -> None:
    """A drive whose first reading is of long ago is told of from its next one on, and its neighbours as ever."""
    long_ago = date(1960, 5, 1)
    with empty() as con:
        put(con, [Reading("A", START, 2, 0), Reading("B", long_ago, 3, 0)])
        put(con, [Reading("B", START, 3, 0), Reading("C", START, 4, 0)])
        rows = frame(con, "disk", spine(con, "disk", [START])).to_pylist()
    told = {row["entity_id"]: (row["smart_5"], row["smart_5_rise_90d"], row["observed_days"]) for row in rows}
    assert told == {"A": (2, None, 1), "B": (3, None, 1), "C": (4, None, 1)}


def test_a_failure_reported_later_is_not_known_before() -> None:
    """A drive whose failure was reported a week late is live until then, and no label before that says it failed."""
    readings = [Reading("A", START + timedelta(days=n), 0, 0) for n in range(5)]
    dead = Reading("A", START + timedelta(days=5), 0, 0, failure=1, late_hours=24 * 7)
    with empty() as con:
        put(con, [*readings, dead])
        asked = spine(con, "disk", [START + timedelta(days=n) for n in (3, 7, 14)])
        assert [row["last_day"] for row in asked.to_pylist()] == [START + timedelta(days=n) for n in (3, 4)]
        early = labels(con, "disk", asked, datetime(2020, 1, 9, tzinfo=UTC))["failed_in_days"].to_pylist()
        later = labels(con, "disk", asked, datetime(2020, 1, 20, tzinfo=UTC))["failed_in_days"].to_pylist()
    assert early == [None, None]
    assert later == [2.0, None]


def test_a_reading_within_the_grace_counts_for_its_own_day() -> None:
    """A reading that comes an hour after midnight is evidence for the day it speaks of."""
    readings = [Reading("A", START, 0, 0), Reading("A", START + timedelta(days=1), 5, 0, late_hours=1)]
    with empty() as con:
        put(con, readings)
        rows = frame(con, "disk", spine(con, "disk", [START + timedelta(days=1)])).to_pylist()
    assert rows[0]["smart_5"] == 5


def test_labels_admit_what_is_not_known() -> None:
    """A failed drive has its day, a drive that left is seen only so long, and failures still to come are not known."""
    stays = [Reading("A", START + timedelta(days=n), 0, 0) for n in range(30)]
    leaves = [Reading("B", START + timedelta(days=n), 0, 0) for n in range(10)]
    fails = [Reading("C", START + timedelta(days=n), 0, 0, failure=int(n == 12)) for n in range(13)]
    with empty() as con:
        put(con, [*stays, *leaves, *fails])
        asked = spine(con, "disk", [START + timedelta(days=4)])
        later = datetime(2020, 1, 31, tzinfo=UTC)
        seen = labels(con, "disk", asked, later).to_pylist()
        got = {
            name: (row["failed_in_days"], round(row["observed_days"], 3))
            for name, row in zip(asked["entity_id"].to_pylist(), seen, strict=True)
        }
        unknown = labels(con, "disk", asked, datetime(2020, 1, 10, tzinfo=UTC))["failed_in_days"].to_pylist()
    assert got == {"A": (None, 25.0), "B": (None, 5.0), "C": (8.0, 8.0)}
    assert unknown == [None, None, None]


def test_emptying_a_real_host_makes_labels_uncertain_and_a_simulated_one_does_not() -> None:
    """From thirty days before asking on, an emptied host is in the label; simulated placement touches no drive."""
    with empty() as con:
        put(con, [Reading(drive, START + timedelta(days=n), 0, 0) for drive in "AB" for n in range(10)])
        con.execute(
            "insert into entity_host "
            "select entity_key, 'h' || entity_id, entity_id = 'B', '2019-01-01', null, true from entity"
        )
        emptied = "insert into mitigation select h, h, 'live_migrate', $at, $at from (values ('hA'), ('hB')) seats(h)"
        con.execute(emptied, {"at": datetime(2020, 1, 4, tzinfo=UTC)})
        asked = spine(con, "disk", [START + timedelta(days=4)])
        fates = labels(con, "disk", asked, datetime(2020, 1, 31, tzinfo=UTC)).to_pylist()
    assert [row["mitigated_in_days"] for row in fates] == [-2.0, None]


def test_the_dead_and_the_gone_are_not_asked_about() -> None:
    """A failed drive and one silent for over two weeks are not live; a silent week makes the risk unknown."""
    dead = [Reading("A", START, 0, 0, failure=1)]
    gone = [Reading("B", START, 0, 0)]
    silent = [Reading("C", START + timedelta(days=n), 0, 0) for n in range(13)]
    with empty() as con:
        put(con, [*dead, *gone, *silent])
        rows = spine(con, "disk", [date(2020, 1, 20)]).to_pylist()
    assert [(row["entity_id"], row["status"], row["reason"]) for row in rows] == [("C", "unknown", "stale_telemetry")]


def test_sampling_keeps_positives_and_weights_the_rest() -> None:
    """Every drive about to fail is kept, and the kept negatives stand for all of them."""
    drives = [Reading(f"D{n}", START, 0, 0, failure=0) for n in range(400)]
    doomed = [Reading("D0", START + timedelta(days=1), 0, 0, failure=1)]
    with empty() as con:
        put(con, [*drives, *doomed])
        rows = spine(con, "disk", [START], negative_share=0.25).to_pylist()
    weights = [row["weight"] for row in rows]
    assert rows[0]["entity_id"] == "D0"
    assert weights.count(1.0) == 1
    assert 300 < sum(weights) < 500


@given(histories(), histories())
@settings(max_examples=15, deadline=None)
def test_counts_of_two_parts_of_a_fleet_add_up_to_those_of_the_whole(some: list[Reading], more: list[Reading]) -> None:
    """Where the facts are kept in parts, what each counts makes up what one count of everything says."""
    others = [replace(reading, entity_id=f"other-{reading.entity_id}") for reading in more]
    days = [START + timedelta(days=back) for back in range(0, 40, 5)]
    counts = []
    for readings in (some, others, [*some, *others]):
        with empty() as con:
            put(con, readings)
            counts.append(fleet(con, "disk", days))
    assert added(counts[:2]).sort_by([("asof_at", "ascending")]).to_pylist() == counts[2].to_pylist()


def test_the_statement_can_be_shown() -> None:
    """`sql` gives one statement whose output columns are the features."""
    text = statements("disk")
    assert "{{" not in text
    assert "{%" not in text
    assert all(f" {name}" in text for name in feature_names("disk"))
