"""Rows of a table by where they stand in it: by rowid, which means the same for as long as nothing is written."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data.snapshots import arrow, shown

if TYPE_CHECKING:
    import duckdb

Ints = npt.NDArray[np.int64]


def fetch(con: "duckdb.DuckDBPyConnection", table: str, rowids: Ints) -> tuple[pa.Table, Ints]:
    """Return the rows that stand there, each once, and the rowid of each; in no order.

    Looking rows up by rowid costs a fraction of finding the same ones by their keys.
    """
    with shown(con, wanted=pa.table([pa.array(rowids)], ["number"])):
        rows = arrow(con, f"select *, rowid from {table} where rowid in (select number from wanted)")  # noqa: S608
    return rows.drop_columns(["rowid"]), whole(rows, "rowid")


def renumbered(numbers: Ints, wanted: Ints) -> Ints:
    """Return where each wanted number stands among distinct `numbers`; -1: nowhere."""
    order = np.argsort(numbers, kind="stable")
    found = np.searchsorted(numbers, wanted, sorter=order)
    places = np.append(order, -1)[found]
    return np.where(np.append(numbers, -1)[places] == wanted, places, -1)


def whole(table: pa.Table, name: str) -> Ints:
    """Return a column of whole numbers or days (since 1970) without nulls."""
    return plain(table, name).to_numpy().astype(np.int64)


def plain(table: pa.Table, name: str) -> "pa.ChunkedArray[Any]":
    """Return a column, days as whole numbers."""
    column = table.column(name)
    return column.cast(pa.int32()) if pa.types.is_date(column.type) else column
