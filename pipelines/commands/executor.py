"""The command of the reference executor."""

import sys
from pathlib import Path

from pipelines.commands.common import COMMON, Common
from pipelines.output import print_json


def executor(
    *,
    host: str = "127.0.0.1",
    port: int = 8_585,
    memory: Path | None = None,
    common: Common = COMMON,
) -> None:
    """Serve the reference executor, on the home's simulated world, until interrupted.

    Requests are signed with the secret in `FORESHOCK_EXECUTOR_SECRET`.

    Args:
        host: Address to listen on; by default loopback.
        port: Port to listen on; 0 picks a free one.
        memory: File in which the executor remembers requests; default `executor.db` in the home.
        common: See every command.
    """
    from pipelines.executors.jobs import MEMORY
    from pipelines.executors.reference import serve

    settings = common.settings()

    def announce(url: str) -> None:
        if common.json:
            print_json({"url": url, "home": settings.home})
        else:
            sys.stderr.write(f"Executor of {settings.home} at {url} (Ctrl-C ends)\n")

    serve(settings, host, port, memory or settings.home / MEMORY, announce=announce)
