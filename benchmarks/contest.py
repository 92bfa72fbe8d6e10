"""Jobs timed beside their peers: each in a process of its own, in turn, as often as asked.

A contestant is a function that prepares (imports, connections; not counted) and gives back the job itself. Counted are
the CPU seconds of all its threads, user and system, and the most memory that its process held meanwhile: what it had
imported is part of the price. Ratios are made within a round, where the machine was the same for both; medians of them
are told with the least and the most.
"""

import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Final

Answer = Mapping[str, float | int | str]
Job = Callable[[], Answer | Callable[[], Answer]]
"""What is timed. Where working out what can be compared is no part of the job, it gives back a function for that."""

ROUNDS: Final = 3
_ROOT: Final = Path(__file__).resolve().parents[1]


class BenchmarkError(RuntimeError):
    """A contestant failed, or did not answer as the oracle does: its time would count for nothing."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the job."""

    name: str
    target: str
    """`package.module:function`, which takes the arguments and returns the job."""
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Spent:
    """What one run took, and what it answered."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    answer: Answer


@dataclass(frozen=True)
class Spread:
    """A median with the least and the most of the rounds."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{_short(self.middle)} ({_short(self.least)} to {_short(self.most)})"


@dataclass(frozen=True)
class Contest:
    """The runs of each contestant, by name, in order of the rounds."""

    runs: Mapping[str, tuple[Spent, ...]]

    def cpu_seconds(self, name: str) -> Spread:
        """CPU seconds of one contestant."""
        return spread([one.cpu_seconds for one in self.runs[name]])

    def peak_bytes(self, name: str) -> int:
        """The most memory that any run of it held."""
        return max(one.peak_bytes for one in self.runs[name])

    def ratio(self, name: str, other: str) -> Spread:
        """CPU seconds of one in those of another, round by round."""
        pairs = zip(self.runs[name], self.runs[other], strict=True)
        return spread([one.cpu_seconds / max(yard.cpu_seconds, 1e-9) for one, yard in pairs])

    def answer(self, name: str) -> Answer:
        """What it answered last."""
        return self.runs[name][-1].answer


def spread(values: Sequence[float]) -> Spread:
    """The median of some values, with the least and the most."""
    return Spread(median(values), min(values), max(values))


def contest(contestants: Sequence[Contestant], rounds: int = ROUNDS, timeout_seconds: float = 3_600) -> Contest:
    """Run all of them in turn, `rounds` times.

    Raises:
        BenchmarkError: one of them failed; the message holds its last words.
    """
    runs: dict[str, list[Spent]] = {one.name: [] for one in contestants}
    for number in range(rounds):
        for one in contestants:
            runs[one.name].append(alone(one, timeout_seconds))
            spent = runs[one.name][-1]
            _say(f"{number + 1}/{rounds} {one.name}: {spent.cpu_seconds:.2f} CPU s, {spent.peak_bytes / 2**20:.0f} MiB")
    return Contest({name: tuple(spent) for name, spent in runs.items()})


def alone(one: Contestant, timeout_seconds: float = 3_600) -> Spent:
    """Run one contestant once, in a process of its own.

    Raises:
        BenchmarkError: it failed, or took longer than `timeout_seconds`.
    """
    command = [sys.executable, "-m", "benchmarks.contest", one.target, *one.arguments]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", **one.environment}
    try:
        done = subprocess.run(
            command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=timeout_seconds, check=True
        )
    except subprocess.CalledProcessError as error:
        msg = f"{one.name} failed ({error.returncode}): {error.stderr.strip()[-2_000:]}"
        raise BenchmarkError(msg) from None
    except subprocess.TimeoutExpired:
        msg = f"{one.name} took longer than {timeout_seconds:.0f} s"
        raise BenchmarkError(msg) from None
    return Spent(**json.loads(done.stdout.splitlines()[-1]))


def same(answers: Mapping[str, Answer], keys: Sequence[str]) -> None:
    """Check that all of them answered alike.

    Raises:
        BenchmarkError: two differ in one of `keys`; the message says which.
    """
    (first, expected), *others = answers.items()
    for name, answer in others:
        for key in keys:
            if answer[key] != expected[key]:
                msg = f"{name} answers {key} = {answer[key]}, {first} {expected[key]}: neither time counts"
                raise BenchmarkError(msg)


def _spent(target: str, arguments: Sequence[str]) -> dict[str, object]:
    module, name = target.split(":")
    job: Job = getattr(import_module(module), name)(*arguments)
    gc.collect()
    gc.freeze()  # what was imported and prepared is not gone through again on the contestant's time
    _forget_peak()
    began, wall = _cpu(), time.monotonic()
    answer = job()
    spent = {"cpu_seconds": _cpu() - began, "wall_seconds": time.monotonic() - wall, "peak_bytes": _peak_bytes()}
    return {**spent, "answer": dict(plain(answer))}


def plain(answer: Answer | Callable[[], Answer]) -> Answer:
    """What a job answered, worked out if that was left over."""
    return answer() if callable(answer) else answer


def _cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def _forget_peak() -> None:
    """Let the peak begin anew, where Linux lets us."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        _say("the peak of memory includes what preparing took")


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    # On standard error goes whatever a library prints, the answer alone on standard output.
    kept = os.dup(1)
    os.dup2(2, 1)
    result = json.dumps(_spent(sys.argv[1], sys.argv[2:]))
    os.write(kept, f"{result}\n".encode())
    sys.stderr.flush()
    os._exit(0)
