"""How a batch of daily readings becomes facts: checked, deduplicated, appended, and its changes recorded.

A batch stands in the temporary table `staged` (`stage` makes it); what could not be read stands in `staged_reject`.
`absorb` runs inside the caller's transaction and is exact for any order of arrival: the changes kept are always those
that the days held spell out.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import duckdb

from data import changes
from data.catalog import catalog
from data.snapshots import shown
from data.sql import statement

EARLIEST = date(2000, 1, 1)
"""Readings of an earlier day were taken by a clock that had not been set."""
GRACE_HOURS = 12
"""A reading that reaches us this soon after its day's end counts as known at that end."""
_TEMPORARY = (
    "staged", "staged_reject", "keyed", "fresh", "restated", "repeats", "late", "series", "changes", "belief",
    "rewritten",
)  # fmt: skip


_RAW = """json_merge_patch(to_json(staged), '{"ingested_at": null}')::varchar"""
"""A row as it was read: when it arrived is no part of it, and another each time its file is read."""


@dataclass(frozen=True)
class Absorbed:
    """What became of a batch; `rows_read` is the sum of the other three."""

    rows_read: int = 0
    rows_loaded: int = 0
    rows_duplicate: int = 0
    rows_quarantined: int = 0

    def __add__(self, other: "Absorbed") -> "Absorbed":
        return Absorbed(
            self.rows_read + other.rows_read,
            self.rows_loaded + other.rows_loaded,
            self.rows_duplicate + other.rows_duplicate,
            self.rows_quarantined + other.rows_quarantined,
        )


def stage(con: duckdb.DuckDBPyConnection, component: str) -> None:
    """Make the empty tables that a source fills: `staged` with the component's readings, `staged_reject`."""
    columns = ", ".join(f"{column} bigint" for column in catalog(component).columns)
    con.execute(
        "create or replace temp table staged (entity_id varchar, model varchar, capacity_bytes bigint, day date, "
        f"ingested_at timestamptz, failure tinyint, {columns})"
    )
    con.execute(
        "create or replace temp table staged_reject (line bigint, reason varchar not null, detail varchar, raw varchar)"
    )


def absorb(
    con: duckdb.DuckDBPyConnection, component: str, source: str, file: str, today: date, now: datetime
) -> Absorbed:
    """Turn the staged batch into facts and say what became of every row.

    Args:
        con: A connection inside a transaction.
        component: Which component's tables take the batch.
        source: Name of the source, kept with entities, failures and quarantined rows.
        file: Name of the file, kept with quarantined rows.
        today: Days after this one are quarantined as being in the future.
        now: The moment that quarantined rows are stamped with.
    """
    _reject_impossible(con, component, today)
    con.execute(statement("entities", component), {"source": source})
    con.execute(statement("keyed", component))
    rows, first_day, last_day = _row(con, "select count(*), min(day), max(day) from keyed")
    loaded = restated = 0
    if rows:
        days = {"first_day": first_day, "last_day": last_day}
        con.execute(statement("entities_earlier", component))
        con.execute(statement("fresh", component), days)
        fresh = _count(con, "select count(*) from fresh")
        restated = _reject_restated(con, component, days) if fresh < rows else 0
        repeated, differing = _set_repeats_aside(con, component)
        loaded, restated = fresh - repeated - differing, restated + differing
        _append(con, component, source, first_day)
    rejected = _count(con, "select count(*) from staged_reject where reason not in ('duplicate_row', 'missing_column')")
    con.execute(
        "insert into quarantine select distinct $now, $source, $file, line, reason, detail, raw from staged_reject "
        "anti join (select line, reason, raw from quarantine where source = $source and file = $file) held "
        "on held.line is not distinct from staged_reject.line and held.reason = staged_reject.reason "
        "and held.raw is not distinct from staged_reject.raw",
        {"now": now, "source": source, "file": file},
    )
    for table in _TEMPORARY:
        con.execute(f"drop table if exists {table}")
    duplicate = rows - loaded - restated
    return Absorbed(loaded + duplicate + rejected, loaded, duplicate, rejected)


def _reject_impossible(con: duckdb.DuckDBPyConnection, component: str, today: date) -> None:
    readings, days = ", ".join(catalog(component).columns), {"today": today, "earliest": EARLIEST}
    reason = (
        "case when coalesce(trim(entity_id), '') = '' then 'no_serial_number' when day is null then 'no_date' "
        "when day > $today then 'future_date' when day < $earliest then 'bad_time' "
        "when failure not in (0, 1) then 'bad_failure_flag' "
        f"when least({readings}) < 0 then 'bad_value' end"
    )
    con.execute(
        f"insert into staged_reject select null, {reason} as found, case found "  # noqa: S608
        "when 'future_date' then 'the day is ' || day when 'bad_time' then 'the day is ' || day "
        "when 'bad_value' then 'a raw value is below zero' when 'bad_failure_flag' then 'failure is ' || failure "
        "else 'the field is empty' end, "
        f"{_RAW} from staged where {reason} is not null",
        days,
    )
    con.execute(f"delete from staged where {reason} is not null", days)  # noqa: S608


