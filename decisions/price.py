"""What every action is expected to cost, in VM interruptions.

Expected interruptions of action a on host h = chance that the hardware fails before a completes x VMs still there
+ VMs that a itself interrupts + VMs whose live move fails, + what it costs besides. Doing nothing and asking a person
are priced like the rest. All prices are linear in the failure's density. Against degrading hardware an action that
protects more leaves no VM exposed longer: so when a failure gets likelier in any interval, a more protective action
never becomes the dearer one. Against a cause that a service cures, exposures cross; there it holds for a risk that is
greater as a whole: the action chosen for it never leaves more VMs exposed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import exp
from typing import Final

from decisions.actions import MOVES, SERVICES
from decisions.domain import Action, Host, Price
from decisions.load import Load
from decisions.policy import Policy
from decisions.remedies import Service
from decisions.risk import Exposure
from decisions.sections import Moves

SECONDS_PER_DAY: Final = 86_400.0
HOURS_PER_DAY: Final = 24.0


@dataclass(frozen=True)
class Question:
    """What a price depends on."""

    host: Host
    work: Load
    exposure: Exposure
    policy: Policy
    service: Service | None = None
    """What would cure or service the host where it stands."""
    delay_seconds: float = 0.0
    """Until moves can start."""

    def exposed(self, seconds: float) -> float:
        """The chance that the failure meets a VM which is taken away so many seconds after the start."""
        return self.exposure.until((self.delay_seconds + seconds) / SECONDS_PER_DAY)


def prices(ask: Question) -> Mapping[Action, Price]:
    """The price of each action that makes sense for the host. Approvals are taken as given at once.

    Notice, self-service and evacuation have no price where every VM can move live, no move has one where there is
    nothing to move, nor a service where nothing is known that cures or is due; an empty host can be sent to repair.
    """
    by_action: dict[Action, Callable[[Question], Price]] = {
        Action.MONITOR: _monitor,
        Action.BLOCK_PLACEMENTS: _block_placements,
        Action.INVESTIGATE: _investigate,
    }
    if not ask.work.count:
        by_action[Action.DECOMMISSION] = _decommission
    else:
        if ask.work.stuck:
            by_action[Action.NOTIFY] = _notify
        if ask.service is not None:
            by_action |= {a: _SERVICE_PRICES[a] for a in SERVICES if ask.service.offers(a)}
    if ask.work.moving:
        by_action[Action.LIVE_MIGRATE] = _live_migrate
    if ask.work.redeploying:
        by_action[Action.EVACUATE] = _evacuate
    if ask.work.offered:
        by_action[Action.SELF_SERVICE] = _self_service
    return {action: _whole(price(ask), ask) for action, price in by_action.items()}


def _whole(price: Price, ask: Question) -> Price:
    """The price, with that of a service which is due and which the action does not bring about."""
    if ask.service is None or not ask.service.due or _serves(price.action, ask.work):
        return price
    missed = ask.work.count * ask.policy.costs.unserviced_interruptions_per_vm
    return replace(price, interruptions=price.interruptions + missed, overhead=price.overhead + missed)


def _serves(action: Action, work: Load) -> bool:
    """Whether the host is serviced by the action, or empty after it and can be."""
    if action in MOVES:
        return not (work.stuck if action is Action.LIVE_MIGRATE else work.staying)
    return action in SERVICES


def _price(action: Action, failing_first: float, interrupted: float, failed_moves: float, overhead: float) -> Price:
    total = failing_first + interrupted + failed_moves + overhead
    return Price(action, total, failing_first, interrupted, failed_moves, overhead)


def _arriving(ask: Question) -> float:
    """VMs yet to come that the failure meets; none where placements are off, unless the host is put back empty."""
    takes_new = ask.host.state == "in_service" or not ask.work.count
    return ask.exposure.arriving(ask.policy.churn.vm_arrivals_per_host_day) if takes_new else 0.0


def _monitor(ask: Question) -> Price:
    """Doing nothing: every VM that is there when the hardware fails, those that arrive in the meantime included."""
    return _price(Action.MONITOR, ask.work.count * ask.exposure.staying + _arriving(ask), 0.0, 0.0, 0.0)


def _block_placements(ask: Question) -> Price:
    """As doing nothing without the arrivals, plus the room that the host no longer offers."""
    overhead = ask.policy.costs.blocked_interruptions_per_host
    return _price(Action.BLOCK_PLACEMENTS, ask.work.count * ask.exposure.staying, 0.0, 0.0, overhead)


def _investigate(ask: Question) -> Price:
    """A person looks after `response_hours`, recognises a failing host with `recognised_share`, and moves it live then.

    Until then all VMs are exposed; afterwards those of failing hosts that the person takes for sound, and those that
    cannot move live. The few arrivals before the look are left out; sound hosts cost the look only.
    """
    failing_first = _looked_at(ask) + len(ask.work.stuck) * ask.exposure.staying
    return _price(Action.INVESTIGATE, failing_first, 0.0, 0.0, ask.policy.costs.person_interruptions_per_look)


def _looked_at(ask: Question) -> float:
    """Of the VMs that can move live, those met by the failure where a person decides on moving them."""
    people, exposure = ask.policy.people, ask.exposure
    wait = people.response_hours / HOURS_PER_DAY
    missed = 1.0 - people.recognised_share * (1.0 - left_behind(ask.policy.moves))
    ends = (wait + ask.work.done_seconds[plan.vm_id] / SECONDS_PER_DAY for plan in ask.work.moving)
    befores = map(exposure.until, ends)
    return sum(before + missed * (exposure.staying - before) for before in befores)


def _notify(ask: Question) -> Price:
    """As asking a person, with new VMs kept away and the owners told of those VMs that cannot move live."""
    failing_first, chosen, notices = _told(ask)
    costs = ask.policy.costs
    overhead = costs.person_interruptions_per_look + costs.blocked_interruptions_per_host + notices
    return _price(Action.NOTIFY, _looked_at(ask) + failing_first, chosen, 0.0, overhead)


def _told(ask: Question) -> tuple[float, float, float]:
    """Of VMs that stay and whose owners are told: met by the failure, restarted by their owners, and the trouble."""
    owners, costs, count = ask.policy.owners, ask.policy.costs, len(ask.work.stuck)
    acting = owners.acting_share
    told = ask.exposure.hastened(1.0 / owners.acting_mean_days)
    failing_first = count * ((1.0 - acting) * ask.exposure.staying + acting * told.staying)
    acted = acting * (1.0 - exp(-ask.exposure.horizon_days / owners.acting_mean_days))
    return failing_first, count * acted * costs.chosen_interruption_weight, count * costs.notice_interruptions_per_vm


def _serviced(ask: Question, seconds: float) -> float:
    """VMs met by the failure when the host's curable cause is gone after so many seconds."""
    cured = ask.service.cured if ask.service is not None else 0.0
    before = ask.exposure.until(seconds / SECONDS_PER_DAY)
    staying = before + (1.0 - cured) * (ask.exposure.staying - before)
    return ask.work.count * staying + (1.0 - cured) * _arriving(ask)


