"""Rows to learn from or to judge: feature tables as arrays, and what became of each row within a horizon."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data.errors import ModelError
from features import build

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


_ROWS_TURNED: Final = 1024


def matrix(table: pa.Table, names: Sequence[str], asked: Collection[str] | None = None) -> Matrix:
    """Return the named columns as an array of shape (rows, names); null and infinite values become NaN.

    Args:
        table: the columns.
        names: which, in order.
        asked: those of them that are looked at, all by default; the others are NaN throughout.

    Raises:
        ModelError: the table lacks one of the columns.
    """
    looked_at = names if asked is None else [name for name in names if name in asked]
    held = set(table.column_names)
    missing = [name for name in looked_at if name not in held]
    if missing:
        msg = f"the feature table has no column {missing[0]!r} ({len(missing)} missing); train again"
        raise ModelError(msg)
    values = np.empty((table.num_rows, len(names)), np.float32)
    found = {name: _float32(table.column(name)) for name in looked_at}
    unknown = np.full(table.num_rows if len(found) < len(names) else 0, np.nan, np.float32)
    columns = [found.get(name, unknown) for name in names]
    for first in range(0, table.num_rows, _ROWS_TURNED):
        # A block at a time: a column laid into the whole array would touch each of its memory pages anew.
        block = np.stack([column[first : first + _ROWS_TURNED] for column in columns], axis=1)
        block[~np.isfinite(block)] = np.nan
        values[first : first + _ROWS_TURNED] = block
    return values


def _float32(column: "pa.ChunkedArray[Any]") -> Matrix:
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan, np.float32)
    return np.asarray(pc.cast(column, pa.float32(), safe=False).to_numpy(), dtype=np.float32)


def doubles(table: pa.Table, name: str) -> Floats:
    """Return one numeric or boolean column as float64, null as NaN; shape (rows,)."""
    column = table.column(name)
    if pa.types.is_null(column.type):
        return np.full(table.num_rows, np.nan)
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)


def keys(table: pa.Table) -> Ints:
    """Return the entity keys; shape (rows,)."""
    return np.asarray(table.column("entity_key").to_numpy(), dtype=np.int64)


def asof_microseconds(table: pa.Table) -> Ints:
    """Return `asof_at` as microseconds since 1970 UTC; shape (rows,)."""
    column = pc.cast(table.column("asof_at"), pa.timestamp("us", tz="UTC"))
    return np.asarray(pc.cast(column, pa.int64()).to_numpy(), dtype=np.int64)


@dataclass(frozen=True)
class Fate:
    """What became of each row, as far as it was seen."""

    failed_in_days: Floats
    """Days from asking to failure; NaN where none was seen."""
    observed_days: Floats
    """How long the entity was seen after asking."""
    mitigated_in_days: Floats
    """Days until its host was emptied; NaN where nobody did."""

    def within(self, horizon_days: float, lead_days: float = 0.0) -> tuple[Bools, Bools]:
        """Return (failed, counted): failed in (lead, horizon], and whether the row counts at all.

        A row that left unfailed before the horizon's end is censored, one whose host was emptied within it, and before
        it failed, is uncertain whatever became of it (to keep those that failed and drop the others would flatter the
        ranking that had them emptied), and one that failed within the lead could not have been helped: none of them is
        counted. What training makes of the uncertain ones stands in `models.mitigated`.
        """
        seen = ~np.isnan(self.failed_in_days)
        days = np.where(seen, self.failed_in_days, np.inf)
        failed = (days > lead_days) & (days <= horizon_days)
        healthy = (seen & (days > horizon_days)) | (~seen & (self.observed_days >= horizon_days))
        mitigated = (self.mitigated_in_days <= horizon_days) & ~(days <= self.mitigated_in_days)
        return failed & ~mitigated, (failed | healthy) & ~mitigated

    def take(self, rows: Ints | Bools) -> "Fate":
        """Return the fates of some rows."""
        return Fate(self.failed_in_days[rows], self.observed_days[rows], self.mitigated_in_days[rows])


def on_whole_days(moment: Ints, fate: Fate, horizon_days: float) -> Bools:
    """Return whether each row was asked at a moment after which most were seen for the whole horizon.

    That is at least half of those that did not fail within it. Where the news ends sooner, or has come in part, hardly
    anybody is known to have lived for so long: those that failed alone would count.

    Args:
        moment: what rows asked together share, a number; shape (rows,).
        fate: what became of each row.
        horizon_days: how long.
    """
    moments, place = np.unique(moment, return_inverse=True)
    lived = ~(fate.failed_in_days <= horizon_days)
    seen = np.bincount(place[lived & (fate.observed_days >= horizon_days)], minlength=moments.size)
    return np.asarray((seen > 0) & (2 * seen >= np.bincount(place[lived], minlength=moments.size)))[place]


def joined(parts: Sequence[Fate]) -> Fate:
    """Return the fates of several tables, one after the other."""
    failed, observed, mitigated = (
        np.concatenate([getattr(one, name) for one in parts])
        for name in ("failed_in_days", "observed_days", "mitigated_in_days")
    )
    return Fate(failed, observed, mitigated)


def fates(spine: pa.Table, labels: pa.Table) -> Fate:
    """Return the fate of each spine row from the label table, matched on (asof_at, entity_key).

    Raises:
        ModelError: a spine row has no label row.
    """
    wanted, held = build.numbered(spine), build.numbered(labels)
    order = np.argsort(held, kind="stable")
    found = np.searchsorted(held[order], wanted)
    safe = np.minimum(found, max(held.size - 1, 0))
    if held.size < wanted.size or not np.array_equal(held[order][safe], wanted):
        msg = f"labels cover {held.size} of {wanted.size} rows asked about; every row of the spine needs one label row"
        raise ModelError(msg)
    rows = order[safe]
    failed, observed, mitigated = (
        doubles(labels, name)[rows] for name in ("failed_in_days", "observed_days", "mitigated_in_days")
    )
    return Fate(failed, observed, mitigated)
