"""The action ladder: what each action does, and where it cannot be used. The facts are in `actions.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from decisions.domain import Action

PRICED: Final = (Action.MONITOR, Action.BLOCK_PLACEMENTS, Action.INVESTIGATE, Action.LIVE_MIGRATE, Action.EVACUATE)
"""Actions that `decisions.price` can price, the least protective first; no other can be switched on."""

MOVES: Final = frozenset({Action.LIVE_MIGRATE, Action.EVACUATE})
"""Actions that take VMs off a host: what budgets, cool-down, attempt cap and breakers are about."""


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
    incompatible_series: frozenset[str]
    acts_on_vms: bool
    recovery: bool
    """Whether it helps a host back, or asks for help: no breaker ever holds it."""
    sent_to_executor: bool
    """Whether it becomes an order; otherwise people and the next cycle see it, and that is all."""


@cache
def ladder() -> Mapping[Action, Rung]:
    """Every action's rung, in the order of the ladder."""
    table = tomllib.loads((files("decisions") / "actions.toml").read_text(encoding="utf-8"))
    rungs = [_rung(Action(name), row) for name, row in table.items()]
    return MappingProxyType({rung.action: rung for rung in sorted(rungs, key=lambda rung: rung.rung)})


def _rung(action: Action, row: Mapping[str, object]) -> Rung:
    lists = {"unusable_when": tuple, "incompatible_series": frozenset}
    return Rung(action=action, **{key: lists.get(key, lambda v: v)(value) for key, value in row.items()})
