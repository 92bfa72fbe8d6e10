"""Twenty readers at the review pages of a large fleet, while a cycle writes and while none does.

    python -m benchmarks.pages [--home FOLDER] [--small] [--seconds SECONDS] [--readers READERS] [--page NAME ...]

Makes the home (`benchmarks.large_home`) unless it is there, serves it with `foreshock review` in a process of its own,
and asks for each page from another process: each reader asks again as soon as it has been answered. Pages of decisions
and hosts are another one each time. The writer is a third process that does once a minute what a cycle does: it
publishes two new snapshots, records 5,000 proposals, and goes on to hand orders over and to hear back, ten transactions
a second; decisions are then asked for of the newest cycle. Beside each page stands a route of a bare FastAPI app that
answers with a constant page of the same size. Prints one Markdown table; CPU is that of the server's process.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import numpy as np
import psutil  # type: ignore[import-untyped]

from benchmarks import large_home
from benchmarks.large_home import Size
from data.warehouse import Warehouse
from decisions.domain import Answer, OrderState
from decisions.ledger import Ledger

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

SMALL: Final = Size(hosts=2_000, days=30, nights=20, a_night=30, open=300)
REVIEW: Final = "from pipelines.cli import main; raise SystemExit(main(['review', '--port', '0', '--json']))"
BARE: Final = "from benchmarks.pages import bare; bare()"
CYCLE_SECONDS: Final = 60
UNREADY: Final = b"still being gathered"
"""What a decision says whose cycle has not been made ready."""
NIGHT: Final = multiprocessing.get_context("spawn").Value("q", 0)
"""The night of the newest cycle."""


def newest(size: Size, n: int) -> str:
    """A proposal of the newest cycle."""
    return large_home.proposal_id(NIGHT.value, n * 37 % size.open)


PAGES: Final[dict[str, Callable[[Size, int], str]]] = {
    "queue": lambda _size, _n: "/",
    "decision": lambda size, n: f"/proposals/{newest(size, n)}",
    "fleet": lambda _size, _n: "/fleet",
    "host": lambda size, n: f"/hosts/{large_home.host(n * 311 % size.hosts)}",
    "maintenance": lambda _size, _n: "/maintenance",
    "maintenance of an owner": lambda _size, n: f"/maintenance?owner=owner{n * 7 % 3000}",
    "audit": lambda _size, _n: "/audit",
    "/v1/proposals": lambda _size, _n: "/v1/proposals",
    "/v1/proposals/ID": lambda size, n: f"/v1/proposals/{newest(size, n)}",
    "/v1/fleet": lambda _size, _n: "/v1/fleet",
    "/v1/vms": lambda _size, _n: "/v1/vms",
    "/v1/audit": lambda _size, _n: "/v1/audit",
}


@dataclass(frozen=True)
class Run:
    """What readers saw of one page."""

    seconds: np.ndarray[tuple[int], np.dtype[np.float64]]
    """Of each answer."""
    span: float
    """From the first question to the last answer."""
    cpu: float
    """Seconds of the server's process."""
    bytes: int
    """Of an answer, at the median."""
    early: float
    """The share of answers about a cycle that had not been made ready."""

    def row(self) -> str:
        """Its cells of the table."""
        each = self.seconds * 1e3
        told = f"{len(each) / self.span:,.0f} | {np.median(each):,.0f} | {np.percentile(each, 95):,.0f}"
        return f"{told} | {np.percentile(each, 99):,.0f} | {self.cpu / len(each) * 1e3:.1f}"

    def noted(self) -> str:
        """What a reader of the table must know of the answers."""
        return f" ({self.early:.0%} of them still being gathered)" if self.early else ""


def main(asked: argparse.Namespace) -> None:
    """Print the table, and what the run was made on."""
    size, home = SMALL if asked.small else Size(), asked.home
    if not (home / "ledger.db").exists():
        began = time.monotonic()
        large_home.build(home, size, large_home.midnight())
        print(f"made {home.name} in {time.monotonic() - began:,.0f} s", flush=True)
    NIGHT.value = newest_night(home)
    system = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"\n{size.hosts:,} hosts, {size.open:,} open proposals, {asked.readers} readers; {system}\n")
    print("| | a second | median ms | 95th | 99th | CPU ms | KiB | times a constant page | load |\n" + "|---" * 9 + "|")
    names = asked.page or list(PAGES)
    with serving(REVIEW, home) as (url, process):
        warm_up(url, size)
        for name in names:
            show(name, read(url, process, asked, size, name))
        with writing(home, size):
            for name in names:
                show(f"{name}, while a cycle writes", read(url, process, asked, size, name))
        print(f"\nThe server held {psutil.Process(process).memory_info().rss / 2**30:.1f} GiB in the end.")


def newest_night(home: Path) -> int:
    """The night of the newest cycle that the home holds."""
    with Ledger(f"sqlite:///{(home / 'ledger.db').absolute()}") as ledger:
        (cycle,) = ledger.cycles(1)
        (first,) = ledger.proposals(cycle.asof_at, cycle_id=cycle.cycle_id, limit=1)
    return -int(first.proposal.proposal_id.rsplit("-", 1)[0].removeprefix("proposal-").removeprefix("-"))


def show(name: str, run: Run) -> None:
    """Print a row of the table: the page, and how many times as long a constant page takes as long."""
    with serving(BARE, Path.cwd(), FORESHOCK_BARE_BYTES=str(run.bytes)) as (url, process):
        bare_run = gather(url, process, 20, 2.0, lambda _: "/")
    ratio = np.median(run.seconds) / np.median(bare_run.seconds)
    load = os.getloadavg()[0]
    print(f"| {name}{run.noted()} | {run.row()} | {run.bytes / 1024:,.0f} | {ratio:.1f} | {load:.1f} |", flush=True)


