"""A model's figures on rows whose fate is known, each with a 95 % interval by a bootstrap clustered by entity.

One drive gives many rows, and they are not independent: a replicate therefore weighs whole entities, each by a
Poisson(1) draw (the Poisson bootstrap, which needs no resampled copy of the rows). Of a share that is 0 or 1 replicates
say next to nothing: there the exact binomial interval over distinct entities is part of it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models import metrics
from models.calibrate import clopper_pearson
from models.metrics import Bools, Confusion, Floats, Ints
from models.replicates import Groups

Weights = npt.NDArray[np.uint8]
"""Of entities, in each replicate; shape (replicates, entities)."""

_NUMBERS_AT_ONCE: Final = 1 << 22
BUDGETS: Final = (0.0005, 0.001, 0.005, 0.01, 0.02, 0.05)


@dataclass(frozen=True)
class Settings:
    """What is asked of a model."""

    budgets: tuple[float, ...] = BUDGETS
    """Alert budgets: shares of the fleet alerted each day."""
    operating_budget: float = 0.001
    """The budget at which fdr, fpr, virr and lead_days are given."""
    drain_days: float = 1.0
    """How long emptying a host takes, for the share of lead times that exceed it: a day, as evidence is daily."""
    interrupted_share: float = 0.05
    """y of the VIRR: the share of VMs on an alerted host that the mitigation interrupts (assumed, not measured)."""
    replicates: int = 200
    seed: int = 7
    confidence: float = 0.95

    def at_confidence(self, confidence: float) -> "Settings":
        """Return the same settings with other intervals."""
        return replace(self, confidence=confidence)


@dataclass(frozen=True)
class Outcomes:
    """Rows in the order of (day, entity), and what became of each."""

    entity: Ints
    """Numbers from 0, one for each entity; shape (n,)."""
    day: Ints
    """Numbers from 0, one for each day asked about, in order of time; shape (n,)."""
    failed: Bools
    """Failed within the horizon; shape (n,)."""
    failed_in_days: Floats
    """Days to the failure, also beyond the horizon, NaN where none was seen; shape (n,)."""

    @property
    def days(self) -> int:
        """How many days were asked about."""
        return int(self.day.max()) + 1 if self.day.size else 0

    @property
    def entities(self) -> int:
        """How many entities were asked about."""
        return int(self.entity.max()) + 1 if self.entity.size else 0

    @property
    def once(self) -> "Weights":
        """Weights in which every entity counts once; shape (1, entities)."""
        return np.ones((1, self.entities), np.uint8)

    def grouped(self, rows: Ints, group: Ints, groups: int) -> Groups:
        """How many of those rows of each entity are in each group."""
        return Groups.of(self.entity[rows], group, groups, self.entities)

    def part(self, rows: Bools) -> "Outcomes":
        """Return the rows chosen, with entities and days numbered anew."""
        _, entity = np.unique(self.entity[rows], return_inverse=True)
        _, day = np.unique(self.day[rows], return_inverse=True)
        return Outcomes(entity, day, self.failed[rows], self.failed_in_days[rows])


@dataclass(frozen=True)
class Measured:
    """A figure with its 95 % interval; null where it does not exist (no failure, no alert)."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Tenth:
    """One tenth of the rows by predicted risk: the mean prediction, and the share that really failed."""

    predicted: float
    observed: Measured
    rows: int


@dataclass(frozen=True)
class Figures:
    """All figures of one model. `precision_at` and `recall_at` have one entry per alert budget."""

    average_precision: Measured
    roc_auc: Measured
    precision_at: dict[str, Measured]
    recall_at: dict[str, Measured]
    fdr: Measured
    fpr: Measured
    virr: Measured
    lead_days: dict[str, Measured]
    """Median and 10th percentile in days, and `share_over_drain`: the share longer than `Settings.drain_days`."""
    calibration: tuple[Tenth, ...] | None
    """Null for a model whose score is not a probability."""


def entity_weights(entities: int, settings: Settings) -> Weights:
    """Return how often each entity counts in each bootstrap replicate, to read only; shape (replicates, entities)."""
    return _weights(entities, settings.replicates, settings.seed)


@lru_cache(maxsize=2)
def _weights(entities: int, replicates: int, seed: int) -> Weights:
    """Kept, as one figure after the other is asked of the same entities."""
    drawn = np.random.default_rng(seed).poisson(1.0, (replicates, entities)).astype(np.uint8)
    drawn.flags.writeable = False
    return drawn


