"""Cancel: an order is called back, by us while it waits, by the executor once it has it."""

from datetime import datetime

from data.errors import Refused
from decisions.domain import UNDER_WAY, OrderState
from decisions.ledger import Ledger
from decisions.ledger.values import ListedOrder
from pipelines import ledgers
from pipelines.executors.opened import opened
from pipelines.settings import Settings


def cancel(settings: Settings, order_id: str, by: str, reason: str, now: datetime) -> ListedOrder:
    """The order after it was called back; one whose moves are just being aborted is still `started`.

    Raises:
        UsageError: no reason.
        LedgerError: there is no such order.
        Refused: it has ended already, or the executor could no longer stop it.
    """
    with ledgers.opened(settings) as ledger:
        if ledger.order(order_id).state in UNDER_WAY:
            ledger.call_back(order_id, by, reason, now)
            _ask_executor(settings, ledger, order_id, f"{by}: {reason}", now)
        else:
            ledger.cancel(order_id, by, reason, now)
        return ledger.order(order_id)


def _ask_executor(settings: Settings, ledger: Ledger, order_id: str, reason: str, now: datetime) -> None:
    with opened(settings, now) as executor:
        answer = executor.cancel(order_id, reason)
    ledger.apply(answer)
    if answer.state not in (OrderState.CANCELLED, *UNDER_WAY):
        msg = f"Order {order_id} could not be called back any more: the executor says it is {answer.state}."
        raise Refused(msg)
