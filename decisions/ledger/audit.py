"""The history as an auditor reads it: who, what, why, when, the newest first. Reads inside the caller's transaction."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, literal_column, or_, select

from decisions.ledger import chain
from decisions.ledger import schema as tables

_BODY: Final = {
    "sqlite": "json_extract({of}.body, '$.{name}')",
    "postgresql": "(({of}.body::jsonb) ->> '{name}')",
}
"""What a record's body says under a name, as the indexes of migration 0007 have it."""
_CREATED: Final = "token_created"
"""The one kind of record that names who did it `created_by`, as the token does."""


@dataclass(frozen=True)
class Filter:
    """Which records are asked for; null: whatever they say."""

    person: str | None = None
    host_id: str | None = None
    day: date | None = None
    """In UTC."""


@dataclass(frozen=True)
class Record:
    """One record of the history."""

    record: int
    at: datetime
    kind: str
    subject: str
    by: str | None
    """Who; null where the pipeline did it by itself."""
    host_id: str | None
    why: str | None
    body: Mapping[str, Any]
    hash: str
    intact: bool
    """Whether its hash is that of what it says now."""


def records(con: Connection, wanted: Filter, after: int | None, limit: int) -> list[Record]:
    """Records that are wanted, the newest first, older than that one where one is named."""
    held = tables.history.c
    query = select(tables.history).where(*_where(con, wanted)).order_by(held.record.desc()).limit(limit)
    rows = con.execute(query.where(held.record < after) if after is not None else query).all()
    hosts = _hosts(con, [row.subject for row in rows])
    return [_record(row, hosts) for row in rows]


def head(con: Connection) -> tuple[int, str]:
    """The number and the hash of the newest record; nought and the first hash of all where there is none."""
    held = tables.history.c
    row = con.execute(select(held.record, held.hash).order_by(held.record.desc()).limit(1)).first()
    return (row.record, row.hash) if row is not None else (0, chain.GENESIS)


def _where(con: Connection, wanted: Filter) -> list[ColumnElement[bool]]:
    held, found = tables.history.c, []
    if wanted.person is not None:
        found.append(or_(_said(con, "by") == wanted.person, _made_token(con, wanted.person)))
    if wanted.host_id is not None:
        host_id = wanted.host_id
        proposals = select(tables.proposal.c.proposal_id).where(tables.proposal.c.host_id == host_id)
        orders = select(tables.orders.c.order_id).where(tables.orders.c.host_id == host_id)
        found.append(
            or_(
                _said(con, "host") == host_id,
                held.subject == host_id,
                held.subject.in_(proposals),
                held.subject.in_(orders),
            )
        )
    if wanted.day is not None:
        found.append(held.at >= wanted.day.isoformat())
        found.append(held.at < (wanted.day + timedelta(days=1)).isoformat())
    return found


def _said(con: Connection, name: str, of: str = "history") -> ColumnElement[str]:
    return literal_column(_BODY[con.dialect.name].format(name=name, of=of))


def _made_token(con: Connection, person: str) -> ColumnElement[bool]:
    """Records of tokens that the person created; found by their subjects, which are indexed."""
    held = tables.history.c
    created = select(tables.token.c.token_id).where(_said(con, "created_by", "token") == person)
    return and_(held.kind == _CREATED, held.subject.in_(created))


def _hosts(con: Connection, subjects: list[str]) -> dict[str, str]:
    """The hosts of those subjects that are orders."""
    order = tables.orders.c
    rows = con.execute(select(order.order_id, order.host_id).where(order.order_id.in_(sorted(set(subjects)))))
    return {row.order_id: row.host_id for row in rows}


def _record(row: Row[Any], hosts: Mapping[str, str]) -> Record:
    body = json.loads(row.body)
    episode = row.subject if row.kind.startswith("episode_") else None
    return Record(
        record=row.record,
        at=datetime.fromisoformat(row.at).astimezone(UTC),
        kind=row.kind,
        subject=row.subject,
        by=body.get("created_by" if row.kind == _CREATED else "by"),
        host_id=body.get("host") or hosts.get(row.subject) or episode,
        why=body.get("reason") or body.get("why") or body.get("error"),
        body=body,
        hash=row.hash,
        intact=chain.is_as_written(row),
    )
