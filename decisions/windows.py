"""When work on a host may start: inside its pool's maintenance window, and not before its owners have had notice."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from data.contracts import HORIZON_DAYS
from decisions.domain import WEEKDAYS, Action, HostRisk, StartRule, Window
from decisions.policy import Pool
from decisions.sections import Notice, Windows

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Start:
    """When work starts, by which rule, and what an urgent risk was spared."""

    at: datetime
    rule: StartRule
    said: tuple[str, ...]


def opening(window: Window | None, at: datetime) -> datetime:
    """The moment itself where the window is open or there is none, else when it opens next.

    A window belongs to the day on which it opens, also after midnight.
    """
    if window is None:
        return at
    passes_midnight = window.to_hour_utc <= window.from_hour_utc
    today = datetime.combine(at.astimezone(UTC).date(), time(), UTC)
    for midnight in (today + ahead * _DAY for ahead in range(-1, len(WEEKDAYS) + 1)):
        begins = midnight + timedelta(hours=window.from_hour_utc)
        ends = midnight + timedelta(hours=window.to_hour_utc, days=passes_midnight)
        if WEEKDAYS[midnight.weekday()] in window.days_utc and at < ends:
            return max(at, begins)
    msg = f"window {window} has no day"
    raise AssertionError(msg)


def earliest(rule: StartRule, told_at: datetime) -> datetime:
    """When work may start of which the owners are told at `told_at`."""
    return opening(rule.window, told_at + timedelta(minutes=rule.notice_minutes))


def start(
    action: Action,
    risk: HostRisk,
    told_at: datetime,
    expires_at: datetime,
    pool: tuple[str, Pool],
    free: Callable[[datetime], datetime],
) -> Start:
    """The first moment with notice given, the pool's window open and the budgets free; past `expires_at` any will do.

    The usual notice is given, and the minimum only where the host is likely to fail within the usual one: so the
    minimum does not become what owners get in practice. A window that a risk cannot wait for is ignored.

    Args:
        action: what takes VMs off the host or pauses them; offers to owners wait longer than any notice anyway.
        risk: the host's.
        told_at: when the owners are told.
        expires_at: when the prediction does.
        pool: the host's pool, and what holds there.
        free: the first moment from the given one at which the budgets are.
    """
    name, holds = pool
    minutes, hurried = _notice_minutes(action, risk, holds.notice)
    said = [hurried] if hurried else []
    window: Window | None = holds.windows.window
    at = told_at + timedelta(minutes=minutes)
    while True:
        opens_at = opening(window, at)
        waived = _waived(risk, told_at, opens_at, name, holds.windows) if opens_at > at else None
        if waived is not None:
            window, opens_at = None, at
            said.append(waived)
        at = free(opens_at)
        if at >= expires_at or opening(window, at) == at:
            return Start(at, StartRule(minutes, window), tuple(said))


def _notice_minutes(action: Action, risk: HostRisk, notice: Notice) -> tuple[float, str | None]:
    like = (
        Action.EVACUATE if action is Action.EVACUATE else Action.LIVE_MIGRATE
    )  # what else pauses, pauses as a live move
    least, usual = (float(getattr(notice, f"{like}_{kind}_minutes")) for kind in ("minimum", "usual"))
    meanwhile = risk.within(timedelta(minutes=usual) / _DAY)
    if usual == least or meanwhile < notice.urgent_risk:
        return usual, None
    return least, (
        f"Urgent: within the usual notice of {usual:g} min it fails with a chance of {meanwhile:.0%}, and policy waits "
        f"below {notice.urgent_risk:.0%} only; owners get {least:g} min."
    )


def _waived(risk: HostRisk, told_at: datetime, opens_at: datetime, pool: str, windows: Windows) -> str | None:
    """Why the risk does not wait for the window, or None."""
    meanwhile = risk.within(min((opens_at - told_at) / _DAY, float(HORIZON_DAYS[-1])))
    if meanwhile < windows.urgent_risk:
        return None
    return (
        f"Urgent: the maintenance window of pool {pool} opens at {opens_at:%a %Y-%m-%d %H:%M} UTC, and by then it "
        f"fails with a chance of {meanwhile:.0%}; policy waits below {windows.urgent_risk:.0%} only."
    )
