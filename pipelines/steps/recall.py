"""Recall: open orders that should no longer stand are called back, from the outbox or from the executor."""

import logging
from datetime import datetime
from typing import Final

from data.errors import ExecutorError, Refused
from decisions.domain import UNDER_WAY, OrderState
from decisions.ledger import Ledger
from decisions.ledger.record import POLICY
from decisions.ledger.values import ListedOrder
from decisions.preconditions import Present, recalled
from pipelines.executors import Executor

OPEN: Final = (OrderState.REQUESTED, *UNDER_WAY)

_log = logging.getLogger(__name__)


def recall(ledger: Ledger, executor: Executor, present: Present, now: datetime) -> int:
    """How many orders were called back; one that the executor could not be asked about is tried again next time."""
    count = 0
    for listed in [listed for state in OPEN for listed in ledger.orders(state=state)]:
        why = recalled(listed.order, listed.state, present, now)
        if why is not None:
            count += _call_back(ledger, executor, listed, why, now)
    return count


def _call_back(ledger: Ledger, executor: Executor, listed: ListedOrder, why: str, now: datetime) -> bool:
    order_id = listed.order.order_id
    try:
        if listed.state is OrderState.REQUESTED:
            ledger.cancel(order_id, POLICY, why, now)
            return True
        answer = executor.cancel(order_id, f"{POLICY}: {why}")
        return ledger.apply(answer) and answer.state is OrderState.CANCELLED
    except Refused:
        return False  # it is being handed over, where the same is asked again
    except ExecutorError as error:
        _log.warning("order %s could not be called back: %s", order_id, error)
        return False
