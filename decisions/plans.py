"""The whole plan of a proposal, step by step: what begins now, what follows on its own, and on what condition."""

from datetime import datetime
from typing import Final

from decisions.actions import MOVES
from decisions.domain import Action, Host, Step
from decisions.load import Load

ONCE_APPROVED: Final = "as soon as it is approved"
"""The condition of what needs nothing else; once there is an order it goes without saying."""


def steps(action: Action, work: Load, not_before: datetime, deadline: datetime | None, host: Host) -> tuple[Step, ...]:
    """What is done with the host, in order; later steps come about by later proposals, each judged anew.

    Args:
        action: what is proposed.
        work: the host's VMs, sorted by what can be done with each.
        not_before: when the action begins at the earliest.
        deadline: the end of the owners' window; null where none is offered.
        host: as it is now.
    """
    if action not in MOVES:
        after = (Step(Action.DECOMMISSION, None, 0, "back after repair, on probation"),)
        return (Step(action, not_before, work.count, ONCE_APPROVED), *(after if action is Action.DECOMMISSION else ()))
    found = [] if host.state == "blocked" else [Step(Action.BLOCK_PLACEMENTS, not_before, 0, ONCE_APPROVED)]
    waiting = {plan.vm_id for plan in work.offered} if action is Action.SELF_SERVICE else set()
    live = [plan for plan in work.moving if plan.vm_id not in waiting]
    if live:
        found.append(Step(Action.LIVE_MIGRATE, not_before, len(live), ONCE_APPROVED))
    if waiting:
        found.append(Step(Action.SELF_SERVICE, not_before, len(waiting), "at the moment that each owner picks"))
        found.append(Step(Action.EVACUATE, deadline, len(waiting), "whose owner has picked none by then"))
    if action is Action.EVACUATE and work.redeploying:
        found.append(Step(Action.EVACUATE, not_before, len(work.redeploying), ONCE_APPROVED))
    left = len(work.staying) + (len(work.redeploying) if action is Action.LIVE_MIGRATE else 0)
    if left:
        found.append(Step(Action.MONITOR, None, left, "stay on the host; the next cycle looks again"))
    else:
        found.append(Step(Action.DECOMMISSION, None, 0, "once the host is empty, if it is still at risk"))
    return tuple(found)
