"""The facts in parts: a snapshot's tables as Parquet, divided by entity, for workers that each read a part of them.

An entity and all that is told of it lie in one part: the remainder of its key by the number of parts. What is told of
hosts is small and lies in every part's reach. Files are named after what is in them and never rewritten. The manifest
names those that make up the store; it is written last, so a kill leaves the store as it was, and a repeat writes the
same. A file that it no longer names is kept for `KEPT_HOURS`, for whoever has begun to read.

The place is any that fsspec knows: `file:///srv/foreshock`, `s3://bucket/foreshock` (with the package `s3fs`), ...
On S3 a file is there once all of it has arrived; elsewhere it arrives under another name.
"""

import json
import logging
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from data.catalog import has_readings
from data.errors import EngineError, EngineUnreachable, UsageError, hidden
from data.migrations import migrate
from data.snapshots import in_shape, shown

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger(__name__)

FORMAT: Final = 2
MANIFEST: Final = "manifest.json"
KEPT_HOURS: Final = 48
"""A training run may take hours, and reads the files that the store was made of when it began."""

_READINGS: Final = {
    "entity": None, "entity_host": None, "entity_version": None, "failure": None,
    "{component}_current": None, "{component}_superseded": "until_day", "{component}_day": "day",
    "risk": "asof_at", "mitigation": None,
}  # fmt: skip
"""The tables that a component with readings is asked about, and the time by whose month their files are cut."""
_SHARED: Final = ("mitigation",)
"""Tables without an entity: one file, which every part reads."""
_S3: Final = ("s3", "s3a")


@dataclass(frozen=True)
class Piece:
    """A month of a part of a table, or all of it."""

    table: str
    part: int | None
    """Null: for every part."""
    month: str
    digest: str
    """Of its rows, whatever their order."""
    rows: int
    files: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Return where its files lie, from the store's root."""
        return f"{self.table}/{'all' if self.part is None else f'part={self.part:05d}'}"


@dataclass(frozen=True)
class Manifest:
    """What a store is made of."""

    component: str
    parts: int
    snapshot: str
    """The snapshot that it was made from."""
    pieces: tuple[Piece, ...]
    retired: Mapping[str, str] = field(default_factory=dict)
    """Files that it is not made of, and since when."""
    written: int = 0
    """Files that were new when it was made."""

    def of(self, part: int) -> dict[str, list[str]]:
        """Return each table's files for one part, in order of time."""
        found: dict[str, list[str]] = {table: [] for table in tables(self.component)}
        for piece in self.pieces:
            if piece.part in {None, part}:
                found[piece.table] += piece.files
        return found


