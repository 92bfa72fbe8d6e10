"""Which snapshot is looked at: the published one, or the one before while a large new one is being made ready."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from typing import Final

import duckdb
from sqlalchemy.exc import SQLAlchemyError

from dashboards.answers import Answers, Known
from data.errors import ForeshockError
from data.snapshots import PUBLISHED, cursor, open_snapshot, published

LOG: Final = logging.getLogger(__name__)

AT_ONCE_BYTES: Final = 64 * 1024**2
"""A snapshot up to this size is looked at as soon as it is published: whatever it is asked takes no time."""
ANSWERS_MOST: Final = 1_000
DRAWN_MOST_BYTES: Final = 64 * 1024**2
_OPEN_ATTEMPTS: Final = 3
NAMES_MOST: Final = 200_000
"""Of each kind of thing that is known by name."""


@dataclass(frozen=True)
class Pane:
    """A snapshot, open, with what has been worked out of it; it never changes."""

    name: str
    """No other snapshot has it."""
    published_at: datetime
    large: bool
    """Whether it is made ready before it is shown."""
    con: duckdb.DuckDBPyConnection
    answers: Answers = field(default_factory=lambda: Answers(ANSWERS_MOST))
    known: dict[str, Known] = field(default_factory=dict)
    """By the question that is asked about names."""
    drawn: Answers = field(default_factory=lambda: Answers(DRAWN_MOST_BYTES, len))
    """Evidence as HTML, by proposal."""
    ready: set[str] = field(default_factory=set)
    """Cycles around whose proposals all is known that pages ask."""

    @contextmanager
    def open(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of one's own on the snapshot."""
        with cursor(self.con) as con:
            yield con


@dataclass(frozen=True)
class _Named:
    """A snapshot's file as it is now."""

    path: Path
    name: str
    bytes: int
    at: datetime


class Window:
    """The snapshots of a home, one after another; whoever looks waits for none to be made ready."""

    def __init__(
        self,
        home: Path,
        prepare: Callable[[Pane], None],
        at_once_bytes: int = AT_ONCE_BYTES,
        memory_limit: str | None = None,
    ) -> None:
        """Look at the home's snapshots.

        Args:
            home: State folder; nothing has to be published there yet.
            prepare: Works out what a snapshot will be asked, before it is shown in place of another.
            at_once_bytes: How large a snapshot may be to be shown without that.
            memory_limit: How much memory questions to one snapshot may use, such as `4GB`.
        """
        self.home, self._prepare, self._at_once, self._memory_limit = home, prepare, at_once_bytes, memory_limit
        self._pane: Pane | None = None
        self._preparing = False
        self._lock = Lock()

    def pane(self) -> Pane | None:
        """The snapshot to look at; None before anything is published.

        Raises:
            WarehouseError: There is a snapshot, but it cannot be read.
        """
        for _ in range(_OPEN_ATTEMPTS):
            with suppress(FileNotFoundError):  # a newer snapshot took its place between the look and the opening
                return self._look()
        return self._look()

    def _look(self) -> Pane | None:
        shown = self._pane
        with suppress(OSError):
            if shown is not None and shown.name == _name((self.home / PUBLISHED).stat()):
                return shown
        named = self._named()
        if named is None:
            return None
        with self._lock:
            held = self._pane
            if held is not None and (held.name == named.name or self._preparing):
                return held
            if named.bytes <= self._at_once:
                self._pane = self._open(named)
                return self._pane
            if held is None:
                self._pane = self._open(named)
                return self._pane
            self._preparing = True
        Thread(target=self._change, args=(named,), name="next snapshot", daemon=True).start()
        return held

    def _named(self) -> _Named | None:
        path = published(self.home)
        try:
            told = path.stat()
        except OSError:
            return None
        at = datetime.fromtimestamp(told.st_mtime, UTC)
        return _Named(path, _name(told), told.st_size, at)

    def _open(self, named: _Named) -> Pane:
        con = open_snapshot(self.home, named.path, memory_limit=self._memory_limit)
        return Pane(named.name, named.at, named.bytes > self._at_once, con)

    def _change(self, named: _Named) -> None:
        """Make the snapshot ready, and show it; where that fails, whoever looks next is told why."""
        pane = None
        try:
            pane = self._open(named)
            self._prepare(pane)
        except FileNotFoundError:
            pane = self._pane  # a newer one has taken its place
        except (duckdb.Error, SQLAlchemyError, ForeshockError):
            LOG.exception("The snapshot %s could not be made ready.", named.path)
        finally:
            with self._lock:
                self._pane, self._preparing = pane, False


def _name(told: os.stat_result) -> str:
    """What no other snapshot is called, whichever way it is reached."""
    return f"{told.st_dev} {told.st_ino} {told.st_mtime_ns}"
