"""What a model's ranking rests on: how much of its average precision is lost without one piece of evidence."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from features.wording import evidence
from models.later import Asked
from models.measure import Measured, Settings, paired_difference
from models.predictor import Predictor


def pieces(predictor: Predictor) -> dict[str, float]:
    """Return each piece of evidence's share of the booster's gain, the largest first."""
    gain = np.asarray(predictor.booster.feature_importance("gain"), dtype=np.float64)
    shares: dict[str, float] = {}
    for name, value in zip(predictor.feature_names, gain / max(gain.sum(), 1e-12), strict=True):
        shares[evidence(name)] = shares.get(evidence(name), 0.0) + float(value)
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def lost_without(
    asked: Asked, predictor: Predictor, wanted: Sequence[str], settings: Settings | None = None
) -> Mapping[str, Measured]:
    """Return by piece of evidence the average precision with it minus that without it, on the same rows.

    Without it means that all features about it are shuffled together among the rows of each day, so that they say as
    much as those of another entity (permutation importance, Breiman 2001). Pieces that say the same hide each other.

    Args:
        asked: rows that the model has not seen, at least one.
        predictor: the model.
        wanted: pieces of evidence, as `pieces` names them.
        settings: seed and replicates.
    """
    chosen = settings or Settings()
    random = np.random.default_rng(chosen.seed)
    rows = np.arange(asked.outcomes.entity.size)
    for day in np.unique(asked.outcomes.day):
        own = np.flatnonzero(asked.outcomes.day == day)
        rows[own] = random.permutation(own)
    return {
        piece: paired_difference(
            asked.outcomes, asked.risk, predictor.predict(_shuffled(asked.frame, predictor, piece, rows))[:, -1], chosen
        )
        for piece in wanted
    }


def _shuffled(frame: pa.Table, predictor: Predictor, piece: str, rows: np.typing.NDArray[np.int64]) -> pa.Table:
    names = [name for name in predictor.feature_names if evidence(name) == piece]
    taken = frame.select(names).take(rows)
    for name in names:
        frame = frame.set_column(frame.column_names.index(name), name, taken[name])
    return frame
