"""Sums of rows' weights by group, for every bootstrap replicate at once.

A replicate weighs entities, and all figures are made of the weight of groups of rows: a day's, a block's of a ranking.
How often an entity is in a group is the same in every replicate, so one product of a sparse matrix of counts with the
weights gives all sums; as all are whole numbers, they are those that adding up row by row gives, to the bit.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_WEIGHTS_AT_ONCE: Final = 1 << 22


@dataclass(frozen=True)
class Groups:
    """How many rows of each entity are in each group."""

    counts: Any
    """A sparse matrix; shape (groups, entities)."""

    @classmethod
    def of(cls, entity: Ints, group: Ints, groups: int, entities: int) -> "Groups":
        """Count rows by group and entity.

        Args:
            entity: the entity of each row, from 0; shape (n,).
            group: the group of each row, from 0; shape (n,).
            groups: how many there are.
            entities: how many there are.
        """
        ones = np.ones(entity.size)
        return cls(sparse.coo_array((ones, (group, entity)), shape=(groups, entities)).tocsr())

    def sums(self, weights: npt.NDArray[Any]) -> Floats:
        """Return the weight of each group's rows in each replicate; shape (replicates, groups).

        Args:
            weights: of the entities, whole numbers; shape (replicates, entities).
        """
        replicates, entities = weights.shape
        found = np.empty((replicates, self.counts.shape[0]))
        step = max(1, _WEIGHTS_AT_ONCE // max(1, entities))
        for begin in range(0, replicates, step):
            some = np.ascontiguousarray(weights[begin : begin + step].T, np.float64)
            found[begin : begin + step] = (self.counts @ some).T
        return found
