"""A simulated fleet of any size, cheaply: a small one goes the product's own way, and is then copied.

The template is simulated, ingested, trained on and scored for a month by the product itself. A copy of it is another
zone: hosts, VMs, drives, failures and past risks come again under names of their own; makes, firmware and lots are
shared. No two drives are alike, since each copy's gauges are shifted: so risks differ as well.
"""

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import duckdb

from data.contracts import INVENTORY
from data.simulator.fleet import FleetSpec
from data.simulator.world import World
from data.snapshots import PUBLISHED, arrow
from data.warehouse import Warehouse
from models import registry
from models.predictor import Predictor
from pipelines.clock import end_of
from pipelines.executors.opened import world_path
from pipelines.settings import ExecutorSettings, LedgerSettings, PolicySettings, Settings
from pipelines.steps import simulate
from pipelines.steps.ingest import open_warehouse
from pipelines.steps.score import score_with
from pipelines.steps.train import train
from pipelines.steps.world import ingest_world

START: Final = date(2026, 1, 1)
_MADE: Final = "(select range as copy, '-' || lpad(range::varchar, 3, '0') as suffix from range($copies)) made"
DISKS_PER_HOST: Final = 10
VMS_PER_HOST: Final = 10
LEARNABLE_HOSTS: Final = 5_000
"""Of ordinary hosts so many tell a model enough; the parts of a smaller template fail so much more often."""
SCORED_DAYS: Final = 30
"""Risks of so many days are held, because a decision looks for when each part came to be at risk."""
READY: Final = "ready"

_KEY: Final = "entity_key + copy * (select max(entity_key) from template.entity) as entity_key"
_READINGS: Final = ", ".join(
    f"{name} + {step} * copy as {name}"
    for name, step in {
        "smart_9_raw": 41,
        "smart_193_raw": 57,
        "smart_241_raw": 1_000_003,
        "smart_242_raw": 3_000_017,
    }.items()
)
_OWN: Final[Mapping[str, str]] = {
    "entity": f"{_KEY}, entity_id || suffix as entity_id",
    "host": ", ".join(f"{name} || suffix as {name}" for name in ("host_id", "cluster", "zone", "power_feed", "switch")),
    "vm": ", ".join(f"{name} || suffix as {name}" for name in ("vm_id", "host_id", "availability_set")),
    "entity_host": f"{_KEY}, host_id || suffix as host_id",
    "failure": _KEY,
    "entity_version": _KEY,
    "disk_current": _KEY,
    "disk_superseded": _KEY,
    "risk": _KEY,
    "disk_day": f"{_KEY}, {_READINGS}",
}
"""By table, the columns in which a copy differs from the template."""
_BY_DAY: Final = {"disk_day": "day", "risk": "asof_at"}
"""Tables whose rows stand day by day, and the column that says which."""
_ENDS: Final = {
    "disk_day": "day < $until",
    "risk": "asof_at <= $until",
    "disk_current": "own.from_day < $until",
    "disk_superseded": "own.until_day < $until",
    "failure": "own.failed_at <= $until",
}
"""What had been told by the moment at which a history ends."""
_THEN: Final = {
    "disk_current": "(from template.disk_current union all by name select * exclude (until_day) "
    "from template.disk_superseded where until_day >= $until and until_day < '9999-12-31')"
}
"""Where a table's rows of that moment stand, if others have taken their place since; of templates without late days."""


@dataclass(frozen=True)
class Template:
    """A small home that is held ready, and the day after its last one."""

    home: Path
    spec: FleetSpec
    history: int
    """Days that are ingested; one more is written and not."""

    @property
    def night(self) -> date:
        """The first day that is not ingested."""
        return self.spec.start + timedelta(days=self.history)


def settings_of(home: Path, memory_limit: str = "4GB") -> Settings:
    """Settings that keep everything in the home, whatever the surroundings say."""
    found = Settings().model_copy(
        update={"home": home, "policy": PolicySettings(), "ledger": LedgerSettings(), "sources": (), "notify": ()}
    )
    warehouse = found.warehouse.model_copy(update={"memory_limit": memory_limit})
    return found.model_copy(update={"warehouse": warehouse, "executor": ExecutorSettings()})


def template(folder: Path, hosts: int, history: int, *, judged: bool = True) -> Template:
    """The template in the folder, made if it is not there: with a champion and a month of its risks if `judged`."""
    spec = FleetSpec(
        hosts=hosts,
        vms=VMS_PER_HOST * hosts,
        days=history + 1,
        start=START,
        disks_per_host=DISKS_PER_HOST,
        dimms_per_host=0,
        gpus_per_host=0,
        acceleration=max(1.0, LEARNABLE_HOSTS / hosts),
    )
    home = folder / f"template-{hosts}-{history}{'-judged' if judged else ''}"
    found = Template(home, spec, history)
    if not (home / READY).exists():
        shutil.rmtree(home, ignore_errors=True)
        settings = settings_of(home)
        simulate.fleet(settings, spec)
        ingest_world(settings, end_of(found.night - timedelta(days=1)))
        if judged:
            _judge(settings, found)
        (home / READY).touch()
    return found


def _judge(settings: Settings, made: Template) -> None:
    """Train a model and tell its risks of the last day, which then stand for those of the days before as well."""
    train(settings, "disk", made.night - timedelta(days=SCORED_DAYS))
    for predictor in believed(settings).values():
        score_with(settings, predictor, [end_of(made.night) - timedelta(days=1)], reasons=0)
    with open_warehouse(settings) as warehouse:
        warehouse.con.execute(
            "insert into risk select risk.* replace (asof_at - to_days(back::integer) as asof_at) "
            "from risk, range($days, 0, -1) earlier(back) order by all",
            {"days": SCORED_DAYS - 1},
        )
        warehouse.publish()


