"""An executor that answers and does nothing."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from data.errors import Refused
from decisions.domain import Answer, Order, OrderState

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DryRun:
    """Accepts what could still be carried out at `now`, refuses the rest, and never touches a VM."""

    now: datetime

    def submit(self, order: Order) -> Answer:
        """Accepted, or refused with the reason; either way nothing happens but a line in the log."""
        late = order.expires_at <= self.now
        state, reason = (OrderState.REFUSED, "expired") if late else (OrderState.ACCEPTED, "dry run")
        _log.info("dry run: %s %s on %s (%s)", state, order.action, order.host_id, order.order_id)
        return Answer(order.order_id, state, self.now, reason)

    def cancel(self, order_id: str, reason: str) -> Answer:
        """Cancelled: nothing had begun."""
        return Answer(order_id, OrderState.CANCELLED, self.now, reason)

    def start_vm(self, order_id: str, vm_id: str, reason: str) -> Answer:
        """Nothing can begin where nothing is carried out."""
        del reason
        msg = f"VM {vm_id} of order {order_id} cannot be started: this is a dry run, which carries nothing out"
        raise Refused(msg)

    def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
        """Every order cancelled, because a dry run never carries one out."""
        return [Answer(order_id, OrderState.CANCELLED, now, "dry run: nothing was done") for order_id in order_ids]
