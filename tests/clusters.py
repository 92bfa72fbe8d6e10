"""A real Dask cluster on loopback: a scheduler and workers in processes of their own, ended by their own ids."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from daemons import free_port, running

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[str]:
    """The scheduler's address; workers have one thread each, a nanny, and names that outlive a restart."""
    address = f"tcp://127.0.0.1:{free_port()}"
    host = ["--host", "127.0.0.1", "--no-dashboard"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
    dask = [sys.executable, "-m", "dask"]
    with ExitStack() as stack:
        scheduler = [*dask, "scheduler", *host, "--port", address.rsplit(":", 1)[1]]
        stack.enter_context(running(scheduler, folder / "scheduler.log", environment))
        for number in range(workers):
            own = ["--nthreads", "1", "--memory-limit", "2GB", "--name", f"worker-{number}"]
            there = ["--local-directory", str(folder / f"worker-{number}")]
            command = [*dask, "worker", address, *host, *own, *there]
            stack.enter_context(running(command, folder / f"worker-{number}.log", environment))
        yield address
