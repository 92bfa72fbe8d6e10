"""Who carries orders out: one Protocol, several ways behind it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from data.errors import ExecutorError
from decisions.domain import Answer, BadAnswer, Order


class AsksToWait(ExecutorError):
    """The executor takes nothing now, and has said after how many seconds it will."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class SomeUnusable(ExecutorError):
    """Some of the answers to a poll are of no use; those that are, and why the others are not, are here."""

    def __init__(self, answers: Sequence[Answer], bad: Sequence[BadAnswer]) -> None:
        super().__init__(f"{len(bad)} of {len(answers) + len(bad)} answers are of no use, the first: {bad[0].why}")
        self.answers, self.bad = tuple(answers), tuple(bad)


class Executor(Protocol):
    """The maintenance executor. What it cannot reach or understand, it raises as `ExecutorError`."""

    def submit(self, order: Order) -> Answer:
        """What becomes of the order first; an `order_id` seen before gets its answer again and has no second effect."""
        ...

    def cancel(self, order_id: str, reason: str) -> Answer:
        """The order's answer after trying to call it back: `cancelled`, or what it had already become."""
        ...

    def start_vm(self, order_id: str, vm_id: str, reason: str) -> Answer:
        """The order's answer after what it means for the VM was let begin now; repeating it changes nothing.

        Raises:
            Refused: nothing is left to begin with for that VM.
        """
        ...

    def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
        """The latest answer to each order as of `now`; orders that were never submitted are left out.

        Raises:
            SomeUnusable: some answers are of no use; it holds the others.
        """
        ...