def _reject_restated(con: duckdb.DuckDBPyConnection, component: str, days: dict[str, date]) -> int:
    con.execute(f"create or replace temp table restated as {statement('restated', component)}", days)
    con.execute(
        "insert into staged_reject select null, 'restated', 'differs from the reading already held for that day', "  # noqa: S608
        f"{_RAW} from staged where rowid in (select seq from restated)"
    )
    return _count(con, "select count(*) from restated")


def _set_repeats_aside(con: duckdb.DuckDBPyConnection, component: str) -> tuple[int, int]:
    """How many rows of the batch say again what an earlier one said, and how many say something else."""
    repeated = _count(con, "select count(*) from fresh where repeated")
    if not repeated:
        return 0, 0
    values = ", ".join(f"{{0}}.{column}" for column in catalog(component).columns)
    con.execute(
        "create or replace temp table repeats as "  # noqa: S608 - names of our own columns
        f"select later.seq, row({values.format('later')}) is distinct from row({values.format('first')}) as differs "
        "from fresh later join fresh first on first.entity_key = later.entity_key and first.day = later.day "
        "where later.repeated and not first.repeated"
    )
    con.execute(
        "insert into staged_reject select null, if(differs, 'restated', 'duplicate_row'), if(differs, "  # noqa: S608
        "'differs from an earlier row of this input for the same day', 'same as an earlier row of this input'), "
        f"{_RAW} from repeats join staged on staged.rowid = repeats.seq"
    )
    con.execute("create or replace temp table fresh as select * from fresh where not repeated")
    differing = _count(con, "select count(*) from repeats where differs")
    return repeated - differing, differing


def _append(con: duckdb.DuckDBPyConnection, component: str, source: str, first_day: date) -> None:
    for failures in ("failures_earlier", "failures"):
        con.execute(statement(failures, component), {"source": source})
    newest_held = _row(con, f"select max(day) from {component}_day")[0]  # noqa: S608
    con.execute(statement("day", component))
    _mark_late(con, component, first_day, newest_held)
    con.execute(statement("series_onward", component))
    changes.put(con, component)
    if _count(con, "select count(*) from late"):
        _rewrite(con, component)


def _mark_late(con: duckdb.DuckDBPyConnection, component: str, first_day: date, newest_held: date | None) -> None:
    """Fill `late`; the common case, a whole fleet's next day in time, needs no look at any single entity."""
    timely = (
        "select coalesce(bool_and(ingested_at <= (day + 1)::timestamptz + to_hours($grace_hours)), true) "
        "and not exists (select 1 from entity_version where known_from > ($first_day + 1)::timestamptz) from fresh"
    )
    in_order = newest_held is None or newest_held < first_day
    if in_order and _row(con, timely, {"grace_hours": GRACE_HOURS, "first_day": first_day})[0]:
        con.execute("create or replace temp table late (entity_key integer)")
    else:
        con.execute(statement("late", component), {"first_day": first_day, "grace_hours": GRACE_HOURS})


def _rewrite(con: duckdb.DuckDBPyConnection, component: str) -> None:
    con.execute(statement("series_whole", component), {"grace_hours": GRACE_HOURS})
    con.execute(f"create or replace temp table changes as from {component}_superseded limit 0")
    for rows in changes.spelt_out(con, component):
        with shown(con, spelt=rows):
            con.execute("insert into changes by name from spelt")
    con.execute(statement("beliefs", component))
    con.execute(statement("rewritten", component))
    for table in ("current", "superseded"):
        con.execute(f"delete from {component}_{table} where entity_key in (select entity_key from late)")  # noqa: S608
    con.execute(
        f"insert into {component}_current by name "  # noqa: S608
        "select * exclude (until_day, is_current) from rewritten where is_current order by entity_key"
    )
    con.execute(
        f"insert into {component}_superseded by name "  # noqa: S608
        "select * exclude (is_current) from rewritten where not is_current order by until_day, entity_key"
    )
    con.execute("delete from entity_version where entity_key in (select entity_key from late)")
    con.execute(
        "insert into entity_version select entity_key, stood, known_from, "
        "coalesce(lead(known_from) over (partition by entity_key order by stood), 'infinity') from belief "
        "qualify count(*) over (partition by entity_key) > 1 order by entity_key, stood"
    )


def _row(con: duckdb.DuckDBPyConnection, query: str, values: dict[str, object] | None = None) -> tuple[Any, ...]:
    (row,) = (con.execute(query, values) if values else con.execute(query)).fetchall()
    return tuple(row)


def _count(con: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(_row(con, query)[0])
