"""Training and scoring on this machine beside a cluster of two workers on the same machine.

What is timed is what a scheduled run waits for, by the wall: rows drawn, one booster trained, a day scored. To start
the cluster and to put the telemetry into parts is not: both are done once.
"""

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import numpy as np

from benchmarks.bench import Finding, Places
from benchmarks.contest import Answer, Contest, Contestant, Spread, contest, same, spread
from data.snapshots import read
from data.sources import backblaze
from data.warehouse import Warehouse
from features.build import feature_names
from models import spec
from models.calibrate import BetaMap, Calibration
from models.examples import Matrix
from models.facts import Facts, Here, Rows
from models.learning import Learned
from models.predictor import Predictor
from models.spec import Spec
from models.windows import first_day

if TYPE_CHECKING:
    from distributed import Client

WORKERS: Final = 2
PARTS: Final = 8
DRIVES: Final = 2_000
"""Of the simulated fleet, where there is no real one."""
ROOT: Final = Path(__file__).resolve().parents[1]
UNTIL: Final = date(2015, 3, 31)
WEEKS: Final = 52
REASONS: Final = 1_000
JUDGE: Final = "judge.txt"
CPU: Final = "all_cpu_seconds"
PHASES: Final = ("rows", "booster", "scores")


def run(places: Places) -> Finding:
    """What it takes here and on the cluster, after both have given the same rows, features and risks."""
    scratch = places.scratch("cluster")
    said = _prepare(places.telemetry, scratch / "home")
    home, store = str(scratch / "home"), f"file://{scratch}/store"
    local = "benchmarks.cluster:here"
    contestants = [
        Contestant("one thread", local, (home, "1")),
        Contestant("two threads", local, (home, "2")),
        Contestant("two workers", "benchmarks.cluster:there", (home, store, str(scratch))),
    ]
    held = contest(contestants, places.rounds)
    same({one.name: held.answer(one.name) for one in contestants}, ("rows", "positives", "features", "risks"))
    ratios = {
        "dask_speedup": _faster(held, "two workers", "one thread"),
        "dask_speedup_two_threads": _faster(held, "two workers", "two threads"),
        "dask_cpu": _dearer(held, "two workers", "one thread"),
    }
    peaks = {
        "one thread": held.peak_bytes("one thread"),
        "two threads": held.peak_bytes("two threads"),
        "client": held.peak_bytes("two workers"),
        "worker": max(int(one.answer["worker_bytes"]) for one in held.runs["two workers"]),
    }
    return Finding(
        title="Training and scoring on a cluster",
        text=_text(said, held, ratios),
        columns=["", "CPU, s", "wall, s", "rows, s", "booster, s", "scores, s", "most memory, MiB"],
        rows=[_row(held, name, peaks) for name in ("one thread", "two threads", "two workers")],
        ratios=ratios,
        peak_bytes=peaks,
    )


def here(home: str, threads: str) -> Callable[[], Answer]:
    """The job on this machine, with so many threads."""
    os.environ["OMP_NUM_THREADS"] = threads
    import lightgbm  # noqa: F401

    stack = ExitStack()
    con = stack.enter_context(read(Path(home)))
    con.execute(f"set threads = {int(threads)}")
    disk = replace(_spec(), threads=int(threads))
    judge = _judge(Path(home), disk)

    def job() -> Answer:
        with stack:
            return _whole(Here(con), con, disk, judge, _alone)

    return job


def there(home: str, store: str, scratch: str) -> Callable[[], Answer]:
    """The job on a cluster of two workers with a thread each, which runs already and has the telemetry."""
    from models.cluster.facts import Cluster
    from pipelines.engine import facts
    from pipelines.settings import EngineSettings

    folder = Path(scratch) / f"cluster-{time.time_ns()}"
    folder.mkdir()
    stack = ExitStack()
    address = stack.enter_context(started(folder, WORKERS))
    engine = EngineSettings(kind="dask", scheduler=address, storage=store, partitions=PARTS, timeout_seconds=120)
    con = stack.enter_context(read(Path(home)))
    source = stack.enter_context(facts(engine, con, "disk"))
    assert isinstance(source, Cluster)  # noqa: S101 - narrows the type
    client = source.client
    client.wait_for_workers(WORKERS, timeout=120)
    disk = _spec()
    judge = _judge(Path(home), disk)
    source.score(judge, UNTIL - timedelta(days=1), REASONS)  # workers that run for days have imported what they need
    source.learn(disk, _days(con)[-4:], disk.rank_horizon_days, UNTIL).boost(replace(disk, rounds=1))

    def job() -> Answer:
        with stack:
            return _whole(source, con, disk, judge, lambda: _together(client))

    return job


