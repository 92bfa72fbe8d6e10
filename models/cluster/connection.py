"""A client of a scheduler, whose workers give the answers that are given here; or an error that says what to do."""

import logging
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from distributed import Client
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker

from data.errors import EngineError, EngineUnreachable
from data.parts import Store
from models.cluster.versions import PACKAGES, differing, source_sha256

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reached:
    """Who answers."""

    workers: int
    threads: int
    differing: tuple[str, ...]
    """What is not the same there as here."""
    apart: tuple[str, ...] = ()
    """Why some of them cannot read the store, where that was looked at."""


@contextmanager
def connected(scheduler: str, timeout_seconds: float) -> Iterator[Client]:
    """A client of the scheduler's, as long as the block lasts; certificates come from Dask's own settings.

    Raises:
        EngineError: it is not there, has no workers, loses them for good, or they would give other answers.
    """
    client = _client(scheduler, timeout_seconds)
    try:
        reached = _look(client)
        if reached.differing:
            msg = (
                f"the cluster at {scheduler} would give other answers: {'; '.join(reached.differing)}. Give its "
                "machines the environment of this one (constraints.txt), and start its workers again"
            )
            raise EngineError(msg)
        logger.info("%s: %d workers, %d threads", scheduler, reached.workers, reached.threads)
        yield client
    except KilledWorker as error:
        msg = (
            f"the cluster at {scheduler} lost a worker each time that it tried a task ({error}). If the workers' logs "
            "speak of memory, raise engine.partitions, so that a part is smaller, or give the workers more"
        )
        raise EngineError(msg) from error
    except (CommClosedError, CancelledError) as error:
        msg = f"the connection to the scheduler at {scheduler} was lost; once it is there again, repeat this run"
        raise EngineUnreachable(msg) from error
    finally:
        client.close(timeout=timeout_seconds)


def reach(scheduler: str, timeout_seconds: float, store: Store) -> Reached:
    """Return who answers there, and can read the store, for a look that changes nothing.

    Raises:
        EngineError: nobody does, or a scheduler without workers; or this machine cannot read the store.
    """
    client = _client(scheduler, timeout_seconds)
    try:
        reached = _look(client)
        store.manifest()
        said = {} if reached.differing else client.run(_read, store, on_error="return")
        return replace(reached, apart=tuple(f"worker {who}: {why}" for who, why in sorted(said.items()) if why))
    finally:
        client.close(timeout=timeout_seconds)


def _client(scheduler: str, timeout_seconds: float) -> Client:
    try:
        client = Client(scheduler, timeout=timeout_seconds)
    except (OSError, TimeoutError, TypeError, ValueError) as error:
        msg = (
            f"cannot reach the scheduler at {scheduler} ({error}). Start it (dask scheduler), or set engine.scheduler "
            'to where it is; engine.kind = "local" computes on this machine'
        )
        raise EngineUnreachable(msg) from error
    try:
        client.wait_for_workers(1, timeout=timeout_seconds)
    except TimeoutError as error:
        client.close(timeout=timeout_seconds)
        msg = f"the scheduler at {scheduler} has no workers. Start some: dask worker {scheduler}"
        raise EngineUnreachable(msg) from error
    return client


def _read(store: Store) -> None:
    store.manifest()


def _look(client: Client) -> Reached:
    threads = client.nthreads()
    versions = cast("dict[str, Any]", client.get_versions(packages=list(PACKAGES)))
    sources = client.run(source_sha256, on_error="return")
    return Reached(len(threads), sum(threads.values()), differing(versions, sources, source_sha256()))
