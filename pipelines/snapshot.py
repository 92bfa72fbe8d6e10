"""The published snapshot, read with no more memory than the settings allow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from data.snapshots import read
from pipelines.settings import Settings

if TYPE_CHECKING:
    import duckdb


@contextmanager
def snapshot(settings: Settings) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A read-only connection on the published snapshot; what does not fit into `warehouse.memory_limit` is spilled.

    Raises:
        WarehouseError: nothing has been published.
    """
    with read(settings.home, memory_limit=settings.warehouse.memory_limit) as con:
        yield con
