"""Asking about many days without holding all their features at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from features import build
from models import examples
from models.examples import Fate, Ints
from models.windows import end_of

if TYPE_CHECKING:
    import duckdb

ROWS_AT_ONCE: Final = 200_000
"""About 150 MB of features; asking day by day instead would pay the statement's fixed cost once a day."""


@dataclass(frozen=True)
class Batch:
    """Some whole days of a question: features, fates, and which of the asked days each row belongs to."""

    frame: pa.Table
    fate: Fate
    day: Ints
    """Numbers into the asked days; shape (rows,)."""


def batches(
    con: "duckdb.DuckDBPyConnection",
    component: str,
    days: Sequence[date],
    known_until: datetime,
    rows_at_once: int = ROWS_AT_ONCE,
    counts: pa.Table | None = None,
) -> Iterator[Batch]:
    """Yield all live entities of all days, in order of (day, entity), in batches of whole days.

    Args:
        con: a connection on a warehouse or its snapshot.
        component: which entities.
        days: ascending.
        known_until: later facts do not count as fate.
        rows_at_once: a batch ends with the day that reaches this many rows.
        counts: what `features.build.fleet` says of the whole fleet on those days; by default it is asked of `con`.
    """
    spine = build.spine(con, component, days)
    moments = np.array([round(end_of(day).timestamp() * 1_000_000) for day in days], dtype=np.int64)
    number = np.searchsorted(moments, examples.asof_microseconds(spine))
    sizes = np.bincount(number, minlength=len(days))
    start = 0
    waiting = 0
    for size in sizes.tolist():
        waiting += size
        if waiting >= rows_at_once:
            rows = slice(start, start + waiting)
            yield _batch(con, component, spine.slice(start, waiting), number[rows], known_until, counts)
            start, waiting = start + waiting, 0
    if waiting:
        yield _batch(con, component, spine.slice(start, waiting), number[start:], known_until, counts)


def _batch(
    con: "duckdb.DuckDBPyConnection",
    component: str,
    asked: pa.Table,
    day: Ints,
    known_until: datetime,
    counts: pa.Table | None,
) -> Batch:
    frame = build.frame(con, component, asked, counts)
    return Batch(frame, examples.fates(frame, build.labels(con, component, asked, known_until)), day)
