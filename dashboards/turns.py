"""Turns: so many at work at once, and whoever came first goes first; or one for all who wait."""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock
from types import TracebackType
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


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


@dataclass
class _Batch(Generic[K]):
    names: list[K] = field(default_factory=list)
    over: Event = field(default_factory=Event)
    done: bool = False


class Together(Generic[K]):
    """One errand at a time; of all who come meanwhile, the first goes for all."""

    def __init__(self) -> None:
        """Nobody waits yet."""
        self._next: _Batch[K] = _Batch()
        self._guard, self._errand = Lock(), Lock()

    def run(self, name: K, errand: Callable[[Sequence[K]], object]) -> None:
        """Return once an errand was run for the name, and for those that others wait for; it raises to who ran it."""
        done = False
        while not done:  # whoever went may have failed
            with self._guard:
                mine = self._next
                mine.names.append(name)
                first = len(mine.names) == 1
            if first:
                self._go(mine, errand)
            mine.over.wait()
            done = mine.done

    def _go(self, mine: _Batch[K], errand: Callable[[Sequence[K]], object]) -> None:
        with self._errand:
            with self._guard:
                self._next = _Batch()
            try:
                errand(list(dict.fromkeys(mine.names)))
                mine.done = True
            finally:
                mine.over.set()
