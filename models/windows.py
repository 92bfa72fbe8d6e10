"""When training asks: the days to learn from, the gap, and the later days to calibrate on."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from data.errors import ModelError
from models.spec import Spec

if TYPE_CHECKING:
    import duckdb

LEAST_FIT_DAYS: Final = 28
"""A fit window shorter than this makes the rank horizon, and with it the gap, shrink."""
LEAST_SPAN_DAYS: Final = 14
"""Fit and calibration windows together are never shorter than this."""
LEVEL_DAYS: Final = 7
"""The horizon whose labels tell today's level of failures: the shorter the sooner known, the longer the calmer."""
SNAPSHOTS_WANTED: Final = 8
"""A short window is asked about more often than the spec says, until it holds about this many snapshots."""


@dataclass(frozen=True)
class Windows:
    """When the two windows ask: days, each meant at its end."""

    rank_horizon_days: int
    fit_days: tuple[date, ...]
    calibration_days: tuple[date, ...]
    refit_days: tuple[date, ...]
    """What the served booster learns from once its way of learning has been measured: all whose labels are known."""
    newest_days: tuple[date, ...] = ()
    """After the calibration window and as dense, as far as a week's labels are known: they tell today's level."""


def plan(spec: Spec, first: date, until: date) -> Windows:
    """Return the windows for labels known by the end of `until` and data from `first` on.

    With little history the windows shrink: first the rank horizon (not below seven days), so that the gap leaves at
    least four weeks to learn from; then the calibration window, to a third of what the gap leaves.

    Raises:
        ModelError: too little history; the message says how many days are needed.
    """
    start = max(first, spec.not_before or first)
    last = until - timedelta(days=spec.longest_days)
    span = (last - start).days
    if until < start:
        held = f"the first day held is {first}"
        if start > first:
            held += f", and its spec learns from nothing before {start}"
        msg = f"cannot train {spec.component} until {until}: {held}; choose a later --until"
        raise ModelError(msg)
    choices = [days for days in spec.horizon_days if 7 <= days <= spec.rank_horizon_days] or [spec.rank_horizon_days]
    if span < choices[0] + LEAST_SPAN_DAYS:
        needed = spec.longest_days + choices[0] + LEAST_SPAN_DAYS
        msg = (
            f"cannot train {spec.component}: {(until - start).days} days of history from {start} to {until}, at least "
            f"{needed} are needed ({spec.longest_days} for the longest label, {choices[0]} for the gap, "
            f"{LEAST_SPAN_DAYS} to learn and calibrate); ingest more or choose a later --until"
        )
        raise ModelError(msg)
    if spec.rank_horizon_days not in choices:
        choices.append(spec.rank_horizon_days)
    rank = max((days for days in choices if span - days >= LEAST_FIT_DAYS), default=choices[0])
    window = min(spec.calibration_days, (span - rank) // 3)
    latest_fit = last - timedelta(days=window + rank)
    calibration_days = _backwards(last, last - timedelta(days=window), spec.snapshot_every_days)
    return Windows(
        rank_horizon_days=rank,
        fit_days=_backwards(latest_fit, start, spec.snapshot_every_days),
        calibration_days=calibration_days,
        refit_days=_backwards(until - timedelta(days=rank), start, spec.snapshot_every_days),
        newest_days=_onwards(calibration_days, until - timedelta(days=LEVEL_DAYS)),
    )


def _backwards(last: date, first: date, every_days: int) -> tuple[date, ...]:
    """Days from `last` backwards to `first`, in order of time, denser than asked where the window is short."""
    length = (last - first).days
    step = max(1, min(every_days, length // SNAPSHOTS_WANTED))
    return tuple(last - timedelta(days=back) for back in reversed(range(0, length + 1, step)))


def _onwards(days: tuple[date, ...], last: date) -> tuple[date, ...]:
    """Days after the last of `days`, as far apart as they are, up to `last`."""
    step = (days[-1] - days[-2]).days
    return tuple(days[-1] + timedelta(days=on) for on in range(step, (last - days[-1]).days + 1, step))


def end_of(day: date) -> datetime:
    """Return the moment a question "on `day`" is asked: the next midnight, UTC."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def first_day(con: "duckdb.DuckDBPyConnection", component: str) -> date:
    """Return the first day on which an entity of the component was seen, or sat in a host.

    Raises:
        ModelError: there is none.
    """
    found = con.execute(
        "select least(min(first_seen_on), min(valid_from)::date), count(distinct entity_key) "
        "from entity left join entity_host using (entity_key) where component = ?",
        [component],
    ).fetchall()
    day: date | None = found[0][0]
    if day is None:
        msg = f"cannot train {component}: the warehouse knows of none; ingest telemetry and inventory first"
        if found[0][1]:
            msg = (
                f"cannot train {component}: none of the {found[0][1]} that the warehouse knows sits in a host; ingest "
                "an inventory that says where they are"
            )
        raise ModelError(msg)
    return day
