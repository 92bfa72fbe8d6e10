"""How good a ranking of entities is, with ties counted at their expectation under a random order.

Definitions: precision = TP/(TP+FP), recall = TP/(TP+FN), FDR = 1 - precision,
FPR = FP/(FP+TN), VIRR = recall x (1 - y/precision). The unit is the entity-day (one row). Figures are made of what the
blocks of a presorted ranking weigh, so that a bootstrap replicate is one more call, and a cheap one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import digamma

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ranking:
    """Rows in falling order of score, cut into blocks of equal score, with the blocks that hold a failure."""

    order: Ints
    """Row numbers, highest score first; shape (n,)."""
    hit_rows: Ints
    """Row numbers of the failures, highest score first; shape (p,)."""
    hit_blocks: Ints
    """Where in `hit_rows` each block with a failure begins; shape (b,)."""
    begins: Ints
    """Where in `order` each block with a failure begins; shape (b,)."""
    ends: Ints
    """One past where it ends; shape (b,)."""

    @property
    def cuts(self) -> Ints:
        """Where in `order` blocks with a failure, and what stands between them, begin; shape (2 b + 1,)."""
        return np.concatenate(([0], np.stack([self.begins, self.ends], axis=1).ravel()))


def rank(failed: Bools, score: Floats) -> Ranking:
    """Return the ranking of rows by score; NaN scores (unknown) come last, tied with each other."""
    filled = np.where(np.isnan(score), -np.inf, score)
    order = np.argsort(-filled, kind="stable")
    ordered = filled[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if order.size else np.empty(0, dtype=np.int64)
    hits = np.flatnonzero(failed[order])
    block_of_hit = np.searchsorted(starts, hits, side="right") - 1
    blocks, hit_blocks = np.unique(block_of_hit, return_index=True)
    ends = np.append(starts, order.size)
    return Ranking(order, order[hits], hit_blocks, starts[blocks], ends[blocks + 1])


@dataclass(frozen=True)
class Blocks:
    """What the blocks with a failure of one ranking weigh."""

    above: Floats
    """Weight of the rows above each; shape (b,)."""
    inside: Floats
    """Weight of the rows in it."""
    failing: Floats
    """Weight of the failing rows in it."""
    total: float
    """Weight of all rows."""

    @classmethod
    def between(cls, pieces: Floats, failing: Floats) -> "Blocks":
        """The blocks, from the weights of what stands between the `cuts` of a ranking; shape (2 b + 1,)."""
        running = np.cumsum(pieces)
        return cls(running[0:-1:2], pieces[1::2], failing, float(running[-1]))


def weigh(ranking: Ranking, weight: Floats) -> Blocks:
    """Return what the blocks of a ranking weigh where rows weigh as given; shape (n,)."""
    running = np.concatenate(([0.0], np.cumsum(weight[ranking.order])))
    pieces = np.diff(np.append(running[ranking.cuts], running[-1]))
    failing = np.add.reduceat(weight[ranking.hit_rows], ranking.hit_blocks) if ranking.hit_rows.size else np.empty(0)
    return Blocks.between(pieces, failing)


def average_precision(blocks: Blocks) -> float:
    """Return the expected average precision over random orders of tied rows, or NaN without a failure.

    McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied
    scores" (ECIR 2008), their sum over a block's positions written with the digamma function so that integer weights
    act as copies of a row.
    """
    seen = blocks.failing > 0
    above, inside, failing = blocks.above[seen], blocks.inside[seen], blocks.failing[seen]
    if not failing.size:
        return float("nan")
    failing_above = np.cumsum(failing) - failing
    slope = np.divide(failing - 1, inside - 1, out=np.zeros_like(failing), where=inside > 1)
    first = failing_above + 1
    harmonic = digamma(above + inside + 1) - digamma(above + 1)
    summed = slope * inside + (first - slope * (1 + above)) * harmonic
    return float(np.sum(failing / inside * summed) / np.sum(failing))


def roc_auc(blocks: Blocks) -> float:
    """Return the area under the ROC curve, ties counting one half, or NaN without both classes."""
    above, inside, failing = blocks.above, blocks.inside, blocks.failing
    positives = float(np.sum(failing))
    negatives = blocks.total - positives
    if positives <= 0 or negatives <= 0:
        return float("nan")
    healthy_above = above - (np.cumsum(failing) - failing)
    healthy_inside = inside - failing
    healthy_below = negatives - healthy_above - healthy_inside
    return float(np.sum(failing * (healthy_below + healthy_inside / 2)) / (positives * negatives))


@dataclass(frozen=True)
class Desk:
    """The rows that an alert budget can reach, by day and falling score, in blocks of one day and one score."""

    rows: Ints
    """Row numbers; shape (m,)."""
    starts: Ints
    """Where in `rows` each block begins; shape (b,)."""
    day_of_block: Ints
    """Day number of each block; shape (b,)."""
    first_block: Ints
    """Number of the first block of each block's day; shape (b,)."""

    @property
    def block(self) -> Ints:
        """Number of each row's block; shape (m,)."""
        return np.repeat(np.arange(self.starts.size), np.diff(np.append(self.starts, self.rows.size)))


