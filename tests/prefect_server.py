"""A real Prefect server on loopback, with a work pool and a worker, for tests."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from tests.daemons import free_port

ROOT = Path(__file__).resolve().parents[1]
PREFECT = str(Path(sys.executable).with_name("prefect"))


@contextmanager
def serving(folder: Path, home: Path, *deployments: str, **more: str) -> Iterator[dict[str, str]]:
    """The environment of a running server with these deployments, or all, and a worker for the home."""
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FORESHOCK", "PREFECT"))}
    env |= {
        "FORESHOCK_HOME": str(home),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "DO_NOT_TRACK": "1",
        **more,
    }
    chosen = [word for name in deployments for word in ("--name", name)] or ["--all"]
    with ExitStack() as stack:
        stack.enter_context(process([PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)], env))
        wait(lambda: ask(env, "/health") is True, 180, "the server to answer")
        prefect(env, "work-pool", "create", "foreshock", "--type", "process")
        prefect(env, "gcl", "create", "warehouse", "--limit", "1")
        prefect(env, "--no-prompt", "deploy", *chosen)
        stack.enter_context(process([PREFECT, "worker", "start", "--pool", "foreshock"], env))
        yield env


@contextmanager
def process(command: list[str], env: dict[str, str]) -> Iterator[None]:
    """The command while the block lasts."""
    started = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(timeout=30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def prefect(env: dict[str, str], *words: str) -> None:
    """Run a command of Prefect's; it must succeed."""
    done = subprocess.run([PREFECT, *words], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def ask(env: dict[str, str], path: str, body: dict[str, Any] | None = None) -> Any:
    """What the server's API answers; null: nothing yet."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(env["PREFECT_API_URL"] + path, data, {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
            return json.loads(response.read())
    except (URLError, TimeoutError, ConnectionError):
        return None


def wait(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once it is done; an error when it still is not after so long."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(1)
