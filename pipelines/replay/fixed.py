"""Fixed policies over the same risks: the grid from which hindsight picks the best one afterwards."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, Final

from decisions.domain import Action, Autonomy
from decisions.policy import Policy

THRESHOLDS: Final = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
"""Chance of failing within the policy's horizon from which a host is worth a thought."""
SHARES: Final = (
    "fleet_share",
    "zone_share",
    "rack_share",
    "hardware_model_share",
    "drive_model_share",
    "firmware_share",
)


def grid(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """Named policies: thresholds x what may be done x limits, around the given one, which is not among them.

    What may be done: move live what can, or empty the host. Limits: the policy's own, or none on what precision must
    have been earned and on how many hosts of one scope may be emptied.
    """
    for threshold, emptied, bound in product(THRESHOLDS, (False, True), (True, False)):
        doing = "empty hosts" if emptied else "move live"
        name = f"from {threshold:.1%}, {doing}, {'the same' if bound else 'no'} limits"
        autonomy = {**policy.autonomy, Action.EVACUATE: Autonomy.AUTO if emptied else Autonomy.NEVER}
        autonomy |= {Action.INVESTIGATE: Autonomy.NEVER, Action.LIVE_MIGRATE: Autonomy.AUTO}
        made = replace(policy, version=name, risk=replace(policy.risk, minimum_risk=threshold), autonomy=autonomy)
        yield name, made if bound else _unbound(made)


def _unbound(policy: Policy) -> Policy:
    shares: Mapping[str, Any] = dict.fromkeys(SHARES, 1.0)
    breaker = replace(policy.breaker, **shares)
    return replace(policy, breaker=breaker, earned=replace(policy.earned, required=False))
