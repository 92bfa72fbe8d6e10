"""Runs commands in a process of its own, and kills it at a chosen call: `driver.py POINT COMMAND...`.

POINT is `module:name:before|after:nth`, or empty for an undisturbed run.

Without arguments it serves: for each line of JSON on standard input (`point`, `commands`, `folder`, `env`, and the file
`said` for what they say) it forks such a process and answers with its exit code. What commands import, which takes
longer than they do, is then imported once.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from pipelines.cli import main

PRELOADED = (
    "pipelines.commands.facts", "pipelines.commands.judgement", "pipelines.commands.night", "pipelines.cycle",
    "pipelines.population", "pipelines.executors.simulated", "decisions.incidents.find", "models.registry",
    "models.train", "models.score", "mlflow.lightgbm", "mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store", "matplotlib.figure", "matplotlib.backends.backend_agg", "lightgbm",
)  # fmt: skip
"""What nights and trainings import."""


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


def run(point: str, commands: Sequence[str]) -> int:
    """The largest exit code of the commands."""
    if point:
        arm(point)
    return max(main([*line.split(), "--json"]) for line in commands)


def serve() -> None:
    """Run what is asked for until nobody asks any more, each time in a new process."""
    for name in PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if not child:
            said = os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            os.environ.clear()
            os.environ.update(asked["env"])
            os.chdir(asked["folder"])
            sys.exit(run(asked["point"], asked["commands"]))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        serve()
    else:
        sys.exit(run(sys.argv[1], sys.argv[2:]))
