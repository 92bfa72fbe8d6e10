"""Hand 10,000 orders over to the reference executor in another process, beside bare HTTP requests with the same bodies.

    python -m benchmarks.executor_throughput [ORDERS]

A simulated fleet, a ledger in SQLite and the simulated world of `foreshock executor` stand in a temporary folder. One
order in ten moves four VMs live, the others tell the owners of four; budgets are opened so that all may be under way at
once. `drain` hands them over through `Webhook`: leased, looked at again, signed, sent, and the answer written down
before the next one is touched. Then a bare uvicorn app, which reads a body and answers with none, gets the same bodies
by the same client. Prints one Markdown table: a hand-over is the time from one order to the next, its request a part.
Each has two commits that must be on the disk, one on either side; what such a commit costs alone is printed too.
"""

import json
import os
import platform
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import psutil  # type: ignore[import-untyped]
import pyarrow as pa

from data.contracts import ENTITIES, HOSTS, VMS
from data.contracts import UTC as STAMP
from data.simulator.world import World
from decisions.domain import (
    Action,
    Answer,
    Autonomy,
    EntityRisk,
    Host,
    HostRisk,
    Order,
    OrderState,
    Price,
    Proposal,
    Verdict,
    Vm,
    VmPlan,
)
from decisions.ledger import Ledger
from decisions.policy import Policy, load
from pipelines.contract import messages, signing
from pipelines.executors.opened import WORLD
from pipelines.executors.webhook import Webhook
from pipelines.settings import ExecutorSettings
from pipelines.steps.dispatch import Inventory, drain

ORDERS: Final = 10_000
VMS_PER_HOST: Final = 4
MOVES_EVERY: Final = 10
NOW: Final = datetime(2026, 11, 1, 2, tzinfo=UTC)
GIB: Final = 1024**3
EXECUTOR: Final = "from pipelines.cli import main; raise SystemExit(main(['executor', '--port', '0', '--json']))"
BARE: Final = "from benchmarks.executor_throughput import bare; bare()"


def main(count: int) -> None:
    """Print the table, and what the run was made on."""
    os.environ[signing.SECRET] = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory(prefix="foreshock-") as folder:
        home = Path(folder)
        hosts, vms, orders = fleet(count)
        make_world(home, hosts, vms)
        with Ledger(f"sqlite:///{home / 'ledger.db'}") as ledger:
            ledger.record(verdict(orders), NOW)
            whole, requests, bodies = hand_over(home, ledger, Inventory(hosts, vms), count)
        kept = commit(home, count)
    posts = post(bodies)
    system = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"\n{count:,} orders of {np.mean([len(b) for b in bodies]):,.0f} bytes; {system}\n")
    print("| | a second | ratio | median | 99th percentile | CPU here | CPU there |\n|---|---|---|---|---|---|---|")
    rows = {
        "bare POST": posts,
        "a commit on the disk": kept,
        "the request of a hand-over": requests,
        "hand-over, ledger and all": whole,
    }
    for name, run in rows.items():
        each = np.array(run.seconds) * 1e3
        cpu = f"{run.cpu_here / count * 1e3:.2f} ms | {run.cpu_there / count * 1e3:.2f} ms" if run.cpu_here else " | "
        ratio = np.sum(run.seconds) / np.sum(posts.seconds)
        print(
            f"| {name} | {1e3 / each.mean():,.0f} | {ratio:.1f} | {np.median(each):.2f} ms "
            f"| {np.percentile(each, 99):.2f} ms | {cpu} |"
        )


@dataclass
class Run:
    """Seconds of each of many, and CPU seconds of this process and of the other one for all of them."""

    seconds: list[float] = field(default_factory=list)
    cpu_here: float = 0.0
    cpu_there: float = 0.0

    @contextmanager
    def measured(self, there: int) -> Iterator[None]:
        """Count the CPU seconds of the block."""
        other = psutil.Process(there)
        here, before = time.process_time(), sum(other.cpu_times()[:2])
        yield
        self.cpu_here, self.cpu_there = time.process_time() - here, sum(other.cpu_times()[:2]) - before


