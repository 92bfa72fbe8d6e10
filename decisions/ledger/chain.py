"""The history: append-only, each record carrying the hash of the one before, so that no change goes unseen."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select

from decisions.ledger.schema import history, incident, opt_out, orders, proposal, token

GENESIS: Final = "0" * 64
_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""NUL as JSON writes it: with an odd number of backslashes before the u."""


@dataclass(frozen=True)
class Entry:
    """Something that happened, on its way into the history."""

    kind: str
    subject: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Verified:
    """What a check of the chain found: how many records, whether all is well, and the first that is not."""

    records: int
    ok: bool
    first_bad: int | None
    reason: str | None
    head: str
    """Hash of the last record: kept elsewhere, it also shows whether records were cut off the end."""


def canonical(value: object) -> str:
    """The value as JSON in one form only: keys sorted, no spaces, U+FFFD for NUL, which PostgreSQL keeps in no text."""
    body = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _NUL.sub("\\1\ufffd", body) if "\\u0000" in body else body


def digest(body: str) -> str:
    """sha256 of a text, in hexadecimal."""
    return hashlib.sha256(body.encode()).hexdigest()


def append(con: Connection, at: datetime, entries: Iterable[Entry]) -> None:
    """Add the entries to the history, in their order; the caller holds the write transaction."""
    last = con.execute(select(history.c.record, history.c.hash).order_by(history.c.record.desc()).limit(1)).first()
    record, previous = (last.record, last.hash) if last is not None else (0, GENESIS)
    moment = at.astimezone(UTC).isoformat()
    rows = []
    for entry in entries:
        record += 1
        body = canonical(entry.body)
        current = _hash(previous, record, moment, entry.kind, entry.subject, body)
        rows.append(
            {
                "record": record,
                "at": moment,
                "kind": entry.kind,
                "subject": entry.subject,
                "body": body,
                "previous_hash": previous,
                "hash": current,
            }
        )
        previous = current
    if rows:
        con.execute(insert(history), rows)


def verify(con: Connection) -> Verified:
    """Whether every record is as it was written, in place, and what it vouches for is too: no more and no less.

    It vouches for proposals, incidents, orders, opt-outs and tokens, and the ends of both.
    """
    held = _held(con)
    vouched: set[str] = set()
    previous, count = GENESIS, 0
    for row in con.execute(select(history).order_by(history.c.record)):
        count += 1
        reason = _fault(row, count, previous, held)
        if reason is not None:
            return Verified(count, ok=False, first_bad=row.record, reason=reason, head=previous)
        previous = row.hash
        vouched.add(row.subject)
    added = min(held.keys() - vouched, default=None)
    if added is not None:
        reason = f"{added} stands in the ledger, and no record says how it came there"
        return Verified(count, ok=False, first_bad=None, reason=reason, head=previous)
    return Verified(count, ok=True, first_bad=None, reason=None, head=previous)


def is_as_written(row: Row[Any]) -> bool:
    """Whether a record of the history still says what it was hashed with; not whether it is in its place."""
    return bool(row.hash == _hash(row.previous_hash, row.record, row.at, row.kind, row.subject, row.body))


def removal_of(opt_out_id: str) -> str:
    """The subject under which the history vouches for an opt-out's removal."""
    return f"removal of {opt_out_id}"


def revocation_of(token_id: str) -> str:
    """The subject under which the history vouches for a token's revocation."""
    return f"revocation of {token_id}"


def _held(con: Connection) -> dict[str, str]:
    """The digests of all that the history vouches for, by subject."""
    held = {row.proposal_id: digest(row.body) for row in con.execute(select(proposal.c.proposal_id, proposal.c.body))}
    held |= {row.order_id: digest(row.body) for row in con.execute(select(orders.c.order_id, orders.c.body))}
    found = select(incident.c.incident_id, incident.c.cycle_id, incident.c.body)
    held |= {f"{row.incident_id}/{row.cycle_id}": digest(row.body) for row in con.execute(found)}
    for row in con.execute(select(opt_out)):
        held[row.opt_out_id] = digest(row.body)
        if row.removal is not None:
            held[removal_of(row.opt_out_id)] = digest(row.removal)
    for row in con.execute(select(token)):
        held[row.token_id] = digest(row.body)
        if row.revocation is not None:
            held[revocation_of(row.token_id)] = digest(row.revocation)
    return held


def _fault(row: Row[Any], expected: int, previous: str, held: Mapping[str, str]) -> str | None:
    if row.record != expected:
        return f"record {expected} is missing"
    if row.previous_hash != previous:
        return f"record {row.record} does not follow the one before it"
    if row.hash != _hash(previous, row.record, row.at, row.kind, row.subject, row.body):
        return f"record {row.record} was changed after it was written"
    vouched = json.loads(row.body).get("sha256")
    if vouched is not None and held.get(row.subject) != vouched:
        return f"{row.kind} {row.subject} is not what record {row.record} says it was"
    return None


def _hash(previous: str, record: int, at: str, kind: str, subject: str, body: str) -> str:
    content = {"record": record, "at": at, "kind": kind, "subject": subject, "body": body}
    return digest(previous + canonical(content))
