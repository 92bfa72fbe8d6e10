"""Evidence: who is asked about and when (`spine`), what was knowable (`frame`), what came of it (`labels`)."""

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data.arrays import taken
from data.catalog import catalog, has_readings
from data.contracts import COMPONENTS
from data.errors import UsageError, WarehouseError
from data.readings import GRACE_HOURS
from data.snapshots import arrow, empty, in_shape, memory_bytes, one_thread, shown
from features import history
from features.history import Columns
from features.select_list import only

PER_YEAR: Final = ("smart_5", "smart_12", "smart_187", "smart_188", "smart_189")
"""Counters that are also told by the year of power-on time."""
RATE_WINDOW_DAYS: Final = (30, 90, 365)
"""Over these windows a drive model's failure rate is told."""
RULE: Final = ("smart_5", "smart_187", "smart_188", "smart_197", "smart_198")
"""Any of these above zero is the rule that operators use today (Backblaze, 2014)."""

FAULT_MODES: Final = {"cell": 1, "row": 2, "column": 3, "bank": 4, "device": 5, "rank": 6}
"""How `fault_mode` of memory says where a DIMM's errors lie, ascending with what is at stake; 0: in no one place."""

LIVE_LOOKBACK_DAYS: Final = 14
"""An entity that has been silent for longer has left the fleet."""

STALE_DAYS: Final = 2
"""A risk is unknown when the newest reading is older than this at the end of the day asked."""

SILENT_DAYS: Final = 30
"""A risk is unknown when nothing has been told of any entity of an event-driven component for longer than this: no
event, no failure, and nobody was put in or taken out. Good parts can be quiet for weeks."""

UNCERTAIN_DAYS: Final = 30
"""For so long after its host was emptied, an entity that lives on proves nothing: it has been at rest."""

TOLD_DAYS: Final = 3
"""A risk told longer than this before a host was emptied is not what it was emptied for."""

SHORT_HISTORY_DAYS: Final = 7
"""A risk is unknown until an entity has been watched this long."""

ROW_BYTES: Final = 2_048
"""What making the features of one row may take of DuckDB's memory: with more rows than fit, they are made in parts."""

_FEW_ROWS: Final = 1 << 17
"""Statements about fewer rows cost more CPU when they are shared out to threads than on one."""

_PARAMETER: Final = re.compile(r"\$(\w+)")
_WORD: Final = re.compile(r"\w+")
_KEYS: Final = ("entity_key", "asof_at")
_COUNTED: Final = frozenset(["entities", *(f"failed_{days}d" for days in RATE_WINDOW_DAYS)])
"""What `fleet` counts by moment and model."""
_FLEET_KEYS: Final = ("asof_at", "model")

Numbers = npt.NDArray[np.int64]
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,  # noqa: S701 - renders SQL from the project's own files, never from input
)


def components() -> tuple[str, ...]:
    """The components that have a feature statement."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.sql")))


@cache
def sql(component: str, part: str | None = None) -> str:
    """The statement that makes a component's features, loops written out; or its `part`.

    Parts are `spine`, `labels`, `told` and, of a component that is watched by readings, `fleet` and `gauges`.
    """
    if component not in (COMPONENTS if part else components()):
        msg = f"There is no features/{component}.sql. Components with features: {', '.join(components())}."
        raise UsageError(msg)
    names: dict[str, object] = {
        "component": component,
        "rate_windows": RATE_WINDOW_DAYS,
        "per_year": PER_YEAR,
        "rule": RULE,
        "fault_modes": FAULT_MODES,
    }
    if has_readings(component):
        columns = catalog(component)
        names |= {"counters": columns.counters, "gauges": columns.gauges, "packed": columns.packed}
    kind = "mitigated" if part == "told" else "readings" if has_readings(component) else "events"
    return _templates.get_template(f"{kind}/{part}.sql" if part else f"{component}.sql").render(names)


def statements(component: str) -> str:
    """All SQL that makes a component's features, and in comments those that are made of the change log.

    The counts of the whole fleet come first where there are any.
    """
    if not has_readings(component):
        return sql(component)
    parts = [sql(component, "fleet"), sql(component, "gauges"), sql(component)]
    lines = [f"-- {one.name.ljust(28)} {one.says}" for made in history.made(component).values() for one in made]
    return "\n".join([*parts, "-- made of the change log by features/history.py:", *lines])


def recipe(component: str) -> str:
    """All that decides what a component's features are: a hash of it changes with any of them."""
    return statements(component) + (inspect.getsource(history) if has_readings(component) else "")


