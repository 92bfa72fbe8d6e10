"""Runs commands in a process of its own, and kills it at a chosen call: `driver.py POINT COMMAND...`.

POINT is `module:name:before|after:nth`, or empty for an undisturbed run.
"""

import importlib
import os
import signal
import sys
from typing import Any

from pipelines.cli import main


def arm(point: str) -> None:
    """Make the nth call of the named function the last thing that this process does."""
    module, path, when, nth = point.split(":")
    owner: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    real, calls = getattr(owner, name), [0]

    def watched(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == int(nth) and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **kwargs)
        if calls[0] == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, watched)


if __name__ == "__main__":
    if sys.argv[1]:
        arm(sys.argv[1])
    sys.exit(max(main([*line.split(), "--json"]) for line in sys.argv[2:]))
