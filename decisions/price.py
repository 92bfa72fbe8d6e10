"""What every action is expected to cost, in VM interruptions.

Expected interruptions of action a on host h = chance that the hardware fails before a completes x VMs still there
+ VMs that a itself interrupts + VMs whose live move fails, + what it costs besides. Doing nothing and asking a person
are priced like the rest. All prices are linear in the failure's density, and an action that protects more leaves no VM
exposed longer: so when a failure gets likelier in any interval, a more protective action never becomes the dearer one.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from decisions.actions import ladder
from decisions.domain import Action, Host, Price, Vm, VmPlan
from decisions.policy import Moves, Policy
from decisions.risk import Exposure

SECONDS_PER_DAY: Final = 86_400.0
HOURS_PER_DAY: Final = 24.0


@dataclass(frozen=True)
class Load:
    """A host's VMs, and when a move of the host would be done with each of them."""

    moving: tuple[VmPlan, ...]
    """VMs that move live."""
    redeploying: tuple[VmPlan, ...]
    """VMs that cannot move live, but can be redeployed."""
    staying: tuple[VmPlan, ...]
    """VMs that nobody has room for."""
    done_seconds: Mapping[str, float]
    """By VM, from the start of the work: live moves first, `live_moves_at_once_per_source` at a time."""

    def plans(self, action: Action) -> tuple[VmPlan, ...]:
        """What becomes of each VM under the action; none for actions that leave VMs alone."""
        if action is Action.EVACUATE:
            return self.moving + self.redeploying + self.staying
        if action is Action.LIVE_MIGRATE:
            return self.moving + tuple(map(_stay, self.redeploying)) + self.staying
        return ()

    def seconds(self, action: Action) -> float:
        """How long the action works on the host."""
        moved = [plan for plan in self.plans(action) if plan.technique is not Action.MONITOR]
        return max((self.done_seconds[plan.vm_id] for plan in moved), default=0.0)


def live_seconds(vm: Vm, moves: Moves, at_once: int) -> float | None:
    """How long a live move of the VM takes, or None when it cannot move live.

    Pre-copy sends the memory, then what was written meanwhile, and so on: M/b x (1 + r + r^2 + ...) = M / (b - d), with
    memory M, bandwidth b (the source's link shared by the moves at once), dirty rate d, r = d/b (the model of Akoush et
    al., MASCOTS 2010, in the limit of many rounds). A VM that writes nearly as fast as it is copied never ends.
    """
    bandwidth = moves.migration_bandwidth_bytes_per_second / at_once
    too_fast = vm.dirty_bytes_per_second > moves.live_dirty_share_max * bandwidth
    if not vm.live_migratable or too_fast or vm.series in ladder()[Action.LIVE_MIGRATE].incompatible_series:
        return None
    return moves.live_setup_seconds + vm.memory_bytes / (bandwidth - vm.dirty_bytes_per_second)


def load(vms: Sequence[Vm], policy: Policy, targets: Mapping[str, str] | None = None) -> Load:
    """The host's VMs sorted by what can be done with each; without `targets`, as if there were room for all."""
    at_once = policy.limits.live_moves_at_once_per_source
    moving, redeploying, staying = [], [], []
    for vm in sorted(vms, key=lambda vm: (-vm.memory_bytes, vm.vm_id)):
        target = targets.get(vm.vm_id) if targets is not None else None
        seconds = live_seconds(vm, policy.moves, at_once)
        if targets is not None and target is None:
            staying.append(VmPlan(vm.vm_id, Action.MONITOR, None, 0.0))
        elif seconds is not None:
            moving.append(VmPlan(vm.vm_id, Action.LIVE_MIGRATE, target, seconds))
        else:
            redeploying.append(VmPlan(vm.vm_id, Action.EVACUATE, target, policy.moves.redeploy_seconds))
    done = MappingProxyType(_done_seconds((*moving, *redeploying), at_once))
    return Load(tuple(moving), tuple(redeploying), tuple(staying), done)


def _done_seconds(plans: Sequence[VmPlan], at_once: int) -> dict[str, float]:
    lanes = [0.0] * at_once
    done = {}
    for plan in plans:
        done[plan.vm_id] = heapq.heappop(lanes) + plan.seconds
        heapq.heappush(lanes, done[plan.vm_id])
    return done


def _stay(plan: VmPlan) -> VmPlan:
    return VmPlan(plan.vm_id, Action.MONITOR, None, 0.0)


def prices(
    host: Host, work: Load, exposure: Exposure, policy: Policy, delay_seconds: float = 0.0
) -> Mapping[Action, Price]:
    """The price of each priced action, moves starting after `delay_seconds`. Approvals are taken as given at once.

    Evacuation has no price where every VM can move live, and no move has one where there is nothing to move.
    """
    by_action: dict[Action, Callable[[], Price]] = {
        Action.MONITOR: lambda: _monitor(host, work, exposure, policy),
        Action.BLOCK_PLACEMENTS: lambda: _block_placements(work, exposure, policy),
        Action.INVESTIGATE: lambda: _investigate(work, exposure, policy),
    }
    if work.moving:
        by_action[Action.LIVE_MIGRATE] = lambda: _live_migrate(work, exposure, policy, delay_seconds)
    if work.redeploying:
        by_action[Action.EVACUATE] = lambda: _evacuate(work, exposure, policy, delay_seconds)
    return {action: price() for action, price in by_action.items()}


