"""Ids of requests that an executor has taken: each is good once, also after a restart."""

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

KEPT: Final = timedelta(minutes=30)
"""How long ids are remembered: far longer than a signature is good for."""


class Seen:
    """The memory in one SQLite file; threads of one process share it."""

    def __init__(self, path: Path | str) -> None:
        """Open the file, which is made if it is not there."""
        self._con = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
        self._lock = threading.Lock()
        self._con.execute("pragma journal_mode = wal")
        self._con.execute("create table if not exists seen (message_id text primary key, at text not null)")
        self._con.execute("create index if not exists seen_by_moment on seen (at)")

    def first_time(self, message_id: str, now: datetime) -> bool:
        """Whether the id has not come before."""
        moment = now.astimezone(UTC)
        with self._lock:
            self._con.execute("delete from seen where at < ?", ((moment - KEPT).isoformat(),))
            taken = self._con.execute("insert or ignore into seen values (?, ?)", (message_id, moment.isoformat()))
            return taken.rowcount > 0

    def close(self) -> None:
        """Let go of the file."""
        self._con.close()
