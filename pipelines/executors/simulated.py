"""The executor of a simulated fleet: orders become moves in `data.simulator.world.World`, and its answers come back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from data.errors import ExecutorError, Refused, UsageError
from data.simulator.work import VmAsked
from data.simulator.world import OrderAnswer, World
from decisions.domain import Answer, Order, OrderState, VmOutcome


@dataclass(frozen=True)
class Simulated:
    """Carries orders out in an open simulated world, whose clock it moves to `now` and never further."""

    world: World
    now: datetime

    def submit(self, order: Order) -> Answer:
        """The world's first answer; the same order again gets the same answer and moves nothing twice."""
        vms = [VmAsked(vm.vm_id, str(vm.technique), vm.target_host_id, vm.deadline) for vm in order.vms]
        change = (order.remedy.attribute, order.remedy.becomes) if order.remedy else None
        state, reason = self.world.submit(
            order.order_id, order.host_id, str(order.action), vms, order.not_before, order.expires_at, self.now, change
        )
        return Answer(order.order_id, OrderState(state), self.now, reason)

    def cancel(self, order_id: str, reason: str) -> Answer:
        """Where the order stands after the world was asked to stop it; moves that are done stay done."""
        try:
            return _answer(self.world.cancel(order_id, reason))
        except UsageError as error:
            raise ExecutorError(str(error)) from error

    def start_vm(self, order_id: str, vm_id: str, reason: str) -> Answer:
        """Where the order stands after the VM's move was made now."""
        del reason
        try:
            answer, why = self.world.start_vm(order_id, vm_id, self.now)
        except UsageError as error:
            raise ExecutorError(str(error)) from error
        if why is not None:
            raise Refused(why)
        return _answer(answer)

    def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
        """The latest answers as of `now`, which the world is first advanced to."""
        self.world.advance(now)
        return [_answer(found) for found in self.world.answers(order_ids)]


def _answer(found: OrderAnswer) -> Answer:
    """The world's answer; of an order that has not begun nothing has become of any VM, also of those that will stay."""
    state = OrderState(found.state)
    vms = tuple(
        VmOutcome(vm.vm_id, vm.result, vm.target_host_id, vm.pause_seconds, vm.interrupted)
        for vm in found.vms
        if vm.result is not None and state is not OrderState.ACCEPTED
    )
    return Answer(found.order_id, state, found.at, found.reason, vms)
