"""What logs of memory errors have in common, whoever wrote them: how their rows become facts, and what is set aside.

A corrected error is an event of kind `ce` (value = how many it stands for) whose `detail` holds what is known of
`access` (READ or SCRUB), `rank`, `device`, `bank_group`, `bank`, `row`, `column`, and of the faulty burst: `dqs`,
`beats` and `bits`. Errors of one second that are alike in all are several: from the second one on, `nth` tells them
apart. An uncorrected one is a failure with cause `ue`. Every step finds what an earlier run has done, so a run that was
killed in between is made good by repeating it.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

from data.contracts import ENTITIES, EVENTS, FAILURES
from data.quarantine import Reject, mistimed, set_aside
from data.readings import Absorbed
from data.sources.arrival import Arrival, arrived
from data.warehouse import Warehouse

COMPONENT: Final = "memory"
CORRECTED: Final = "ce"
UNCORRECTED: Final = "ue"


@dataclass(frozen=True)
class LoggedError:
    """One row of a log: an error, or several alike, at one moment on one DIMM."""

    entity_id: str
    observed_at: datetime
    count: int
    detail: Mapping[str, int | str]
    corrected: bool = True


@dataclass(frozen=True)
class Log:
    """What a file said."""

    rows: Sequence[LoggedError] = ()
    rejects: Sequence[Reject] = ()
    models: Mapping[str, tuple[str | None, int | None]] = field(default_factory=dict)
    """Model and capacity (bytes) by DIMM, where the log tells them."""


def absorb(
    warehouse: Warehouse,
    log: Log,
    source: str,
    file: str,
    *,
    arrival: Arrival = "published",
    now: datetime | None = None,
) -> Absorbed:
    """What became of the rows of one log.

    Args:
        warehouse: takes the facts.
        log: what the file said.
        source: name of the source, kept with failures and quarantined rows.
        file: name of the file, kept with quarantined rows.
        arrival: `published` counts each row as having arrived at its day's end, `now` as arriving now.
        now: the moment of loading; the wall clock's by default. Rows from after both are set aside.
    """
    moment = now or datetime.now(UTC)
    latest = max(moment, datetime.now(UTC))
    rejects = [*log.rejects]
    rows: list[LoggedError] = []
    for row in log.rows:
        wrong = mistimed(row.observed_at, latest, f"{row.entity_id} at {row.observed_at.isoformat()}")
        if wrong:
            rejects.append(wrong)
        else:
            rows.append(row)
    _register(warehouse, log)
    loaded = warehouse.put_events(_events(_told_apart([row for row in rows if row.corrected]), arrival, moment))
    loaded += warehouse.put_failures(_failures([row for row in rows if not row.corrected], arrival, moment), source)
    set_aside(warehouse, rejects, source, file, moment)
    read, whole = len(rows) + len(rejects), sum(one.line is None and one.raw is None for one in rejects)
    report = Absorbed(read - whole, loaded, len(rows) - loaded, len(rejects) - whole)
    with warehouse.transaction() as con:
        con.execute(
            "insert into ingest_file values (?, ?, ?, ?, ?, ?, ?)",
            [moment, source, file, report.rows_read, loaded, report.rows_duplicate, report.rows_quarantined],
        )
    return report


def _register(warehouse: Warehouse, log: Log) -> None:
    rows = [
        {"component": COMPONENT, "entity_id": name, "model": model, "capacity_bytes": size, "simulated": False}
        for name, (model, size) in log.models.items()
    ]
    if rows:
        warehouse.put_entities(pa.Table.from_pylist(rows, ENTITIES))


def _told_apart(rows: Sequence[LoggedError]) -> list[LoggedError]:
    """The rows, those that are like one before them in all with their number among these: logs tell whole seconds."""
    seen: Counter[tuple[object, ...]] = Counter()
    apart: list[LoggedError] = []
    for row in rows:
        alike = (row.entity_id, row.observed_at, row.count, *sorted(row.detail.items()))
        seen[alike] += 1
        apart.append(replace(row, detail={**row.detail, "nth": seen[alike]}) if seen[alike] > 1 else row)
    return apart


def _events(rows: Sequence[LoggedError], arrival: Arrival, moment: datetime) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "component": [COMPONENT] * len(rows),
        "entity_id": [row.entity_id for row in rows],
        "observed_at": [row.observed_at for row in rows],
        "ingested_at": [arrived(row.observed_at, arrival, moment) for row in rows],
        "kind": [CORRECTED] * len(rows),
        "value": [float(row.count) for row in rows],
        "detail": [json.dumps(dict(row.detail), sort_keys=True) for row in rows],
    }
    return pa.table(columns, schema=EVENTS)


def _failures(rows: Sequence[LoggedError], arrival: Arrival, moment: datetime) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "component": [COMPONENT] * len(rows),
        "entity_id": [row.entity_id for row in rows],
        "failed_at": [row.observed_at for row in rows],
        "ingested_at": [arrived(row.observed_at, arrival, moment) for row in rows],
        "cause": [UNCORRECTED] * len(rows),
    }
    return pa.table(columns, schema=FAILURES)