@dataclass(frozen=True)
class Timed:
    """The executor, with the moments at which it was called and had answered, and what it was handed."""

    behind: Webhook
    began: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    taken: list[Order] = field(default_factory=list)

    def submit(self, order: Order) -> Answer:
        """The executor's answer."""
        self.began.append(time.perf_counter())
        self.taken.append(order)
        answer = self.behind.submit(order)
        self.ended.append(time.perf_counter())
        return answer

    def cancel(self, order_id: str, reason: str) -> Answer:
        """The executor's answer."""
        return self.behind.cancel(order_id, reason)

    def start_vm(self, order_id: str, vm_id: str, reason: str) -> Answer:
        """The executor's answer."""
        return self.behind.start_vm(order_id, vm_id, reason)

    def poll(self, order_ids: Sequence[str], now: datetime) -> list[Answer]:
        """The executor's answers."""
        return self.behind.poll(order_ids, now)


def hand_over(home: Path, ledger: Ledger, inventory: Inventory, count: int) -> tuple[Run, Run, list[bytes]]:
    """Each hand-over as a whole, its request, and the bodies that were sent; every order was accepted, once."""
    whole = Run()
    with serving(EXECUTOR, home) as (url, process), httpx.Client(timeout=60) as client:
        executor = Timed(Webhook(url, signing.secret(), NOW, client))
        with whole.measured(process):
            began = time.perf_counter()
            report = drain(ledger, executor, inventory, NOW, ExecutorSettings(attempts=1), policy=roomy(count))
            ended = time.perf_counter()
        answers = executor.poll([order.order_id for order in executor.taken], NOW)
    accepted = ledger.orders(state=OrderState.ACCEPTED)
    if not report.sent == len(answers) == len(accepted) == count or not ledger.verify().ok:
        msg = f"not all of {count} orders arrived: {report}, {len(answers)} known there, {len(accepted)} here"
        raise SystemExit(msg)
    moments = [began, *executor.ended[:-1], ended]
    whole.seconds = list(np.diff(moments))
    requests = Run([end - start for start, end in zip(executor.began, executor.ended, strict=True)])
    return whole, requests, [messages.order_event(order, NOW) for order in executor.taken]


def post(bodies: Sequence[bytes]) -> Run:
    """Each bare request, over one connection as well."""
    run = Run()
    with serving(BARE, Path.cwd()) as (url, process), httpx.Client(timeout=60) as client, run.measured(process):
        for body in bodies:
            began = time.perf_counter()
            client.post(url, content=body, headers={"content-type": messages.CONTENT_TYPE}).raise_for_status()
            run.seconds.append(time.perf_counter() - began)
    return run


def commit(home: Path, count: int) -> Run:
    """Each commit of one row in SQLite that is on the disk when it returns."""
    run = Run()
    con = sqlite3.connect(home / "commits.db", isolation_level=None)
    con.execute("pragma journal_mode = wal")
    con.execute("pragma synchronous = full")
    con.execute("create table kept (row integer)")
    here = time.process_time()
    for row in range(count):
        began = time.perf_counter()
        con.execute("insert into kept values (?)", (row,))
        run.seconds.append(time.perf_counter() - began)
    run.cpu_here = time.process_time() - here
    con.close()
    return run


@contextmanager
def serving(command: str, home: Path) -> Iterator[tuple[str, int]]:
    """The address of a server in a process of its own, and the process."""
    known = {**os.environ, "FORESHOCK_HOME": str(home)}
    with subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, text=True, env=known) as process:
        try:
            yield json.loads(process.stdout.readline() if process.stdout else "")["url"], process.pid
        finally:
            process.terminate()


def bare() -> None:
    """Serve an app that reads each body and answers with none, as the executor is served."""
    import uvicorn

    from pipelines.listening import bound

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "http" and (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    listener = bound("127.0.0.1", 0)
    sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}) + "\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, log_level="warning", server_header=False, proxy_headers=False, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


