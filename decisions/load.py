"""A host's VMs sorted by what can be done with each, and how long the work takes."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from decisions.actions import MOVES, ladder
from decisions.domain import Action, Vm, VmPlan
from decisions.policy import Policy
from decisions.sections import Moves


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
    owner_has_say: bool = False
    """One owner has the whole host for himself: under self-service all of its VMs wait for his choice."""

    @property
    def count(self) -> int:
        """How many VMs there are."""
        return len(self.moving) + len(self.redeploying) + len(self.staying)

    @property
    def stuck(self) -> tuple[VmPlan, ...]:
        """VMs that cannot leave live: not movable that way, or without a target."""
        return self.redeploying + self.staying

    @property
    def offered(self) -> tuple[VmPlan, ...]:
        """VMs whose owners are offered the choice of the moment under self-service."""
        return self.moving + self.redeploying if self.owner_has_say else self.redeploying

    def plans(self, action: Action, deadline: datetime | None = None) -> tuple[VmPlan, ...]:
        """What becomes of each VM under the action; none for actions that leave VMs alone.

        Args:
            action: what is done with the host.
            deadline: the end of the window under self-service.
        """
        alone = {plan.vm_id for plan in self.offered}
        match action:
            case Action.EVACUATE:
                return self.moving + self.redeploying + self.staying
            case Action.LIVE_MIGRATE:
                return self.moving + tuple(map(_told, self.stuck))
            case Action.SELF_SERVICE:
                now = tuple(plan for plan in self.moving if plan.vm_id not in alone)
                offers = (replace(p, technique=Action.SELF_SERVICE, deadline=deadline) for p in self.offered)
                return (*now, *offers, *self.staying)
            case Action.NOTIFY:
                return tuple(map(_told, self.stuck))
            case Action.PRESERVE_MEMORY:
                here = (*self.moving, *self.stuck)
                return tuple(VmPlan(plan.vm_id, Action.PRESERVE_MEMORY, None, 0.0) for plan in here)
            case _:
                return ()

    def seconds(self, action: Action) -> float:
        """How long the action works on the host; waiting for owners is no work."""
        moved = [plan for plan in self.plans(action) if plan.target_host_id is not None or plan.technique in MOVES]
        return max((self.done_seconds.get(plan.vm_id, 0.0) for plan in moved), default=0.0)


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


def load(
    vms: Sequence[Vm], policy: Policy, targets: Mapping[str, str] | None = None, *, owner_has_say: bool = False
) -> Load:
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
    return Load(tuple(moving), tuple(redeploying), tuple(staying), done, owner_has_say)


def _done_seconds(plans: Sequence[VmPlan], at_once: int) -> dict[str, float]:
    lanes = [0.0] * at_once
    done = {}
    for plan in plans:
        done[plan.vm_id] = heapq.heappop(lanes) + plan.seconds
        heapq.heappush(lanes, done[plan.vm_id])
    return done


def _told(plan: VmPlan) -> VmPlan:
    """The VM stays where it is, and its owner is told."""
    return VmPlan(plan.vm_id, Action.NOTIFY, None, 0.0)
