"""Turns: so many at work at once, and whoever came first goes first."""

from collections import deque
from threading import Lock
from types import TracebackType


class Turns:
    """A place for so many at once; unlike a semaphore's, it is never taken by who came later."""

    def __init__(self, at_once: int) -> None:
        """Let so many in at the same time."""
        self._free = at_once
        self._waiting: deque[Lock] = deque()
        self._guard = Lock()

    def __enter__(self) -> None:
        """Wait for a place."""
        with self._guard:
            if self._free:
                self._free -= 1
                return
            mine = Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the place to whoever has waited longest."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