def measure(outcomes: Outcomes, score: Floats, settings: Settings, *, probability: bool) -> Figures:
    """Return the figures of one score (higher = sooner to fail; NaN = unknown, ranked last).

    Args:
        outcomes: at least one row.
        score: shape (n,).
        settings: budgets, the operating point, replicates.
        probability: the score is a probability of failure within the horizon, so calibration makes sense.
    """
    reachable = _reachable(outcomes, score, settings)
    ask = _question(outcomes, score, reachable, settings)
    (point,), draws = ask(outcomes.once), ask(entity_weights(outcomes.entities, settings))
    figures = [
        _doubted(measured(value, draw, settings), entities, settings)
        for value, draw, entities in zip(point, draws.T, _over(outcomes, reachable, settings), strict=True)
    ]
    count = len(settings.budgets)
    names = [f"{budget:g}" for budget in settings.budgets]
    rest = figures[2 + 2 * count :]
    return Figures(
        average_precision=figures[0],
        roc_auc=figures[1],
        precision_at=dict(zip(names, figures[2 : 2 + count], strict=True)),
        recall_at=dict(zip(names, figures[2 + count : 2 + 2 * count], strict=True)),
        fdr=rest[0],
        fpr=rest[1],
        virr=rest[2],
        lead_days={"median": rest[3], "p10": rest[4], "share_over_drain": rest[5]},
        calibration=tenths(outcomes, score, settings) if probability else None,
    )


def average_precision(outcomes: Outcomes, score: Floats, settings: Settings) -> Measured:
    """Return the average precision of one score alone; rows at least one."""
    ask = _precision(outcomes, score)
    (point,), draws = ask(outcomes.once), ask(entity_weights(outcomes.entities, settings))
    return measured(float(point), draws, settings)


def paired_difference(outcomes: Outcomes, one: Floats, other: Floats, settings: Settings) -> Measured:
    """Return average precision of `one` minus that of `other`, both under the same replicates."""
    first, second = _precision(outcomes, one), _precision(outcomes, other)
    (point,), draws = (
        first(each) - second(each) for each in (outcomes.once, entity_weights(outcomes.entities, settings))
    )
    return measured(float(point), draws, settings)


def paired_differences(outcomes: Outcomes, one: Floats, other: Floats, settings: Settings) -> dict[str, Measured]:
    """Return each ranking figure of `one` minus that of `other`, both under the same replicates.

    Names: `average_precision`, `roc_auc`, and `precision_at_B` and `recall_at_B` for each alert budget B.
    """
    first, second = (
        _question(outcomes, score, _reachable(outcomes, score, settings), settings) for score in (one, other)
    )
    at = [f"{name}_at_{budget:g}" for name in ("precision", "recall") for budget in settings.budgets]
    names = ["average_precision", "roc_auc", *at]
    (point,), draws = (
        (first(each) - second(each))[:, : len(names)]
        for each in (outcomes.once, entity_weights(outcomes.entities, settings))
    )
    return {name: measured(value, draw, settings) for name, value, draw in zip(names, point, draws.T, strict=True)}


Ask = Callable[[Weights], Floats]
"""From weights to figures, a row for each replicate."""


