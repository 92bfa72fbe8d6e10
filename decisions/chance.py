"""Which of nearly equal actions is tried: left to chance at a known probability, so that it shows what each is worth.

Policy opens an experiment (`[experiment]`, off as shipped). Only hosts at risk take part, and only what no guardrail
forbids and what is expected to cost hardly more than the cheapest is drawn. A host keeps its draw for as long as the
seed stays: the same question gets the same answer, and what comes of a choice is not undone by another draw the night
after.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from decisions.actions import PRICED
from decisions.cases import Forbidden, cheapest
from decisions.domain import Action, Price
from decisions.sections import Experiment

_WHOLE: Final = 1 << 64


@dataclass(frozen=True)
class Choice:
    """The action that a host gets."""

    action: Action
    best: Action
    """The cheapest one, which it would have got without an experiment."""
    chances: Mapping[Action, float] = field(default_factory=dict)
    """The probability of each action that was open; they add up to 1. Empty where nothing was left to chance."""
    draw: float | None = None
    """Where the host stands between 0 and 1, which decided; null where nothing was left to chance."""

    @property
    def propensity(self) -> float:
        """The probability with which this action was chosen."""
        return self.chances.get(self.action, 1.0)


def choose(priced: Mapping[Action, Price], forbidden: Forbidden, host_id: str, rules: Experiment) -> Choice:
    """The cheapest action that is not forbidden, or by chance another one that is nearly as cheap.

    With probability `share` each action within `most_extra_interruptions` of the cheapest is as likely as the others,
    the cheapest included; else it is the cheapest.

    Args:
        priced: what is within the host's reach, and what it costs.
        forbidden: what guardrails forbid.
        host_id: the host, which decides its draw.
        rules: how much is left to chance.
    """
    best = cheapest(priced, forbidden)
    most = priced[best].interruptions + rules.most_extra_interruptions
    open_ = [a for a in PRICED if a in priced and a not in forbidden and priced[a].interruptions <= most]
    if not rules.share or len(open_) < 2:
        return Choice(best, best)
    each = rules.share / len(open_)
    chances = {action: each + (1.0 - rules.share) * (action is best) for action in open_}
    place = _place(host_id, rules.seed)
    drawn = open_[min(int(place / each), len(open_) - 1)] if place < rules.share else best
    return Choice(drawn, best, chances, place)


def _place(host_id: str, seed: int) -> float:
    """Where the host stands between 0 and 1: evenly spread over hosts, and anew with another seed."""
    told = hashlib.sha256(f"{seed}|{host_id}".encode()).digest()
    return int.from_bytes(told[:8]) / _WHOLE
