"""Turns of dispatchers: one at a time hands orders of a ledger over, and whoever dies frees its turn.

So budgets and breakers count every order that was handed over before, and a lease that is found open is a dead
dispatcher's, to be taken over at once. On SQLite the turn is a lock on a file beside the ledger, which the system
frees; on PostgreSQL it is an advisory lock of a session, which the server frees when the session ends.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from data.errors import LedgerUnreachable

LOCK: Final = "dispatch.lock"
DISPATCHER_LOCK: Final = 4_021_964
"""PostgreSQL's advisory lock of dispatchers; `store.WRITER_LOCK` is that of writers."""

Still = Callable[[], None]
"""Nothing while the turn is held; a LedgerError once the server has given it to another."""


@contextmanager
def turn(engine: Engine) -> Iterator[Still]:
    """A check that the turn is still held, once it is ours; waits for as long as another dispatcher has it."""
    held = _by_file(Path(engine.url.database or "")) if engine.dialect.name == "sqlite" else _by_session(engine)
    with held as still:
        yield still


@contextmanager
def _by_file(ledger: Path) -> Iterator[Still]:
    with ledger.with_name(LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lambda: None


@contextmanager
def _by_session(engine: Engine) -> Iterator[Still]:
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as con:
        con.detach()  # closing it ends the session, and the turn with it

        def still() -> None:
            try:
                con.exec_driver_sql("select 1")
            except DBAPIError as error:
                msg = (
                    f"The turn to hand orders over is lost: {error.orig}. What was handed over stands; the next "
                    "dispatch goes on from there."
                )
                raise LedgerUnreachable(msg) from error

        try:
            con.exec_driver_sql(f"select pg_advisory_lock({DISPATCHER_LOCK})")
        except DBAPIError as error:
            msg = (
                f"No turn to hand orders over: {error.orig}. Dispatch again once the ledger's database can be reached."
            )
            raise LedgerUnreachable(msg) from error
        yield still