def _hot_patch(ask: Question) -> Price:
    """Nothing is interrupted; what the cause does not explain of the risk stays."""
    return _price(Action.HOT_PATCH, _serviced(ask, ask.policy.service.hot_patch_seconds), 0.0, 0.0, 0.0)


def _preserve_memory(ask: Question) -> Price:
    """As the hot patch, with a pause for each VM, of which few do not resume."""
    service, count = ask.policy.service, ask.work.count
    pauses = count * ask.policy.costs.pause_interruption_weight
    lost = count * service.preserve_memory_failure_share
    return _price(Action.PRESERVE_MEMORY, _serviced(ask, service.preserve_memory_seconds), pauses, lost, 0.0)


_SERVICE_PRICES: Final[Mapping[Action, Callable[[Question], Price]]] = {
    Action.HOT_PATCH: _hot_patch,
    Action.PRESERVE_MEMORY: _preserve_memory,
}


def left_behind(moves: Moves) -> float:
    """Share of live moves that fail and leave the VM where it was."""
    return moves.live_failure_share * (1.0 - moves.live_failure_interrupts_share)


def interrupting_moves(work: Load, moves: Moves) -> float:
    """Live moves expected to fail in a way that interrupts the VM."""
    return len(work.moving) * moves.live_failure_share * moves.live_failure_interrupts_share


def _exposed_while_moving(ask: Question) -> float:
    left, staying = left_behind(ask.policy.moves), ask.exposure.staying
    befores = (ask.exposed(ask.work.done_seconds[plan.vm_id]) for plan in ask.work.moving)
    return sum(before + left * (staying - before) for before in befores)


