"""The reference executor: the contract's other side, served over HTTP.

It carries orders out in the home's simulated world, or through a driver of real VMs. Operators who write an executor of
their own can start from here, or stand behind `server.create` with anything that keeps the `Executor` protocol.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import uvicorn

from data.errors import ForeshockError
from pipelines.contract import signing
from pipelines.executors import Executor, owners
from pipelines.executors.driven import Driven, Limits
from pipelines.executors.jobs import Jobs
from pipelines.executors.opened import drilled, world_path
from pipelines.executors.seen import Seen
from pipelines.executors.server import Opened, create
from pipelines.executors.service import service_by
from pipelines.listening import bound, loopback
from pipelines.settings import Settings

ELSEWHERE: Final = (
    "The executor speaks plain HTTP, so it listens on loopback only, not on {host}; put a TLS proxy before it."
)

_log = logging.getLogger(__name__)


def wall() -> datetime:
    """The wall's time."""
    return datetime.now(UTC)


def serve(
    settings: Settings,
    host: str,
    port: int,
    memory: Path,
    *,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve an executor until interrupted: of the simulated world, at its own moments, or of real VMs.

    Raises:
        SettingsError: a secret is not set or too short, the port is taken, or the driver is not told what to drive.
        Refused: the address is not loopback.
        InputError: the home has no simulated world.
    """
    key, address = signing.secret(), loopback(host, ELSEWHERE.format(host=host))
    told = owners.secret()
    memory.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        seen = Seen(memory)
        stack.callback(seen.close)
        if settings.drive.kind == "simulated":
            jobs, opened = None, stack.enter_context(_world(settings))
        else:
            jobs = Jobs(memory)
            stack.callback(jobs.close)
            opened = stack.enter_context(_driven(settings, jobs))
        listener = stack.enter_context(bound(address, port))
        app = create(opened, seen.first_time, key, wall)
        if jobs is not None:
            owners.serve(app, jobs, told, wall)
        if announce is not None:
            announce(f"http://{address}:{listener.getsockname()[1]}")
        config = uvicorn.Config(app, log_level="warning", server_header=False, proxy_headers=False)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _world(settings: Settings) -> Iterator[Opened]:
    """The home's world, opened once by each thread that asks, so that the pipeline beside it can use it too."""
    from data.simulator.world import World
    from pipelines.executors.simulated import Simulated

    World.open(world_path(settings)).close()
    local = threading.local()

    def opened(at: datetime) -> Executor:
        if not hasattr(local, "world"):
            local.world = World.open(world_path(settings))
        world: World = local.world
        return drilled(Simulated(world, max(world.now, at)), settings)

    yield opened


def at_work(tick: Callable[[], None], over: threading.Event, every_seconds: float) -> None:
    """Do what is due again and again until it is over; nothing that goes wrong once ends that.

    The server goes on taking orders, so a worker that died would leave them accepted and never begun.
    """
    while not over.wait(every_seconds):
        try:
            tick()
        except ForeshockError as error:
            _log.warning("%s", error)
        except Exception:  # noqa: BLE001 - whatever it was, orders that were taken must begin
            _log.exception("What is due could not be done, and is tried again")


@contextmanager
def _driven(settings: Settings, jobs: Jobs) -> Iterator[Opened]:
    """An executor of real VMs, at work in threads of its own for as long as it is held open."""
    from pipelines.drivers.opened import opened as driver_of

    drive, driver = settings.drive, driver_of(settings)
    executor = Driven(
        driver,
        jobs,
        clock=wall,
        service=service_by(drive.service_command, drive.service_timeout_seconds) if drive.service_command else None,
        limits=Limits(drive.moves_at_once_per_host, patience=timedelta(seconds=drive.patience_seconds)),
        run=lambda work: threading.Thread(target=work, daemon=True).start(),
    )
    over = threading.Event()
    worker = threading.Thread(
        target=at_work, args=(executor.tick, over, drive.tick_seconds), name="executor", daemon=True
    )
    worker.start()
    try:
        yield lambda _: executor
    finally:
        over.set()
        worker.join(timeout=10)
        driver.shut()
