"""When work may start: windows, notice, and what an urgent risk is spared."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decisions.domain import WEEKDAYS, Action, HostRisk, StartRule, Window
from decisions.policy import Pool, load
from decisions.risk import host_risks
from decisions.windows import Start, earliest, opening, start
from tests.decisions.fleets import risk

POLICY = load()
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
WEEKEND = Window(("sat", "sun"), 0.0, 24.0)
NIGHT = Window(("mon",), 22.0, 6.0)


def pool(window: Window = WEEKEND, **notice: float) -> Pool:
    """A pool with that window, and notice of 15 minutes usually, 5 at least."""
    windows = replace(POLICY.windows, **vars(window))
    return replace(POLICY.of("c1"), windows=windows, notice=replace(POLICY.notice, **notice))


def whole(risk_30d: float) -> HostRisk:
    """The risk of a host with one drive."""
    return host_risks([risk("h1", risk_30d)])["h1"]


def at_once(at: datetime) -> datetime:
    """Budgets that are always free."""
    return at


def begin(
    holds: Pool, risk_30d: float = 0.2, free: Callable[[datetime], datetime] = at_once, days: float = 30
) -> Start:
    """When a live migration starts whose owners are told on Monday at midnight."""
    expires_at = MONDAY + timedelta(days=days)
    return start(Action.LIVE_MIGRATE, whole(risk_30d), MONDAY, expires_at, ("c1", holds), free)


@pytest.mark.parametrize(
    ("window", "at", "opens"),
    [
        (WEEKEND, MONDAY, datetime(2026, 3, 7, tzinfo=UTC)),
        (WEEKEND, datetime(2026, 3, 8, 23, 59, tzinfo=UTC), datetime(2026, 3, 8, 23, 59, tzinfo=UTC)),
        (NIGHT, MONDAY, datetime(2026, 3, 2, 22, tzinfo=UTC)),
        (NIGHT, datetime(2026, 3, 3, 5, 59, tzinfo=UTC), datetime(2026, 3, 3, 5, 59, tzinfo=UTC)),
        (NIGHT, datetime(2026, 3, 3, 6, tzinfo=UTC), datetime(2026, 3, 9, 22, tzinfo=UTC)),
        (None, MONDAY, MONDAY),
    ],
)
def test_a_window_opens_on_its_days_and_past_midnight(window: Window | None, at: datetime, opens: datetime) -> None:
    """Weekends, and Monday nights until Tuesday at six; the moment of closing is closed."""
    assert opening(window, at) == opens


@given(
    st.sets(st.sampled_from(WEEKDAYS), min_size=1),
    st.integers(0, 23),
    st.integers(1, 24),
    st.integers(0, 14 * 24 * 60),
)
def test_an_opening_is_never_early_and_always_open(days: set[str], begins: int, ends: int, minutes: int) -> None:
    """The opening is not before the moment, within a week, and itself in the window."""
    window = Window(tuple(days), float(begins), float(ends if ends != begins else 24))
    at = MONDAY + timedelta(minutes=minutes)
    opens_at = opening(window, at)
    assert at <= opens_at <= at + timedelta(days=7)
    assert opening(window, opens_at) == opens_at


def test_work_waits_for_the_window_after_the_notice() -> None:
    """Told at midnight on Monday, moves of a weekend pool start on Saturday; where it is open, after the notice."""
    calm = begin(pool(), risk_30d=0.1)
    assert calm.at == datetime(2026, 3, 7, tzinfo=UTC)
    assert calm.rule == StartRule(15.0, WEEKEND)
    assert calm.said == ()
    assert begin(POLICY.of("c1")).at == MONDAY + timedelta(minutes=15)


def test_an_urgent_risk_ignores_the_window_and_says_so() -> None:
    """A host that probably fails before Saturday is emptied now, and the reason names chance, opening and limit."""
    urgent = begin(pool(), risk_30d=0.9)
    assert urgent.at == MONDAY + timedelta(minutes=15)
    assert urgent.rule.window is None
    assert urgent.said == (
        (
            "Urgent: the maintenance window of pool c1 opens at Sat 2026-03-07 00:00 UTC, and by then it fails with a "
            "chance of 34%; policy waits below 5% only."
        ),
    )


def test_budgets_that_push_past_the_window_wait_for_the_next_one() -> None:
    """Free only when Monday's window has closed: the start is the next Monday's, not in between."""

    def busy(at: datetime) -> datetime:
        return max(at, datetime(2026, 3, 3, 7, tzinfo=UTC))

    assert begin(pool(NIGHT), risk_30d=0.01, free=busy).at == datetime(2026, 3, 9, 22, tzinfo=UTC)


def test_the_minimum_notice_is_not_the_usual_one() -> None:
    """Owners get fifteen minutes, and five only where the host is likely to fail within the fifteen; it is said."""
    assert begin(POLICY.of("c1")).rule.notice_minutes == 15.0
    hurried = begin(pool(Window(WEEKDAYS, 0.0, 24.0), urgent_risk=0.0001))
    assert hurried.rule.notice_minutes == 5.0
    assert "owners get 5 min" in hurried.said[0]


def test_an_interruption_is_told_longer_ahead_than_a_pause() -> None:
    """As shipped, evacuations are announced an hour ahead, live moves a quarter of one, and neither ever at once."""
    notice = POLICY.notice
    assert (notice.evacuate_usual_minutes, notice.live_migrate_usual_minutes) == (60, 15)
    assert notice.evacuate_minimum_minutes > notice.live_migrate_minimum_minutes > 0


def test_a_late_telling_moves_the_start() -> None:
    """The rule that the proposal keeps gives notice and window from whenever the order is made."""
    saturday = datetime(2026, 3, 7, 10, tzinfo=UTC)
    assert earliest(StartRule(60.0, WEEKEND), saturday) == saturday + timedelta(hours=1)
    assert earliest(StartRule(60.0, WEEKEND), MONDAY) == datetime(2026, 3, 7, tzinfo=UTC)
    assert earliest(StartRule(), MONDAY) == MONDAY
