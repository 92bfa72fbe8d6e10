"""The ledger as the review page sees it: opened to read only, never made, brought up to date or kept waiting."""

import json
import sqlite3
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from dashboards.answers import Answers
from data.errors import LedgerError
from decisions.domain import VmOutcome
from decisions.incidents.values import Incident
from decisions.ledger import listing, notices, queries
from decisions.ledger import schema as tables
from decisions.ledger.following import Following
from decisions.ledger.listing import Selection
from decisions.ledger.notices import ListedChannel
from decisions.ledger.record import last_control
from decisions.ledger.store import reading
from decisions.ledger.values import Asked, Brief, Cycle, ListedOrder, ListedProposal, Stop, load_breakers

KEPT: Final = 64
"""Answers about cycles."""
_NEWEST: Final = (
    select(tables.cycle.c.cycle_id, tables.cycle.c.asof_at)
    .order_by(tables.cycle.c.asof_at.desc(), tables.cycle.c.recorded_at.desc())
    .limit(1)
)
READ_ONLY: Final = {"mode": "ro", "uri": "true"}


class LedgerView:
    """A ledger at a SQLAlchemy URL, to be read."""

    def __init__(self, url: str) -> None:
        """Note the URL; nothing is opened before something is read.

        Raises:
            LedgerError: The URL makes no sense.
        """
        try:
            self._url = make_url(url)
            self._engine = _engine(self._url)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            msg = (
                f"The ledger's URL cannot be used: {error}. Use sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME."
            )
            raise LedgerError(msg) from error
        self._watched: PoolProxiedConnection | None = None
        self._times_opened = 0
        self._watching = Lock()
        self._kept: tuple[object, Answers] = None, Answers(KEPT)

    @contextmanager
    def open(self) -> Iterator["Reader | None"]:
        """One state of the ledger for as long as it is held; None when there is no ledger yet.

        Raises:
            LedgerError: The database cannot be read, or is of another version than this program.
        """
        if self._is_missing():
            yield None
            return
        with _readable(), reading(self._engine) as con:
            yield Reader(con, self._kept_of(con)) if _is_ours(con) else None

    def version(self) -> Hashable:
        """What changes with every change of the ledger, and hardly ever without; None when there is no ledger yet.

        Whatever was read after it was told is at least as new.

        Raises:
            LedgerError: The database cannot be read.
        """
        if self._is_missing():
            return None
        if self._url.get_backend_name() != "sqlite":
            with _readable(), self._engine.connect() as con:
                return str(con.execute(text("select pg_current_snapshot()::text")).scalar_one())
        with _readable(), self._watching:
            cursor = self._watch().cursor()
            cursor.execute("pragma data_version")  # counts what others have committed since this connection was opened
            return self._times_opened, cursor.fetchone()

    def _watch(self) -> PoolProxiedConnection:
        """A connection that is never used for anything else, on the file that is there now."""
        if self._watched is None or self._watched.info["file"] != _file(self._url):
            self._watched, self._times_opened = self._engine.raw_connection(), self._times_opened + 1
        return self._watched

    def _kept_of(self, con: Connection) -> Answers:
        """What is kept of the ledger that the connection is on; another one has nothing in common with it."""
        record, ledger = con.connection.info, self._kept
        if record.get("file") != ledger[0]:
            self._kept = ledger = record.get("file"), Answers(KEPT)
        return ledger[1]

    def _is_missing(self) -> bool:
        return self._url.get_backend_name() == "sqlite" and not Path(self._url.database or "").is_file()


