"""Ingest from a simulated world: it is moved to the asked moment, and what it has told by then is taken in.

A day's drive readings go in last, so a day that is held is held whole; a repeat finds nothing new.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from data.contracts import INVENTORY
from data.readings import Absorbed
from data.simulator.world import World
from data.sources import backblaze, parquet
from data.warehouse import Warehouse
from pipelines.clock import end_of, last_day
from pipelines.executors.opened import world_path
from pipelines.settings import Settings
from pipelines.steps.ingest import IngestReport, open_warehouse, reported, set_aside
from pipelines.steps.simulate import folder

if TYPE_CHECKING:
    import duckdb

SOURCE: Final = "simulated"
BATCH_DAYS: Final = 30
"""Days that go in as one transaction when many are due."""


def has_world(settings: Settings) -> bool:
    """Whether the home has a simulated world."""
    return world_path(settings).exists()


def ingest_world(settings: Settings, until: datetime) -> IngestReport:
    """What became of the rows that the world has told by `until`, with its inventory on the way and at that moment.

    A fleet's inventory of its first day goes in before anything else, and a picture of the world is taken after each
    batch of days, so that every day's question knows roughly who sat where. An earlier moment than the world's own adds
    readings only: where VMs were then is known already, or lost.
    """
    started = time.monotonic()
    files, rows = 0, Absorbed()
    with World.open(world_path(settings)) as world, open_warehouse(settings) as warehouse:
        held = set_aside(warehouse)
        _first_picture(settings, warehouse, world)
        _missed_picture(warehouse, world)
        for days in _batches(_due(settings, warehouse.con, until)):
            ends = end_of(days[-1])
            world.advance(ends)
            files, rows = files + 3 * len(days), rows + _take(warehouse, folder(settings) / "telemetry", days, until)
            _picture(warehouse, world, ends)
        world.advance(until)
        _picture(warehouse, world, until)
        warehouse.publish()  # also when nothing is new: the last run may have died before this line
        new = set_aside(warehouse) - held
    return reported(files, rows, started, new)


def _first_picture(settings: Settings, warehouse: Warehouse, world: World) -> None:
    """Take in the fleet's inventory of its first day, where none is held; an overlay brought its own."""
    inventory = folder(settings) / "inventory"
    none_held = warehouse.con.execute("select count(*) from host").fetchall() == [(0,)]
    if none_held and inventory.is_dir():
        _take_picture(
            warehouse, {name: pq.read_table(inventory / f"{name}.parquet") for name in INVENTORY}, world.started_at
        )


def _missed_picture(warehouse: Warehouse, world: World) -> None:
    """Take the picture that a run did not live to take, between a batch of days and the next."""
    held = last_day(warehouse.con)
    if held is not None:
        _picture(warehouse, world, end_of(held))


def _picture(warehouse: Warehouse, world: World, at: datetime) -> None:
    """Take the inventory in if the world stands at `at`: once, so that what a cycle does is not what it sees."""
    held = "select count(*) from ingest_file where source = $source and file = 'inventory' and ingested_at = $at"
    if world.now == at and warehouse.con.execute(held, {"source": SOURCE, "at": at}).fetchall() == [(0,)]:
        _take_picture(warehouse, world.inventory(), at)


def _take_picture(warehouse: Warehouse, tables: Mapping[str, pa.Table], at: datetime) -> None:
    changed = warehouse.put_inventory(tables["hosts"], tables["vms"], tables["entities"], at=at)
    read = sum(table.num_rows for table in tables.values())
    loaded = min(changed, read)
    with warehouse.transaction() as con:
        values = [at, SOURCE, read, loaded, read - loaded]
        con.execute("insert into ingest_file values (?, ?, 'inventory', ?, ?, ?, 0)", values)


def last_told(settings: Settings) -> date | None:
    """The last day that the simulated fleet has telemetry of; null for an overlay, whose telemetry is real."""
    days = _told(settings)
    return days[-1] if days else None


def _due(settings: Settings, con: "duckdb.DuckDBPyConnection", until: datetime) -> list[date]:
    """Days that have ended by `until` and are not held, in order."""
    held = last_day(con)
    last = until.date() - timedelta(days=1)
    return [day for day in _told(settings) if day <= last and (held is None or day > held)]


def _told(settings: Settings) -> list[date]:
    files = (folder(settings) / "telemetry" / "disk").glob("*.parquet")
    return sorted(date.fromisoformat(file.stem) for file in files)


def _batches(days: Sequence[date]) -> list[Sequence[date]]:
    return [days[first : first + BATCH_DAYS] for first in range(0, len(days), BATCH_DAYS)]


def _take(warehouse: Warehouse, telemetry: Path, days: Sequence[date], now: datetime) -> Absorbed:
    rows = Absorbed()
    with tempfile.TemporaryDirectory(prefix="foreshock-") as scratch:
        for kind in ("events", "failures"):
            rows += parquet.load(warehouse, kind, _joined(telemetry / kind, days, Path(scratch)))
        file = _joined(telemetry / "disk", days, Path(scratch))
        for _, part in backblaze.load(warehouse, [file], now=now):
            rows += part
    return rows


def _joined(source: Path, days: Sequence[date], scratch: Path) -> Path:
    """One file with the rows of all the days: one transaction instead of many."""
    files = [source / f"{day}.parquet" for day in days]
    if len(files) == 1:
        return files[0]
    joined = scratch / f"{source.name} {days[0]} to {days[-1]}.parquet"
    with pq.ParquetWriter(joined, pq.read_schema(files[0])) as writer:
        for file in files:
            writer.write_table(pq.read_table(file))
    return joined
