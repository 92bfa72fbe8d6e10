"""What a model has to beat: what operators do today, and what one gets out of the box.

The rule and its two rankings need no training. Observed rates, a random forest and LightGBM with its defaults learn
from the same rows as the model, but see only the day's values: no history.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from models.examples import Bools, Floats, Ints, Matrix, matrix
from models.spec import Spec

if TYPE_CHECKING:
    from lightgbm import Booster
    from sklearn.ensemble import RandomForestClassifier

RULE, RULE_COUNT, RULE_RANKS = "rule", "rule_count", "rule_ranks"
RATES, FOREST, DEFAULT_LIGHTGBM = "observed_rates", "random_forest", "default_lightgbm"
PEERS: Final = (RULE, RULE_COUNT, RULE_RANKS, RATES, FOREST, DEFAULT_LIGHTGBM)

RATE_STEPS: Final = 10
RATE_PRIOR_ROWS: Final = 1_000.0
"""Rows at the average rate that each bucket is given beforehand, so that a thin one says little."""


def rule_count(table: pa.Table, spec: Spec) -> Floats:
    """Return how many of the rule's attributes are above zero; shape (rows,). A missing value counts as zero.

    Raises:
        ModelError: the table lacks one of the attributes.
    """
    return np.asarray(np.nansum(matrix(table, spec.rule) > 0, axis=1), dtype=np.float64)


def rule(table: pa.Table, spec: Spec) -> Floats:
    """Return 1 where any of the rule's attributes is above zero, else 0; shape (rows,)."""
    return np.asarray(rule_count(table, spec) > 0, dtype=np.float64)


def rule_ranks(table: pa.Table, day: Ints, spec: Spec) -> Floats:
    """Return the sum of the ranks that a row has that day in each of the rule's attributes, each from 0 to 1.

    A missing value counts as zero, and equal values share their mean rank.
    """
    values = np.nan_to_num(matrix(table, spec.rule), nan=0.0)
    total = np.zeros(table.num_rows)
    for each in np.unique(day):
        rows = np.flatnonzero(day == each)
        total[rows] = (rankdata(values[rows], axis=0) / rows.size).sum(axis=1)
    return total


@dataclass(frozen=True)
class Rates:
    """For each attribute, buckets of its value and how much more often than all rows those in a bucket failed."""

    edges: tuple[Floats, ...]
    """Ascending; a value belongs to the first edge that is not below it."""
    log_ratio: tuple[Floats, ...]
    """Log of the bucket's failure rate over that of all; the first is for a missing value."""

    def score(self, values: Matrix) -> Floats:
        """Return the sum of the attributes' log ratios; shape (rows,)."""
        parts = zip(values.T, self.edges, self.log_ratio, strict=True)
        return np.asarray(sum(ratio[_bucket(column, edges)] for column, edges, ratio in parts), dtype=np.float64)


def learn_rates(values: Matrix, failed: Bools, weight: Floats) -> Rates:
    """Return the rates at which rows failed, by bucket of each column: zero or below, and tenths of what is above."""
    base = float(weight[failed].sum() / weight.sum())
    edges, ratios = [], []
    for column in values.T:
        above = column[column > 0]
        steps = np.quantile(above, np.linspace(0, 1, RATE_STEPS + 1)[1:-1]) if above.size else np.empty(0)
        edge = np.unique(np.r_[0.0, steps]).astype(np.float64)
        at = _bucket(column, edge)
        held = np.bincount(at, weight, edge.size + 2)
        hits = np.bincount(at, weight * failed, edge.size + 2)
        ratios.append(np.log((hits + RATE_PRIOR_ROWS * base) / (held + RATE_PRIOR_ROWS) / base))
        edges.append(edge)
    return Rates(tuple(edges), tuple(ratios))


def _bucket(column: Floats | Matrix, edges: Floats) -> Ints:
    return np.where(np.isnan(column), 0, np.searchsorted(edges, column) + 1)


def forest(values: Matrix, failed: Bools, weight: Floats, spec: Spec) -> "RandomForestClassifier":
    """Return a random forest fitted to the day's values (`Spec.raw.values`), missing ones as -1."""
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(
        n_estimators=spec.raw.trees,
        min_samples_leaf=spec.raw.min_samples_leaf,
        n_jobs=spec.threads,
        random_state=spec.seed,
    )
    model.fit(present(values), failed, sample_weight=weight)
    return model


def default_lightgbm(values: Matrix, failed: Bools, weight: Floats, spec: Spec) -> "Booster":
    """Return LightGBM with its defaults, fitted to the day's values (`Spec.raw.values`)."""
    import lightgbm

    parameters = {
        "objective": "binary", "seed": spec.seed, "num_threads": spec.threads, "deterministic": True, "verbosity": -1,
    }  # fmt: skip
    data = lightgbm.Dataset(values, failed.astype(np.float32), weight=weight)
    return lightgbm.train(parameters, data, num_boost_round=100)


def present(values: Matrix) -> Matrix:
    """Return the values with -1 for missing ones, below all that a reading can be."""
    return np.asarray(np.nan_to_num(values, nan=-1.0, posinf=-1.0, neginf=-1.0), dtype=np.float32)


@dataclass(frozen=True)
class Peers:
    """All peers of a model, those that learn having learned from the rows that the model learned from."""

    spec: Spec
    rates: Rates
    forest: "RandomForestClassifier"
    booster: "Booster"

    def scores(self, table: pa.Table, day: Ints) -> Mapping[str, Floats]:
        """Return each peer's score by its name (`PEERS`); shape (rows,), higher is sooner to fail.

        Args:
            table: the features of whole days, so that ranks within a day can be told.
            day: which day each row belongs to; shape (rows,).
        """
        raw = matrix(table, self.spec.raw.values)
        return {
            RULE: rule(table, self.spec),
            RULE_COUNT: rule_count(table, self.spec),
            RULE_RANKS: rule_ranks(table, day, self.spec),
            RATES: self.rates.score(matrix(table, self.spec.rates)),
            FOREST: np.asarray(self.forest.predict_proba(present(raw))[:, 1]),
            DEFAULT_LIGHTGBM: np.asarray(self.booster.predict(raw, num_threads=self.spec.threads)),
        }


def learn(names: tuple[str, ...], values: Matrix, failed: Bools, weight: Floats, spec: Spec) -> Peers:
    """Return the peers that learned from these rows.

    Args:
        names: the features, in the order of the columns of `values`.
        values: shape (rows, names).
        failed: within the rank horizon; shape (rows,).
        weight: how many rows each stands for; shape (rows,).
        spec: names what each peer looks at.
    """
    raw = values[:, [names.index(name) for name in spec.raw.values]]
    shown = values[:, [names.index(name) for name in spec.rates]]
    return Peers(
        spec,
        learn_rates(shown, failed, weight),
        forest(raw, failed, weight, spec),
        default_lightgbm(raw, failed, weight, spec),
    )