def spine(
    con: duckdb.DuckDBPyConnection,
    component: str,
    asof_days: Sequence[date],
    *,
    lookback_days: int = LIVE_LOOKBACK_DAYS,
    negative_share: float = 1.0,
    positive_days: int = 30,
    known_until: datetime | None = None,
    seed: int = 0,
) -> pa.Table:
    """Live entities at the end of each day, one row each, in order of (`asof_at`, `entity_key`).

    Columns: entity_key, entity_id, asof_at, last_day, history_days, status (`ok` or `unknown`), reason, weight.

    Args:
        con: A connection on a warehouse or its snapshot.
        component: Which entities.
        asof_days: The days asked about; the moment asked is each day's end.
        lookback_days: How old the newest reading may be; 0 asks only about entities seen on the very day. An entity
            that is watched by events is live while it sits in a host, however quiet it is.
        negative_share: Keep this share of the rows that do not fail within `positive_days`, and weight them up. Rows
            whose host was emptied within it are all kept.
        positive_days: See above.
        known_until: Failures and mitigations after this moment are not looked at when sampling.
        seed: Changes which negatives are kept.
    """
    values: dict[str, object] = {
        "days": list(asof_days),
        "first_day": min(asof_days, default=None),
        "last_day": max(asof_days, default=None),
        "lookback_days": lookback_days,
        "grace_hours": GRACE_HOURS,
        "stale_days": STALE_DAYS,
        "silent_days": SILENT_DAYS,
        "short_history_days": SHORT_HISTORY_DAYS,
        "negative_share": negative_share,
        "positive_days": positive_days,
        "known_until": known_until or datetime.max.replace(tzinfo=UTC, year=9000),
        "seed": seed,
    }
    with in_shape(), sparing(con, len(asof_days)):
        rows = _answer(con, sql(component, "spine"), values)
    return _in_order(rows, numbered(rows))


def sparing(con: duckdb.DuckDBPyConnection, moments: int = 1) -> AbstractContextManager[object]:
    """Let all that is asked of the whole fleet at so many moments run on one thread, if that is little."""
    ((entities,),) = con.execute("select count(*) from entity").fetchall()
    return _threads(con, entities * moments)


def _threads(con: duckdb.DuckDBPyConnection, rows: int) -> AbstractContextManager[object]:
    """Let statements about so many rows run on one thread, if these are few."""
    return one_thread(con) if rows < _FEW_ROWS else nullcontext()


def fleet(con: duckdb.DuckDBPyConnection, component: str, asof_days: Sequence[date]) -> pa.Table:
    """What rows of those days need to know of the whole fleet: counts by (`asof_at`, `model`), whole numbers.

    Those of the parts of a fleet add up to those of the whole (`added`). Only a component that is watched by readings
    has them: the others' statements look at a part's neighbours themselves.
    """
    return _answer(con, sql(component, "fleet"), {"days": list(asof_days), "grace_hours": GRACE_HOURS})


def fleet_lately(ask: Callable[[Sequence[date]], pa.Table], day: date) -> pa.Table:
    """What rows of a day that may have come in part need to know of the whole fleet.

    That is what `ask` (`fleet`, of one connection or of all) says of the newest day, of those on which a reading is not
    yet stale, that has at least half the readings of the fullest: each drive model would fail many times as often as it
    does, were it counted on a day of which most is still to come.
    """
    days = [day - timedelta(days=back) for back in range(STALE_DAYS + 1)]
    counts = ask(days)
    of_day = [
        counts.filter(pc.equal(counts["asof_at"], pa.scalar(_end(one), counts.schema.field("asof_at").type)))
        for one in days
    ]
    read = [pc.sum(one["entities"]).as_py() or 0 for one in of_day]
    whole = next(one for one, size in zip(of_day, read, strict=True) if 2 * size >= max(read))
    asked = pa.array([_end(day)] * whole.num_rows, whole.schema.field("asof_at").type)
    return whole.set_column(0, "asof_at", asked)