@contextmanager
def _readable() -> Iterator[None]:
    """Says what to do where the database cannot be read."""
    try:
        yield
    except (DBAPIError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        msg = f"The ledger cannot be read: {cause}. Check the ledger's URL and who may read it."
        raise LedgerError(msg) from error


@dataclass(frozen=True)
class Reader:
    """What the page asks of one state of the ledger."""

    con: Connection
    kept: Answers
    """Of this ledger: what a cycle has written is never changed."""

    def cycle(self, after: datetime | None = None, until: datetime | None = None) -> Cycle | None:
        """The newest cycle that asked about a moment in (`after`, `until`], or None."""
        held = tables.cycle.c
        if after is None and until is None:
            newest = self.newest()
            return self._cycle_named(newest[0]) if newest is not None else None
        query = select(held.cycle_id).order_by(held.asof_at.desc(), held.recorded_at.desc()).limit(1)
        query = query.where(held.asof_at > after) if after is not None else query
        found = self.con.execute(query.where(held.asof_at <= until) if until is not None else query).scalar()
        return self._cycle_named(found) if found is not None else None

    def cycle_of(self, proposal_id: str) -> Cycle | None:
        """The cycle that made the proposal, or None."""
        held = tables.proposal.c
        found = self.con.execute(select(held.cycle_id).where(held.proposal_id == proposal_id)).scalar()
        return self._cycle_named(found) if found is not None else None

    def _cycle_named(self, cycle_id: str) -> Cycle:
        return self.kept.get(("cycle", cycle_id), lambda: self._cycle(cycle_id))

    def _cycle(self, cycle_id: str) -> Cycle:
        row = self.con.execute(select(tables.cycle).where(tables.cycle.c.cycle_id == cycle_id)).one()
        asked = select(func.count()).select_from(tables.proposal).where(tables.proposal.c.cycle_id == cycle_id)
        return Cycle(
            cycle_id=row.cycle_id,
            asof_at=row.asof_at,
            policy_version=row.policy_version,
            model_version=row.model_version,
            recorded_at=row.recorded_at,
            proposals=self.con.execute(asked).scalar_one(),
            blocked=json.loads(row.blocked),
            breakers=load_breakers(row.breakers),
        )

    def incidents(self, cycle_id: str) -> list[Incident]:
        """The incidents that were found before the cycle was decided, the most telling first."""
        where = [tables.incident.c.cycle_id == cycle_id]
        return self.kept.get(("incidents", cycle_id), lambda: queries.incidents(self.con, where))

    def incident(self, incident_id: str) -> Incident | None:
        """The incident as it was found last, or None."""
        found = queries.incidents(self.con, [tables.incident.c.incident_id == incident_id], 1)
        return found[0] if found else None

    def sharing(self, incident_id: str, now: datetime, limit: int) -> list[ListedProposal]:
        """Proposals of the newest cycle whose hosts share the incident's cause, in the order of the verdict."""
        cycle = self.cycle()
        if cycle is None:
            return []
        named = f'"incident_id":{json.dumps(incident_id)}'
        where = [tables.proposal.c.cycle_id == cycle.cycle_id, tables.proposal.c.body.contains(named, autoescape=True)]
        return queries.proposals(self.con, now, where, limit)

    def nights(self, limit: int) -> list[datetime]:
        """The moments that the newest cycles asked about, the newest first."""
        asked = tables.cycle.c.asof_at
        return list(self.con.execute(select(asked).distinct().order_by(asked.desc()).limit(limit)).scalars())

    def asked(self, cycle_id: str) -> tuple[Asked, ...]:
        """What the cycle proposed, in the order of the verdict."""
        return self.kept.get(("asked", cycle_id), lambda: queries.asked(self.con, cycle_id))

    def newest(self) -> tuple[str, datetime] | None:
        """The newest cycle and the moment it asked about."""
        row = self.con.execute(_NEWEST).first()
        return (row.cycle_id, row.asof_at) if row is not None else None

    def bodies(self, cycle_id: str, now: datetime) -> Iterator[str]:
        """The proposals of the cycle that have not expired, as they were written down, in the order of the verdict."""
        held = tables.proposal.c
        query = select(held.body).where(held.cycle_id == cycle_id, held.expires_at > now).order_by(held.rank)
        yield from self.con.execute(query).scalars()

    def listed(self, now: datetime, wanted: Selection, after: str | None, limit: int) -> list[ListedProposal]:
        """Proposals of all cycles that are wanted, as they stand `now`; raises as `listing.page`."""
        return listing.page(self.con, now, wanted, after, limit)

    def briefs(self, cycle_id: str, now: datetime) -> dict[str, Brief]:
        """Where those of the cycle's proposals stand `now` that have an order or a decision."""
        followed = self.kept.get(("followed", cycle_id), lambda: Following(cycle_id, self.asked(cycle_id)))
        return followed.briefs(self.con, now)

    def named(self, proposal_ids: Sequence[str], now: datetime) -> list[ListedProposal]:
        """The proposals of those ids as they stand `now`, in that order."""
        found = queries.proposals(self.con, now, [tables.proposal.c.proposal_id.in_(proposal_ids)], None)
        by_id = {each.proposal.proposal_id: each for each in found}
        return [by_id[each] for each in proposal_ids]

    def proposal(self, proposal_id: str, now: datetime) -> ListedProposal | None:
        """The proposal as it stands `now`, or None."""
        return queries.proposal(self.con, now, proposal_id)

    def outcomes(self, order_ids: Sequence[str]) -> dict[str, list[VmOutcome]]:
        """What became of the VMs of each order that has an outcome."""
        held = tables.outcome.c
        found: dict[str, list[VmOutcome]] = {}
        if not order_ids:
            return found
        for row in self.con.execute(select(tables.outcome).where(held.order_id.in_(order_ids)).order_by(held.vm_id)):
            outcome = VmOutcome(row.vm_id, row.result, row.target_host_id, row.pause_seconds, row.interrupted)
            found.setdefault(row.order_id, []).append(outcome)
        return found

    def orders(self, order_ids: Sequence[str]) -> dict[str, ListedOrder]:
        """Each order with its real start, where it stands and how its delivery goes."""
        held = queries.orders(self.con, [tables.orders.c.order_id.in_(order_ids)], None) if order_ids else []
        return {listed.order.order_id: listed for listed in held}

    def channels(self) -> list[ListedChannel]:
        """How each notification channel fares."""
        return notices.channels(self.con)

    @cached_property
    def stopped(self) -> Stop | None:
        """Who threw the kill switch, or None."""
        last = last_control(self.con)
        return Stop(last.set_by, last.reason, last.at) if last is not None and last.stopped else None


def _engine(url: URL) -> Engine:
    """An engine that cannot write."""
    if url.get_backend_name() != "sqlite":
        engine = create_engine(url, pool_pre_ping=True)
        event.listen(engine, "begin", _begin_read_only)
        return engine
    file = Path(url.database or "").absolute().as_uri()
    engine = create_engine(URL.create(url.drivername, database=file, query=READ_ONLY), max_overflow=-1)
    event.listen(engine, "connect", lambda connection, record: _prepare(connection, record, url))
    event.listen(engine, "checkout", lambda _connection, record, _proxy: _check(record, url))
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, record: ConnectionPoolEntry, url: URL) -> None:
    """Leave transactions to us, write nothing, and note which file it is."""
    connection.isolation_level = None
    connection.execute("pragma query_only = on")
    record.info["file"] = _file(url)


def _check(record: ConnectionPoolEntry, url: URL) -> None:
    """Open a file anew that has been replaced."""
    if record.info["file"] != _file(url):
        raise DisconnectionError


def _file(url: URL) -> tuple[int, int]:
    told = Path(url.database or "").stat()
    return told.st_dev, told.st_ino


def _begin(con: Connection) -> None:
    con.exec_driver_sql("begin")


def _begin_read_only(con: Connection) -> None:
    con.exec_driver_sql("set transaction read only")


def _is_ours(con: Connection) -> bool:
    held = _held_version(con)
    if held not in {None, tables.HEAD}:
        msg = f"The ledger is at version {held}, and this program reads {tables.HEAD}. Run one cycle with this program."
        raise LedgerError(msg)
    return held is not None


def _held_version(con: Connection) -> str | None:
    if con.dialect.name != "sqlite" and not inspect(con).has_table("alembic_version"):
        return None
    try:
        row = con.exec_driver_sql("select version_num from alembic_version").first()
    except OperationalError as error:
        if "no such table" in str(error.orig):
            return None
        raise
    return str(row[0]) if row is not None else None