def _in_turn(ask: Ask, sums: int) -> Ask:
    """The same, of few replicates at once: each takes as much memory as there are sums, or entities."""

    def asked(weights: Weights) -> Floats:
        replicates, entities = weights.shape
        step = max(1, _NUMBERS_AT_ONCE // max(1, entities, sums))
        return np.concatenate([ask(weights[begin : begin + step]) for begin in range(0, replicates, step)])

    return asked


def _blocks(outcomes: Outcomes, ranking: metrics.Ranking) -> Callable[[Weights], list[metrics.Blocks]]:
    """A function from entity weights to what the ranking's blocks weigh, in each replicate."""
    lengths = np.diff(np.append(ranking.cuts, ranking.order.size))
    piece = np.repeat(np.arange(lengths.size), lengths)
    pieces = outcomes.grouped(ranking.order, piece, lengths.size)
    hit_lengths = np.diff(np.append(ranking.hit_blocks, ranking.hit_rows.size))
    failing = outcomes.grouped(ranking.hit_rows, np.repeat(np.arange(hit_lengths.size), hit_lengths), hit_lengths.size)
    return lambda weights: [
        metrics.Blocks.between(*each) for each in zip(pieces.sums(weights), failing.sums(weights), strict=True)
    ]


def _precision(outcomes: Outcomes, score: Floats) -> Ask:
    """Average precision alone; a figure for each replicate."""
    ranking = metrics.rank(outcomes.failed, score)
    blocks = _blocks(outcomes, ranking)
    return _in_turn(
        lambda weights: np.array([metrics.average_precision(each) for each in blocks(weights)]), ranking.cuts.size
    )


def _reachable(outcomes: Outcomes, score: Floats, settings: Settings) -> metrics.Desk:
    """The rows that any of the budgets can reach."""
    return metrics.desk(outcomes.day, score, max((*settings.budgets, settings.operating_budget)))


def _question(outcomes: Outcomes, score: Floats, reachable: metrics.Desk, settings: Settings) -> Ask:
    """All figures, in a row for each replicate, with everything sorted beforehand."""
    ranking = metrics.rank(outcomes.failed, score)
    blocks, leads = _blocks(outcomes, ranking), _leads(outcomes, reachable, settings)
    by_day = outcomes.grouped(np.arange(outcomes.entity.size), outcomes.day, outcomes.days)
    inside = outcomes.grouped(reachable.rows, reachable.block, reachable.starts.size)
    hits = outcomes.failed[reachable.rows]
    failing = outcomes.grouped(reachable.rows[hits], reachable.block[hits], reachable.starts.size)

    def ask(weights: Weights) -> Floats:
        sums = zip(by_day.sums(weights), inside.sums(weights), failing.sums(weights), strict=True)
        parts = zip(blocks(weights), sums, leads(weights), strict=True)
        return np.stack([_row(ranked, reachable, *held, lead, settings) for ranked, held, lead in parts])

    return _in_turn(ask, max(reachable.starts.size, ranking.cuts.size, outcomes.days))


def _row(
    ranked: metrics.Blocks, reachable: metrics.Desk, by_day: Floats, inside: Floats, failing: Floats,
    leads: Sequence[float], settings: Settings,
) -> Floats:  # fmt: skip
    """All figures of one replicate, from what days, the ranking's blocks and the desk's weigh in it."""
    held, totals = metrics.reached(reachable, inside, failing), (by_day, float(ranked.failing.sum()))
    cells = [metrics.confusion(reachable, held, totals, budget) for budget in settings.budgets]
    working = metrics.confusion(reachable, held, totals, settings.operating_budget)
    values = [metrics.average_precision(ranked), metrics.roc_auc(ranked)]
    values += [cell.precision for cell in cells] + [cell.recall for cell in cells]
    return np.array([*values, *_working_point(working, settings), *leads])


def _working_point(cells: Confusion, settings: Settings) -> list[float]:
    return [1 - cells.precision, cells.false_positive_rate, cells.virr(settings.interrupted_share)]


def _over(outcomes: Outcomes, reachable: metrics.Desk, settings: Settings) -> list[int]:
    """Over how many distinct entities each figure is a share, in the order of `_question`; 0 where it is none."""

    def distinct(rows: Bools) -> int:
        return int(np.unique(outcomes.entity[rows]).size)

    *alerted, working = (
        distinct(_alerted(outcomes, reachable, budget) > 0) for budget in (*settings.budgets, settings.operating_budget)
    )
    failing = [distinct(outcomes.failed)] * len(alerted)
    warned = first_alerts(outcomes, reachable, settings.operating_budget)[0].size
    return [0, 0, *alerted, *failing, working, distinct(~outcomes.failed), 0, 0, 0, warned]


def _doubted(share: Measured, entities: int, settings: Settings) -> Measured:
    """The share with the exact interval joined to its own where it is 0 or 1 of so many entities."""
    if not entities or share.low is None or share.high is None or share.value not in {0.0, 1.0}:
        return share
    low, high = clopper_pearson(entities if share.value else 0, entities, settings.confidence)
    return Measured(share.value, min(share.low, low), max(share.high, high))


def _alerted(outcomes: Outcomes, reachable: metrics.Desk, budget: float) -> Floats:
    """How much of each row is alerted: all, nothing, or the share of a tie that the budget cuts; shape (n,)."""
    held = metrics.reach(reachable, outcomes.failed, np.ones(outcomes.entity.size))
    share = metrics.alerted_share(reachable, held, np.bincount(outcomes.day).astype(np.float64), budget)
    alerted = np.zeros(outcomes.entity.size)
    alerted[reachable.rows] = share[reachable.block]
    return alerted


def first_alerts(outcomes: Outcomes, reachable: metrics.Desk, budget: float) -> tuple[Ints, Floats, Floats]:
    """Return (row, lead in days, share alerted) of each alerted failure's first alert, shortest lead first.

    An episode is a run of consecutive asked days on which an entity that later failed was alerted; the last one before
    the failure counts, from its first alert. Where a tie is cut by the budget, it counts by the share alerted.
    """
    row_share = _alerted(outcomes, reachable, budget)
    rows = np.flatnonzero((row_share > 0) & ~np.isnan(outcomes.failed_in_days))
    if not rows.size:
        return rows, np.empty(0), np.empty(0)
    rows = rows[np.lexsort((outcomes.day[rows], outcomes.entity[rows]))]
    entity, day = outcomes.entity[rows], outcomes.day[rows]
    begins = np.flatnonzero(np.r_[True, (entity[1:] != entity[:-1]) | (day[1:] != day[:-1] + 1)])
    ends = np.append(begins[1:], rows.size) - 1
    last = np.r_[entity[begins][1:] != entity[begins][:-1], True]
    first = rows[begins[last & outcomes.failed[rows[ends]]]]
    first = first[np.argsort(outcomes.failed_in_days[first], kind="stable")]
    return first, outcomes.failed_in_days[first], row_share[first]


def _leads(outcomes: Outcomes, reachable: metrics.Desk, settings: Settings) -> Callable[[Weights], list[list[float]]]:
    """Lead times in days (median, 10th percentile) and the share over the drain time, for each replicate."""
    first, days, share = first_alerts(outcomes, reachable, settings.operating_budget)
    in_time = days > settings.drain_days

    def lead(weight: Floats) -> list[float]:
        held = weight * share
        running = np.cumsum(held)
        if not running.size or running[-1] <= 0:
            return [math.nan, math.nan, math.nan]
        quantiles = [float(days[np.searchsorted(running, part * running[-1])]) for part in (0.5, 0.1)]
        return [*quantiles, float(held[in_time].sum() / running[-1])]

    return lambda weights: [lead(each) for each in weights[:, outcomes.entity[first]]]


def observed_over_predicted(outcomes: Outcomes, risk: Floats, settings: Settings) -> Measured:
    """Return failing rows over the sum of predicted risks, 1 where risks are right on the whole; rows at least one."""
    entities = outcomes.entities
    sums = np.stack([np.bincount(outcomes.entity, each, entities) for each in (outcomes.failed, risk)], axis=1)
    above, below = (entity_weights(entities, settings) @ sums).T
    draws = np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)
    predicted = float(risk.sum())
    return measured(float(outcomes.failed.sum()) / predicted if predicted > 0 else math.nan, draws, settings)