def warm_up(url: str, size: Size) -> None:
    """Ask for every page once, as a server that has been up for a while has been asked."""
    for name in PAGES:
        _once(url, PAGES[name](size, 0))
    while UNREADY in _once(url, PAGES["decision"](size, 0)):
        time.sleep(1)


def read(url: str, process: int, asked: argparse.Namespace, size: Size, name: str) -> Run:
    """What the readers saw of the page."""
    return gather(url, process, asked.readers, asked.seconds, lambda n: PAGES[name](size, n))


def gather(url: str, process: int, readers: int, seconds: float, path: Callable[[int], str]) -> Run:
    """Let so many readers ask for so long, in a process of their own."""
    other = psutil.Process(process)
    before = sum(other.cpu_times()[:2])
    told: multiprocessing.Queue[_Told] = multiprocessing.Queue()
    one = multiprocessing.get_context("fork").Process(target=_readers, args=(url, readers, seconds, path, told))
    one.start()
    took, sizes, early, span = told.get()
    one.join()
    return Run(np.array(took), span, sum(other.cpu_times()[:2]) - before, int(np.median(sizes)), early)


_Told = tuple[list[float], list[int], float, float]
"""Seconds and bytes of each answer, the share of early ones, and how long it all took."""


def _readers(
    url: str,
    readers: int,
    seconds: float,
    path: Callable[[int], str],
    told: "multiprocessing.Queue[_Told]",
) -> None:
    numbers, took, sizes, early = count(), list[float](), list[int](), list[bool]()
    began = time.perf_counter()

    def ask() -> None:
        connection = _connected(url)
        while time.perf_counter() - began < seconds:
            at = time.perf_counter()
            body = _answer(connection, path(next(numbers)))
            took.append(time.perf_counter() - at)
            sizes.append(len(body))
            early.append(UNREADY in body)

    threads = [Thread(target=ask) for _ in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put((took, sizes, float(np.mean(early)), time.perf_counter() - began))


def _connected(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)


def _answer(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        msg = f"{path} answered {answer.status}: {body[:300]!r}"
        raise SystemExit(msg)
    return body


def _once(url: str, path: str) -> bytes:
    connection = _connected(url)
    return _answer(connection, path)


@contextmanager
def serving(command: str, home: Path, **known: str) -> Iterator[tuple[str, int]]:
    """The address of a server in a process of its own, and the process."""
    environment = {**os.environ, "FORESHOCK_HOME": str(home), **known}
    with subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, text=True, env=environment) as one:
        try:
            yield json.loads(one.stdout.readline() if one.stdout else "")["url"], one.pid
        finally:
            one.terminate()


def bare() -> None:
    """Serve an app with a constant page, as the review app is served."""
    import uvicorn
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse

    from pipelines.listening import bound

    app, page = FastAPI(), "x" * int(os.environ["FORESHOCK_BARE_BYTES"])

    @app.get("/", response_class=HTMLResponse)
    def constant() -> HTMLResponse:
        return HTMLResponse(page)

    listener = bound("127.0.0.1", 0)
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}) + "\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False)).run(sockets=[listener])


@contextmanager
def writing(home: Path, size: Size) -> Iterator[None]:
    """Write as cycles do for as long as it is held."""
    one = multiprocessing.get_context("spawn").Process(target=cycles, args=(home, size, NIGHT), daemon=True)
    one.start()
    while NIGHT.value == 0:
        time.sleep(0.1)
    yield
    one.terminate()
    one.join()


def cycles(home: Path, size: Size, night: "Synchronized[int]") -> None:
    """One cycle after another, as a cycle goes: snapshots, a verdict between them, and orders on their way."""
    os.nice(5)
    asof = large_home.midnight()
    with Ledger(f"sqlite:///{(home / 'ledger.db').absolute()}") as ledger:
        for n in count(int(time.time())):
            at = asof + timedelta(microseconds=n % 10**9)
            publish(home, n)
            ledger.record(large_home.verdict(size, -n, at), at)
            night.value = -n
            _carry_out(ledger, CYCLE_SECONDS / 2)
            publish(home, n)
            _carry_out(ledger, CYCLE_SECONDS / 2)


def publish(home: Path, n: int) -> None:
    """A new snapshot."""
    with Warehouse.open(home) as warehouse:
        warehouse.con.execute("insert into ingest_file values (now(), 's0', $n::varchar, 1, 1, 0, 0)", {"n": n})
        warehouse.publish()


def _carry_out(ledger: Ledger, seconds: float) -> None:
    """Hand orders over and hear that they are done, ten transactions a second."""
    began, now = time.monotonic(), large_home.midnight() + timedelta(hours=3)
    while time.monotonic() - began < seconds:
        for order in ledger.lease(now, 1, 60):
            ledger.mark_sent(order.order_id, now)
            for state in (OrderState.ACCEPTED, OrderState.STARTED, OrderState.COMPLETED):
                ledger.apply(Answer(order.order_id, state, now))
        time.sleep(0.5)


def options(told: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    asked.add_argument("--home", type=Path, default=Path(".foreshock/pages"))
    asked.add_argument("--small", action="store_true", help="a small home, to try it out")
    asked.add_argument("--seconds", type=float, default=20.0, help="how long each page is asked for")
    asked.add_argument("--readers", type=int, default=20)
    asked.add_argument("--page", action="append", choices=list(PAGES), help="only this page; may be repeated")
    return asked.parse_args(told)


if __name__ == "__main__":
    main(options())
