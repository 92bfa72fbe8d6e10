"""Proposals of all cycles, page by page: the newest question first, then in the order of its verdict.

Each function reads inside the caller's transaction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, select, tuple_

from data.errors import LedgerError
from decisions.domain import Autonomy
from decisions.ledger import queries
from decisions.ledger import schema as tables
from decisions.ledger.values import ListedProposal, Standing

LONGEST_LIFE: Final = timedelta(hours=720)
"""No policy lets a prediction, and what was decided on it, live longer: `freshness.prediction_hours`."""
CHUNK: Final = 500
_UNDECIDED: Final = frozenset({Standing.WAITING, Standing.SHOWN})


@dataclass(frozen=True)
class Selection:
    """Which proposals are asked for; null: whatever it is."""

    host_id: str | None = None
    standing: Standing | None = None


def page(con: Connection, now: datetime, wanted: Selection, after: str | None, limit: int) -> list[ListedProposal]:
    """At most `limit` proposals as they stand `now`, those after that one where one is named.

    Raises:
        LedgerError: There is no such proposal to go on after.
    """
    found: list[ListedProposal] = []
    for ids in _chunks(con, now, wanted, after):
        listed = queries.proposals(con, now, [tables.proposal.c.proposal_id.in_(ids)], None)
        found += [each for each in listed if wanted.standing in (None, each.standing)]
        if len(found) >= limit:
            break
    return found[:limit]


def _chunks(con: Connection, now: datetime, wanted: Selection, after: str | None) -> Iterator[list[str]]:
    """Ids of proposals that may be wanted, in order, each chunk of one cycle."""
    asked, cycle = tables.proposal.c, tables.cycle.c
    where = list(_may_stand(now, wanted))
    cycles, begun = _cycles(where, now, wanted), _place(con, after) if after is not None else None
    if begun is not None:
        at = (begun.asof_at, begun.recorded_at, begun.cycle_id)
        cycles = cycles.where(tuple_(cycle.asof_at, cycle.recorded_at, cycle.cycle_id) <= at)
    for cycle_id in con.execute(cycles).scalars().all():
        rank = begun.rank if begun is not None and begun.cycle_id == cycle_id else -1
        mine = select(asked.proposal_id, asked.rank).where(asked.cycle_id == cycle_id, *where)
        while rows := con.execute(mine.where(asked.rank > rank).order_by(asked.rank).limit(CHUNK)).all():
            rank = rows[-1].rank
            yield [row.proposal_id for row in rows]


def _place(con: Connection, proposal_id: str) -> Row[Any]:
    """Where a proposal stands among all."""
    asked, cycle = tables.proposal.c, tables.cycle.c
    query = select(asked.rank, cycle.cycle_id, cycle.asof_at, cycle.recorded_at)
    query = query.join(tables.cycle, cycle.cycle_id == asked.cycle_id).where(asked.proposal_id == proposal_id)
    held = con.execute(query).first()
    if held is None:
        msg = f"There is no proposal {proposal_id} to go on after. Leave `after` out to begin anew."
        raise LedgerError(msg)
    return held


def _cycles(where: list[ColumnElement[bool]], now: datetime, wanted: Selection) -> Select[tuple[str]]:
    """The cycles that hold such proposals, the newest first."""
    cycle, asked = tables.cycle.c, tables.proposal.c
    query = select(cycle.cycle_id).order_by(cycle.asof_at.desc(), cycle.recorded_at.desc(), cycle.cycle_id.desc())
    if wanted.standing in _UNDECIDED:
        query = query.where(cycle.asof_at > now - LONGEST_LIFE)
    elif where:
        query = query.where(cycle.cycle_id.in_(select(asked.cycle_id).where(*where)))
    return query


def _may_stand(now: datetime, wanted: Selection) -> Iterator[ColumnElement[bool]]:
    """What the database can tell of the host and the standing; the last decision's end is looked at afterwards."""
    asked, said = tables.proposal.c, tables.decision.c
    if wanted.host_id is not None:
        yield asked.host_id == wanted.host_id
    match wanted.standing:
        case None:
            return
        case Standing.EXPIRED:
            yield asked.expires_at <= now
        case Standing.WAITING:
            yield asked.expires_at > now
            yield asked.autonomy == Autonomy.APPROVE.value
        case Standing.SHOWN:
            yield asked.expires_at > now
            yield asked.autonomy != Autonomy.APPROVE.value
        case verdict:
            yield asked.proposal_id.in_(select(said.proposal_id).where(said.verdict == verdict.value))
