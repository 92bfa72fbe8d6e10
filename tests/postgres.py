"""A real PostgreSQL for tests: Debian's own, on a unix socket, which ends with the process that started it."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, Result, Row, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from decisions.ledger import Ledger
from tests.daemons import until

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
BY_LANGUAGE = "encoding 'UTF8' locale_provider icu icu_locale 'en-US'"
"""Texts are sorted as a dictionary does, not by their bytes as SQLite does: what relies on the latter shows."""
QUICK = ("fsync=off", "full_page_writes=off", "shared_buffers=32MB", "listen_addresses=", "max_connections=200")
ON_POSTGRESQL = pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.postgresql])
"""Makes a test run on PostgreSQL, too."""
_numbers = count()


@dataclass
class Postgres:
    """A server, by the folder of its socket; whoever asks for a database gets a new one."""

    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    def url(self, database: str, driver: str = "postgresql+psycopg") -> str:
        """The SQLAlchemy URL of a database."""
        return f"{driver}://postgres@/{database}?host={self.folder}"

    def empty(self, how: str = BY_LANGUAGE) -> str:
        """The URL of a new database with nothing in it."""
        return self.copy(self.url("template0"), how)

    def copy(self, url: str, how: str = "") -> str:
        """The URL of a new database with what is in that one, which nobody may have open."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self.administer(f"create database {name} template {make_url(url).database} {how}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Forget a database, whoever has it open."""
        self.administer(f"drop database if exists {make_url(url).database} with (force)")

    def administer(self, statement: str) -> None:
        """Run a statement as the server's administrator."""
        self._run(statement)

    def ask(self, query: str) -> Sequence[Row[Any]]:
        """The rows of a query of the server's administrator."""
        return self._run(query).all()

    def _run(self, statement: str) -> Result[Any]:
        engine = create_engine(self.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as con:
            done = con.execute(text(statement))
            return done.freeze()() if done.returns_rows else done

    def start(self) -> None:
        """Let it serve; it ends when this process does, however that comes about."""
        settings = [word for setting in QUICK for word in ("-c", setting)]
        command = [str(PROGRAMS[-1] / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder), *settings]
        with (self.folder / "log").open("ab") as said:
            self.process = subprocess.Popen(
                [*_as_postgres("--pdeathsig", "INT"), *command], cwd=self.folder, stdout=said, stderr=subprocess.STDOUT
            )
        until(self._answers, "PostgreSQL answers")

    def stop(self) -> None:
        """End it at once, whoever is connected."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
            self.process = None

    def _answers(self) -> bool:
        try:
            self.administer("select 1")
        except OperationalError:
            return False
        return True


@contextmanager
def server() -> Iterator[Postgres]:
    """A server while the block lasts; skips the test, saying what to install, where there is none."""
    if not PROGRAMS:
        pytest.skip("no PostgreSQL here: make daemons, or apt-get install postgresql-15")
    folder = Path(tempfile.mkdtemp(prefix="foreshock-postgres-", dir="/tmp"))  # sockets want short paths
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        made = [str(PROGRAMS[-1] / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "--no-sync"]
        command = [*_as_postgres(), *made, "-E", "UTF8", "--locale", "C.UTF-8"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = Postgres(folder)
        found.start()
        try:
            yield found
        finally:
            found.stop()
    finally:
        shutil.rmtree(folder)


def migrated(postgres: Postgres) -> str:
    """The URL of a database with an empty ledger, which can be copied."""
    url = postgres.empty()
    Ledger(url).close()
    return url


def _as_postgres(*more: str) -> Sequence[str]:
    """How a command is run that must not be run by root."""
    who = ("--reuid=postgres", "--regid=postgres", "--init-groups") if os.getuid() == 0 else ()
    return ["setpriv", *who, *more]
