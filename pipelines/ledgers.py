"""The ledger of these settings: to write in, or a copy to try things on."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from data.errors import LedgerError, UsageError
from decisions.ledger import Ledger, moving
from decisions.ledger.chain import Verified
from decisions.ledger.store import is_there
from pipelines.settings import Settings

SQLITE = "sqlite:///"


@contextmanager
def opened(settings: Settings) -> Iterator[Ledger]:
    """The ledger, made if it is not there yet."""
    with Ledger(settings.ledger_url) as ledger:
        yield ledger


@contextmanager
def copied(settings: Settings) -> Iterator[Ledger]:
    """A ledger to read, in which looking makes nothing: a copy of an SQLite one; one on a server as it is there."""
    if sqlite_file(settings) is None and is_there(settings.ledger_url):
        with Ledger(settings.ledger_url, make=False) as ledger:
            yield ledger
        return
    with scratch(settings) as ledger:
        yield ledger


@contextmanager
def scratch(settings: Settings) -> Iterator[Ledger]:
    """A ledger with the same content that is thrown away afterwards: whatever is done to it, nothing was written."""
    file = sqlite_file(settings)
    with tempfile.TemporaryDirectory(prefix="foreshock-") as folder:
        copy = Path(folder) / "ledger.db"
        if file is None and is_there(settings.ledger_url):
            moving.copy(settings.ledger_url, f"{SQLITE}{copy}")
        elif file is not None and file.exists():
            _copy(file, copy)
        with Ledger(f"{SQLITE}{copy}") as ledger:
            yield ledger


def taken_over(settings: Settings, file: Path) -> Verified:
    """What a check of the history found after an SQLite ledger was taken over into the one of the settings.

    Raises:
        UsageError: there is no such file, or it is the ledger of the settings.
        LedgerError: one of the two cannot be read, or the file's history does not hold.
        Refused: the ledger of the settings holds something already.
    """
    own = sqlite_file(settings)
    if not file.is_file() or (own is not None and own.exists() and own.samefile(file)):
        msg = f"{file} is not there, or is the ledger of the settings. Name the old file; ledger.url is the new place."
        raise UsageError(msg)
    with tempfile.TemporaryDirectory(prefix="foreshock-") as folder:
        copy = Path(folder) / "ledger.db"
        _copy(file, copy)
        return moving.take_over(f"{SQLITE}{copy}", settings.ledger_url)


def sqlite_file(settings: Settings) -> Path | None:
    """The file of an SQLite ledger, whatever its driver; null for one on a server, and for a senseless URL."""
    try:
        url = make_url(settings.ledger_url)
    except ArgumentError:
        return None
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def _copy(file: Path, copy: Path) -> None:
    """A consistent copy, without leaving SQLite's side files beside a ledger that nobody has open."""
    in_use = file.with_name(f"{file.name}-wal").exists()
    mode = "mode=ro" if in_use else "mode=ro&immutable=1"
    source = sqlite3.connect(f"{file.absolute().as_uri()}?{mode}", uri=True)
    try:
        with closing(source), closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        msg = f"Ledger {file} cannot be read: {error}. Put a sound copy of the file in its place."
        raise LedgerError(msg) from error