@dataclass(frozen=True)
class Store:
    """A place for parts, by its fsspec URL."""

    url: str

    @contextmanager
    def _opened(self, to: str, *, listings: bool = False) -> Iterator[tuple["AbstractFileSystem", str]]:
        """The file system, and the root in it.

        On S3 nothing is fetched but what is asked for: read ahead, a day of readings would take whole files. Where
        `listings` is true, what was listed is believed.
        """
        on_s3 = {"default_cache_type": "none", "use_listings_cache": listings}
        try:
            fs, root = fsspec.core.url_to_fs(self.url, **(on_s3 if self._is_s3 else {}))
        except (ImportError, ValueError) as error:
            msg = f"cannot open {self.url}: {error}. Install what it needs here and on every worker, or choose another"
            raise EngineError(msg) from error
        try:
            yield fs, root.rstrip("/")
        except Exception as error:  # each kind of place has errors of its own
            raise self.failed(error, to) from error

    @property
    def _is_s3(self) -> bool:
        return self.url.split("://")[0] in _S3

    def failed(self, error: Exception, to: str) -> EngineUnreachable:
        """Return the error that says what this machine could not do there, and what it takes."""
        needs = " with its credentials in the environment (AWS_ACCESS_KEY_ID, ...)" if self._is_s3 else ""
        return EngineUnreachable(
            f"{socket.gethostname()} cannot {to} {self.url}: {_reason(error)}. Every worker must reach it at the same "
            f"address{needs}, and may read and write there; once it does, repeat this run"
        )

    def damaged(self, names: Sequence[str]) -> EngineError | None:
        """Return the error that says which of the files can be had and is no Parquet any more; null where none is."""
        for name in names:
            try:
                with self._opened("read") as (fs, root):
                    held = fs.cat_file(f"{root}/{name}")
                pq.read_table(pa.BufferReader(held))
            except EngineUnreachable:
                return None
            except (pa.ArrowException, OSError) as error:
                return EngineError(
                    f"{socket.gethostname()} cannot read {self.url}/{name}: {_reason(error)}. If that file is damaged, "
                    "remove it and repeat this run: what is missing is written anew"
                )
        return None

    def manifest(self) -> Manifest | None:
        """Return what the store is made of; null while there is none, or one of another format, or a damaged one."""
        with self._opened("read") as (fs, root):
            try:
                text = fs.cat_file(f"{root}/{MANIFEST}")
            except FileNotFoundError:
                fs.find(root)  # an error where even the bucket is missing
                return None
        try:
            raw: dict[str, Any] = json.loads(text)
        except ValueError:
            logger.warning("%s/%s is damaged: all of the store is written anew", self.url, MANIFEST)
            return None
        if raw.pop("format") != FORMAT:
            return None
        pieces = tuple(Piece(**{**one, "files": tuple(one["files"])}) for one in raw.pop("pieces"))
        return Manifest(pieces=pieces, **raw)

    def put(self, local: Path, name: str) -> None:
        """Put a file into the store under a name, whole or not at all."""
        with self._opened("write") as (fs, root):
            if self._is_s3:
                fs.put_file(str(local), f"{root}/{name}")
                return
            fs.makedirs(f"{root}/{name}".rsplit("/", 1)[0], exist_ok=True)
            draft = f"{root}/{name}.{uuid4().hex}.draft"  # two may write the same at once
            fs.put_file(str(local), draft)
            fs.mv(draft, f"{root}/{name}")

    def write(self, manifest: Manifest) -> None:
        """Make the store be what the manifest says."""
        with tempfile.TemporaryDirectory() as folder:
            text = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=1)
            (Path(folder) / MANIFEST).write_text(text, encoding="utf-8")
            self.put(Path(folder) / MANIFEST, MANIFEST)

    def names(self) -> list[str]:
        """Return every file but the manifest, from the store's root."""
        with self._opened("list") as (fs, root):
            return sorted(name for path in fs.find(root) if (name := path[len(root) + 1 :]) != MANIFEST)

    def remove(self, names: Sequence[str]) -> None:
        """Remove files, where nobody else has."""
        with self._opened("remove files from") as (fs, root):
            for name in names:
                with suppress(FileNotFoundError):
                    fs.rm_file(f"{root}/{name}")

    def table(self, name: str) -> pa.Table:
        """Return the rows of a Parquet file of the store."""
        with self._opened("read") as (fs, root), fs.open(f"{root}/{name}", "rb") as file:
            return pq.read_table(file)

    def readable(self, con: duckdb.DuckDBPyConnection, names: Sequence[str]) -> list[str]:
        """Return the names as the connection can read them."""
        with self._opened("read", listings=True) as (fs, root):
            if "file" in fs.protocol:
                return [f"{root}/{name}" for name in names]
            for folder in {name.rpartition("/")[0] for name in names}:
                fs.ls(f"{root}/{folder}", refresh=True)  # once, instead of a question for each file and statement
            protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
            if not con.filesystem_is_registered(protocol):
                con.register_filesystem(fs)
            return [f"{protocol}://{root.lstrip('/')}/{name}" for name in names]


def _reason(error: Exception) -> str:
    told = (line for line in str(error).splitlines() if not line.startswith(("Traceback", " ")))  # as DuckDB does
    return hidden(next(told, type(error).__name__))


def tables(component: str) -> dict[str, str | None]:
    """Return the tables that a component's statements read, and the time by whose month their files are cut.

    Raises:
        UsageError: what is asked about an entity of it looks at its neighbours, so it cannot be kept in parts.
    """
    if not has_readings(component):
        msg = f"{component} cannot be kept in parts: its statements look at the entities around each"
        raise UsageError(msg)
    return {name.format(component=component): time for name, time in _READINGS.items()}


def export(
    con: duckdb.DuckDBPyConnection, store: Store, component: str, parts: int, snapshot: str, now: datetime
) -> Manifest:
    """Return the manifest of a store that holds what the snapshot holds; only what has changed or got lost is written.

    Args:
        con: a connection on the snapshot.
        store: where to.
        component: of which component.
        parts: how many.
        snapshot: the snapshot's name: one that the store was made from already is not looked at again.
        now: what files are retired at.
    """
    before = store.manifest()
    held = _held(store, before) if before and (before.component, before.parts) == (component, parts) else {}
    if before and before.snapshot == snapshot and len(held) == len(before.pieces):
        return before
    with in_shape():
        con.sql(f"from {component}_current limit 0")
    pieces: list[Piece] = []
    written = 0
    for table, time in tables(component).items():
        wanted = _pieces(con, component, table, time, parts)
        new = [piece for piece in wanted if _key(piece) not in held]
        made = _write(con, store, component, new, time, parts) if new else {}
        written += sum(len(files) for files in made.values())
        pieces += [held.get(_key(piece)) or _with(piece, made[_key(piece)]) for piece in wanted]
    manifest = Manifest(component, parts, snapshot, tuple(pieces), _retired(store, before, pieces, now), written)
    store.write(manifest)
    ended = (now - timedelta(hours=KEPT_HOURS)).isoformat()
    store.remove([name for name, since in manifest.retired.items() if since < ended])
    logger.info("%s: %d of %d files are new", store.url, written, sum(len(piece.files) for piece in pieces))
    return manifest


