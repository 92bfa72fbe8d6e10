"""Backblaze Drive Stats: CSV (also gzipped), ZIP of CSVs as published, or Parquet, of any year.

One row per drive and day; `failure` is 1 on a drive's last day. Later years add columns and lose none, so unknown
columns are passed over and attributes that a year does not have yet are null. One file is one transaction: nothing is
half-applied, and never more than one file is open. The next day of a fleet in a sound file goes the short way
(`data.frontier`), everything else the long one (`data.readings`); both end in the same facts.
"""

import gzip
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path, PurePath
from typing import IO, Final, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data.catalog import catalog
from data.frontier import Day, Frontier, NotPlain
from data.readings import Absorbed, absorb, stage
from data.snapshots import one_thread, threads
from data.sources import drive_days
from data.sources.arrival import Arrival
from data.sources.files import ends, of_a_mac
from data.warehouse import Warehouse

SOURCE: Final = "backblaze"
REQUIRED: Final = ("date", "serial_number", "model", "capacity_bytes", "failure")
PUBLISHED_SINCE_2013: Final = ("smart_1_raw", "smart_5_raw", "smart_9_raw", "smart_194_raw", "smart_197_raw")
"""Attributes that every published CSV carries: a file without one is damaged, and its rows load as unknown there."""

TABLES: Final = frozenset({".csv", ".csv.gz", ".parquet"})
"""How names of files of readings end."""
ENDINGS: Final = TABLES | {".zip"}


@dataclass(frozen=True)
class _Part:
    """One file of readings: where it lies now, and the name people know it by."""

    path: Path
    name: str
    unreadable: str = ""
    """Why nothing can be read from it, if so."""

    @property
    def is_parquet(self) -> bool:
        """Whether it holds columns rather than lines."""
        return self.path.suffix.lower() == ".parquet"


class _Unreadable(Exception):
    """The reader gave up on a file as a whole."""


def load(
    warehouse: Warehouse,
    paths: Sequence[Path],
    *,
    arrival: Arrival = "published",
    now: datetime | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, Absorbed]]:
    """Each file behind `paths` with what became of its rows, absorbed one by one.

    Until it is exhausted, nothing else may write readings to the warehouse.

    Args:
        warehouse: Takes the readings.
        paths: CSV, gzipped CSV, Parquet or ZIP files.
        arrival: `published` counts each row as having arrived at its day's end, `now` as arriving now.
        now: The moment of loading; the wall clock's by default. Days after both are quarantined.
        progress: Told the name of each file before it is read.
    """
    moment = now or datetime.now(UTC)
    today = max(moment, datetime.now(UTC)).date()
    ingested_at = None if arrival == "published" else moment
    frontier, reader = Frontier(warehouse.con, "disk"), drive_days.CsvReader()
    with one_thread(warehouse.con) as usual:
        for part in (part for path in paths for part in _parts(path)):
            if progress:
                progress(part.name)
            try:
                with _threads_for(warehouse.con, part, usual), warehouse.transaction() as con:
                    days = _days(con, part, reader, ingested_at)
                    rows = sum((frontier.absorb(SOURCE, day, today) for day in days), Absorbed())
                    _note(con, part, rows, moment)
            except NotPlain:
                with threads(warehouse.con, usual):
                    rows = _put_any(warehouse, part, today, ingested_at, moment)
                frontier = Frontier(warehouse.con, "disk")
            yield part.name, rows


def _threads_for(con: duckdb.DuckDBPyConnection, part: _Part, usual: int) -> AbstractContextManager[None]:
    """One thread for the day of a CSV file, which is read on one; the usual ones for the days of a table."""
    return threads(con, usual) if part.is_parquet else nullcontext()


def _put_any(
    warehouse: Warehouse, part: _Part, today: date, ingested_at: datetime | None, moment: datetime
) -> Absorbed:
    """What became of the rows of a file of which anything may be wrong."""
    try:
        with warehouse.transaction() as con:
            stage(con, "disk")
            _stage_part(con, part, ingested_at)
            rows = absorb(con, "disk", SOURCE, part.name, today, moment)
            _note(con, part, rows, moment)
            return rows
    except _Unreadable as error:
        return _put_any(warehouse, replace(part, unreadable=str(error)), today, ingested_at, moment)


