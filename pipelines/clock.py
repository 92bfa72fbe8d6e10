"""Whose time it is: a question on DATE is asked at the end of that day; without a date the settings say."""

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from data.errors import UsageError
from pipelines.settings import Settings

if TYPE_CHECKING:
    import duckdb

YEARS: Final = range(1970, 2200)
"""Years of which days can be asked about."""


def end_of(day: date) -> datetime:
    """The midnight UTC at which `day` ends.

    Raises:
        UsageError: nobody asks about that year, and times around it could not be told.
    """
    if day.year not in YEARS:
        msg = f"{day} is no day to ask about: give one of the years {YEARS.start} to {YEARS.stop - 1}."
        raise UsageError(msg)
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def moment(settings: Settings, con: "duckdb.DuckDBPyConnection | None", on: date | None) -> datetime:
    """The moment that a run is about: the end of `on`, else the wall's now, else the end of the last day held.

    Args:
        settings: `[clock] source` chooses; `auto` means the data's clock for a simulated fleet, else the wall's.
        con: the warehouse or its snapshot; none before anything is published.
        on: the day asked for, which wins.

    Raises:
        UsageError: the data's clock was asked for and no day is held.
    """
    if on is not None:
        return end_of(on)
    if by_wall(settings, con):
        return datetime.now(UTC)
    day = last_day(con) if con else None
    if day is None:
        msg = "There is no day to decide on yet: no reading is held. Ingest telemetry, or give --on DATE."
        raise UsageError(msg)
    return end_of(day)


def by_wall(settings: Settings, con: "duckdb.DuckDBPyConnection | None") -> bool:
    """Whether the wall's clock holds: that of hosts which are not simulated, unless the settings say otherwise."""
    source = settings.clock.source
    return source == "wall" or (source == "auto" and not (con and is_simulated(con)))


def asked(now: datetime) -> datetime:
    """The last midnight UTC up to `now`: what a nightly question is asked as of."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def last_day(con: "duckdb.DuckDBPyConnection") -> date | None:
    """The last day with a reading, or null."""
    rows = con.execute("select max(day) from disk_day").fetchall()
    return cast("date | None", rows[0][0])


def last_event(con: "duckdb.DuckDBPyConnection") -> datetime | None:
    """The newest moment that events tell of, failures among them, or null."""
    query = "select greatest((select max(observed_at) from event), (select max(failed_at) from failure))"
    rows = con.execute(query).fetchall()
    return cast("datetime | None", rows[0][0])


def is_simulated(con: "duckdb.DuckDBPyConnection") -> bool:
    """Whether the hosts held now are simulated."""
    rows = con.execute("select count(*) from host where simulated and valid_until is null").fetchall()
    return bool(rows[0][0])
