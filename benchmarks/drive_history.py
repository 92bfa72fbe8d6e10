"""Drive histories that several jobs measure on: as warehouses, and as plain daily rows for peers.

Prepared once in a folder: `home` (a published warehouse), `daily.duckdb` (the same rows in the published order, and in
order of drive and day), `daily.parquet` (the latter), and who is asked about when: `spine.parquet`, `question.json`.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data.catalog import catalog
from data.snapshots import PUBLISHED, empty, read
from data.sources import backblaze
from data.warehouse import Warehouse
from features import build
from models import spec
from models.windows import end_of

logger = logging.getLogger(__name__)

_READY: Final = "question.json"
_open: Final = ExitStack()


@dataclass(frozen=True)
class History:
    """A prepared folder and what is in it."""

    folder: Path
    rows: int
    drives: int
    pairs: int


@dataclass(frozen=True)
class Question:
    """Whom training asks about: once a week, healthy drives sampled as `models/disk.toml` says."""

    days: tuple[date, ...]
    known_until: datetime
    share: float
    positive_days: int
    seed: int

    def spine(self, con: duckdb.DuckDBPyConnection) -> pa.Table:
        """The pairs of drive and moment."""
        return build.spine(
            con, "disk", self.days, negative_share=self.share, positive_days=self.positive_days,
            known_until=self.known_until, seed=self.seed,
        )  # fmt: skip


def question(folder: Path) -> Question:
    """What a prepared folder is asked."""
    raw = json.loads((folder / _READY).read_text())
    return Question(
        tuple(date.fromisoformat(day) for day in raw["days"]), datetime.fromisoformat(raw["known_until"]), raw["share"],
        raw["positive_days"], raw["seed"],
    )  # fmt: skip


def opened(folder: str, memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """A connection on a prepared warehouse that stays open as long as the process."""
    return _open.enter_context(read(Path(folder) / "home", memory_limit=memory_limit))


def emptied() -> duckdb.DuckDBPyConnection:
    """A connection on an empty warehouse that stays open as long as the process."""
    return _open.enter_context(empty())


def last_day(folder: str) -> date:
    """The newest day held."""
    ((day,),) = opened(folder).execute("select max(day) from disk_day").fetchall()
    found: date = day
    return found


def history(folder: Path, files: Sequence[Path], first_asked: date | None = None) -> History:
    """The folder, prepared from files in the Drive Stats format where that has not been done."""
    if not (folder / _READY).exists():
        logger.info("preparing %s", folder)
        _ingest(folder / "home", files)
        _daily(folder)
        with read(folder / "home") as con:
            _ask(con, folder, first_asked)
    with duckdb.connect(str(folder / "daily.duckdb"), read_only=True) as con:
        ((rows, drives),) = con.execute("select count(*), count(distinct entity_key) from by_drive").fetchall()
    return History(folder, rows, drives, pq.read_metadata(folder / "spine.parquet").num_rows)


def expanded(telemetry: Path, folder: Path, fraction: float = 1.0) -> list[Path]:
    """The long history of the telemetry as daily rows of that share of its drives, in order of time."""
    if not folder.exists():
        draft = folder.with_name(f"{folder.name}.draft")
        command = [sys.executable, str(telemetry / "disk" / "expand.py"), str(draft), "--fraction", str(fraction)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        draft.rename(folder)
    return sorted(folder.rglob("*.parquet"))


def simulated(folder: Path, drives: int, days: int) -> list[Path]:
    """A made-up history in the same format: rare jumps of some counters, one drive in five fails."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "simulated.parquet"
    if not file.exists():
        jump = "case when hash(drive, day, {0}) % 50 = 0 then hash(drive, {0}) % 9 else 0 end"
        total = f"sum({jump}) over (partition by drive order by day)::bigint as smart_{{0}}_raw"
        with duckdb.connect() as con:
            con.execute(
                f"""
                copy (
                    select date '2015-01-01' + day::integer as date, 'S' || drive as serial_number,
                           'SIM' || drive % 3 as model, 4000000000000 as capacity_bytes,
                           (drive % 5 = 0 and day = drive * 37 % $days)::integer as failure,
                           100 + 24 * day as smart_9_raw, 20 + hash(day, drive) % 9 as smart_194_raw,
                           {", ".join(total.format(number) for number in (5, 187, 197))}
                    from range($drives) a(drive), range($days) b(day)
                    where drive % 5 > 0 or day <= drive * 37 % $days
                    order by date, drive
                ) to '{file}' (format parquet)""",  # noqa: S608 - our own file's name
                {"drives": drives, "days": days},
            ).fetchall()
    return [file]


def _ingest(home: Path, files: Sequence[Path]) -> None:
    if (home / PUBLISHED).exists():
        return
    with Warehouse.open(home) as warehouse:
        for name, rows in backblaze.load(warehouse, files, now=datetime.now(UTC)):
            logger.info("%s: %d rows", name, rows.rows_loaded)
        warehouse.publish()


def _daily(folder: Path) -> None:
    """Write the daily rows out of the facts held, which spell them out."""
    counters = ", ".join(f"disk_change.{stem}_raw" for stem in catalog("disk").counters)
    gauges = ", ".join(f"disk_day.{stem}_raw" for stem in catalog("disk").gauges)
    target = folder / "daily.duckdb"
    target.unlink(missing_ok=True)
    with duckdb.connect(str(target)) as con:
        con.execute("set time zone 'UTC'; set memory_limit = '4GB'").fetchall()
        con.execute(f"attach '{(folder / 'home' / PUBLISHED).resolve()}' as facts (read_only)").fetchall()
        con.execute(
            "create table by_drive as "  # noqa: S608 - names of our own columns
            f"select disk_day.entity_key, disk_day.day, disk_day.ingested_at, {gauges}, {counters} "
            "from facts.disk_day asof join facts.disk_change on disk_change.entity_key = disk_day.entity_key "
            "and disk_day.day >= disk_change.from_day order by disk_day.entity_key, disk_day.day"
        ).fetchall()
        con.execute("create table daily as from by_drive order by day, entity_key").fetchall()
        con.execute("create table entity as from facts.entity").fetchall()
        con.execute("create table failure as from facts.failure").fetchall()
        con.execute("create temp view plain as select * exclude (ingested_at) from by_drive").fetchall()
        con.execute(f"copy (from plain) to '{folder / 'daily.parquet'}' (format parquet)").fetchall()


def _ask(con: duckdb.DuckDBPyConnection, folder: Path, first_asked: date | None) -> None:
    recipe = spec.load("disk")
    ((first, last),) = con.execute("select min(day), max(day) from disk_day").fetchall()
    begin, end = max(first + timedelta(days=7), first_asked or first), last - timedelta(days=recipe.rank_horizon_days)
    weeks = range((end - begin).days // recipe.snapshot_every_days, -1, -1)
    days = [end - timedelta(days=recipe.snapshot_every_days * back) for back in weeks]
    asked: dict[str, Any] = {
        "days": [day.isoformat() for day in days],
        "known_until": end_of(last).isoformat(),
        "share": recipe.negative_share,
        "positive_days": recipe.rank_horizon_days,
        "seed": recipe.seed,
    }
    draft = folder / "question.draft"
    draft.write_text(json.dumps(asked))
    draft.rename(folder / _READY)
    pq.write_table(question(folder).spine(con), folder / "spine.parquet")
