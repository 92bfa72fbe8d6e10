"""The audit: who did what, why and when, from the hash-chained history; a page of it, or all of it as a file."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from typing import Final

from dashboards import words
from dashboards.queue import Look, Room
from decisions.domain import Action
from decisions.ledger import audit, chain
from decisions.ledger.audit import Filter, Record

VERIFIED_AT_ONCE: Final = 20_000
"""Up to so many records every page checks the whole chain; of more only when asked, as it takes a while."""
CHUNK: Final = 1_000
COLUMNS: Final = ("record", "at", "who", "what", "why", "host_id", "kind", "subject", "intact", "hash", "body")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_DONE: Final = {
    "approved": "Approved",
    "vetoed": "Vetoed",
    "snoozed": "Put off",
    "handed_over": "Handed to a person",
    "order": "Made an order",
    "sent": "Handed the order over",
    "pending": "Could not hand the order over, will try again",
    "dead": "Gave up handing the order over",
    "bad_answer": "The executor's answer is of no use",
    "usable_answer": "The executor's answer is of use again",
    "retry": "Put the order back into the queue",
    "held_back": "Held back: no order",
    "episode_opened": "At risk: an episode began",
    "episode_closed": "The episode ended",
    "opt_out": "Kept a host or pool out",
    "opt_out_removed": "Ended an opt-out early",
    "stopped": "Threw the kill switch",
    "started": "Released the kill switch",
    "incident": "Found what hosts have in common",
    "order_delayed": "The order starts later",
    "call_back": "Called the order back",
    "vm_start": "Let a VM begin, at its owner's word",
    "vm_start_failed": "The executor did not begin with the VM",
}


@dataclass(frozen=True)
class Entry:
    """One record as people read it; `body` is what was hashed."""

    record: int
    at: datetime
    who: str
    what: str
    why: str | None
    host_id: str | None
    kind: str
    subject: str
    intact: bool
    hash: str
    body: str


@dataclass(frozen=True)
class Checked:
    """What a check of the whole chain found."""

    ok: bool
    records: int
    reason: str | None


@dataclass(frozen=True)
class AuditPage:
    """A page of the history, and where the next begins (null: this was the last)."""

    now: datetime
    records: int
    """In the whole history."""
    head: str
    """Hash of the newest record: kept elsewhere, it also shows whether records were cut off the end."""
    checked: Checked | None
    """Null: the history is long, and nobody asked for a check of all of it."""
    entries: tuple[Entry, ...]
    next: int | None


def page(look: Look, wanted: Filter, after: int | None, limit: int, *, verify: bool = False) -> AuditPage:
    """At most `limit` records that are wanted, the newest first, older than `after` where that is given."""
    if look.book is None:
        return AuditPage(look.now, 0, chain.GENESIS, None, (), None)
    con = look.book.con
    found = audit.records(con, wanted, after, limit + 1)
    newest, head = audit.head(con)
    checked = chain.verify(con) if verify or newest <= VERIFIED_AT_ONCE else None
    return AuditPage(
        now=look.now,
        records=newest,
        head=head,
        checked=Checked(checked.ok, checked.records, checked.reason) if checked else None,
        entries=tuple(map(_entry, found[:limit])),
        next=found[limit - 1].record if len(found) > limit else None,
    )


def lines(room: Room, wanted: Filter) -> Iterator[str]:
    """All wanted records as JSON, one a line, the newest first."""
    for one in _all(room, wanted):
        yield json.dumps({**_told(one), "body": json.loads(one.body)}, ensure_ascii=False) + "\n"


def table(room: Room, wanted: Filter) -> Iterator[str]:
    """All wanted records as CSV with a header; no cell is a formula to a spreadsheet."""
    yield _row(COLUMNS)
    for one in _all(room, wanted):
        yield _row([_inert(str(value)) if value is not None else "" for value in _told(one).values()])


def _all(room: Room, wanted: Filter) -> Iterator[Entry]:
    """Chunk by chunk, each from a transaction of its own, so that a slow reader holds nobody up."""
    after: int | None = None
    while True:
        with room.look() as look:
            found = audit.records(look.book.con, wanted, after, CHUNK) if look.book else []
        yield from map(_entry, found)
        if len(found) < CHUNK:
            return
        after = found[-1].record


def _entry(one: Record) -> Entry:
    return Entry(
        record=one.record,
        at=one.at,
        who=one.by or "the pipeline",
        what=_what(one),
        why=one.why,
        host_id=one.host_id,
        kind=one.kind,
        subject=one.subject,
        intact=one.intact,
        hash=one.hash,
        body=chain.canonical(one.body),
    )


def _what(one: Record) -> str:
    body = one.body
    match one.kind:
        case "cycle":
            return f"Decided on a night: {words.plural(int(body.get('proposals', 0)), 'proposal')}"
        case "proposal":
            return f"Proposed: {words.ACTIONS[Action(body['action'])].lower()}"
        case "order_state":
            return f"The order is {str(body.get('state', '')).replace('_', ' ')}"
        case "host_state":
            return f"The host was left {str(body.get('host_state') or body.get('state', '')).replace('_', ' ')}"
        case "outcome":
            return f"What became of {words.plural(len(body.get('vms', ())), 'VM')}"
    return _DONE.get(one.kind, one.kind.replace("_", " ").capitalize())


def _told(one: Entry) -> dict[str, object]:
    return {name: value.isoformat() if isinstance(value := getattr(one, name), datetime) else value for name in COLUMNS}


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _row(cells: object) -> str:
    made = StringIO()
    csv.writer(made, lineterminator="\r\n").writerow(cells)  # type: ignore[arg-type]
    return made.getvalue()
