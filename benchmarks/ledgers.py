"""The ledger on SQLite and on PostgreSQL, side by side in one run.

    python -m benchmarks.ledgers postgresql+psycopg://USER@/DATABASE?host=FOLDER [ROUNDS]

The role may create databases: each round gets one of its own there, which is dropped afterwards. The server stands on
this machine, so that the processor time of its side can be read, and waits for the disk at each commit, as SQLite does.
A round does the same to a new ledger on each, in turn: a cycle of 1,000 proposals with an order each is recorded; the
orders are leased in fifties, as `dispatch` does, and each one's answer is written down; the cycle's proposals are read,
as a page reads them; and the history is checked. Prints one Markdown table: medians of the rounds, and how many times
as long PostgreSQL took within a round, with the least and the most.
"""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import psutil  # type: ignore[import-untyped]
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url

from benchmarks.contest import Spread
from benchmarks.executor_throughput import NOW, fleet, verdict
from decisions.domain import Answer, OrderState
from decisions.ledger import Ledger
from pipelines.steps.dispatch import BATCH

PROPOSALS: Final = 1_000
ROUNDS: Final = 5


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and of processor time on both sides."""

    wall: float
    cpu: float


def main(url: str, rounds: int) -> None:
    """Print the table, and what the run was made on."""
    runs = [{name: a_round(place) for name, place in places(url).items()} for _ in range(rounds)]
    system = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"\n{PROPOSALS:,} proposals with an order each, {rounds} rounds; {system}, load {os.getloadavg()[0]:.0f}\n")
    print("| | SQLite | PostgreSQL | times as long | CPU, SQLite | CPU, PostgreSQL | times the CPU |")
    print("|---|---|---|---|---|---|---|")
    for task in TASKS:
        told = [[run[name][task] for run in runs] for name in ("SQLite", "PostgreSQL")]
        cells = [
            cell
            for measure in ("wall", "cpu")
            for here, there in [[[getattr(each, measure) for each in side] for side in told]]
            for cell in (f"{median(here):.2f} s", f"{median(there):.2f} s", str(ratio(here, there)))
        ]
        print(f"| {task} | {' | '.join(cells)} |")


def ratio(here: list[float], there: list[float]) -> Spread:
    """How many times as much the other side took, round by round."""
    found = [other / one for one, other in zip(here, there, strict=True)]
    return Spread(median(found), min(found), max(found))


def places(url: str) -> Mapping[str, Callable[[], Iterator[str]]]:
    """Where a round's ledger stands, by the database's name."""

    def sqlite() -> Iterator[str]:
        with tempfile.TemporaryDirectory(prefix="foreshock-", dir=os.environ.get("TMPDIR")) as folder:
            yield f"sqlite:///{Path(folder) / 'ledger.db'}"

    def postgresql() -> Iterator[str]:
        name = f"foreshock_benchmark_{os.getpid()}"
        engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as con:
            con.execute(text(f"create database {name} template template0 encoding 'UTF8'"))
            try:
                yield make_url(url).set(database=name).render_as_string(hide_password=False)
            finally:
                con.execute(text(f"drop database {name} with (force)"))

    return {"SQLite": sqlite, "PostgreSQL": postgresql}


def a_round(place: Callable[[], Iterator[str]]) -> Mapping[str, Spent]:
    """What each task took on a new ledger."""
    found = {}
    with contextmanager(place)() as url, Ledger(url) as ledger:
        for name, task in TASKS.items():
            with measured(url) as spent:
                task(ledger)
            found[name] = spent()
    return found


@contextmanager
def measured(url: str) -> Iterator[Callable[[], Spent]]:
    """What the block takes, to be asked for after it."""
    backends = serving(url)
    wall, cpu = time.perf_counter(), time.process_time() + taken(backends)
    done: list[Spent] = []
    yield lambda: done[0]
    done.append(Spent(time.perf_counter() - wall, time.process_time() + taken(backends) - cpu))


def serving(url: str) -> list[psutil.Process]:
    """The server's processes that work for sessions of the database."""
    if url.startswith("sqlite"):
        return []
    engine = create_engine(url)
    query = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    with engine.connect() as con:
        found = [psutil.Process(pid) for (pid,) in con.execute(text(query))]
    engine.dispose()
    return found


def taken(processes: list[psutil.Process]) -> float:
    """Their processor time until now, in seconds."""
    return float(sum(sum(each.cpu_times()[:2]) for each in processes))


def record(ledger: Ledger) -> None:
    """A cycle with all proposals, orders and history, in one transaction."""
    _, _, proposals = fleet(PROPOSALS)
    ledger.record(verdict(proposals), NOW)


def answer(ledger: Ledger) -> None:
    """Every order leased, and taken by an executor; a transaction for each answer."""
    while orders := ledger.lease(NOW, BATCH, 0.0):
        for order in orders:
            ledger.apply(Answer(order.order_id, OrderState.ACCEPTED, NOW))


def read(ledger: Ledger) -> None:
    """The proposals as they stand."""
    assert len(ledger.proposals(NOW)) == PROPOSALS  # noqa: S101 - what was not read would be quick


def verify(ledger: Ledger) -> None:
    """The whole history."""
    assert ledger.verify().ok  # noqa: S101


TASKS: Final[Mapping[str, Callable[[Ledger], None]]] = {
    "record a cycle": record,
    "lease and answer each order": answer,
    "read the cycle's proposals": read,
    "check the history": verify,
}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS)
