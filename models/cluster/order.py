"""Rows that lie in parts, in the order in which they would lie in one place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from models.examples import Ints

Array = TypeVar("Array", bound=npt.NDArray[Any])


@dataclass(frozen=True)
class Order:
    """Where each row of the whole lies."""

    parts: int
    part: Ints
    """Number of its part; shape (rows,)."""
    row: Ints
    """Its number within the part; shape (rows,)."""

    @property
    def at(self) -> Ints:
        """Return where each row is when the parts stand one after the other."""
        begins = np.concatenate([[0], np.cumsum(np.bincount(self.part, minlength=self.parts))])
        return np.asarray(begins[self.part] + self.row, dtype=np.int64)

    def split(self, chosen: Ints) -> list[Ints]:
        """Return for each part which of its rows are chosen, as often and in the order in which they are."""
        return self.apart(self.row[chosen], chosen)

    def apart(self, values: Array, chosen: Ints) -> list[Array]:
        """Return for each part the values, one for each row chosen, that belong to its own."""
        return [values[self.part[chosen] == number] for number in range(self.parts)]

    def chosen(self, rows: Ints) -> "Order":
        """Return the order of the rows chosen, where each part holds its own as `split` gives them."""
        part = self.part[rows]
        by_part = np.argsort(part, kind="stable")
        begins = np.concatenate([[0], np.cumsum(np.bincount(part, minlength=self.parts))])
        row = np.empty_like(part)
        row[by_part] = np.arange(part.size) - begins[part[by_part]]
        return Order(self.parts, part, row)

    def merged(self, answers: Sequence[Array]) -> Array:
        """Return what the parts said of their rows, in the order of the whole."""
        return cast("Array", np.concatenate(answers)[self.at])


def ordered(sizes: Sequence[int], *by: Ints) -> Order:
    """Return the order of rows that lie in parts of those sizes.

    Args:
        sizes: of each part.
        by: what to order by, the most telling first; each of shape (rows,), one part after the other.
    """
    order = np.lexsort(tuple(reversed(by)))
    part = np.repeat(np.arange(len(sizes)), sizes)[order]
    row = np.concatenate([np.arange(size) for size in sizes])[order]
    return Order(len(sizes), part, row)
