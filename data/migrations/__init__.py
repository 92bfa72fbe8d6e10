"""The warehouse's shape: numbered SQL files, each run once, in order, and never changed afterwards."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

import duckdb

from data.errors import MigrationError


@dataclass(frozen=True)
class _Migration:
    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def _migrations() -> list[_Migration]:
    found = [entry for entry in files("data.migrations").iterdir() if entry.name.endswith(".sql")]
    return sorted(
        (_Migration(int(entry.name[:4]), entry.name, entry.read_text(encoding="utf-8")) for entry in found),
        key=lambda migration: migration.number,
    )


def migrate(con: duckdb.DuckDBPyConnection) -> None:
    """Run the migrations that a warehouse has not had.

    Raises:
        MigrationError: one that already ran was changed afterwards.
    """
    con.execute(
        "create table if not exists schema_migration "
        "(number integer, name varchar, sha256 varchar, applied_at timestamptz)"
    )
    applied = dict(con.execute("select number, sha256 from schema_migration").fetchall())
    for migration in _migrations():
        if applied.get(migration.number, migration.sha256) != migration.sha256:
            msg = (
                f"Migration {migration.name} was changed after it had run on this warehouse. "
                "Put the file back as it was and make the change in a new migration."
            )
            raise MigrationError(msg)
        if migration.number not in applied:
            con.execute("begin")
            con.execute(migration.text)
            con.execute(
                "insert into schema_migration values (?, ?, ?, ?)",
                [migration.number, migration.name, migration.sha256, datetime.now(UTC)],
            )
            con.execute("commit")
