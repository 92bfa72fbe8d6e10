"""Files of daily drive readings, read day by day into Arrow, as long as nothing about them needs a second look.

Whatever does (a line that does not fit, a quote, a value of another type) is `NotPlain` here: the strict reader of
`data.sources.backblaze` takes such a file and says what is wrong with which line. Every row that is read here is read
there just so; tests hold the two against each other.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from data.arrays import arrow, numbers
from data.catalog import catalog
from data.frontier import Day, NotPlain
from data.snapshots import cursor

_CHUNK_BYTES: Final = 1 << 18
_BATCH_ROWS: Final = 1 << 16
_NAMES: Final = {"date": "day", "serial_number": "entity_id"}


class CsvReader:
    """Reads daily CSV files one by one; in each the columns without any value are mostly those of the one before."""

    def __init__(self) -> None:
        self._empty = frozenset[str]()

    def read(self, path: Path, columns: list[str], ingested_at: datetime | None) -> Iterator[Day]:
        """The one day of a file with these columns.

        Raises:
            NotPlain: the strict reader must read it.
        """
        with path.open("rb") as file:
            if any(b'"' in chunk for chunk in iter(lambda: file.read(_CHUNK_BYTES), b"")):
                raise NotPlain
        rows = _parsed(path, columns, self._empty) if self._empty else None
        rows = rows or _parsed(path, columns, frozenset())
        if rows is None:
            raise NotPlain
        first, last = pc.min(rows["date"]).as_py(), pc.max(rows["date"]).as_py()
        if first is None or rows["date"].null_count or first != last:
            raise NotPlain
        filled = {name for name in rows.column_names if rows[name].null_count < len(rows)}
        self._empty = frozenset(catalog("disk").columns) - filled
        size = numbers(rows["capacity_bytes"])
        rows = rows.set_column(
            rows.column_names.index("capacity_bytes"), "capacity_bytes", arrow(np.maximum(size, 0), pa.int64(), 0)
        )
        yield _day(first, rows.rename_columns(_NAMES), ingested_at)


def _parsed(path: Path, columns: list[str], empty: frozenset[str]) -> pa.Table | None:
    """The rows of a file but for the columns that are `empty`; nothing if they are not, or it cannot be read."""
    types: dict[str, pa.DataType] = {
        "date": pa.date32(), "serial_number": pa.string(), "model": pa.string(), "capacity_bytes": pa.int64(),
        "failure": pa.int8(),
    }  # fmt: skip
    types |= {name: pa.null() if name in empty else pa.int64() for name in catalog("disk").columns if name in columns}
    try:
        rows = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(use_threads=False, block_size=_CHUNK_BYTES, column_names=columns, skip_rows=1),
            pyarrow.csv.ParseOptions(quote_char=False),
            pyarrow.csv.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid:
        return None
    return rows.select([name for name, kind in types.items() if kind != pa.null()])


def read_query(con: duckdb.DuckDBPyConnection, query: str, path: Path, ingested_at: datetime | None) -> Iterator[Day]:
    """The days of what `query` selects from the file at `$path`, in order, never more than one of them in memory.

    Raises:
        NotPlain: it cannot be read so.
    """
    with cursor(con) as own:
        try:
            batches = own.sql(f"{query} order by day", params={"path": str(path)}).to_arrow_reader(_BATCH_ROWS)
            for day, rows in _by_day(batches):
                yield _day(day, rows, ingested_at)
        except duckdb.Error as error:
            raise NotPlain from error


def _by_day(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[date, pa.Table]]:
    """The rows of each day, from batches that are in order of day."""
    held = list[pa.RecordBatch]()
    for batch in batches:
        if batch["day"].null_count:
            raise NotPlain
        if not len(batch):
            continue
        cuts = [0, *(np.flatnonzero(np.diff(numbers(batch["day"]))) + 1).tolist(), len(batch)]
        for start, stop in pairwise(cuts):
            if held and held[0]["day"][0] != batch["day"][start]:
                yield held[0]["day"][0].as_py(), pa.Table.from_batches(held)
                held = []
            held.append(batch.slice(start, stop - start))
    if held:
        yield held[0]["day"][0].as_py(), pa.Table.from_batches(held)


def _day(day: date, rows: pa.Table, ingested_at: datetime | None) -> Day:
    return Day(day, ingested_at or datetime.combine(day, time(), UTC) + timedelta(days=1), rows)