def _note(con: duckdb.DuckDBPyConnection, part: _Part, rows: Absorbed, moment: datetime) -> None:
    con.execute(
        "insert into ingest_file values (?, ?, ?, ?, ?, ?, ?)",
        [moment, SOURCE, part.name, rows.rows_read, rows.rows_loaded, rows.rows_duplicate, rows.rows_quarantined],
    )


def _days(
    con: duckdb.DuckDBPyConnection, part: _Part, reader: drive_days.CsvReader, ingested_at: datetime | None
) -> Iterator[Day]:
    """The days of a file about which nothing is wrong; else `NotPlain`."""
    if part.unreadable or part.path.stat().st_size == 0:
        raise NotPlain
    try:
        columns = _columns(part)
    except (pa.ArrowInvalid, OSError) as error:
        raise NotPlain from error
    if len(set(columns)) < len(columns) or not set(columns).issuperset(REQUIRED):
        raise NotPlain
    if part.is_parquet:
        empty = _empty(part.path)
        told = [name for name in columns if name in REQUIRED or name not in empty]
        return drive_days.read_query(con, f"{_selected(told)} from read_parquet($path)", part.path, ingested_at)
    if not set(columns).issuperset(PUBLISHED_SINCE_2013):
        raise NotPlain
    return reader.read(part.path, columns, ingested_at)


def _parts(path: Path) -> Iterator[_Part]:
    name = f"{path.parent.name}/{path.name}"
    if not ends(path, (".zip", ".gz")):
        yield _Part(path, name)
        return
    with tempfile.TemporaryDirectory(prefix="foreshock-") as scratch:
        if ends(path, (".gz",)):
            yield _unpacked(partial(_opened, path), name, Path(scratch))
        else:
            yield from _zipped(path, Path(scratch))


def _zipped(path: Path, scratch: Path) -> Iterator[_Part]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(archive.namelist())
            entries = [name for name in names if ends(PurePath(name), TABLES) and not of_a_mac(PurePath(name))]
            for entry in entries:
                yield _unpacked(partial(_opened_in, archive, entry), entry, scratch)
            if not entries:
                yield _Part(path, path.name, f"holds no {', '.join(sorted(TABLES))} file")
    except (zipfile.BadZipFile, OSError) as error:
        yield _Part(path, path.name, f"not a ZIP archive: {error}")


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path))


def _opened_in(archive: zipfile.ZipFile, entry: str) -> IO[bytes]:
    packed = archive.open(entry)
    return cast("IO[bytes]", gzip.open(packed)) if ends(PurePath(entry), (".gz",)) else packed


def _unpacked(opened: Callable[[], IO[bytes]], name: str, scratch: Path) -> _Part:
    file = scratch / ("part.parquet" if ends(PurePath(name), (".parquet",)) else "part.csv")
    try:
        with opened() as packed, file.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, RuntimeError, NotImplementedError, EOFError) as error:
        return _Part(file, name, f"cannot be unpacked: {error}")
    return _Part(file, name)


def _stage_part(con: duckdb.DuckDBPyConnection, part: _Part, ingested_at: datetime | None) -> None:
    if part.unreadable:
        con.execute("insert into staged_reject values (null, 'unreadable_file', ?, null)", [part.unreadable])
        return
    if part.path.stat().st_size == 0:
        con.execute("insert into staged_reject values (null, 'empty_file', 'zero bytes', null)")
        return
    try:
        columns = _columns(part)
    except (pa.ArrowInvalid, OSError) as error:
        con.execute("insert into staged_reject values (null, 'unreadable_file', ?, null)", [f"not Parquet: {error}"])
        return
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        _reject_rows(con, part, reason="bad_header", detail=f"two columns {', '.join(repeated)}")
        return
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        _reject_rows(con, part, reason="missing_required_column", detail=f"no column {', '.join(missing)}")
        return
    if not part.is_parquet:
        _note_absent(con, columns)
    _fill(con, part, columns, ingested_at)
    if not part.is_parquet:
        _keep_rejects(con)


def _columns(part: _Part) -> list[str]:
    if part.is_parquet:
        return list(pq.read_schema(part.path).names)
    with part.path.open(encoding="utf-8-sig", errors="replace") as file:
        return [name.strip().strip('"') for name in file.readline().rstrip("\r\n").split(",")]