@contextmanager
def started(folder: Path, workers: int) -> Iterator[str]:
    """A scheduler and workers on loopback, each a process of its own; the scheduler's address.

    Workers have one thread each, a nanny, and names that outlive a restart; what they say goes to files in `folder`.
    """
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    # Without a dashboard there still is a server for health and metrics, on every interface unless told otherwise.
    host = ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    address = f"tcp://127.0.0.1:{port}"
    own = ["--nthreads", "1", "--memory-limit", "2GB"]
    commands = {"scheduler": ["scheduler", *host, "--port", str(port)]} | {
        name: ["worker", address, *host, *own, "--name", name, "--local-directory", str(folder / name)]
        for name in (f"worker-{number}" for number in range(workers))
    }
    with ExitStack() as stack:
        for name, command in commands.items():
            stack.enter_context(_running([sys.executable, "-m", "dask", *command], folder / f"{name}.log"))
        yield address


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[None]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True)
class Spending:
    """What all processes have taken so far."""

    cpu_seconds: float
    worker_bytes: int = 0
    """The most memory that a worker has held."""


def _alone() -> Spending:
    return Spending(time.process_time())


def _together(client: "Client") -> Spending:
    workers = client.run(_taken)
    scheduler = client.run_on_scheduler(_taken)  # type: ignore[no-untyped-call]
    cpu = time.process_time() + scheduler[0] + sum(seconds for seconds, _ in workers.values())
    return Spending(cpu, max(held for _, held in workers.values()))


def _taken() -> tuple[float, int]:
    return time.process_time(), _peak_bytes()


def _spec() -> Spec:
    return replace(spec.load("disk"), boosters=1, rounds=100, negative_share=0.5)


def _whole(
    facts: Facts, con: duckdb.DuckDBPyConnection, disk: Spec, judge: Predictor, spent: Callable[[], Spending]
) -> Answer:
    """Rows, a booster and a day's risks, each timed; what they came to is worked out when the clock has stopped."""
    days, before = _days(con), spent()
    started = time.monotonic()
    rows = facts.learn(disk, days, disk.rank_horizon_days, UNTIL)
    drawn = time.monotonic()
    rows.boost(disk)
    boosted = time.monotonic()
    risks = facts.score(judge, UNTIL, REASONS)
    ended, after = time.monotonic(), spent()
    return {
        "rows": rows.rows,
        "positives": rows.positives,
        "features": _checksum(rows),
        "risks": hashlib.sha256(str(risks.to_pydict()).encode()).hexdigest(),
        "rows_seconds": drawn - started,
        "booster_seconds": boosted - drawn,
        "scores_seconds": ended - boosted,
        "all_cpu_seconds": after.cpu_seconds - before.cpu_seconds,
        "worker_bytes": after.worker_bytes,
    }


def _checksum(rows: Rows) -> str:
    """A number that tells all values of all rows, whatever their order and wherever they lie."""
    if isinstance(rows, Learned):
        return str(_bits(rows.values))
    from models.cluster.facts import Spread

    assert isinstance(rows, Spread)  # noqa: S101 - narrows the type
    bits = [one.result() for one in rows.cluster.of(rows.sheaves, _sheaf_bits)]
    return str(sum(bits) % 2**64)


def _sheaf_bits(sheaf: Any) -> int:
    return _bits(sheaf.values)


def _bits(values: Matrix) -> int:
    """The sum of all rows' hashes, where a row's is that of its bytes."""
    rows = np.ascontiguousarray(values)
    return sum(int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest()) for row in rows) % 2**64


