"""The action ladder: what each action does, and where it cannot be used. The facts are in `actions.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from decisions.domain import Action

PRICED: Final = (
    Action.MONITOR,
    Action.BLOCK_PLACEMENTS,
    Action.INVESTIGATE,
    Action.NOTIFY,
    Action.HOT_PATCH,
    Action.PRESERVE_MEMORY,
    Action.LIVE_MIGRATE,
    Action.SELF_SERVICE,
    Action.EVACUATE,
    Action.DECOMMISSION,
)
"""Every action, the least protective first."""

MOVES: Final = frozenset({Action.LIVE_MIGRATE, Action.SELF_SERVICE, Action.EVACUATE})
"""Actions that take VMs off a host: what budgets, cool-down, attempt cap and breakers are about."""

SERVICES: Final = frozenset({Action.HOT_PATCH, Action.PRESERVE_MEMORY})
"""Actions that cure the host's cause, or service it, where it stands."""


@dataclass(frozen=True)
class Rung:
    """One action of the ladder."""

    action: Action
    rung: int
    """Place in the ladder, 1 the least disruptive."""
    protection: int
    """Place in the order of how well it keeps VMs from harm, 1 the least."""
    does: str
    vm_impact: str
    unusable_when: tuple[str, ...]
    incompatible_series: Mapping[str, str]
    """VM series for which the technique does not work, and why."""
    acts_on_vms: bool
    recovery: bool
    """Whether it helps a host back, takes nothing away or asks for help: no breaker ever holds it."""
    sent_to_executor: bool
    """Whether it becomes an order; otherwise people and the next cycle see it, and that is all."""


@cache
def ladder() -> Mapping[Action, Rung]:
    """Every action's rung, in the order of the ladder."""
    table = tomllib.loads((files("decisions") / "actions.toml").read_text(encoding="utf-8"))
    rungs = [_rung(Action(name), row) for name, row in table.items()]
    return MappingProxyType({rung.action: rung for rung in sorted(rungs, key=lambda rung: rung.rung)})


def _rung(action: Action, row: Mapping[str, Any]) -> Rung:
    plain = {**row, "unusable_when": tuple(row["unusable_when"])}
    return Rung(action=action, **{**plain, "incompatible_series": MappingProxyType(row["incompatible_series"])})
