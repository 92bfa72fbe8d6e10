"""Sums of rows' weights by group, for every bootstrap replicate at once.

A replicate weighs entities, and all figures are made of the weight of groups of rows: a day's, a block's of a ranking.
How often an entity is in a group is the same in every replicate, so one product of a sparse matrix of counts with the
weights gives all sums; as all are whole numbers, they are those that adding up row by row gives, to the bit.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


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
        places = (group.astype(np.int32), entity.astype(np.int32))
        return cls(sparse.coo_array((np.ones(entity.size), places), shape=(groups, entities)).tocsr())

    def sums(self, weights: npt.NDArray[Any]) -> Floats:
        """Return the weight of each group's rows in each replicate; shape (replicates, groups).

        Args:
            weights: of the entities, whole numbers; shape (replicates, entities).
        """
        return np.ascontiguousarray((self.counts @ np.ascontiguousarray(weights.T, np.float64)).T)
