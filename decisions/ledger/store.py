"""The ledger's database: opened, brought up to date, read and written in transactions.

Writers take turns on both databases, since each record of the history carries the hash of the one before: on SQLite by
`begin immediate`, on PostgreSQL by an advisory lock for the length of the transaction. Readers wait for nobody.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from data.errors import LedgerError, LedgerUnreachable
from decisions.ledger.schema import HEAD

BUSY_TIMEOUT_MILLISECONDS = 30_000
WRITER_LOCK = 4_021_963
"""PostgreSQL's advisory lock of writers."""
_WRITES = f"""
set local lock_timeout = {BUSY_TIMEOUT_MILLISECONDS};
set local idle_in_transaction_session_timeout = {BUSY_TIMEOUT_MILLISECONDS};
select pg_advisory_xact_lock({WRITER_LOCK})"""
"""How a writing transaction begins on PostgreSQL; the holder of the lock that falls silent meanwhile is thrown out."""
_ALIVE = "set tcp_keepalives_idle = 15; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3"
"""PostgreSQL ends the session of a machine that has been gone for half a minute, and frees its locks."""
_FORMS = "Use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME."


def open_engine(url: str, *, make: bool = True) -> Engine:
    """An engine on an up-to-date ledger at the SQLAlchemy URL, which is made if it is not there and need be.

    Raises:
        LedgerError: The URL makes no sense, or the database cannot be reached, or is newer than this program; or is
            older or not there, where nothing may be made.
    """
    with _opening(url) as engine:
        with reading(engine) as con:
            held = _version(con)
        if held != HEAD and not make:
            msg = f"Ledger {shown(url)} is at version {held}, and this program reads {HEAD}: run one cycle with it."
            raise LedgerError(msg)
        if held != HEAD:
            with writing(engine) as con:
                _upgrade(con)
        return engine


def is_there(url: str) -> bool:
    """Whether there is a ledger of any version; nothing is made.

    Raises:
        LedgerError: The URL makes no sense, or the database cannot be reached.
    """
    with _opening(url) as engine, reading(engine) as con:
        return _version(con) is not None


class Opened:
    """A ledger at a SQLAlchemy URL, made and brought up to date when it is opened, if it may be; open until closed."""

    def __init__(self, url: str, *, make: bool = True) -> None:
        """Open the ledger.

        Raises:
            LedgerError: What `open_engine` says.
        """
        self._engine = open_engine(url, make=make)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


@contextmanager
def _opening(url: str) -> Iterator[Engine]:
    try:
        yield _create(url)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
        msg = f"Ledger URL {shown(url)} cannot be used: {error}. {_FORMS}"
        raise LedgerError(msg) from error
    except (DBAPIError, OSError, LedgerUnreachable) as error:
        cause = " ".join(str(getattr(error, "orig", error.__cause__) or error).split()).rstrip(".?")
        msg = f"Ledger {shown(url)} cannot be opened: {cause}. Check the URL and who may write there."
        raise LedgerUnreachable(msg) from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that no other writer shares; committed at the end, undone on an exception.

    Raises:
        LedgerError: Another process has been writing for too long, or the database went away.
    """
    with _reached(), _connected(engine, "READ COMMITTED", writes=True) as con:
        try:
            transaction = con.begin()
        except DBAPIError as error:
            msg = f"The ledger is busy: {error.orig}. Another process has been writing for too long; try again."
            raise LedgerUnreachable(msg) from error
        with transaction:
            yield con


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one state of the ledger for as long as it is held, and keeps no writer waiting.

    Raises:
        LedgerError: The database went away.
    """
    with _reached(), _connected(engine, "REPEATABLE READ") as con, con.begin():
        yield con


def shown(url: str) -> str:
    """The URL without its passwords, however badly it is written."""
    hidden = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)((?:pass|secret)\w*=)[^&]*", r"\1***", hidden)


def _connected(engine: Engine, level: str, *, writes: bool = False) -> Connection:
    """A connection whose transactions are isolated so on PostgreSQL, whatever the server's own default is."""
    options: dict[str, Any] = {} if engine.dialect.name == "sqlite" else {"isolation_level": level}
    options |= {"writes": True} if writes else {}
    return engine.execution_options(**options).connect() if options else engine.connect()


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if not (isinstance(error, OperationalError) or error.connection_invalidated):
            raise
        cause = " ".join(str(error.orig).split())
        msg = f"The ledger's database cannot be used: {cause}. Repeat once it can: nothing is written twice."
        raise LedgerUnreachable(msg) from error.orig


def _create(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            msg = "a ledger in memory would forget; name a file"
            raise ArgumentError(msg)
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = _engine(parsed)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        if "@" in (parsed.host or ""):
            msg = "an @ in a password is written %40"
            raise ArgumentError(msg)
        engine = _engine(parsed, pool_pre_ping=True)
        event.listen(engine, "connect", _prepare_postgresql)
        event.listen(engine, "begin", _begin_postgresql)
    return engine


def _engine(url: URL, **options: bool) -> Engine:
    engine = create_engine(url, **options)
    if engine.dialect.is_async:
        msg = f"{engine.driver} is an asynchronous driver, such as Prefect uses"
        raise ArgumentError(msg)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions by itself, and too late
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}",
        "journal_mode = wal",
        "synchronous = full",
        "foreign_keys = on",
    ):
        connection.execute(f"pragma {pragma}")


def _begin_sqlite(con: Connection) -> None:
    con.exec_driver_sql("begin immediate" if con.get_execution_options().get("writes") else "begin")


def _prepare_postgresql(connection: Any, _record: object) -> None:
    connection.execute(_ALIVE)
    connection.commit()


def _begin_postgresql(con: Connection) -> None:
    if con.get_execution_options().get("writes"):
        con.exec_driver_sql(_WRITES)


def _version(con: Connection) -> str | None:
    """The newest migration that the ledger has had; null: none."""
    if not inspect(con).has_table("alembic_version"):
        return None
    held: str | None = con.execute(text("select version_num from alembic_version")).scalar()
    return held


def _upgrade(con: Connection) -> None:
    """Run the migrations that the ledger has not had; Alembic is loaded only when there are any."""
    held = _version(con)
    if held == HEAD:
        return
    if held is not None and held > HEAD:
        msg = f"The ledger is at version {held}, and this program knows {HEAD} at most. Use the newer program."
        raise LedgerError(msg)
    _refuse_encoding(con)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = con
    command.upgrade(config, HEAD)


def _refuse_encoding(con: Connection) -> None:
    if con.dialect.name == "sqlite":
        return
    encoding = con.exec_driver_sql("show server_encoding").scalar()
    if encoding != "UTF8":
        msg = f"The database keeps texts as {encoding}, and the ledger needs UTF8: create database ... encoding 'UTF8'."
        raise LedgerError(msg)
