"""Settle: what became of orders and hosts comes back, and episodes close.

Answers go into the ledger first, one transaction each; what follows from them (mitigations in the warehouse, closed
episodes) is worked out from the ledger and the snapshot as they stand, so a repeat after a kill completes it.
"""

import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from data.contracts import UTC
from data.errors import ExecutorError
from decisions.actions import MOVES
from decisions.domain import UNDER_WAY, Answer, BadAnswer, OrderState
from decisions.ledger import Ledger
from decisions.ledger.values import Episode, ListedOrder
from pipelines import ledgers
from pipelines.executors import SomeUnusable
from pipelines.executors.opened import opened
from pipelines.settings import Settings
from pipelines.snapshot import snapshot
from pipelines.steps.ingest import open_warehouse

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

DONE: Final = (OrderState.COMPLETED, OrderState.FAILED)
NEWEST: Final = 1_000
"""Finished orders looked at, the newest first: far more than can finish between two runs."""
WATCH_DAYS: Final = 30
"""How long a host that was emptied is watched for the failure that was foretold: the longest horizon."""
ASK_DAYS: Final = 7
"""How long the executor is asked about an order that was handed over and, as far as we know, came to nothing."""
QUIET_DAYS: Final = 7
"""A host that has been looked at on so many days since it was last proposed is no longer at risk.

One that the inventory has not told of for so long does not come back.
"""

_COLUMNS: Final[list[tuple[str, pa.DataType]]] = [
    ("order_id", pa.string()),
    ("host_id", pa.string()),
    ("action", pa.string()),
    ("started_at", UTC),
    ("finished_at", UTC),
]
MITIGATION: Final = pa.schema(_COLUMNS)


@dataclass(frozen=True)
class SettleReport:
    """Episodes closed, labels that became known or uncertain, and what executor and VMs answered."""

    closed: int
    labels_added: int
    """Failures that closed an episode, and mitigations, after which labels are uncertain."""
    why: Mapping[str, int]
    """Closed episodes by how they ended: `failed`, `mitigated` (emptied, and did not fail), `recovered`, `gone`."""
    orders: Mapping[str, int]
    """Orders that came to a new state, by state."""
    outcomes: Mapping[str, int]
    """VMs of orders that ended now, by result."""
    hosts: Mapping[str, int]
    """Hosts of orders that ended now, by how the executor says that they were left: `empty`, `repair`, ..."""
    seconds: float
    unanswered: str | None = None
    """Why the executor could not be asked what became of its orders."""
    bad: tuple[BadAnswer, ...] = ()
    """What the executor answered that is of no use; the other answers were taken."""


def settle(settings: Settings, now: datetime, *, patient: bool = False) -> SettleReport:
    """What came back by `now`: answers, outcomes, failures; with the episodes that they close.

    Args:
        settings: where ledger, snapshot and executor are.
        now: the moment up to which things have happened.
        patient: do without the answers of an executor that cannot be reached, and say so in the report.

    Raises:
        ExecutorError: the executor cannot be reached, and that is not to be borne with.
    """
    started = time.monotonic()
    with ledgers.opened(settings) as ledger:
        heard = _hear(settings, ledger, now, patient=patient)
        episodes = ledger.episodes(only_open=True)
        with snapshot(settings) as con:
            missing = _missing(con, ledger)
            emptied = _emptied(con, now)
            failed = _failures(con, episodes, now) if episodes else {}
            well = _recovered(con, ledger, now)
            gone = _gone(con, now)
        for row in missing:
            emptied[row["host_id"]] = max(row["finished_at"], emptied.get(row["host_id"], row["finished_at"]))
        mitigated = _mitigate(settings, missing) if missing else 0
        if heard.unanswered is not None:
            episodes = [episode for episode in episodes if episode.host_id in failed]
        why = _close(ledger, episodes, failed, emptied, well, gone, now)
    return SettleReport(
        closed=sum(why.values()),
        labels_added=mitigated + why["failed"],
        why=dict(why),
        orders=dict(heard.orders),
        outcomes=dict(heard.outcomes),
        hosts=dict(heard.hosts),
        seconds=round(time.monotonic() - started, 3),
        unanswered=heard.unanswered,
        bad=tuple(heard.bad),
    )


