"""The published snapshot: what everyone but the one writer reads.

Each snapshot is a file of its own and never changes; the name `published.duckdb` means the newest one.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from data.errors import WarehouseError
from data.migrations import migrate

PUBLISHED: Final = "published.duckdb"
SNAPSHOTS: Final = "snapshots"
_OPEN_ATTEMPTS: Final = 3
_BINARY: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")


@dataclass
class _Opened:
    """The snapshot that this process opened last: opening one costs more than most questions to it."""

    path: Path
    con: duckdb.DuckDBPyConnection
    readers: int = 0
    retired: bool = False
    """Nobody else will read it; the last reader closes it, since that ends all that was opened from it."""

    def leave(self) -> None:
        """One reader less."""
        self.readers -= 1
        if self.retired and not self.readers:
            self.con.close()

    def retire(self) -> None:
        """Close it, once nobody reads it any more."""
        self.retired = True
        if not self.readers:
            self.con.close()


_opened: dict[Path, _Opened] = {}
_opening = threading.Lock()


@contextmanager
def read(home: Path, *, memory_limit: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection on the published snapshot under `home`; it stays the same while open.

    Args:
        home: where the warehouse is.
        memory_limit: how much memory all questions of this process to it may use, such as `4GB`.

    Raises:
        WarehouseError: nothing has been published there.
    """
    opened = _snapshot(home.absolute())
    try:
        with cursor(opened.con) as con:
            if memory_limit is not None:
                con.execute(f"set memory_limit = '{memory_limit}'")
            yield con
    finally:
        with _opening:
            opened.leave()


@contextmanager
def cursor(con: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own on what the other has open, and for as long as that is open."""
    own = con.cursor()
    try:
        own.execute("set time zone 'UTC'")
        own.execute("set enable_progress_bar = false")
        yield own
    finally:
        own.close()


def published(home: Path) -> Path:
    """The file that is published under `home` now; it need not be there."""
    return (home.absolute() / PUBLISHED).resolve()


def open_snapshot(home: Path, path: Path, *, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """The snapshot in the file, to be read; it stays what it is, also when the file is taken away.

    Args:
        home: where the warehouse is.
        path: the file.
        memory_limit: how much memory all questions to it may use, such as `4GB`.

    Raises:
        WarehouseError: it is there, and cannot be read.
        FileNotFoundError: a newer snapshot has taken its place.
    """
    try:
        con = duckdb.connect(str(path), read_only=True)
    except duckdb.IOException as error:
        if not path.exists():
            raise FileNotFoundError(path) from error
        msg = f"The snapshot {path} cannot be read: {error}. Publish a new one: foreshock ingest."
        raise WarehouseError(msg) from error
    con.execute(f"set temp_directory = '{home.absolute() / 'tmp'}'")
    if memory_limit is not None:
        con.execute(f"set memory_limit = '{memory_limit}'")
    return con


def _snapshot(home: Path) -> _Opened:
    """The newest snapshot, with one reader more."""
    with _opening:
        for _ in range(_OPEN_ATTEMPTS):
            path = published(home)
            held = _opened.get(home)
            if held is not None and held.path == path:
                held.readers += 1
                return held
            try:
                con = open_snapshot(home, path)
            except FileNotFoundError:
                continue  # a newer snapshot took its place between the look and the opening
            if held is not None:
                held.retire()
            _opened[home] = _Opened(path, con, readers=1)
            return _opened[home]
    msg = f"Nothing is published in {home}: ingest something first (foreshock ingest), or set FORESHOCK_HOME."
    raise WarehouseError(msg)


def let_go(home: Path) -> None:
    """Close the snapshot that this process holds ready, and free its memory; who is reading it goes on undisturbed."""
    with _opening:
        held = _opened.pop(home, None)
        if held is not None:
            held.retire()


def arrow(con: duckdb.DuckDBPyConnection, query: str, values: dict[str, object] | None = None) -> pa.Table:
    """The answer to a query, whole, as an Arrow table."""
    relation = con.sql(query, params=values) if values else con.sql(query)
    table: pa.Table = relation.to_arrow_table()
    return table


@contextmanager
def in_shape() -> Iterator[None]:
    """Say what to do where facts that another version published lack a table that is asked for.

    Raises:
        WarehouseError: they do.
    """
    try:
        yield
    except duckdb.CatalogException as error:
        reason = str(error).splitlines()[0]
        msg = (
            f"These facts were published by another version of Foreshock ({reason}). The next foreshock ingest brings "
            "them into the shape that this one reads, and publishes them."
        )
        raise WarehouseError(msg) from error


@contextmanager
def shown(con: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    """Let statements read the tables by these names."""
    for name, table in tables.items():
        con.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            con.unregister(name)


@contextmanager
def one_thread(con: duckdb.DuckDBPyConnection) -> Iterator[int]:
    """Let statements run on one thread: small ones cost less than sharing them out does. Yields how many there were.

    It holds for all that is asked of the same file in this process, so one at a time may ask for it. Whenever the
    number changes DuckDB gives its free memory back, so it is asked for once, around all that it shall hold for.
    """
    ((usual,),) = con.execute("select current_setting('threads')").fetchall()
    if usual == 1:
        yield usual
        return
    con.execute("set threads = 1")
    try:
        yield usual
    finally:
        con.execute(f"set threads = {usual}")


@contextmanager
def threads(con: duckdb.DuckDBPyConnection, count: int) -> Iterator[None]:
    """Within `one_thread`, let statements run on so many again."""
    con.execute(f"set threads = {count}")
    try:
        yield
    finally:
        con.execute("set threads = 1")


def memory_bytes(con: duckdb.DuckDBPyConnection) -> int:
    """How much memory all questions to what the connection has open may use together."""
    ((text,),) = con.execute("select current_setting('memory_limit')").fetchall()
    number, unit = str(text).split()
    return int(float(number) * 1024 ** _BINARY.index(unit))


@contextmanager
def empty() -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory warehouse without a fact, for questions about its shape."""
    con = duckdb.connect()
    try:
        con.execute("set time zone 'UTC'")
        migrate(con)
        yield con
    finally:
        con.close()
