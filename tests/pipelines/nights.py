"""What the tests of whole nights share: a small trained fleet, its nights as commands, and its state to compare."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import duckdb
from sqlalchemy import create_engine, select

from data.simulator.fleet import FleetSpec
from decisions.ledger.schema import METADATA
from pipelines.clock import end_of
from pipelines.settings import Settings, load
from pipelines.steps import simulate
from pipelines.steps.world import ingest_world

SPEC = FleetSpec(hosts=80, vms=500, days=96, acceleration=40, dimms_per_host=0, gpus_per_host=0, disks_per_host=8)
UNTIL = SPEC.start + timedelta(days=90)
NIGHTS = tuple(UNTIL + timedelta(days=n) for n in (1, 2))
TRAIN = [["train", "disk", "--until", UNTIL.isoformat()]]
POLICY = """\
[earned]
live_migrate_precision_low = 0.01
[breaker]
fleet_share = 0.5
zone_share = 0.9
rack_share = 0.9
hardware_model_share = 0.9
drive_model_share = 0.9
firmware_share = 0.9
"""
DRIVER = Path(__file__).with_name("driver.py")
NOT_STATE = {"schema_migration"}
"""Tables that say when, not what."""


def copied(made: Path, home: Path) -> Settings:
    """The settings of a copy of a home, to write in."""
    shutil.copytree(made, home)
    return load(home / "foreshock.toml")


def build(home: Path) -> Settings:
    """A home whose fleet has been ingested for ninety days; no model yet."""
    home.mkdir(parents=True)
    (home / "policy.toml").write_text(POLICY, encoding="utf-8")
    (home / "foreshock.toml").write_text('home = "."\n[policy]\npath = "policy.toml"\n', encoding="utf-8")
    settings = load(home / "foreshock.toml")
    simulate.fleet(settings, SPEC)
    ingest_world(settings, end_of(UNTIL))
    return settings


def night(day: date) -> list[list[str]]:
    """One cycle as single commands, which go straight to their steps."""
    on = ["--on", day.isoformat()]
    steps = (["ingest"], ["settle"], ["score", "disk"], ["decide"], ["dispatch"], ["settle"])
    return [[*step, *on] for step in steps]


def command(home: Path, commands: list[list[str]], kill: str = "") -> int:
    """The exit code of a process that runs the commands one after another, killing itself at `kill`."""
    lines = [" ".join(one) for one in commands]
    env = {**_plain_environment(), "FORESHOCK_HOME": str(home)}
    with NamedTemporaryFile() as said:
        asked = {"point": kill, "commands": lines, "folder": str(home), "env": env, "said": said.name}
        forks = _driver()
        assert forks.stdin is not None
        assert forks.stdout is not None
        forks.stdin.write(json.dumps(asked) + "\n")
        forks.stdin.flush()
        code = int(forks.stdout.readline())
        assert code in {0, -9}, said.read().decode()[-3000:]
    return code


@cache
def _driver() -> "subprocess.Popen[str]":
    """What forks the processes; it ends with this one."""
    return subprocess.Popen(
        [sys.executable, str(DRIVER)],
        env=_plain_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _plain_environment() -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FORESHOCK", "PREFECT"))}
    return env | {"OMP_NUM_THREADS": "1"}


def hashes(home: Path) -> dict[str, str]:
    """Every file of the home, by content."""
    files = (file for file in sorted(home.rglob("*")) if file.is_file())
    return {str(file.relative_to(home)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def state(home: Path) -> dict[str, list[Any]]:
    """All that a night changes: the warehouse by entity name, the ledger, and what the executor's world did."""
    return {**warehouse(home), **ledger(load(home / "foreshock.toml").ledger_url), **world(home)}


def warehouse(home: Path) -> dict[str, list[Any]]:
    """Every table of the published snapshot, and of the warehouse, which must agree with it."""
    found = {}
    for file in ("published.duckdb", "warehouse.duckdb"):
        with duckdb.connect(str(home / file), read_only=True) as con:
            for (table,) in con.execute("select table_name from duckdb_tables() where not temporary").fetchall():
                if table not in NOT_STATE:
                    found[f"{file}.{table}"] = _rows(con, table)
    return found


def _rows(con: duckdb.DuckDBPyConnection, table: str) -> list[Any]:
    columns = [name for (name,) in con.execute(f"select column_name from (describe {table})").fetchall()]
    if table == "entity":
        query = "select * exclude (entity_key) from entity"
    elif "entity_key" in columns:
        query = f"select entity_id, t.* exclude (entity_key) from {table} t join entity using (entity_key)"
    else:
        query = f"select * from {table}"
    return sorted(con.execute(query).fetchall(), key=repr)


def ledger(url: str) -> dict[str, list[Any]]:
    """Every table of the ledger, but for what depends on kills: numbers given by the database, tries, and the chain."""
    left_out = {"outbox": {"attempts", "lease_until"}, "history": {"record", "previous_hash", "hash"}}
    found = {}
    engine = create_engine(url)
    with engine.connect() as con:
        for table in METADATA.sorted_tables:
            given = {table.autoincrement_column.name} if table.autoincrement_column is not None else set()
            names = [column for column in table.c if column.name not in left_out.get(table.name, given)]
            found[f"ledger.{table.name}"] = sorted(map(tuple, con.execute(select(*names))), key=repr)
    engine.dispose()
    return found


def world(home: Path) -> dict[str, list[Any]]:
    """What stands where in the simulated world, and what became of every order."""
    con = sqlite3.connect(home / "world.db")
    tables = ("host", "vm", "work", "work_vm", "interruption")
    found = {f"world.{table}": sorted(con.execute(f"select * from {table}").fetchall(), key=repr) for table in tables}
    con.close()
    return found


def differences(one: dict[str, list[Any]], other: dict[str, list[Any]]) -> dict[str, tuple[list[Any], list[Any]]]:
    """Tables that differ, with a few rows that only one side has."""
    return {
        table: (
            [r for r in one[table] if r not in other[table]][:3],
            [r for r in other[table] if r not in one[table]][:3],
        )
        for table in one
        if one[table] != other.get(table)
    } | {table: ([], other[table][:3]) for table in other.keys() - one.keys()}
