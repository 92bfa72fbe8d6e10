"""Taking a ledger over into another database: row for row, with its whole history, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, func, insert, select

from data.errors import LedgerError, Refused
from decisions.ledger import chain
from decisions.ledger.chain import Verified
from decisions.ledger.schema import METADATA
from decisions.ledger.store import open_engine, reading, writing

CHUNK: Final = 1_000
"""Rows carried at a time."""


def take_over(source: str, target: str) -> Verified:
    """What a check of the history found in the new place: the same as in the old one, which stays as it was.

    Args:
        source: SQLAlchemy URL of the ledger; brought up to date where it is older than this program.
        target: SQLAlchemy URL of the database to keep it from now on.

    Raises:
        LedgerError: One of the two cannot be opened, or the source's history does not hold.
        Refused: The target holds something already.
    """
    with _engine(source) as old, _engine(target) as new, reading(old) as before, writing(new) as after:
        return _taken_over(before, after)


def copy(source: str, target: str) -> None:
    """Fill the empty ledger at the URL `target` with what is in the other, in which nothing is made or changed.

    Raises:
        LedgerError: One of the two cannot be opened, or is of another version than this program.
    """
    with _engine(source, make=False) as old, _engine(target) as new, reading(old) as before, writing(new) as after:
        _carry(before, after)


def _taken_over(before: Connection, after: Connection) -> Verified:
    sound = chain.verify(before)
    if not sound.ok:
        msg = f"The ledger is not taken over, since its history does not hold: {sound.reason}. Restore a sound copy."
        raise LedgerError(msg)
    for table in METADATA.sorted_tables:
        if after.execute(select(table).limit(1)).first() is not None:
            msg = f"The new database holds a ledger already ({table.name}). Nothing was changed; name an empty one."
            raise Refused(msg)
    _carry(before, after)
    carried = chain.verify(after)
    if carried != sound:
        lost = carried.reason or "records are missing"
        msg = f"The ledger did not arrive whole: {lost}. Nothing was changed; repeat."
        raise LedgerError(msg)
    return carried


def _carry(before: Connection, after: Connection) -> None:
    for table in METADATA.sorted_tables:
        for rows in before.execution_options(yield_per=CHUNK).execute(select(table)).mappings().partitions():
            after.execute(insert(table), [dict(row) for row in rows])
    if after.dialect.name == "postgresql":
        _count_on(after)


@contextmanager
def _engine(url: str, *, make: bool = True) -> Iterator[Engine]:
    engine = open_engine(url, make=make)
    try:
        yield engine
    finally:
        engine.dispose()


def _count_on(con: Connection) -> None:
    """Let numbers that the database gives follow those that were carried."""
    for table in METADATA.sorted_tables:
        counter = table.autoincrement_column
        if counter is not None:
            last = con.execute(select(func.max(counter))).scalar()
            sequence = func.pg_get_serial_sequence(table.name, counter.name)
            con.execute(select(func.setval(sequence, last or 1, last is not None)))
