"""The reference executor: the contract's other side, served over HTTP on top of any `Executor`.

What it ships with drives a simulated world. Operators who write an executor of their own can start from here, or stand
behind `server.create` with anything that keeps the `Executor` protocol.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import uvicorn

from pipelines.contract import signing
from pipelines.executors import Executor
from pipelines.executors.opened import world_path
from pipelines.executors.seen import Seen
from pipelines.executors.server import Opened, create
from pipelines.listening import bound, loopback
from pipelines.settings import Settings

ELSEWHERE: Final = (
    "The executor speaks plain HTTP, so it listens on loopback only, not on {host}; put a TLS proxy before it."
)


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
    """Serve the home's simulated world until interrupted; each order is taken at the world's own moment.

    Raises:
        SettingsError: the secret is not set, or the port is taken.
        Refused: the address is not loopback.
        InputError: the home has no simulated world.
    """
    key, address = signing.secret(), loopback(host, ELSEWHERE.format(host=host))
    memory.parent.mkdir(parents=True, exist_ok=True)
    seen = Seen(memory)
    with _world(settings) as opened, bound(address, port) as listener:
        if announce is not None:
            announce(f"http://{address}:{listener.getsockname()[1]}")
        app = create(opened, seen.first_time, key, wall)
        config = uvicorn.Config(app, log_level="warning", server_header=False, proxy_headers=False)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    seen.close()


@contextmanager
def _world(settings: Settings) -> Iterator[Opened]:
    """The home's world, opened for each request, so that the pipeline beside it can use it too."""
    from data.simulator.world import World
    from pipelines.executors.simulated import Simulated

    World.open(world_path(settings)).close()
    local = threading.local()

    def opened(at: datetime) -> Executor:
        if not hasattr(local, "world"):
            local.world = World.open(world_path(settings))
        world: World = local.world
        return Simulated(world, max(world.now, at))

    yield opened
