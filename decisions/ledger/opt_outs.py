"""Opt-outs as the ledger keeps them: written once, ended by a second record. Runs inside the caller's transaction."""

import json
from dataclasses import replace
from datetime import datetime
from itertools import count

from sqlalchemy import Connection, insert, select, update

from data.errors import LedgerError, Refused
from decisions.domain import OptOut
from decisions.ledger import chain
from decisions.ledger.reasoned import reasoned
from decisions.ledger.schema import opt_out as table
from decisions.ledger.values import ListedOptOut, Removal, dump_opt_out, load_opt_out
from decisions.opt_outs import again


def add(con: Connection, out: OptOut) -> OptOut:
    """The opt-out as it is held: one in force that says the very same, else a new record, under an id that is free."""
    known = listed(con)
    for each in known:
        if each.removal is None and replace(each.opt_out, opt_out_id=out.opt_out_id) == out:
            return each.opt_out
    taken = {each.opt_out.opt_out_id for each in known}
    out = next(one for one in (again(out, times) for times in count()) if one.opt_out_id not in taken)
    body = chain.canonical(dump_opt_out(out))
    con.execute(insert(table), {"opt_out_id": out.opt_out_id, "body": body})
    told = {"by": out.by, "reason": out.reason, out.scope: out.name, "sha256": chain.digest(body)}
    chain.append(con, out.at, [chain.Entry("opt_out", out.opt_out_id, told)])
    return out


def remove(con: Connection, opt_out_id: str, by: str, reason: str, at: datetime) -> None:
    """End the opt-out before its time.

    Raises:
        UsageError: No reason.
        LedgerError: There is no such opt-out.
        Refused: It has ended already.
    """
    reasoned(reason, "The end of an opt-out")
    row = con.execute(select(table).where(table.c.opt_out_id == opt_out_id)).first()
    if row is None:
        msg = f"There is no opt-out {opt_out_id}. `foreshock opt-out list` shows them."
        raise LedgerError(msg)
    held = _listed(row.body, row.removal)
    if held.removal is not None or held.opt_out.expires_at <= at:
        ended = held.removal.at if held.removal is not None else held.opt_out.expires_at
        msg = f"Opt-out {opt_out_id} of {held.opt_out.scope} {held.opt_out.name} ended at {ended:%Y-%m-%d %H:%M} UTC."
        raise Refused(msg)
    removal = chain.canonical({"by": by, "reason": reason, "at": at.isoformat()})
    con.execute(update(table).where(table.c.opt_out_id == opt_out_id).values(removal=removal))
    told = {"by": by, "reason": reason, "sha256": chain.digest(removal)}
    chain.append(con, at, [chain.Entry("opt_out_removed", chain.removal_of(opt_out_id), told)])


def listed(con: Connection) -> list[ListedOptOut]:
    """All opt-outs there ever were, the newest first."""
    found = [_listed(row.body, row.removal) for row in con.execute(select(table))]
    return sorted(found, key=lambda each: (each.opt_out.at, each.opt_out.opt_out_id), reverse=True)


def holding(con: Connection, at: datetime) -> tuple[OptOut, ...]:
    """Opt-outs that hold at the moment, by their ids."""
    found = [each.opt_out for each in listed(con) if each.removal is None and each.opt_out.expires_at > at]
    return tuple(sorted(found, key=lambda out: out.opt_out_id))


def _listed(body: str, removal: str | None) -> ListedOptOut:
    told = json.loads(removal) if removal is not None else None
    ended = Removal(told["by"], told["reason"], datetime.fromisoformat(told["at"])) if told is not None else None
    return ListedOptOut(load_opt_out(body), ended)