@contextmanager
def opened(
    store: Store, files: Mapping[str, Sequence[str]], *, memory_limit: str = "1GB", spill: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory warehouse of one part; daily readings stay in their files, and only the days asked for are read."""
    con = duckdb.connect()
    try:
        con.execute("set time zone 'UTC'")
        con.execute("set enable_progress_bar = false")
        con.execute("set threads = 1")
        con.execute("set validate_external_file_cache = 'no_validation'")  # files are never rewritten
        con.execute(f"set memory_limit = '{memory_limit}'")
        if spill is not None:
            con.execute(f"set temp_directory = '{spill}'")
        migrate(con)
        for table, names in files.items():
            if names:
                _attach(con, table, store, names)
        yield con
    except duckdb.Error as error:
        bare = type(error) is duckdb.Error  # a file system raised it, or what reads a file's end
        if not (bare or isinstance(error, duckdb.IOException | duckdb.InvalidInputException)):
            raise
        damaged = store.damaged([name for names in files.values() for name in names])
        if damaged is None and isinstance(error, duckdb.InvalidInputException):
            raise
        raise damaged or store.failed(error, "read") from error
    finally:
        con.close()


def _attach(con: duckdb.DuckDBPyConnection, table: str, store: Store, names: Sequence[str]) -> None:
    relation = con.read_parquet(store.readable(con, names), hive_partitioning=False)
    if table.endswith("_day"):
        con.execute(f"drop table {table}")
        relation.create_view(table)
        return
    relation.create_view("arriving")
    con.execute(f"insert into {table} by name select * from arriving")  # noqa: S608 - a name of ours
    con.execute("drop view arriving")


def _key(piece: Piece) -> tuple[str, int | None, str, str, int]:
    return piece.table, piece.part, piece.month, piece.digest, piece.rows


def _held(store: Store, manifest: Manifest) -> dict[tuple[str, int | None, str, str, int], Piece]:
    """The pieces whose files are all there still, by their keys."""
    there = set(store.names())
    return {_key(piece): piece for piece in manifest.pieces if there.issuperset(piece.files)}


def _with(piece: Piece, files: Sequence[str]) -> Piece:
    return Piece(piece.table, piece.part, piece.month, piece.digest, piece.rows, tuple(files))


def _rows(table: str, time: str | None) -> str:
    """The table's rows with the part and the month that each belongs to."""
    month = f"strftime({time}, '%Y-%m')" if time else "'all'"
    if table in _SHARED:
        return f"select *, -1 as part, {month} as month from {table}"  # noqa: S608 - names of ours
    mine = "semi join (select entity_key from entity where component = $component) using (entity_key)"
    return f"select *, (entity_key % $parts)::integer as part, {month} as month from {table} {mine}"  # noqa: S608


def _pieces(con: duckdb.DuckDBPyConnection, component: str, table: str, time: str | None, parts: int) -> list[Piece]:
    query = f"""
        select part, month, count(*), sum(hash(*columns(* exclude (part, month))))::varchar
        from ({_rows(table, time)}) group by all order by all"""  # noqa: S608
    rows = con.execute(query, _bound(component, table, parts)).fetchall()
    return [Piece(table, None if part < 0 else part, month, digest, count) for part, month, count, digest in rows]


def _bound(component: str, table: str, parts: int) -> dict[str, object]:
    return {} if table in _SHARED else {"component": component, "parts": parts}


def _write(
    con: duckdb.DuckDBPyConnection, store: Store, component: str, pieces: list[Piece], time: str | None, parts: int
) -> dict[tuple[str, int | None, str, str, int], list[str]]:
    """Write the pieces of one table, all in one pass over it; the names of their files."""
    table = pieces[0].table
    wanted = pa.table(
        {"part": [-1 if one.part is None else one.part for one in pieces], "month": [one.month for one in pieces]}
    )
    made = {}
    with tempfile.TemporaryDirectory() as folder, shown(con, wanted=wanted):
        con.execute(
            f"copy (select * from ({_rows(table, time)}) semi join wanted using (part, month) "  # noqa: S608
            f"order by {time or 'all'}) to '{folder}' (format parquet, partition_by (part, month))",
            _bound(component, table, parts),
        )
        for piece in pieces:
            there = Path(folder) / f"part={-1 if piece.part is None else piece.part}" / f"month={piece.month}"
            names = []
            for number, file in enumerate(sorted(there.iterdir())):
                names.append(f"{piece.folder}/{piece.month}-{int(piece.digest):x}-{number}.parquet")
                store.put(file, names[-1])
            made[_key(piece)] = names
    return made


def _retired(store: Store, before: Manifest | None, pieces: list[Piece], now: datetime) -> dict[str, str]:
    living = {name for piece in pieces for name in piece.files}
    known = before.retired if before else {}
    return {name: known.get(name, now.isoformat()) for name in store.names() if name not in living}