def _live_migrate(ask: Question) -> Price:
    """VMs caught before their move ends, moves that fail (some interrupt, the others leave the VM), VMs that stay.

    The owners of those that stay are told.
    """
    failing_first, chosen, notices = _told(ask)
    overhead = ask.policy.costs.blocked_interruptions_per_host + notices
    failed = interrupting_moves(ask.work, ask.policy.moves)
    return _price(Action.LIVE_MIGRATE, _exposed_while_moving(ask) + failing_first, chosen, failed, overhead)


def _evacuate(ask: Question) -> Price:
    """As the live migration, with the VMs that cannot move live redeployed: a planned interruption for each."""
    failing_first = _exposed_while_moving(ask) + len(ask.work.staying) * ask.exposure.staying
    failing_first += sum(ask.exposed(ask.work.done_seconds[plan.vm_id]) for plan in ask.work.redeploying)
    interrupted = len(ask.work.redeploying) * ask.policy.costs.planned_interruption_weight
    overhead = ask.policy.costs.blocked_interruptions_per_host
    failed = interrupting_moves(ask.work, ask.policy.moves)
    return _price(Action.EVACUATE, failing_first, interrupted, failed, overhead)


def windows(host: Host, policy: Policy) -> tuple[float, ...]:
    """The windows that owners may be offered, in days, the longest first: each half of the one before."""
    owners = policy.owners
    days = owners.dedicated_offer_days if host.dedicated_to is not None else owners.offer_days_most
    found = [days]
    while found[-1] / 2 >= owners.offer_days_least:
        found.append(found[-1] / 2)
    return tuple(found)


def offer_days(ask: Question) -> float:
    """The window, in days, in which the VMs that need their owner's choice are expected to cost least."""
    found = windows(ask.host, ask.policy)
    return min(found, key=lambda days: (round(sum(_offered(ask, days)), 6), found.index(days)))


def _self_service(ask: Question) -> Price:
    """As the evacuation, with each redeployment at its owner's moment, or at the window's end where none is picked."""
    own = not ask.work.owner_has_say
    failing_first, interrupted = _offered(ask, offer_days(ask))
    failing_first += len(ask.work.staying) * ask.exposure.staying + (_exposed_while_moving(ask) if own else 0.0)
    costs, count = ask.policy.costs, len(ask.work.offered)
    overhead = costs.blocked_interruptions_per_host + count * costs.notice_interruptions_per_vm
    return _price(
        Action.SELF_SERVICE, failing_first, interrupted, interrupting_moves(ask.work, ask.policy.moves), overhead
    )


def _offered(ask: Question, days: float) -> tuple[float, float]:
    """Of VMs that wait for their owner's choice: met by the failure first, and interrupted, both expected."""
    owners, costs = ask.policy.owners, ask.policy.costs
    told = ask.exposure.hastened(1.0 / owners.acting_mean_days)
    acting = owners.offer_acting_share
    waiting = (1.0 - acting) * ask.exposure.until(days) + acting * told.until(days)
    acted = acting * (1.0 - exp(-days / owners.acting_mean_days))
    each = acted * costs.chosen_interruption_weight + (1.0 - acted) * costs.planned_interruption_weight
    return len(ask.work.offered) * waiting, len(ask.work.redeploying) * each


def _decommission(ask: Question) -> Price:
    """The empty host is repaired before it takes VMs again: it is missed meanwhile, and meets nobody."""
    return _price(Action.DECOMMISSION, 0.0, 0.0, 0.0, ask.policy.costs.repair_interruptions_per_host)


def break_even(work: Load, action: Action, policy: Policy) -> float:
    """The precision that a risk bucket must exceed for the move to pay: interruptions it causes per VM it touches."""
    own = interrupting_moves(work, policy.moves)
    touched = len(work.moving)
    if action in {Action.EVACUATE, Action.SELF_SERVICE}:
        own += len(work.redeploying) * policy.costs.planned_interruption_weight
        touched += len(work.redeploying)
    return own / touched if touched else 0.0


def blocked(price: Price, guardrail: str | None) -> Price:
    """The price, marked with the guardrail that forbids its action."""
    return replace(price, blocked_by=guardrail)
