"""The ledger's database: opened, brought up to date, read and written in transactions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from data.errors import LedgerError
from decisions.ledger.schema import HEAD

BUSY_TIMEOUT_MILLISECONDS = 30_000
WRITER_LOCK = 4_021_963
"""PostgreSQL's advisory lock that makes writers take turns, as `begin immediate` does on SQLite."""


def open_engine(url: str) -> Engine:
    """An engine on an up-to-date ledger at the SQLAlchemy URL, which is made if it is not there.

    Raises:
        LedgerError: The URL makes no sense, or the database cannot be reached or is newer than this program.
    """
    try:
        engine = _create(url)
        with writing(engine) as con:
            _upgrade(con)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        forms = "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
        msg = f"Ledger URL {_shown(url)} cannot be used: {error}. Use {forms}."
        raise LedgerError(msg) from error
    except (DBAPIError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        msg = f"Ledger {_shown(url)} cannot be opened: {cause}. Check the URL and who may write there."
        raise LedgerError(msg) from error
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that no other writer shares; committed at the end, undone on an exception."""
    with engine.execution_options(writes=True).connect() as con:
        try:
            transaction = con.begin()
        except DBAPIError as error:
            msg = f"The ledger is busy: {error.orig}. Another process has been writing for too long; try again."
            raise LedgerError(msg) from error
        with transaction:
            yield con


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one state of the ledger for as long as it is held, and keeps no writer waiting."""
    level = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.execution_options(**level).connect() as con, con.begin():
        yield con


def _create(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            msg = "a ledger in memory would forget; name a file"
            raise ArgumentError(msg)
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = create_engine(parsed)
        event.listen(engine, "begin", _begin_postgresql)
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


def _begin_postgresql(con: Connection) -> None:
    if con.get_execution_options().get("writes"):
        con.exec_driver_sql(f"select pg_advisory_xact_lock({WRITER_LOCK})")


def _upgrade(con: Connection) -> None:
    """Run the migrations that the ledger has not had; Alembic is loaded only when there are any."""
    held = None
    if inspect(con).has_table("alembic_version"):
        held = con.execute(text("select version_num from alembic_version")).scalar()
    if held == HEAD:
        return
    if held is not None and held > HEAD:
        msg = f"The ledger is at version {held}, and this program knows {HEAD} at most. Use the newer program."
        raise LedgerError(msg)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = con
    command.upgrade(config, HEAD)


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return repr(url)