def believed(settings: Settings) -> dict[str, Predictor]:
    """The template's model, by component; where it is too small a fleet for the gates, also if it missed one."""
    return {"disk": registry.load(settings.home, "disk", registry.CHALLENGER)}


def copied(made: Template, home: Path, copies: int, *, days: int, memory_limit: str = "4GB") -> Settings:
    """A home with so many copies that a night can be run in: their last days, a world, a champion, and a new day."""
    settings = settings_of(home, memory_limit)
    if (home / READY).exists():
        return settings
    held(made, home, copies, first=made.night - timedelta(days=days), until=made.night)
    with Warehouse.open(home, memory_limit=memory_limit) as warehouse:
        _world(made, settings, warehouse.con, copies)
    telemetry = home / simulate.FOLDER / "telemetry"
    for kind in ("disk", "events", "failures"):
        (telemetry / kind).mkdir(parents=True)
        shutil.copyfile(_told(made, kind, made.night), telemetry / kind / f"{made.night}.parquet")
    day(made, made.night, copies, telemetry / "disk" / f"{made.night}.parquet")
    for name in ("mlflow.db", "mlartifacts"):
        (home / name).symlink_to((made.home / name).resolve())
    (home / READY).touch()
    return settings


def held(made: Template, home: Path, copies: int, *, first: date, until: date, memory_limit: str = "4GB") -> None:
    """Make a home anew in which so many copies are held and published: gauges from `first` on, all before `until`."""
    shutil.rmtree(home, ignore_errors=True)
    with Warehouse.open(home, memory_limit=memory_limit) as warehouse:
        with attached(warehouse, made):
            for table in _OWN:
                put(warehouse.con, table, copies, first=first, until=until)
            warehouse.con.execute("insert into ingest_file select * from template.ingest_file")
            warehouse.con.execute("select max(nextval('entity_key_seq')) from entity")
        warehouse.publish()


@contextmanager
def attached(warehouse: Warehouse, made: Template) -> Iterator[None]:
    """While it holds, the template's tables stand beside the warehouse's, as `template`."""
    warehouse.con.execute(f"attach '{(made.home / PUBLISHED).resolve()}' as template (read_only)")
    yield
    warehouse.con.execute("detach template")


def put(con: duckdb.DuckDBPyConnection, table: str, copies: int, *, first: date, until: date) -> None:
    """Copy a table, of facts those before `until`; of one that stands day by day, each day by itself, from `first`."""
    column, ends = _BY_DAY.get(table), _ENDS.get(table)
    source = _THEN.get(table, f"template.{table}")
    query = f"insert into {table} by name select own.* replace ({_OWN[table]}) from {source} own, {_MADE}"  # noqa: S608
    moments: list[tuple[object]] = []
    if column:
        query += f" where own.{column} = $moment"
        days = f"select distinct {column} from template.{table} where {column} >= $first and {ends} order by 1"  # noqa: S608
        moments = con.execute(days, {"first": first, "until": until}).fetchall()
    elif ends:
        query += f" where {ends}"
    for moment in moments or [(None,)]:
        values = {"copies": copies, "moment": moment[0], "until": until}
        con.execute(query, {name: value for name, value in values.items() if f"${name}" in query})


def day(made: Template, on: date, copies: int, file: Path) -> None:
    """Write the readings of one of the template's days, of all copies, as they are published."""
    with duckdb.connect() as con:
        con.execute(
            f"copy (select own.* replace (serial_number || suffix as serial_number, {_READINGS}) "  # noqa: S608
            f"from read_parquet($told) own, {_MADE}) to $file (format parquet)",
            {"told": str(_told(made, "disk", on)), "copies": copies, "file": str(file)},
        )


def _told(made: Template, kind: str, on: date) -> Path:
    return made.home / simulate.FOLDER / "telemetry" / kind / f"{on}.parquet"


def _world(made: Template, settings: Settings, con: duckdb.DuckDBPyConnection, copies: int) -> None:
    """Make the world of the copies, at the end of their history, with the failures that are to come."""
    with closing(sqlite3.connect(world_path(settings_of(made.home)))) as world:
        rows = world.execute("select component, entity_id, failed_at, cause, replacement_id from failure").fetchall()
    con.execute(
        "create temp table coming (component text, entity_id text, failed_at bigint, cause text, replacement_id text)"
    )
    con.executemany("insert into coming values (?, ?, ?, ?, ?)", rows)
    failures = arrow(
        con,
        "select component, entity_id || suffix as entity_id, make_timestamptz(failed_at) as failed_at, cause, "  # noqa: S608
        f"replacement_id || suffix as replacement_id from coming, {_MADE}",
        {"copies": copies},
    )
    queries = {
        "hosts": "select * from host where valid_until is null",
        "vms": "select * from vm where valid_until is null",
        "entities": "select * from entity join entity_host using (entity_key) where valid_until is null",
    }
    tables = {
        name: arrow(con, f"select {', '.join(INVENTORY[name].names)} from ({query})")  # noqa: S608
        for name, query in queries.items()
    }
    World.create(world_path(settings), tables, failures, end_of(made.night) - timedelta(days=1), made.spec.seed).close()
