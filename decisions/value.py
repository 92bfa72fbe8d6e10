"""What a policy's choices are worth, from what came of choices that were left to chance: off-policy values.

The unit is VM interruptions a decision. Of n decisions, decision i was made with probability p (its propensity), came
to cost c, and was foretold to cost q; the policy that is valued would have made it with probability t, and its own
choice was foretold to cost f:

- ips   = mean(w c), w = t / p: inverse propensity scoring (Horvitz and Thompson, 1952). Right on average whatever was
          foretold, and the noisiest.
- snips = sum(w c) / sum(w): the same, scaled by its own weights (Hajek, 1971). Steadier, slightly off in few rows.
- dr    = mean(f + w (c - q)): doubly robust (Dudik, Langford and Li, 2011). Right on average as ips is, and the
          steadier the better costs are foretold.
- direct = mean(f): what the prices say alone.

The effective sample size is sum(w)^2 / sum(w^2) (Kish, 1965): so many decisions of the policy's own would tell as much.
Intervals are 95 % bootstraps clustered by host; differences share their draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from decisions.actions import PRICED, ladder
from decisions.domain import Action
from models.measure import Measured, Settings, entity_weights, measured

Floats = npt.NDArray[np.float64]

SETTINGS: Final = Settings(replicates=2_000)
CHEAPEST: Final = "cheapest"
AS_DECIDED: Final = "as_decided"
LEAST: Final = "least_protective"


@dataclass(frozen=True)
class Tried:
    """A decision that chance had a part in, and what came of it."""

    host_id: str
    action: Action
    chances: Mapping[Action, float]
    """The probability of each action that was open; `action` is one of them."""
    foretold: Mapping[Action, float]
    """VM interruptions expected of each of them."""
    price: Mapping[Action, float]
    """By what policy chose: the same, and what it costs besides."""
    cost: float
    """VM interruptions that came."""


@dataclass(frozen=True)
class Value:
    """What a policy would have cost, in VM interruptions a decision."""

    alike: int
    """Decisions in which it would have done what was done."""
    effective: float
    """Effective sample size."""
    direct: Measured
    ips: Measured
    snips: Measured
    dr: Measured
    over_cheapest: Measured
    """Doubly robust, less what the cheapest action costs: above nought, it costs more."""


def policies(tried: Sequence[Tried]) -> dict[str, tuple[Action, ...] | None]:
    """What each policy that can be valued would have done in each decision; null: what was drawn.

    Always the cheapest action, always the one that protects least, and each action wherever it was open, else the
    cheapest.
    """
    best = tuple(min(one.chances, key=lambda a: (round(one.price[a], 6), PRICED.index(a))) for one in tried)
    rungs = ladder()
    least = tuple(min(one.chances, key=lambda a: rungs[a].protection) for one in tried)
    seen = [action for action in PRICED if any(action in one.chances for one in tried)]
    fixed = {
        f"{action}_where_open": tuple(
            action if action in one.chances else cheapest for one, cheapest in zip(tried, best, strict=True)
        )
        for action in seen
    }
    return {AS_DECIDED: None, CHEAPEST: best, LEAST: least, **fixed}


def values(tried: Sequence[Tried], settings: Settings = SETTINGS) -> dict[str, Value]:
    """The value of each of `policies`.

    Args:
        tried: at least one decision.
        settings: replicates, seed and confidence of the intervals.
    """
    _, host = np.unique([one.host_id for one in tried], return_inverse=True)
    draws = entity_weights(int(host.max()) + 1, settings).astype(np.float64)
    weights = np.vstack([np.ones(draws.shape[1]), draws])
    made = policies(tried)
    sums = {name: _sums(tried, choices, host, weights) for name, choices in made.items()}
    return {name: _value(sums[name], sums[CHEAPEST], settings, tried, made[name]) for name in made}


@dataclass(frozen=True)
class _Sums:
    """Sums over decisions: of all of them first, then of each bootstrap replicate."""

    rows: Floats
    weight: Floats
    cost: Floats
    foretold: Floats
    surprise: Floats
    effective: float

    @property
    def dr(self) -> Floats:
        return (self.foretold + self.surprise) / self.rows


def _sums(
    tried: Sequence[Tried], choices: Sequence[Action] | None, host: npt.NDArray[np.intp], weights: Floats
) -> _Sums:
    if choices is None:
        weight = np.ones(len(tried))
        foretold = np.array([sum(p * one.foretold[a] for a, p in one.chances.items()) for one in tried])
    else:
        pairs = list(zip(tried, choices, strict=True))
        weight = np.array([(one.action is choice) / one.chances[one.action] for one, choice in pairs])
        foretold = np.array([one.foretold[choice] for one, choice in pairs])
    cost = np.array([one.cost for one in tried])
    surprise = weight * (cost - np.array([one.foretold[one.action] for one in tried]))
    columns = (np.ones(len(tried)), weight, weight * cost, foretold, surprise)
    by_host = np.stack([np.bincount(host, column, weights.shape[1]) for column in columns], axis=1)
    rows, weighed, costs, foretold_sum, surprised = (weights @ by_host).T
    effective = float(weight.sum() ** 2 / max((weight**2).sum(), 1e-12))
    return _Sums(rows, weighed, costs, foretold_sum, surprised, effective)


def _value(
    own: _Sums, cheapest: _Sums, settings: Settings, tried: Sequence[Tried], choices: Sequence[Action] | None
) -> Value:
    def told(draws: Floats) -> Measured:
        return measured(float(draws[0]), draws[1:], settings)

    with np.errstate(divide="ignore", invalid="ignore"):
        return Value(
            alike=len(tried) if choices is None else sum(map(_same, tried, choices)),
            effective=own.effective,
            direct=told(own.foretold / own.rows),
            ips=told(own.cost / own.rows),
            snips=told(own.cost / own.weight),
            dr=told(own.dr),
            over_cheapest=told(own.dr - cheapest.dr),
        )


def _same(one: Tried, choice: Action) -> bool:
    return one.action is choice