def _price(action: Action, failing_first: float, interrupted: float, failed_moves: float, overhead: float) -> Price:
    total = failing_first + interrupted + failed_moves + overhead
    return Price(action, total, failing_first, interrupted, failed_moves, overhead)


def _count(work: Load) -> int:
    return len(work.moving) + len(work.redeploying) + len(work.staying)


def _monitor(host: Host, work: Load, exposure: Exposure, policy: Policy) -> Price:
    """Doing nothing: every VM that is there when the hardware fails, those that arrive in the meantime included."""
    arriving = exposure.arriving(policy.churn.vm_arrivals_per_host_day) if host.state == "in_service" else 0.0
    return _price(Action.MONITOR, _count(work) * exposure.staying + arriving, 0.0, 0.0, 0.0)


def _block_placements(work: Load, exposure: Exposure, policy: Policy) -> Price:
    """As doing nothing without the arrivals, plus the room that the host no longer offers."""
    overhead = policy.costs.blocked_interruptions_per_host
    return _price(Action.BLOCK_PLACEMENTS, _count(work) * exposure.staying, 0.0, 0.0, overhead)


def _investigate(work: Load, exposure: Exposure, policy: Policy) -> Price:
    """A person looks after `response_hours`, recognises a failing host with `recognised_share`, and moves it live then.

    Until then all VMs are exposed; afterwards those of failing hosts that the person takes for sound, and those that
    cannot move live. The few arrivals before the look are left out; sound hosts cost the look only.
    """
    wait = policy.people.response_hours / HOURS_PER_DAY
    missed = 1.0 - policy.people.recognised_share * (1.0 - _left_behind(policy.moves))
    failing_first = (len(work.redeploying) + len(work.staying)) * exposure.staying
    for plan in work.moving:
        before = exposure.until(wait + work.done_seconds[plan.vm_id] / SECONDS_PER_DAY)
        failing_first += before + missed * (exposure.staying - before)
    overhead = policy.costs.person_interruptions_per_look
    return _price(Action.INVESTIGATE, failing_first, 0.0, 0.0, overhead)


def _left_behind(moves: Moves) -> float:
    """Share of live moves that fail and leave the VM where it was."""
    return moves.live_failure_share * (1.0 - moves.live_failure_interrupts_share)


def interrupting_moves(work: Load, moves: Moves) -> float:
    """Live moves expected to fail in a way that interrupts the VM."""
    return len(work.moving) * moves.live_failure_share * moves.live_failure_interrupts_share


def _exposed_while_moving(work: Load, exposure: Exposure, moves: Moves, delay_seconds: float) -> float:
    left = _left_behind(moves)
    total = 0.0
    for plan in work.moving:
        before = exposure.until((delay_seconds + work.done_seconds[plan.vm_id]) / SECONDS_PER_DAY)
        total += before + left * (exposure.staying - before)
    return total


def _live_migrate(work: Load, exposure: Exposure, policy: Policy, delay_seconds: float) -> Price:
    """VMs caught before their move ends, moves that fail (some interrupt, the others leave the VM), VMs that stay."""
    failing_first = _exposed_while_moving(work, exposure, policy.moves, delay_seconds)
    failing_first += (len(work.redeploying) + len(work.staying)) * exposure.staying
    overhead = policy.costs.blocked_interruptions_per_host
    return _price(Action.LIVE_MIGRATE, failing_first, 0.0, interrupting_moves(work, policy.moves), overhead)


def _evacuate(work: Load, exposure: Exposure, policy: Policy, delay_seconds: float) -> Price:
    """As the live migration, with the VMs that cannot move live redeployed: a planned interruption for each."""
    failing_first = _exposed_while_moving(work, exposure, policy.moves, delay_seconds)
    failing_first += len(work.staying) * exposure.staying
    for plan in work.redeploying:
        failing_first += exposure.until((delay_seconds + work.done_seconds[plan.vm_id]) / SECONDS_PER_DAY)
    interrupted = len(work.redeploying) * policy.costs.planned_interruption_weight
    overhead = policy.costs.blocked_interruptions_per_host
    return _price(Action.EVACUATE, failing_first, interrupted, interrupting_moves(work, policy.moves), overhead)


def break_even(work: Load, action: Action, policy: Policy) -> float:
    """The precision that a risk bucket must exceed for the move to pay: interruptions it causes per VM it touches."""
    own = interrupting_moves(work, policy.moves)
    touched = len(work.moving)
    if action is Action.EVACUATE:
        own += len(work.redeploying) * policy.costs.planned_interruption_weight
        touched += len(work.redeploying)
    return own / touched if touched else 0.0


def blocked(price: Price, guardrail: str | None) -> Price:
    """The price, marked with the guardrail that forbids its action."""
    return replace(price, blocked_by=guardrail)
