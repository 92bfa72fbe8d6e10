"""Changes kept are those that the days spell out, in whatever order the days came."""

from datetime import date, timedelta
from random import Random

import pytest
from drives import START, Reading, histories, put
from hypothesis import given, settings
from hypothesis import strategies as st

from data.quality import check
from data.snapshots import empty

CHANGES = """
    select entity_id, disk_change.* exclude (entity_key, version) from disk_change join entity using (entity_key)
    order by all"""


def changes_of(batches: list[list[Reading]]) -> list[tuple[object, ...]]:
    with empty() as con:
        for batch in batches:
            put(con, batch)
        assert not [found for found in check(con) if found.severity == "error"]
        return con.execute(CHANGES).fetchall()


@settings(max_examples=8, deadline=None)
@given(histories(), st.randoms())
def test_any_order_of_arrival_gives_the_same_changes(readings: list[Reading], random: Random) -> None:
    """One batch, a batch for every few days, and shuffled batches with repeats end in the same changes."""
    days = sorted({r.day for r in readings})
    in_order = [[r for r in readings if r.day in days[start : start + 3]] for start in range(0, len(days), 3)]
    mixed = random.sample(readings, len(readings))
    shuffled = [mixed[start::4] for start in range(4)] + [mixed[:2]]
    whole = changes_of([readings])
    assert changes_of(in_order) == whole
    assert changes_of(shuffled) == whole


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_drive_that_is_marked_failed_on_several_days_failed_on_the_first(order: tuple[int, ...]) -> None:
    """Whichever of the days arrives first, and however often."""
    days = [Reading("A", START + timedelta(days=n), 0, 0, failure=int(n > 0)) for n in range(3)]
    with empty() as con:
        for n in (*order, *order):
            put(con, [days[n]])
        failures = con.execute("select failed_at, ingested_at from failure").fetchall()
    assert failures == [(days[1].ingested_at, days[1].ingested_at)]


@settings(max_examples=3, deadline=None)
@given(histories())
def test_changes_do_not_depend_on_how_many_are_worked_out_at_once(readings: list[Reading]) -> None:
    """All drives together or nearly one by one, from nothing or going on from what is held: the same changes."""
    halves = [[r for r in readings if r.day.day % 2 == odd] for odd in (0, 1)]
    whole = changes_of([readings])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data.changes._ROWS_AT_ONCE", 2)
        assert changes_of([readings]) == whole
        assert changes_of(halves) == whole


def test_totals_count_what_happened() -> None:
    """Running totals tell changes, their last day, the first day above zero and the largest rise."""
    values = [0, 0, 3, 3, 2, 10]
    days = [Reading("A", date(2020, 1, 1) + timedelta(days=i), v, None) for i, v in enumerate(values)]
    with empty() as con:
        put(con, days)
        newest = con.execute(
            "select smart_5_raw, smart_5_changes, smart_5_changed_on, smart_5_nonzero_on, smart_5_max_rise, first_day "
            "from disk_change order by from_day desc limit 1"
        ).fetchone()
    assert newest == (10, 3, days[5].day, days[2].day, 8, days[0].day)


def test_a_day_of_a_clock_that_was_not_set_is_set_aside() -> None:
    """Of readings from before any drive told of itself nothing is held; what comes beside them is."""
    with empty() as con:
        put(
            con,
            [Reading("A", date(15, 3, 31), 0, 0), Reading("A", START, 0, 0), Reading("B", date(1999, 12, 31), 0, 0)],
        )
        assert con.execute("select entity_id, day from disk_day join entity using (entity_key)").fetchall() == [
            ("A", START)
        ]
        said = con.execute("select reason, detail from quarantine order by detail").fetchall()
    assert said == [("bad_time", "the day is 0015-03-31"), ("bad_time", "the day is 1999-12-31")]
