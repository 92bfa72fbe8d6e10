"""A simulated fleet written to files, as real fleets arrive: daily drive readings, events, failures, inventory."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.contracts import FAILURES
from data.simulator.disks import readings
from data.simulator.events import events
from data.simulator.fleet import Fleet
from data.simulator.parts import texts
from data.simulator.plants import members
from data.simulator.truth import failures

DAY: Final = timedelta(days=1)
PLANTED: Final = "planted.json"


@dataclass(frozen=True)
class Written:
    """What `write` put down: counts of rows, and how many failures fall within the days written."""

    disk_rows: int
    event_rows: int
    failures: int
    days: int
    truth: Path
    """Ground truth: never to be ingested."""


def write(fleet: Fleet, out_dir: Path) -> Written:
    """Counts of what was written under `out_dir`; the same fleet writes the same rows, over what is there.

    - `telemetry/disk/YYYY-MM-DD.parquet`: drive readings as Backblaze publishes them, one file a day.
    - `telemetry/events/YYYY-MM-DD.parquet`: `data.contracts.EVENTS`, ingested at the end of the day observed.
    - `telemetry/failures/YYYY-MM-DD.parquet`: `data.contracts.FAILURES` of everything but drives, whose failures are in
      their readings; failed at the moment, ingested at the end of that day.
    - `inventory/{hosts,vms,entities}.parquet`: the fleet as the first day begins.
    - `truth.parquet`: every failure to come with what announces it (`data.simulator.truth.TRUTH`), beside the
      telemetry so that no ingest of `telemetry/` can see it.
    - `planted.json`: the planted causes with the parts and hosts that have what each one names, where there are any.
    """
    truth = failures(fleet)
    folders = {name: out_dir / "telemetry" / name for name in ("disk", "events", "failures")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    disk_rows = 0
    for day, table in readings(fleet, truth):
        pq.write_table(table, folders["disk"] / f"{day}.parquet", compression="snappy")
        disk_rows += table.num_rows
    all_events = events(fleet, truth)
    _by_day(fleet, all_events, "observed_at", folders["events"])
    _by_day(fleet, _reported(truth), "failed_at", folders["failures"])
    write_tables(fleet.tables(), out_dir / "inventory")
    pq.write_table(truth, out_dir / "truth.parquet")
    if fleet.spec.planted:
        (out_dir / PLANTED).write_text(json.dumps(_planted(fleet), indent=1) + "\n", encoding="utf-8")
    ends = fleet.spec.start_at + fleet.spec.days * DAY
    seen = sum(row["failed_at"] < ends for row in truth.to_pylist())
    return Written(disk_rows, all_events.num_rows, seen, fleet.spec.days, out_dir / "truth.parquet")


def _planted(fleet: Fleet) -> list[dict[str, Any]]:
    """Each planted cause as JSON, with what it is about."""
    told = []
    for plant in fleet.spec.planted:
        parts = fleet.entities.filter(pa.array(members(plant, fleet.hosts, fleet.entities)))
        from_at = (fleet.spec.start_at + plant.from_day * DAY).isoformat()
        hosts = sorted(set(texts(parts, "host_id")))
        told.append(
            {"shared": dict(plant.shared), "factor": plant.factor, "from_at": from_at, "parts": parts.num_rows}
            | {"hosts": hosts}
        )
    return told


def write_tables(tables: Mapping[str, pa.Table], out_dir: Path) -> None:
    """One Parquet file per table, named after it, for the inventory source."""
    out_dir.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, out_dir / f"{name}.parquet")


def _reported(truth: pa.Table) -> pa.Table:
    rows = [row for row in truth.to_pylist() if row["component"] != "disk"]
    for row in rows:
        row["ingested_at"] = _end_of_day(row["failed_at"])
    return pa.Table.from_pylist(rows, schema=FAILURES)


def _end_of_day(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) + DAY


def _by_day(fleet: Fleet, table: pa.Table, column: str, folder: Path) -> None:
    """One file for each day, also for days on which nothing happened; `table` is in order of `column`."""
    for day in range(fleet.spec.days):
        begins = fleet.spec.start_at + day * DAY
        moments = table[column]
        inside = pc.and_(pc.greater_equal(moments, pa.scalar(begins)), pc.less(moments, pa.scalar(begins + DAY)))
        pq.write_table(table.filter(inside), folder / f"{begins.date()}.parquet")