@dataclass
class _Heard:
    """What the executor said that was news: orders by the state they came to, VMs and hosts by what became of them."""

    orders: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)
    bad: list[BadAnswer] = field(default_factory=list)
    unanswered: str | None = None
    """Why it did not answer."""


def _hear(settings: Settings, ledger: Ledger, now: datetime, *, patient: bool = False) -> _Heard:
    """What the executor says of the orders that it has; an answer of no use is written down, the others are taken."""
    heard = _Heard()
    ids = {listed.order.order_id for state in UNDER_WAY for listed in ledger.orders(state=state)}
    ids |= set(ledger.unanswered(now - timedelta(days=ASK_DAYS)))
    if not ids:
        return heard
    try:
        told, unread = _told(settings, sorted(ids), now)
    except ExecutorError as error:
        if not patient:
            raise
        logger.warning("What became of %d orders is not known, the cycle goes on without it: %s", len(ids), error)
        heard.unanswered = str(error)
        return heard
    heard.bad += unread
    for answer in told:
        try:
            new = ledger.apply(answer)
        except ExecutorError as error:
            heard.bad.append(BadAnswer(answer.order_id, str(error)))
            continue
        if not new:
            continue
        heard.orders[answer.state.value] += 1
        if answer.state not in UNDER_WAY:
            heard.outcomes.update(vm.result for vm in answer.vms)
            heard.hosts.update([answer.host_state] if answer.host_state else [])
    for each in heard.bad:
        logger.warning("What the executor says of order %s is of no use: %s", each.order_id or "?", each.why)
        if each.order_id in ids:
            ledger.bad_answer(each.order_id, each.why, now)
    return heard


def _told(settings: Settings, order_ids: Sequence[str], now: datetime) -> tuple[Sequence[Answer], Sequence[BadAnswer]]:
    """The executor's answers, and what it said that is none."""
    with opened(settings, now) as executor:
        try:
            return executor.poll(order_ids, now), ()
        except SomeUnusable as error:
            return error.answers, error.bad


def _missing(con: "duckdb.DuckDBPyConnection", ledger: Ledger) -> list[dict[str, Any]]:
    """Mitigations that the snapshot lacks: of orders that moved VMs and have ended."""
    finished = chain.from_iterable(ledger.orders(state=state, limit=NEWEST) for state in DONE)
    moved = {listed.order.order_id: listed for listed in finished if listed.order.action in MOVES}
    written = {order_id for (order_id,) in con.execute("select order_id from mitigation").fetchall()}
    return [_mitigation(ledger, moved[order_id]) for order_id in sorted(moved.keys() - written)]


def _mitigate(settings: Settings, rows: list[dict[str, Any]]) -> int:
    """How many mitigations are newly written into the warehouse, and published."""
    with open_warehouse(settings) as warehouse:
        written = warehouse.put_mitigations(pa.Table.from_pylist(rows, schema=MITIGATION))
        warehouse.publish()
    return written


def _mitigation(ledger: Ledger, listed: ListedOrder) -> dict[str, Any]:
    """The row that says when the host's VMs began to leave and when that ended."""
    order = listed.order
    began = next((e.at for e in ledger.order_events(order.order_id) if e.state is OrderState.STARTED), None)
    return {
        "order_id": order.order_id,
        "host_id": order.host_id,
        "action": order.action.value,
        "started_at": began or min(max(order.not_before, listed.requested_at), listed.updated_at),
        "finished_at": listed.updated_at,
    }


