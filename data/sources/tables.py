"""What histories published as one CSV table have in common: how their rows are read, and how it is reported."""

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from data.errors import InputError
from data.quarantine import Reject, set_aside
from data.readings import Absorbed
from data.warehouse import Warehouse

SUFFIXES: Final = frozenset({".csv", ".gz"})
T = TypeVar("T")


def told(
    path: Path,
    required: Sequence[str],
    what: str,
    understand: Callable[[Mapping[str, str]], T | str],
    otherwise: str,
    newest: Callable[[T], datetime],
    moment: datetime,
) -> tuple[dict[int, T], list[Reject]]:
    """What the rows of a .csv or .csv.gz file tell, by line, and those that cannot be believed.

    Args:
        path: the file.
        required: columns without which it is not that table.
        what: what the table should be, for the error.
        understand: makes of a row, cells trimmed, what it tells, or the reason why it tells nothing.
        otherwise: what is wrong with rows that tell nothing, for people.
        newest: the latest moment of which something understood is told.
        moment: the moment of loading; what is told of moments after it and the wall clock's is not believed.

    Raises:
        InputError: the file cannot be read, or lacks a column.
    """
    latest = max(moment, datetime.now(UTC))
    believed: dict[int, T] = {}
    rejects: list[Reject] = []
    for line, row in _rows(path, required, what):
        found = understand(row)
        if isinstance(found, str):
            rejects.append(Reject(line, found, otherwise, json.dumps(row)))
        elif newest(found) > latest:
            rejects.append(Reject(line, "future_date", "observed after the moment of loading", json.dumps(row)))
        else:
            believed[line] = found
    return believed, rejects


def _rows(path: Path, required: Sequence[str], what: str) -> Iterator[tuple[int, dict[str, str]]]:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in required if column not in (reader.fieldnames or ())]
            if missing:
                msg = f"{path} is no table of {what}: it has no column {', '.join(missing)}."
                raise InputError(msg)
            for row in reader:
                yield reader.line_num, {key: (value or "").strip() for key, value in row.items() if key}
    except (OSError, EOFError, csv.Error) as error:
        msg = f"{path} cannot be read: {error}"
        raise InputError(msg) from error


def reported(
    warehouse: Warehouse, source: str, file: str, believed: int, loaded: int, rejects: Sequence[Reject], at: datetime
) -> Absorbed:
    """What became of a table's rows, written down with those that are set aside.

    Args:
        warehouse: takes the report.
        source: name of the source.
        file: name of the file.
        believed: rows that were taken in or were held already.
        loaded: those of them that were new.
        rejects: rows that cannot be believed.
        at: the moment of loading.
    """
    set_aside(warehouse, rejects, source, file, at)
    report = Absorbed(believed + len(rejects), loaded, believed - loaded, len(rejects))
    with warehouse.transaction() as con:
        con.execute(
            "insert into ingest_file values (?, ?, ?, ?, ?, ?, ?)",
            [at, source, file, report.rows_read, loaded, report.rows_duplicate, report.rows_quarantined],
        )
    return report
