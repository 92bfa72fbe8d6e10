"""The turn of those that write the warehouse: one at a time among all that report to the same Prefect server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pipelines.ephemeral import has_server

WRITERS: Final = "warehouse"
"""Global concurrency limit of steps that write: make it once with `prefect gcl create warehouse --limit 1`."""


@contextmanager
def writing() -> Iterator[None]:
    """The turn while the block lasts; where no server is named there is none to wait for."""
    if not has_server():
        yield
        return
    from prefect.concurrency.sync import concurrency

    with concurrency(WRITERS, occupy=1):
        yield