def fleet(count: int) -> tuple[dict[str, Host], dict[str, tuple[Vm, ...]], list[Proposal]]:
    """Hosts, their VMs, and a proposal for each of `count` hosts; targets for those that move are empty."""
    movers = count // MOVES_EVERY + 1
    hosts = {
        name: _host(name, at) for at, name in enumerate([*map(_source, range(count)), *map(_target, range(movers))])
    }
    vms = {_source(at): tuple(_vm(_source(at), k) for k in range(VMS_PER_HOST)) for at in range(count)}
    return hosts, vms, [_proposal(at, vms[_source(at)]) for at in range(count)]


def _source(at: int) -> str:
    return f"h{at:05d}"


def _target(at: int) -> str:
    return f"t{at:05d}"


def _host(name: str, at: int) -> Host:
    rack = at // 20
    return Host(
        name, f"c{at // 1000}", "z1", f"r{rack}", rack % 10, "m", "1.0", 64, 256 * GIB, "in_service", simulated=True
    )


def _vm(host_id: str, k: int) -> Vm:
    return Vm(f"{host_id}-v{k}", host_id, f"owner{k}", "D", 4, 16 * GIB, 20_000_000, None, True, simulated=True)


def _proposal(at: int, vms: Sequence[Vm]) -> Proposal:
    moves = at % MOVES_EVERY == 0
    action = Action.LIVE_MIGRATE if moves else Action.NOTIFY
    host_id, target = _source(at), _target(at // MOVES_EVERY) if moves else None
    curve = {1: 0.1, 3: 0.2, 7: 0.3, 14: 0.5, 30: 0.8}
    part = EntityRisk(f"{host_id}-disk", "disk", host_id, NOW, "disk-1", "ok", None, curve, model="M1")
    return Proposal(
        proposal_id=f"proposal-{at:05d}",
        asof_at=NOW,
        host_id=host_id,
        action=action,
        autonomy=Autonomy.AUTO,
        expires_at=NOW + timedelta(hours=30),
        not_before=NOW + timedelta(minutes=15),
        risk=HostRisk(host_id, NOW, curve, (part,)),
        prices=tuple(Price(each, 1.0, 0.5, 0.25, 0.25) for each in Action),
        vms=tuple(VmPlan(vm.vm_id, action, target, 12.0) for vm in vms),
        reasons=(
            f"Host {host_id} fails within 14 days with a chance of 50%.",
            "Drive: pending sectors 8 (+8 in 7 days).",
        ),
        blocked=(),
        policy_version="benchmark",
        model_version="disk-1",
        pool="c0",
        simulated=True,
    )


def verdict(proposals: Sequence[Proposal]) -> Verdict:
    """The cycle that proposes all of it."""
    return Verdict(NOW, "benchmark", "disk-1", tuple(proposals), {}, ())


def roomy(count: int) -> Policy:
    """The policy that ships, with budgets that let all orders be under way at once."""
    shipped = load()
    breaker = replace(shipped.breaker, floor_hosts=count)
    limits = replace(shipped.limits, hosts_at_once_per_rack=count, hosts_at_once_per_fleet=count)
    return replace(shipped, breaker=breaker, limits=limits)


def make_world(home: Path, hosts: dict[str, Host], vms: dict[str, tuple[Vm, ...]]) -> None:
    """The simulated world that the executor carries orders out in; nothing fails in it."""
    tables = {
        "hosts": pa.Table.from_pylist([asdict(host) for host in hosts.values()], schema=HOSTS),
        "vms": pa.Table.from_pylist([asdict(vm) for held in vms.values() for vm in held], schema=VMS),
        "entities": ENTITIES.empty_table(),
    }
    names = ("component", "entity_id", "failed_at", "replacement_id")
    none = pa.table({name: pa.array([], STAMP if name == "failed_at" else pa.string()) for name in names})
    World.create(home / WORLD, tables, none, NOW, 7).close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS)
