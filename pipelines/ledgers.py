"""The ledger of these settings: to write in, or a copy to try things on."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from data.errors import LedgerError, UsageError
from decisions.ledger import Ledger
from pipelines.settings import Settings

SQLITE = "sqlite:///"


@contextmanager
def opened(settings: Settings) -> Iterator[Ledger]:
    """The ledger, made if it is not there yet."""
    with Ledger(settings.ledger_url) as ledger:
        yield ledger


@contextmanager
def copied(settings: Settings) -> Iterator[Ledger]:
    """A ledger to read: a copy of an SQLite one, so that looking makes no file; any other is opened as it is."""
    chosen = opened if sqlite_file(settings) is None else scratch
    with chosen(settings) as ledger:
        yield ledger


@contextmanager
def scratch(settings: Settings) -> Iterator[Ledger]:
    """A ledger with the same content that is thrown away afterwards: whatever is done to it, nothing was written.

    Raises:
        UsageError: the ledger is not an SQLite file, and cannot be copied.
    """
    file = sqlite_file(settings)
    if file is None:
        msg = (
            "A dry run works on a copy of the ledger, and only an SQLite ledger can be copied. "
            "Nothing was written; run it without --dry-run, or set ledger.url to an SQLite file."
        )
        raise UsageError(msg)
    with tempfile.TemporaryDirectory(prefix="foreshock-") as folder:
        copy = Path(folder) / "ledger.db"
        if file.exists():
            _copy(file, copy)
        with Ledger(f"{SQLITE}{copy}") as ledger:
            yield ledger


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
