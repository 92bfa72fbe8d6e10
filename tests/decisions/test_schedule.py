"""The calendar of budgets: never more at once than allowed, and no time lost to work that waits for its window."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from decisions.policy import load
from decisions.schedule import Calendar
from tests.decisions.fleets import ASOF

LIMITS = replace(load().limits, hosts_at_once_per_fleet=3, hosts_at_once_per_rack=1, live_moves_at_once_per_target=4)


def test_work_that_waits_for_a_window_leaves_the_time_before_it_to_others() -> None:
    """A host that starts tomorrow holds its rack tomorrow: one that needs ten minutes goes now."""
    calendar = Calendar(ASOF, LIMITS)
    calendar.hold("r1", {}, until_seconds=90_000, from_seconds=86_400)
    assert calendar.earliest_seconds("r1", {}, 600) == 0
    assert calendar.earliest_seconds("r1", {}, 86_401) == 90_000


def test_an_order_under_way_counts_from_its_start_or_from_now() -> None:
    """What was to start an hour ago may last its whole time still."""
    calendar = Calendar(ASOF, LIMITS)
    calendar.hold_open("r1", {}, ASOF.replace(year=2025), 300)
    assert calendar.earliest_seconds("r1", {}, 60) == 300


works = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.dictionaries(st.sampled_from("xy"), st.integers(1, 2), max_size=2),
        st.integers(1, 500),
        st.integers(0, 1000),
    ),
    max_size=25,
)


@given(works)
def test_no_budget_is_ever_exceeded(asked: list[tuple[str, dict[str, int], int, int]]) -> None:
    """At every start, fleet, rack and targets carry no more than they may, and nobody starts before they asked to."""
    calendar, given_ = Calendar(ASOF, LIMITS), []
    for rack, targets, seconds, not_before in asked:
        begins = calendar.earliest_seconds(rack, targets, seconds, not_before)
        assert begins >= not_before
        calendar.hold(rack, targets, begins + seconds, begins)
        given_.append((rack, targets, begins, begins + seconds))
    for _, _, moment, _ in given_:
        together = [work for work in given_ if work[2] <= moment < work[3]]
        assert len(together) <= 3
        assert all(sum(work[0] == rack for work in together) <= 1 for rack in "abc")
        assert all(sum(work[1].get(target, 0) for work in together) <= 4 for target in "xy")
