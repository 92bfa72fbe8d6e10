"""Backblaze Drive Stats: CSV, ZIP of CSVs as published, or Parquet, of any year.

One row per drive and day; `failure` is 1 on a drive's last day. Later years add columns and lose none, so unknown
columns are passed over and attributes that a year does not have yet are null. One file is one transaction: nothing is
half-applied, and never more than one file is open.
"""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data.catalog import catalog
from data.errors import InputError
from data.readings import Absorbed, absorb, stage
from data.warehouse import Warehouse

REQUIRED: Final = ("date", "serial_number", "model", "capacity_bytes", "failure")
PUBLISHED_SINCE_2013: Final = ("smart_1_raw", "smart_5_raw", "smart_9_raw", "smart_194_raw", "smart_197_raw")
"""Attributes that every published CSV carries: a file without one is damaged, and its rows load as unknown there."""

Arrival = Literal["published", "now"]


@dataclass(frozen=True)
class _Part:
    """One file of readings: where it lies now, and the name people know it by."""

    path: Path
    name: str
    unreadable: str = ""
    """Why nothing can be read from it, if so."""


def expand(paths: list[Path]) -> list[Path]:
    """The files behind `paths`, folders walked, in order of name; `InputError` for what cannot be read."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix.lower() in {".csv", ".zip", ".parquet"})
        elif path.is_file():
            found.append(path)
        else:
            msg = f"There is no file or folder {path}."
            raise InputError(msg)
    if not found:
        msg = f"No .csv, .zip or .parquet file in {', '.join(map(str, paths))}."
        raise InputError(msg)
    return found


def load(
    warehouse: Warehouse,
    path: Path,
    *,
    arrival: Arrival = "published",
    now: datetime | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, Absorbed]]:
    """Each file behind `path` with what became of its rows, absorbed one by one.

    Args:
        warehouse: Takes the readings.
        path: One CSV, Parquet or ZIP file.
        arrival: `published` counts each row as having arrived at its day's end, `now` as arriving now.
        now: The moment of loading; the wall clock's by default. Days after both are quarantined.
        progress: Told the name of each file before it is read.
    """
    moment = now or datetime.now(UTC)
    today = max(moment, datetime.now(UTC)).date()
    for part in _parts(path):
        if progress:
            progress(part.name)
        with warehouse.transaction() as con:
            stage(con, "disk")
            _stage_part(con, part, None if arrival == "published" else moment)
            rows = absorb(con, "disk", "backblaze", part.name, today, moment)
            con.execute(
                "insert into ingest_file values (?, 'backblaze', ?, ?, ?, ?, ?)",
                [moment, part.name, rows.rows_read, rows.rows_loaded, rows.rows_duplicate, rows.rows_quarantined],
            )
        yield part.name, rows


def _parts(path: Path) -> Iterator[_Part]:
    if path.suffix.lower() != ".zip":
        yield _Part(path, f"{path.parent.name}/{path.name}")
        return
    with tempfile.TemporaryDirectory(prefix="foreshock-") as scratch:
        try:
            with zipfile.ZipFile(path) as archive:
                for entry in sorted(archive.namelist()):
                    if entry.lower().endswith((".csv", ".parquet")) and not entry.startswith("__MACOSX"):
                        yield _unpacked(archive, entry, Path(scratch))
        except (zipfile.BadZipFile, OSError) as error:
            yield _Part(path, path.name, f"not a ZIP archive: {error}")


def _unpacked(archive: zipfile.ZipFile, entry: str, scratch: Path) -> _Part:
    file = scratch / f"part{Path(entry).suffix.lower()}"
    try:
        with archive.open(entry) as packed, file.open("wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        return _Part(file, entry, f"cannot be unpacked: {error}")
    return _Part(file, entry)


def _stage_part(con: duckdb.DuckDBPyConnection, part: _Part, ingested_at: datetime | None) -> None:
    if part.unreadable:
        con.execute("insert into staged_reject values (null, 'unreadable_file', ?, null)", [part.unreadable])
        return
    if part.path.stat().st_size == 0:
        con.execute("insert into staged_reject values (null, 'empty_file', 'zero bytes', null)")
        return
    parquet = part.path.suffix.lower() == ".parquet"
    try:
        columns = pq.read_schema(part.path).names if parquet else _csv_columns(part)
    except (pa.ArrowInvalid, OSError) as error:
        con.execute("insert into staged_reject values (null, 'unreadable_file', ?, null)", [f"not Parquet: {error}"])
        return
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        _reject_rows(con, part, parquet=parquet, reason="bad_header", detail=f"two columns {', '.join(repeated)}")
        return
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        reason, detail = "missing_required_column", f"no column {', '.join(missing)}"
        _reject_rows(con, part, parquet=parquet, reason=reason, detail=detail)
        return
    if not parquet:
        _note_absent(con, columns)
    relation = "read_parquet($path)" if parquet else _csv_reader(columns)
    _fill(con, relation, part, columns, ingested_at)
    if not parquet:
        _keep_rejects(con)


def _csv_columns(part: _Part) -> list[str]:
    with part.path.open(encoding="utf-8-sig", errors="replace") as file:
        return [name.strip().strip('"') for name in file.readline().rstrip("\r\n").split(",")]


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


def _fill(
    con: duckdb.DuckDBPyConnection, relation: str, part: _Part, columns: list[str], ingested_at: datetime | None
) -> None:
    readings = ", ".join(
        f"{column}::bigint as {column}" if column in columns else f"null::bigint as {column}"
        for column in catalog("disk").columns
    )
    con.execute(
        f"insert into staged by name select serial_number::varchar as entity_id, model::varchar as model, "  # noqa: S608
        f"case when capacity_bytes > 0 then capacity_bytes end as capacity_bytes, date::date as day, "
        f"coalesce($ingested_at, (date::date + interval 1 day)::timestamptz) as ingested_at, "
        f"failure::tinyint as failure, {readings} from {relation}",
        {"path": str(part.path), "ingested_at": ingested_at},
    )


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


def _reject_rows(con: duckdb.DuckDBPyConnection, part: _Part, *, parquet: bool, reason: str, detail: str) -> None:
    """Quarantine every row of a file whose columns do not say what its rows mean."""
    rows = "select null as line, to_json(file)::varchar as raw from read_parquet($path) file"
    if not parquet:
        rows = (
            "select row_number() over () + 1 as line, raw from read_csv($path, auto_detect = false, header = true, "
            "delim = '\x01', quote = '', escape = '', columns = {'raw': 'VARCHAR'})"
        )
    con.execute(
        f"insert into staged_reject select line, $reason, $detail, raw from ({rows})",  # noqa: S608
        {"path": str(part.path), "reason": reason, "detail": detail},
    )