def desk(day: Ints, score: Floats, largest_budget: float) -> Desk:
    """Return the rows that budgets up to `largest_budget` (a share of each day's rows) can reach.

    Three times the budget is kept, because a bootstrap replicate may weigh the top rows down.
    """
    filled = np.where(np.isnan(score), -np.inf, score)
    order = np.lexsort((-filled, day))
    days, scores = day[order], filled[order]
    new_day = np.r_[True, days[1:] != days[:-1]]
    starts = np.flatnonzero(new_day | np.r_[True, scores[1:] != scores[:-1]])
    ends = np.append(starts[1:], order.size)
    counts = np.bincount(days)
    begin_of_day = np.flatnonzero(new_day)[np.cumsum(new_day)[starts] - 1]
    reach = np.maximum(3 * largest_budget * counts[days[starts]], 50)
    kept = np.flatnonzero(starts - begin_of_day < reach)
    sizes = ends[kept] - starts[kept]
    new_starts = np.cumsum(sizes) - sizes
    offsets = np.arange(int(sizes.sum())) - np.repeat(new_starts, sizes)
    day_of_block = days[starts[kept]]
    first = np.flatnonzero(np.r_[True, day_of_block[1:] != day_of_block[:-1]])
    first_block = np.repeat(first, np.diff(np.append(first, kept.size)))
    return Desk(order[np.repeat(starts[kept], sizes) + offsets], new_starts, day_of_block, first_block)


@dataclass(frozen=True)
class Reached:
    """What the alerts of one desk hold, by block, so that any budget is a cheap question."""

    inside: Floats
    above: Floats
    failing: Floats


def reach(table: Desk, failed: Bools, weight: Floats) -> Reached:
    """Return the weight in, above (the same day) and failing in each block of the desk."""
    held = weight[table.rows]
    inside = np.add.reduceat(held, table.starts)
    return reached(table, inside, np.add.reduceat(held * failed[table.rows], table.starts))


def reached(table: Desk, inside: Floats, failing: Floats) -> Reached:
    """Return the same from the weight in, and failing in, each block of the desk."""
    running = np.cumsum(inside) - inside
    return Reached(inside, running - running[table.first_block], failing)


def alerted_share(table: Desk, reached: Reached, day_weight: Floats, budget: float) -> Floats:
    """Return the share of each block that is alerted when each day alerts `budget` of its rows; shape (b,)."""
    room = budget * day_weight[table.day_of_block] - reached.above
    room /= np.where(reached.inside > 0, reached.inside, np.inf)
    return np.clip(room, 0.0, 1.0, out=room)


@dataclass(frozen=True)
class Confusion:
    """Expected weights of the four cells of an alert budget."""

    true_positive: float
    false_positive: float
    false_negative: float
    true_negative: float

    @property
    def precision(self) -> float:
        """Share of alerts that failed; NaN without an alert."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        """Share of failures that were alerted; NaN without a failure."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def false_positive_rate(self) -> float:
        """Share of healthy rows that were alerted; NaN without one."""
        return _ratio(self.false_positive, self.false_positive + self.true_negative)

    def virr(self, interrupted_share: float) -> float:
        """Return the VM interruption reduction rate, recall x (1 - y/precision), y = `interrupted_share`.

        Written as (TP - y x alerts) / failures, which is the same and also holds at a precision of zero.
        """
        alerts = self.true_positive + self.false_positive
        return _ratio(self.true_positive - interrupted_share * alerts, self.true_positive + self.false_negative)


def confusion(table: Desk, reached: Reached, totals: tuple[Floats, float], budget: float) -> Confusion:
    """Return the cells when each day alerts `budget` of its rows; `totals`: weight by day, failing weight of all."""
    day_weight, failing = totals
    share = alerted_share(table, reached, day_weight, budget)
    hits = float(np.sum(share * reached.failing))
    alerts = float(np.sum(share * reached.inside))
    everything = float(np.sum(day_weight))
    return Confusion(hits, alerts - hits, failing - hits, everything - failing - (alerts - hits))


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else float("nan")
