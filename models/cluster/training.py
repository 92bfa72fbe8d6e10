"""LightGBM's own distributed training on rows that stay on their workers, begun anew when it loses one of them.

LightGBM's workers speak to each other, and one that has lost its peer waits for ever: Dask does not see it, since the
task is still running. So the client watches. When a worker is gone it restarts the others, which are stuck, and has all
of them train again; the rows are drawn again where they were lost.

The same rows on as many workers, named alike, give the same text: part number p goes to worker p modulo their number.
"""

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import dask.array as da
import numpy as np
from distributed import Client, Future, wait
from lightgbm.basic import LightGBMError
from lightgbm.dask import DaskLGBMRegressor

from data.errors import EngineError
from models.examples import Floats, Matrix

logger = logging.getLogger(__name__)

_ADDRESSES: Final = re.compile(r"^\[(machines|local_listen_port): .*\]\n", re.MULTILINE)
"""Of the workers, in a booster's text."""
LOOK_SECONDS: Final = 2.0
RENEW_SECONDS: Final = 120
CONNECT_MINUTES: Final = 5
"""So long LightGBM's workers wait for each other to begin."""


@dataclass(frozen=True)
class Sheaf:
    """Weighted rows of one part, on a worker."""

    values: Matrix
    failed: Matrix
    """1 where it failed; shape (rows,), as LightGBM wants it."""
    weight: Floats


class _Lost(Exception):
    """A worker was lost on the way, or could not go on."""


def train(
    client: Client,
    sheaves: Sequence[tuple[Future[Sheaf], int]],
    names: Sequence[str],
    parameters: Mapping[str, Any],
    attempts: int,
) -> str:
    """Return the text of one booster.

    Args:
        client: of the workers.
        sheaves: a `Sheaf` of each part, and how many rows it has.
        names: of the features.
        parameters: LightGBM's, how many trees among them.
        attempts: how often it may be begun.

    Raises:
        EngineError: it lost a worker each time.
    """
    for attempt in range(1, attempts + 1):
        workers = named(client)
        try:
            return _once(client, workers, sheaves, names, parameters)
        except (_Lost, LightGBMError) as error:
            logger.warning("training on the cluster failed, attempt %d of %d: %s", attempt, attempts, error)
            last = error
        if attempt < attempts:
            _renew(client, workers)
    msg = (
        f"training on the cluster failed {attempts} times, the last time because {last}. Look into the workers' logs, "
        "then repeat this run"
    )
    raise EngineError(msg) from last


def named(client: Client) -> list[str]:
    """Return the workers' addresses, in order of their names, which outlive a restart."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return sorted(workers, key=lambda address: (str(workers[address]["name"]), address))


def _once(
    client: Client,
    workers: list[str],
    sheaves: Sequence[tuple[Future[Sheaf], int]],
    names: Sequence[str],
    parameters: Mapping[str, Any],
) -> str:
    watched = _Watched(client, frozenset(workers))
    some = [(number, sheaf, rows) for number, (sheaf, rows) in enumerate(sheaves) if rows]
    columns = []
    for name in ("values", "failed", "weight"):
        placed = [
            client.submit(
                getattr, sheaf, name, workers=[workers[number % len(workers)]], allow_other_workers=True, pure=False
            )
            for number, sheaf, _ in some
        ]
        watched.until_done(placed)
        width = (len(names),) if name == "values" else ()
        kind = np.float64 if name == "weight" else np.float32
        shapes = [(rows, *width) for *_, rows in some]
        blocks = [da.from_delayed(one, shape, kind) for one, shape in zip(placed, shapes, strict=True)]
        columns.append(da.concatenate(blocks))
    values, failed, weight = columns
    model = DaskLGBMRegressor(client=cast("Client", watched), time_out=CONNECT_MINUTES, **parameters)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Parameter n_jobs will be ignored")  # of its own making
        model.fit(values, failed, sample_weight=weight, feature_name=list(names))
    return _ADDRESSES.sub("", model.booster_.model_to_string())


def _renew(client: Client, workers: Sequence[str]) -> None:
    """Restart those of the workers that are left, and wait for all."""
    left = [address for address in client.nthreads() if address in workers]
    try:
        client.restart_workers(left, timeout=RENEW_SECONDS, raise_for_error=False)
        client.wait_for_workers(len(workers), timeout=RENEW_SECONDS)
    except ValueError as error:
        msg = f"training lost a worker, and the others cannot be restarted ({error}). Start workers with their nanny"
        raise EngineError(msg) from error
    except TimeoutError:
        logger.warning("%d of %d workers are back, training goes on with them", len(client.nthreads()), len(workers))


class _Watched:
    """A client that gives up waiting once one of the workers is gone or one of the tasks has failed.

    Everything else is the client's own; `lightgbm.dask` takes it for one.
    """

    def __init__(self, client: Client, workers: frozenset[str]) -> None:
        self._client = client
        self._workers = workers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def gather(self, asked: Any) -> Any:
        """Return the results, as the client's own `gather` does."""
        self.until_done(list(asked.values()) if isinstance(asked, dict) else list(asked))
        return self._client.gather(asked)

    def who_has(self, futures: Sequence[Future[Any]]) -> dict[Any, Any]:
        """Return where each is, in their order: LightGBM counts its machines in the order of this answer."""
        found = self._client.who_has(futures)
        return {future.key: found[future.key] for future in futures}

    def until_done(self, futures: list[Future[Any]]) -> None:
        """Return once all are done.

        Raises:
            _Lost: a worker is gone, or one of them has failed; none of them goes on then.
        """
        while True:
            try:
                wait(futures, timeout=LOOK_SECONDS)
            except TimeoutError:
                pass
            else:
                if all(future.status == "finished" for future in futures):
                    return
            reason = self._reason(futures)
            if reason:
                self._client.cancel(futures, force=True)
                raise _Lost(reason)

    def _reason(self, futures: list[Future[Any]]) -> str | None:
        gone = self._workers - set(self._client.nthreads())
        if gone:
            return f"worker {min(gone)} is gone"
        for future in futures:
            if future.status == "error":
                return f"a worker could not go on: {future.exception()!r}"
            if future.status != "pending" and future.status != "finished":
                return f"a task is {future.status}"
        return None
