"""Faults to order around any executor, for drills: slow, answers lost or given twice, refusals, failures in the middle.

Which order meets which fault is a function of the order's id and the seed, so a repeated drill goes the same way.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from data.errors import ExecutorError
from decisions.domain import Answer, Order, OrderState
from pipelines.executors import Executor
from pipelines.settings import FaultSettings

DRILL: Final = "drill"


@dataclass(frozen=True)
class Faulty:
    """An executor that goes wrong as often as it is told to; what it does to VMs, the one behind it does."""

    behind: Executor
    faults: FaultSettings
    pause: Callable[[float], None] = time.sleep

    def submit(self, order: Order) -> Answer:
        """The answer, late, lost, a refusal, or that of a second submission."""
        faults, id_ = self.faults, order.order_id
        if self._meets("slow", id_, faults.slow_share):
            self.pause(faults.slow_seconds)
        if self._meets("refused", id_, faults.refused_share):
            return Answer(id_, OrderState.REFUSED, order.not_before, f"{DRILL}: this executor refuses")
        answer = self.behind.submit(order)
        if self._meets("twice", id_, faults.answered_twice_share):
            answer = self.behind.submit(order)
        if self._meets("lost", id_, faults.lost_answer_share):
            msg = f"{DRILL}: the answer to order {id_} was lost"
            raise ExecutorError(msg)
        return answer

    def cancel(self, order_id: str, reason: str) -> Answer:
        """As the executor behind says."""
        return self._seen(self.behind.cancel(order_id, reason))

    def start_vm(self, order_id: str, vm_id: str, reason: str) -> Answer:
        """As the executor behind says."""
        return self._seen(self.behind.start_vm(order_id, vm_id, reason))

    def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
        """The latest answers; an order that is to fail does so once it is at work, with some of its VMs gone."""
        return [self._seen(self._broken(answer)) for answer in self.behind.poll(order_ids, now)]

    def _broken(self, answer: Answer) -> Answer:
        if answer.state is OrderState.STARTED and self._meets("failed", answer.order_id, self.faults.failed_share):
            return self.behind.cancel(answer.order_id, f"{DRILL}: it failed in the middle")
        return answer

    def _seen(self, answer: Answer) -> Answer:
        ours = answer.state is OrderState.CANCELLED and str(answer.reason).startswith(DRILL)
        return replace(answer, state=OrderState.FAILED) if ours else answer

    def _meets(self, fault: str, order_id: str, share: float) -> bool:
        drawn = hashlib.sha256(f"{self.faults.seed}/{fault}/{order_id}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") < share * 2**64
