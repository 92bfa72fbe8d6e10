"""Real daemons on loopback for tests that need them: started on a free port, ended by their own process."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest


def binary(name: str, package: str) -> str:
    """The program's path; skips the test, saying what to install, where it is absent."""
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin")
    if found is None:
        pytest.skip(f"no {name} here: apt-get install {package}")
    return found


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon while the block lasts; what it says goes to `log`."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def until(seen: Callable[[], bool], what: str, seconds: float = 60, pause: float = 0.2) -> None:
    """Return once `seen` is true; an error when it still is not after so long."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with suppress(httpx.HTTPError):
            if seen():
                return
        time.sleep(pause)
    msg = f"{what}: not within {seconds:g} s"
    raise AssertionError(msg)
