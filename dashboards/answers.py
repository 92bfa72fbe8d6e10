"""Answers that are worked out once, however many ask, and kept until there are too many."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from threading import Lock, RLock, Thread
from time import monotonic
from typing import Any, TypeVar, cast

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass
class _Answer:
    """What a question is answered with once it is; whoever finds out holds the lock."""

    lock: Any = field(default_factory=RLock)
    values: list[Any] = field(default_factory=list)
    version: Hashable = None
    """Of what the answer rests on, if that changes."""
    began_at: float = -inf
    """When whoever found out began to look."""
    renewing: bool = False


class Answers:
    """The newest answers, by question; an answer must not change for as long as its question means the same."""

    def __init__(self, most: int, size: Callable[[Any], int] = lambda _: 1) -> None:
        """Keep answers whose sizes add up to `most`; without `size`, so many."""
        self._most, self._size, self._held = most, size, 0
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._guard = Lock()

    def get(self, question: Hashable, ask: Callable[[], T]) -> T:
        """The answer; of all who ask for it at once, one works it out."""
        answered = self._find(question)
        with answered.lock:  # whoever asks meanwhile waits for the first, rather than ask the same
            if not answered.values:
                self._put(question, answered, ask(), None, monotonic())
            return cast("T", answered.values[0])

    def current(self, question: Hashable, version: Callable[[], Hashable], ask: Callable[[], T]) -> T:
        """The answer as of now or later: found out by a look that began after this was called, or still the same.

        While one looks, all who ask wait; then one more looks, for all of them. So however often that changes which the
        answer rests on, nobody waits longer than two looks take.

        Args:
            question: what is asked.
            version: changes whenever the answer may; what is looked at after it was told is at least as new.
            ask: looks.
        """
        asked_at, now = monotonic(), version()
        answered = self._find(question)
        if answered.values and answered.version == now:
            return cast("T", answered.values[0])
        waited = not answered.lock.acquire(blocking=False)
        if waited:
            answered.lock.acquire()
        try:
            if not answered.values or (answered.version != now and answered.began_at < asked_at):
                began_at, looked_at = monotonic(), version() if waited else now
                self._put(question, answered, ask(), looked_at, began_at)
            return cast("T", answered.values[0])
        finally:
            answered.lock.release()

    def aged(self, question: Hashable, ask: Callable[[], T], renew: Callable[[], T], for_seconds: float) -> T:
        """The answer as it was found last; one that is older than that is given too, while another is found out.

        Args:
            question: what is asked.
            ask: works it out for whoever asks first, and waits for it.
            renew: works it out later, when nobody waits, on a thread of its own.
            for_seconds: how long an answer is good enough.
        """
        value = self.get(question, ask)
        answered = self._find(question)
        with self._guard:
            due = not answered.renewing and monotonic() - answered.began_at > for_seconds
            answered.renewing |= due
        if due:
            Thread(target=self._renew, args=(question, answered, renew), daemon=True).start()
        return value

    def _find(self, question: Hashable) -> _Answer:
        with self._guard:
            answered = self._answers.setdefault(question, _Answer())
            self._answers.move_to_end(question)
        return answered

    def _renew(self, question: Hashable, answered: _Answer, renew: Callable[[], object]) -> None:
        began_at = monotonic()
        try:
            self._put(question, answered, renew(), None, began_at)
        finally:
            answered.renewing = False

    def _put(self, question: Hashable, answered: _Answer, value: object, version: Hashable, began_at: float) -> None:
        with self._guard:
            before = self._answers.pop(question, answered)
            self._held += self._size(value) - sum(map(self._size, before.values))
            answered.values = [value]
            answered.version, answered.began_at = version, began_at
            self._answers[question] = answered
            while self._held > self._most and len(self._answers) > 1:
                _, oldest = self._answers.popitem(last=False)
                self._held -= sum(map(self._size, oldest.values))


class Known:
    """What is known by name, so that of many names only the unknown ones are asked about, all at once."""

    def __init__(self, most: int) -> None:
        """Keep what is known of so many names."""
        self._most = most
        self._known: dict[Hashable, Any] = {}

    def of(self, names: Sequence[K], ask: Callable[[Sequence[K]], Mapping[K, T]]) -> dict[K, T]:
        """What is known of each of the names; those of which `ask` knows nothing are left out."""
        before, found = self._known, dict[Hashable, Any]()
        unknown = [name for name in dict.fromkeys(names) if name not in before]
        if unknown:
            found |= dict.fromkeys(unknown)
            found.update(ask(unknown).items())
            kept = before if len(before) + len(found) <= self._most else {}
            kept.update(found)
            self._known = kept
        told = ((name, found[name] if name in found else before[name]) for name in names)
        return {name: value for name, value in told if value is not None}
