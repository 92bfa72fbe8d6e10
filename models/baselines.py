"""What a model has to beat: the rule that operators use today, and a plain random forest on the day's values."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from models.examples import Bools, Floats, Matrix, matrix
from models.spec import Spec

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier


def rule_count(table: pa.Table, spec: Spec) -> Floats:
    """Return how many of the rule's attributes are above zero; shape (rows,). A missing value counts as zero.

    Raises:
        ModelError: the table lacks one of the attributes.
    """
    return np.asarray(np.nansum(matrix(table, spec.rule) > 0, axis=1), dtype=np.float64)


def rule(table: pa.Table, spec: Spec) -> Floats:
    """Return 1 where any of the rule's attributes is above zero, else 0; shape (rows,)."""
    return np.asarray(rule_count(table, spec) > 0, dtype=np.float64)


def forest(values: Matrix, failed: Bools, weight: Floats, spec: Spec) -> "RandomForestClassifier":
    """Return a random forest fitted to the day's values (`Spec.forest.values`), missing ones as -1."""
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(
        n_estimators=spec.forest.trees,
        min_samples_leaf=spec.forest.min_samples_leaf,
        n_jobs=spec.threads,
        random_state=spec.seed,
    )
    model.fit(present(values), failed, sample_weight=weight)
    return model


def present(values: Matrix) -> Matrix:
    """Return the values with -1 for missing ones, below all that a reading can be."""
    return np.asarray(np.nan_to_num(values, nan=-1.0, posinf=-1.0, neginf=-1.0), dtype=np.float32)