def tenths(outcomes: Outcomes, score: Floats, settings: Settings, parts: int = 10) -> tuple[Tenth, ...]:
    """Return ten groups of equal size by predicted risk, lowest first. One product gives the sums of all replicates.

    Where nothing failed, replicates cannot differ: there the exact binomial interval over distinct entities stands in.
    """
    weights = entity_weights(outcomes.entities, settings)
    judged = np.flatnonzero(~np.isnan(score))
    rows = judged[np.argsort(score[judged], kind="stable")]
    found = []
    for piece in (piece for piece in np.array_split(rows, parts) if piece.size):
        entity, failed = outcomes.entity[piece], outcomes.failed[piece]
        held = np.bincount(entity, minlength=weights.shape[1]).astype(np.float32)
        hits = np.bincount(entity[failed], minlength=weights.shape[1]).astype(np.float32)
        below, above = (weights.astype(np.float32) @ np.stack([held, hits], axis=1)).T
        draws = np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)
        observed = measured(float(failed.mean()), draws.astype(np.float64), settings)
        if not failed.any():
            observed = Measured(0.0, *clopper_pearson(0, np.unique(entity).size, settings.confidence))
        found.append(Tenth(float(score[piece].mean()), observed, int(piece.size)))
    return tuple(found)


def measured(value: float, draws: Floats, settings: Settings) -> Measured:
    """Return a figure with the interval that its bootstrap draws span; null where it does not exist."""
    tail = (1 - settings.confidence) / 2
    good = draws[np.isfinite(draws)]
    if not math.isfinite(value) or not good.size:
        return Measured(None, None, None)
    low, high = np.quantile(good, [tail, 1 - tail])
    return Measured(float(value), float(low), float(high))


def plain(value: Any) -> Any:
    """Return frozen dataclasses, tuples and mappings as JSON-ready dicts and lists."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
