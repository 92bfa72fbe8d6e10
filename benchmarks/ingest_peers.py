"""The contestants of `benchmarks.ingest`: each prepares, and gives back the job that is timed."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contest import Job

if TYPE_CHECKING:
    from pipelines.steps.ingest import IngestReport

Typed = dict[str, str]


def foreshock(home: str, source: str, *files: str) -> Job:
    """`foreshock ingest backblaze` of the files into `home`, made anew as a copy of `source` (empty: from nothing)."""
    load = _loading(home, source, files)

    def job() -> dict[str, int]:
        report = load()
        return {"rows": report.rows_loaded, "set_aside": report.rows_quarantined + report.rows_duplicate}

    return job


def again(home: str, source: str, *files: str) -> Job:
    """The same into a copy of `source`, which holds these files already."""
    load = _loading(home, source, files)
    return lambda: {"rows": load().rows_duplicate}


def _loading(home: str, source: str, files: Sequence[str]) -> "Callable[[], IngestReport]":
    from data.warehouse import Warehouse
    from pipelines.settings import Settings
    from pipelines.steps.ingest import ingest

    place = Path(home)
    shutil.rmtree(place, ignore_errors=True)
    if source:
        shutil.copytree(source, place, symlinks=True)
    Warehouse.open(place).con.close()
    return lambda: ingest(Settings(home=place), "backblaze", files)


def command(home: str, *files: str) -> Job:
    """The command that a user types, with all that it loads; into `home`, made anew."""
    shutil.rmtree(home, ignore_errors=True)
    os.environ["FORESHOCK_HOME"] = home

    def job() -> dict[str, int]:
        from pipelines.cli import main

        code = main(["ingest", "backblaze", *files])
        import duckdb

        with duckdb.connect(str(Path(home) / "published.duckdb"), read_only=True) as con:
            ((rows,),) = con.execute("select sum(rows_loaded) from ingest_file").fetchall()
        return {"rows": int(rows), "exit_code": code}

    return job


def publish(home: str, source: str) -> Job:
    """Only the publishing of a copy of `source` that holds a day it has not published."""
    from data.warehouse import Warehouse

    place = Path(home)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source, place, symlinks=True)
    warehouse = Warehouse.open(place)
    warehouse.con.execute(
        "create table unpublished as select * from disk_day where day = (select max(day) from disk_day)"
    )

    def job() -> dict[str, int]:
        return {"rows": int(warehouse.publish().is_file())}

    return job


def duckdb_parse(*files: str) -> Job:
    """DuckDB's `read_csv`, all columns with their types, counted and thrown away; on one thread."""
    import duckdb

    con = duckdb.connect(config={"threads": 1})
    columns = _names(files[0])
    counts = ", ".join(f"count({name})" for name in columns)

    def count(file: str) -> int:
        (row,) = con.execute(f"select count(*), {counts} from {_reader(file, columns)}").fetchall()  # noqa: S608
        return int(row[0])

    def job() -> dict[str, int]:
        return {"rows": sum(map(count, files))}

    return job


def arrow_parse(*files: str) -> Job:
    """PyArrow's CSV reader, all columns with their types; on one thread, with its usual blocks."""
    import pyarrow as pa
    from pyarrow import csv

    types = {"DATE": pa.date32(), "VARCHAR": pa.string(), "BIGINT": pa.int64()}
    convert = csv.ConvertOptions(column_types={name: types[kind] for name, kind in _kinds(_names(files[0])).items()})
    read = csv.ReadOptions(use_threads=False)

    def job() -> dict[str, int]:
        return {"rows": sum(csv.read_csv(one, read, convert_options=convert).num_rows for one in files)}

    return job


def arrow_parse_small_blocks(*files: str) -> Job:
    """The same in blocks of 256 KiB, which fit the caches, without looking for quotes: as lean as it goes."""
    import pyarrow as pa
    from pyarrow import csv

    types = {"DATE": pa.date32(), "VARCHAR": pa.string(), "BIGINT": pa.int64()}
    convert = csv.ConvertOptions(column_types={name: types[kind] for name, kind in _kinds(_names(files[0])).items()})
    read, lean = csv.ReadOptions(use_threads=False, block_size=1 << 18), csv.ParseOptions(quote_char=False)

    def job() -> dict[str, int]:
        return {"rows": sum(csv.read_csv(one, read, lean, convert).num_rows for one in files)}

    return job


def polars_parse(*files: str) -> Job:
    """Polars' `read_csv`, all columns with their types."""
    import polars as pl

    types = {"DATE": pl.Date, "VARCHAR": pl.String, "BIGINT": pl.Int64}
    schema = {name: types[kind] for name, kind in _kinds(_names(files[0])).items()}

    def job() -> dict[str, int]:
        return {"rows": sum(pl.read_csv(one, schema=schema).height for one in files)}

    return job


def pandas_load(*files: str) -> Job:
    """Pandas with its PyArrow engine: all files in one frame, each drive and day once. Nothing is kept on disk."""
    import pandas as pd

    def job() -> dict[str, int]:
        frame = pd.concat([pd.read_csv(one, engine="pyarrow") for one in files], ignore_index=True)
        return {"rows": len(frame.drop_duplicates(["serial_number", "date"]))}

    return job


def polars_load(*files: str) -> Job:
    """Polars, the same."""
    import polars as pl

    types = {"DATE": pl.Date, "VARCHAR": pl.String, "BIGINT": pl.Int64}
    schema = {name: types[kind] for name, kind in _kinds(_names(files[0])).items()}

    def job() -> dict[str, int]:
        frame = pl.concat([pl.read_csv(one, schema=schema) for one in files])
        return {"rows": frame.unique(["serial_number", "date"]).height}

    return job


def primary_key(file: str, *files: str) -> Job:
    """A DuckDB table with a primary key that takes each file with `insert or ignore`, a transaction a file."""
    import duckdb

    for old in (Path(file), Path(f"{file}.wal")):
        old.unlink(missing_ok=True)
    con = duckdb.connect(file)
    columns = _names(files[0])
    listed = ", ".join(f"{name} {kind}" for name, kind in _kinds(columns).items())
    con.execute(f"create table reading ({listed}, primary key (serial_number, date))")

    def job() -> dict[str, int]:
        for one in files:
            con.execute(f"insert or ignore into reading from {_reader(one, columns)}")
        con.execute("checkpoint")
        ((rows,),) = con.execute("select count(*) from reading").fetchall()
        return {"rows": int(rows)}

    return job


def parquet_parse(file: str) -> Job:
    """PyArrow's Parquet reader, all columns."""
    from pyarrow import parquet

    def job() -> dict[str, int]:
        return {"rows": sum(batch.num_rows for batch in parquet.ParquetFile(file).iter_batches())}

    return job


def _names(file: str) -> list[str]:
    with Path(file).open() as lines:
        return lines.readline().strip().split(",")


def _kinds(names: list[str]) -> Typed:
    other: Typed = {"date": "DATE", "serial_number": "VARCHAR", "model": "VARCHAR"}
    return {name: other.get(name, "BIGINT") for name in names}


def _reader(file: str, names: list[str]) -> str:
    listed: Any = _kinds(names)
    return f"read_csv('{file}', auto_detect = false, header = true, delim = ',', columns = {listed})"
