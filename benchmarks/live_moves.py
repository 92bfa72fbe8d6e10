"""How long a guest stands still while it moves between two real libvirt daemons, live or started anew.

    python -m benchmarks.live_moves [MOVES]

As root, with what `make test-hypervisors` installs. Both hosts are namespaces of this machine, CPUs are emulated and
the network is its loopback: the figures show that nothing is slow of itself, not what a fleet will see. Prints medians,
each with a 95 % bootstrap interval.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
from scipy.stats import bootstrap

from pipelines.drivers import Moved
from pipelines.drivers.libvirt import Fleet, Host, Libvirt
from tests.pipelines.drivers.machines import Guest, guest, machines


def main(moves: int) -> None:
    """Move two guests to and fro, one that only counts and one that rewrites 9 MiB a second; then start one anew."""
    with tempfile.TemporaryDirectory() as folder, machines(Path(folder)) as pair:
        names = [machine.name for machine in pair]
        fleet = Fleet({machine.name: Host(machine.uri) for machine in pair}, Path(folder) / "state", shutdown_seconds=0)
        driver = Libvirt(fleet)

        def live(vm_id: str, source: str, target: str) -> Moved:
            return driver.migrate(vm_id, source, target, Event())

        for name, busy in (("idle", False), ("busy", True)):
            one = guest(Path(folder), name, busy=busy).start(pair[0])
            report(f"live, {name}", *timed(one, names, moves, live))
            assert one.counted().count(1) == 1  # noqa: S101 - the figures are of moves that kept the memory
        report("anew, idle", *timed(Guest("idle", Path(), ""), names, moves, driver.redeploy))
        driver.shut()


def timed(
    one: Guest, names: list[str], moves: int, move: Callable[[str, str, str], Moved]
) -> tuple[list[float], list[float]]:
    """Pauses in milliseconds, and durations of the whole call in seconds."""
    pauses, seconds = [], []
    for n in range(moves):
        began = time.monotonic()
        moved = move(one.name, names[n % 2], names[(n + 1) % 2])
        seconds.append(time.monotonic() - began)
        pauses.append(1_000 * moved.pause_seconds)
    return pauses, seconds


def report(what: str, pauses: list[float], seconds: list[float]) -> None:
    """Print medians with 95 % intervals, and the longest."""
    for name, values, unit in (("pause", pauses, "ms"), ("call", seconds, "s")):
        low, high = bootstrap((np.array(values),), np.median, rng=1, method="percentile").confidence_interval
        print(
            f"{what:11} {name:5} median {np.median(values):7.2f} {unit} [{low:.2f}, {high:.2f}], "
            f"longest {max(values):.2f}, {len(values)} moves"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