def _close(
    ledger: Ledger,
    episodes: Sequence[Episode],
    failed: Mapping[str, datetime],
    emptied: Mapping[str, datetime],
    recovered: Collection[str],
    gone: Collection[str],
    now: datetime,
) -> Counter[str]:
    """How many episodes ended, by how."""
    why: Counter[str] = Counter()
    busy = {order.host_id for order in ledger.open_orders()}
    for episode in episodes:
        host_id = episode.host_id
        if host_id in failed:
            why["failed"] += ledger.close_episode(host_id, failed[host_id], "failed")
        elif emptied.get(host_id, episode.opened_at) > episode.opened_at:
            if emptied[host_id] + timedelta(days=WATCH_DAYS) <= now:
                why["mitigated"] += ledger.close_episode(host_id, now, "mitigated")
        elif host_id not in busy and host_id in recovered:
            why["recovered"] += ledger.close_episode(host_id, now, "recovered")
        elif host_id not in busy and host_id in gone:
            why["gone"] += ledger.close_episode(host_id, now, "gone")
    return why


def _recovered(con: "duckdb.DuckDBPyConnection", ledger: Ledger, now: datetime) -> frozenset[str]:
    """Hosts with an open episode that cycles of enough days have looked at and not proposed.

    A cycle has looked at a host if it was told a risk of its parts, and none of them was unknown.
    """
    quiet = {h: at for h, at in ledger.last_proposed().items() if at + timedelta(days=QUIET_DAYS) <= now}
    questions = ledger.questions(min(quiet.values()), now) if quiet else []
    if len(questions) < QUIET_DAYS:
        return frozenset()
    rows = con.execute(
        """
        with quiet as (
            select unnest($hosts) as host_id, unnest($proposed) as proposed_at
        ), question as (
            select asof_at, greatest(asof_at, (select min(valid_from) from host)) as pictured_at
            from (select unnest($questions) as asof_at)
        ), looked as (
            select host_id, asof_at
            from quiet
            join question on asof_at > proposed_at
            join entity_host using (host_id)
            join risk using (entity_key, asof_at)
            where valid_from <= pictured_at and (valid_until is null or valid_until > pictured_at)
            group by all having bool_and(risk.status = 'ok')
        )
        select host_id from looked group by host_id having count(*) >= $days""",
        {"hosts": list(quiet), "proposed": list(quiet.values()), "questions": questions, "days": QUIET_DAYS},
    ).fetchall()
    return frozenset(host_id for (host_id,) in rows)


def _gone(con: "duckdb.DuckDBPyConnection", now: datetime) -> frozenset[str]:
    """Hosts that have left the inventory, longer ago than a picture or two that lack them by mistake."""
    query = """
        select host_id from host where valid_from <= $now
        group by host_id having bool_and(valid_until is not null and valid_until <= $before)"""
    rows = con.execute(query, {"now": now, "before": now - timedelta(days=QUIET_DAYS)}).fetchall()
    return frozenset(host_id for (host_id,) in rows)


def _failures(con: "duckdb.DuckDBPyConnection", episodes: Sequence[Episode], now: datetime) -> dict[str, datetime]:
    """The first failure on each host after its episode began, known by `now`."""
    rows = con.execute(
        """
        with watched as (
            select unnest($hosts) as host_id, unnest($opened) as opened_at
        )
        select watched.host_id, min(failure.failed_at)
        from watched
        join entity_host using (host_id)
        join failure using (entity_key)
        where failure.failed_at > watched.opened_at and failure.failed_at <= $now and failure.ingested_at <= $now
          and entity_host.valid_from <= failure.failed_at
          and (entity_host.valid_until is null or entity_host.valid_until >= failure.failed_at)
        group by all""",
        {"hosts": [e.host_id for e in episodes], "opened": [e.opened_at for e in episodes], "now": now},
    ).fetchall()
    return dict(rows)


def _emptied(con: "duckdb.DuckDBPyConnection", now: datetime) -> dict[str, datetime]:
    """When each host was last emptied by an order."""
    query = "select host_id, max(finished_at) from mitigation where finished_at <= $now group by host_id"
    return dict(con.execute(query, {"now": now}).fetchall())