def _empty(path: Path) -> set[str]:
    """Columns of a Parquet file that hold nothing, as its own statistics tell."""
    file = pq.read_metadata(path)
    groups = [file.row_group(number) for number in range(file.num_row_groups)]
    chunks = ([group.column(place) for place in range(group.num_columns)] for group in groups)
    empty = [{one.path_in_schema for one in some if _all_null(one)} for some in chunks]
    return set.intersection(*empty) if empty else set()


def _all_null(chunk: pq.ColumnChunkMetaData) -> bool:
    return chunk.statistics is not None and chunk.statistics.null_count == chunk.num_values


def _csv_reader(columns: list[str]) -> str:
    """A `read_csv` call that types the columns we take and sets aside lines that do not fit."""
    wanted = set(catalog("disk").columns)
    kinds = {"date": "DATE", "failure": "TINYINT", "capacity_bytes": "BIGINT"} | dict.fromkeys(wanted, "BIGINT")
    names = [f"column_{index}" if not _plain(name) else name for index, name in enumerate(columns)]
    listed = ", ".join(f"'{name}': '{kinds.get(name, 'VARCHAR')}'" for name in names)
    return (
        "read_csv($path, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', "
        f"strict_mode = true, store_rejects = true, rejects_limit = 0, columns = {{{listed}}})"
    )


def _plain(name: str) -> bool:
    return name.replace("_", "").isalnum() and name.isascii()


def _fill(con: duckdb.DuckDBPyConnection, part: _Part, columns: list[str], ingested_at: datetime | None) -> None:
    relation = "read_parquet($path)" if part.is_parquet else _csv_reader(columns)
    try:
        con.execute(
            "insert into staged by name select *, coalesce($ingested_at, (day + interval 1 day)::timestamptz) "  # noqa: S608
            f"as ingested_at from ({_selected(columns)} from {relation})",
            {"path": str(part.path), "ingested_at": ingested_at},
        )
    except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
        raise _Unreadable(str(error)) from error


def _selected(columns: list[str]) -> str:
    """The columns of `staged` that a file with these columns says something about, typed."""
    readings = [f"{name}::bigint as {name}" for name in catalog("disk").columns if name in columns]
    known = [
        "serial_number::varchar as entity_id",
        "model::varchar as model",
        "case when capacity_bytes > 0 then capacity_bytes end as capacity_bytes",
        "date::date as day",
        "failure::tinyint as failure",
    ]
    return f"select {', '.join(known + readings)}"


def _keep_rejects(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("""
        insert into staged_reject
        select line, case first(error_type order by column_idx)
                         when 'CAST' then 'bad_value' when 'MISSING COLUMNS' then 'truncated_line'
                         when 'TOO MANY COLUMNS' then 'too_many_columns'
                         else lower(replace(first(error_type::varchar order by column_idx), ' ', '_')) end,
               first(error_message order by column_idx), first(csv_line order by column_idx)
        from reject_errors group by line order by line""")
    con.execute("drop table reject_errors")
    con.execute("drop table reject_scans")


def _note_absent(con: duckdb.DuckDBPyConnection, columns: list[str]) -> None:
    absent = [name for name in PUBLISHED_SINCE_2013 if name not in columns]
    if absent:
        detail = f"no column {', '.join(absent)}: its rows are loaded, with these unknown"
        con.execute("insert into staged_reject values (1, 'missing_column', ?, ?)", [detail, ",".join(columns)])


def _reject_rows(con: duckdb.DuckDBPyConnection, part: _Part, *, reason: str, detail: str) -> None:
    """Quarantine every row of a file whose columns do not say what its rows mean, or its header if there is no row."""
    rows = "select null as line, to_json(file)::varchar as raw from read_parquet($path) file"
    if not part.is_parquet:
        rows = (
            "select row_number() over () + 1 as line, raw from read_csv($path, auto_detect = false, header = true, "
            "delim = '\x01', quote = '', escape = '', columns = {'raw': 'VARCHAR'})"
        )
    ((count,),) = con.execute(
        f"insert into staged_reject select line, $reason, $detail, raw from ({rows})",  # noqa: S608
        {"path": str(part.path), "reason": reason, "detail": detail},
    ).fetchall()
    if not count:
        con.execute("insert into staged_reject values (1, ?, ?, ?)", [reason, detail, ",".join(_columns(part))])