def _peak_bytes() -> int:
    """The most memory that this process has held."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _judge(home: Path, disk: Spec) -> Predictor:
    """The model whose risks are compared: the same for all."""
    text = (home / JUDGE).read_text()
    maps = tuple(BetaMap(days, 1.0, 1.0, 0.0) for days in disk.horizon_days)
    return Predictor("disk", "bench", UNTIL.isoformat(), disk, feature_names("disk"), text, Calibration(maps))


def _prepare(telemetry: Path, home: Path) -> str:
    """Make the warehouse and the model once; what is in it."""
    said = home / "said.txt"
    if not said.exists():
        drives = telemetry / "disk" / "disk_smart_2013_2016q1.parquet"
        files = home.parent / "files"
        files.mkdir(exist_ok=True)
        phrase = _real(telemetry, files) if drives.exists() else _simulated(files)
        with Warehouse.open(home) as warehouse:
            for _ in backblaze.load(warehouse, sorted(files.rglob("*.parquet"))):
                pass
            warehouse.publish()
        with read(home) as con:
            disk = _spec()
            learned = Here(con).learn(disk, _days(con), disk.rank_horizon_days, UNTIL)
            (home / JUDGE).write_text(learned.boost(disk))
            ((rows, fleet),) = con.execute(
                "select (select count(*) from disk_day), (select count(*) from entity)"
            ).fetchall()
        said.write_text(f"{phrase}: {fleet:,} drives, {rows / 1e6:.1f} million drive-days")
    return said.read_text()


def _days(con: duckdb.DuckDBPyConnection) -> list[date]:
    """A year of weekly snapshots whose labels are known, as far as the history goes back."""
    weekly = [UNTIL - timedelta(days=30 + 7 * back) for back in reversed(range(WEEKS))]
    return [day for day in weekly if day > first_day(con, "disk")]


def _real(telemetry: Path, files: Path) -> str:
    """A tenth of the drive history, as its publisher would have written it, and what to call it."""
    expand = [sys.executable, str(telemetry / "disk" / "expand.py"), str(files)]
    subprocess.run([*expand, "--fraction", "0.1", "--until", UNTIL.isoformat()], check=True, capture_output=True)
    return "A tenth of the drive history"


def _simulated(files: Path) -> str:
    """Drives of which one in ten grows pending sectors and dies, and what to call them."""
    duckdb.connect().execute(f"""
        copy (
            with drive as (
                select number, if(number % 10 = 0, 200 + hash(number) % 700, 10_000) as dies
                from range({DRIVES}) drives(number)
            )
            select date '{UNTIL}' - 799 + day::integer as date, 'Z' || number as serial_number, 'M' as model,
                   4_000_000_000_000 as capacity_bytes, (day = dies)::integer as failure, 24 * day as smart_9_raw,
                   greatest(0, day - dies::bigint + 20) * 2 as smart_197_raw
            from drive, range(800) days(day) where day <= dies
        ) to '{files / "fleet.parquet"}' (format parquet)""")  # noqa: S608 - numbers and places of ours
    return "A simulated fleet"


def _faster(held: Contest, name: str, yard: str) -> Spread:
    """How many times as fast one is as the other, by the wall, round by round."""
    pairs = zip(held.runs[name], held.runs[yard], strict=True)
    return spread([_seconds(other.answer) / _seconds(one.answer) for one, other in pairs])


def _dearer(held: Contest, name: str, yard: str) -> Spread:
    """CPU seconds of all processes of one in those of the other, round by round."""
    pairs = zip(held.runs[name], held.runs[yard], strict=True)
    return spread([float(one.answer[CPU]) / float(other.answer[CPU]) for one, other in pairs])


def _seconds(answer: Answer) -> float:
    return sum(float(answer[f"{part}_seconds"]) for part in PHASES)


def _row(held: Contest, name: str, peaks: Mapping[str, int]) -> list[str]:
    runs = [one.answer for one in held.runs[name]]
    wall = str(spread([_seconds(one) for one in runs]))
    phases = [str(spread([float(one[f"{part}_seconds"]) for one in runs])) for part in PHASES]
    most = f"{peaks[name] / 2**20:.0f}" if name in peaks else f"{peaks['worker'] / 2**20:.0f} a worker"
    cpu = str(spread([float(one[CPU]) for one in runs]))
    return [name, cpu, wall, *phases, most]


def _text(said: str, held: Contest, ratios: Mapping[str, Spread]) -> str:
    rows = int(held.answer("two workers")["rows"])
    return f"""
`foreshock bench cluster`. {said}.
A year of weekly snapshots is drawn ({rows:,} rows), one booster of 100 rounds learns from them,
and one day is scored with the reasons of the thousand riskiest drives: here with one thread and with two, and on a
cluster whose two workers have a thread each, its scheduler and workers on the same machine. All three give the same
rows, features and risks, to the bit, or no time counts.

The cluster takes {ratios["dask_cpu"]} times the CPU seconds of one thread, its processes together. By the wall it was
{ratios["dask_speedup"]} times as fast as one thread and {ratios["dask_speedup_two_threads"]} times as fast as two.
It has the same two cores, and a part costs its opening and
planning for each question, however small it is: what a cluster brings is room, not speed. To start it and to put the
telemetry into {PARTS} parts is not counted."""