def _end(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def added(counts: Sequence[pa.Table]) -> pa.Table:
    """The counts of a whole fleet, from `fleet` of each of its parts."""
    whole = pa.concat_tables(counts)
    names = [name for name in whole.column_names if name not in _FLEET_KEYS]
    summed = whole.group_by(list(_FLEET_KEYS)).aggregate([(name, "sum") for name in names])
    return summed.select([*_FLEET_KEYS, *(f"{name}_sum" for name in names)]).rename_columns(whole.column_names)


def frame(
    con: duckdb.DuckDBPyConnection,
    component: str,
    rows: pa.Table,
    counts: pa.Table | None = None,
    names: Collection[str] | None = None,
) -> pa.Table:
    """The spine's columns with the component's features (float32, null = not knowable) beside them, same rows.

    Args:
        con: A connection on a warehouse or its snapshot, or on a part of one.
        component: Which entities.
        rows: The spine.
        counts: What `fleet` says of the days of `rows`; asked of `con` itself by default.
        names: Which features, in whichever order; those that there are not are passed over. All by default.
    """
    asked = None if names is None else frozenset(names)
    ordered = _in_order(rows, numbered(rows))
    parts = _parts(ordered, max(1, memory_bytes(con) // ROW_BYTES))
    with _threads(con, rows.num_rows):
        if has_readings(component):
            features = pa.concat_tables(_of_readings(con, component, parts, counts, asked))
        else:
            query = sql(component) if asked is None else only(con, sql(component), asked.union(_KEYS))
            features = pa.concat_tables([_of_events(con, component, part, query) for part in parts])
    made = [name for name in features.column_names if name not in _KEYS]
    return pa.table([*ordered.columns, *(features[name] for name in made)], [*ordered.column_names, *made])


def _parts(rows: pa.Table, most: int) -> list[pa.Table]:
    """Ordered rows in parts of at most so many, cut between moments if possible, since some features cost by moment."""
    moments = rows["asof_at"].to_numpy()
    firsts = np.flatnonzero(moments[1:] != moments[:-1]) + 1
    cuts = [0]
    while rows.num_rows - cuts[-1] > most:
        within = firsts[(firsts > cuts[-1]) & (firsts <= cuts[-1] + most)]
        cuts.append(int(within[-1]) if within.size else cuts[-1] + most)
    return [rows.slice(begin, end - begin) for begin, end in pairwise([*cuts, rows.num_rows])]


def _of_events(con: duckdb.DuckDBPyConnection, component: str, rows: pa.Table, query: str) -> pa.Table:
    """The features of ordered rows, in their order."""
    features = _all_of(component, _over_spine(con, query, rows, _extent(rows)), rows.num_rows)
    return _in_order(features, numbered(features))


def _of_readings(
    con: duckdb.DuckDBPyConnection,
    component: str,
    parts: Sequence[pa.Table],
    counts: pa.Table | None,
    names: frozenset[str] | None,
) -> list[pa.Table]:
    """The same of each part where there is a change log: what the statement makes, and what counters' changes say."""
    query = sql(component) if names is None else only(con, sql(component), names.union(["row"]))
    made = [one for of_one in history.made(component).values() for one in of_one if names is None or one.name in names]
    if counts is None:
        about_fleet = not _COUNTED.isdisjoint(_WORD.findall(query))
        counts = fleet(con, component, _asked_days(pa.concat_tables(parts)) if about_fleet else [])
    return [_beside(_own(con, component, part, counts, query, made), component) for part in parts]


def _own(
    con: duckdb.DuckDBPyConnection,
    component: str,
    rows: pa.Table,
    counts: pa.Table,
    query: str,
    made: Sequence[history.Made],
) -> dict[str, "pa.Array[Any] | pa.ChunkedArray[Any]"]:
    """Columns of ordered rows: first what the query makes, then what is made of their counters' changes."""
    words = set(_WORD.findall(query))
    gauges = [f"{stem}_raw" for stem in catalog(component).gauges if f"{stem}_raw" in words]
    logged = {"first_day", *(one.column for one in made), *words.intersection(history.columns(component))}
    held = history.held(con, component, rows, sorted(logged))
    asked = rows.select([*_KEYS, "last_day"]).append_column("row", pa.array(np.arange(rows.num_rows)))
    with shown(con, asked=asked):
        newest = f"select {', '.join(['row', *gauges])} from ({sql(component, 'gauges')})"  # noqa: S608 - names of ours
        read = _all_of(component, _answer(con, newest, _extent(rows)), rows.num_rows)
    for table, at in ((held.changes, held.newest), (read, np.argsort(read["row"].to_numpy()))):
        for name in sorted(words.intersection(table.column_names).difference(asked.column_names)):
            asked = asked.append_column(name, taken(table[name], at))
    with shown(con, asked=asked, fleet=counts):
        own = _all_of(component, arrow(con, query), rows.num_rows)
    own = _in_order(own, own["row"].to_numpy()).drop_columns(["row"])
    values = history.features(held, made, history.whole(rows, "last_day"))
    return dict(zip(own.column_names, own.columns, strict=True)) | {
        one.name: _nullable(column) for one, column in zip(made, values, strict=True)
    }


def _beside(columns: Mapping[str, "pa.Array[Any] | pa.ChunkedArray[Any]"], component: str) -> pa.Table:
    """The columns, those about one counter beside each other and behind all others."""
    of_counters = {
        name: None
        for stem in catalog(component).counters
        for name in (stem, *(name for name in columns if name.startswith(f"{stem}_")))
        if name in columns
    }
    names = [*(name for name in columns if name not in of_counters), *of_counters]
    return pa.table([columns[name] for name in names], names)


def _nullable(values: Columns) -> "pa.Array[Any]":
    """The values, NaN as null."""
    known = ~np.isnan(values)
    if known.all():
        return pa.array(values)
    bits = np.packbits(known, bitorder="little")
    return pa.Array.from_buffers(pa.float32(), len(values), [pa.py_buffer(bits.data), pa.py_buffer(values.data)])


def numbered(rows: pa.Table) -> Numbers:
    """One number a row by which rows stand in order of their keys: whole hours since 1970 and the entity key.

    It fits 64 bits until the year 2200.
    """
    hours = rows["asof_at"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy() // 3_600_000_000
    return np.asarray((hours << 32) | rows["entity_key"].to_numpy(), np.int64)


def _in_order(rows: pa.Table, numbers: Numbers) -> pa.Table:
    """The rows in order of their numbers."""
    if (np.diff(numbers) > 0).all():
        return rows
    order = np.argsort(numbers, kind="stable")
    return pa.table([taken(column, order) for column in rows.columns], rows.column_names)


def _all_of(component: str, features: pa.Table, rows: int) -> pa.Table:
    """The features, if there are as many as rows were asked.

    Raises:
        WarehouseError: there are not.
    """
    if features.num_rows != rows:
        msg = (
            f"features/{component}.sql gave {features.num_rows} rows for {rows}: the facts held contradict "
            "each other. foreshock doctor says where."
        )
        raise WarehouseError(msg)
    return features


def labels(con: duckdb.DuckDBPyConnection, component: str, rows: pa.Table, known_until: datetime) -> pa.Table:
    """What became of each row by `known_until`, in order of (`asof_at`, `entity_key`).

    Columns: entity_key, asof_at, failed_in_days (null: not known to have failed), observed_days (how long it was seen
    to live after `asof_at`), mitigated_in_days (null: nobody emptied its host; below zero: it was emptied lately). A
    row that neither failed nor was seen for the whole horizon is censored, and one whose host was emptied within it or
    shortly before is uncertain: neither is a negative.
    """
    values = {"known_until": known_until, "grace_hours": GRACE_HOURS, "uncertain_days": UNCERTAIN_DAYS}
    fates = _over_spine(con, sql(component, "labels"), rows, values)
    return _in_order(fates, numbered(fates))


def told(con: duckdb.DuckDBPyConnection, component: str, rows: pa.Table, known_until: datetime) -> pa.Table:
    """The risks last told of each row's entity before its host was emptied, in order of (`asof_at`, `entity_key`).

    Columns: entity_key, asof_at, told_in_days (when it was told, days after `asof_at`), risk_1d to risk_30d. Rows of
    which nothing was told in the `TOLD_DAYS` before, or whose host nobody emptied by `known_until`, are left out.
    """
    values = {"component": component, "known_until": known_until, "told_days": TOLD_DAYS}
    return _over_spine(con, sql(component, "told"), rows, values)


@cache
def feature_names(component: str) -> tuple[str, ...]:
    """The features of a component, in the order of its statement."""
    with empty() as con:
        nothing = spine(con, component, [])
        known = set(nothing.column_names)
        return tuple(name for name in frame(con, component, nothing).column_names if name not in known)


def _extent(rows: pa.Table) -> dict[str, object]:
    days = rows["last_day"]
    return {"first_day": pc.min(days).as_py(), "last_day": pc.max(days).as_py(), "grace_hours": GRACE_HOURS}


def _asked_days(rows: pa.Table) -> list[date]:
    return [moment.date() - timedelta(days=1) for moment in pc.unique(rows["asof_at"]).to_pylist() if moment]


def _over_spine(
    con: duckdb.DuckDBPyConnection, query: str, rows: pa.Table, values: dict[str, object] | None = None
) -> pa.Table:
    _hold(con, "spine", rows)
    return _answer(con, query, values or {})


def _hold(con: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    """Make a temporary table of the rows."""
    with shown(con, held_rows=rows):
        con.execute(f"create or replace temp table {name} as select * from held_rows")  # noqa: S608 - a name of ours


def _answer(con: duckdb.DuckDBPyConnection, query: str, values: dict[str, object]) -> pa.Table:
    """The query's answer; it is given those of the values that it asks for."""
    wanted = set(_PARAMETER.findall(query))
    return arrow(con, query, {name: value for name, value in values.items() if name in wanted})
