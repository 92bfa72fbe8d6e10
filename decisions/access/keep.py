"""Tokens and sessions as the ledger keeps them. Each function runs inside the caller's transaction."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from data.errors import LedgerError, Refused, UsageError
from decisions.access.values import ListedToken, Made, Person, Role
from decisions.ledger import chain
from decisions.ledger.reasoned import reasoned
from decisions.ledger.record import POLICY
from decisions.ledger.schema import session, token

PREFIX: Final = "foreshock"
RANDOM_BYTES: Final = 32


def create(con: Connection, person: Person, by: str, at: datetime) -> Made:
    """A new token for the person, until their `expires_at`, and its secret, `foreshock_ID_RANDOM`.

    Raises:
        UsageError: No name, or no end, or one that has passed.
    """
    name, until = person.name.strip(), person.expires_at
    if name in {"", POLICY} or until is None or until <= at:
        msg = f"A token needs the name of whoever decides with it, other than {POLICY}, and more than 0 days."
        raise UsageError(msg)
    made = ListedToken(secrets.token_hex(4), name, person.role, person.pools, by, at, until, owners=person.owners)
    secret = f"{PREFIX}_{made.token_id}_{secrets.token_urlsafe(RANDOM_BYTES)}"
    told = {
        "name": made.name,
        "role": made.role.value,
        "pools": list(made.pools),
        "owners": list(made.owners),
        "created_by": by,
        "created_at": at.isoformat(),
        "expires_at": until.isoformat(),
    }
    body = chain.canonical({**told, "secret_sha256": _sha256(secret)})
    con.execute(insert(token), {"token_id": made.token_id, "body": body})
    chain.append(con, at, [chain.Entry("token_created", made.token_id, {**told, "sha256": chain.digest(body)})])
    return Made(made, secret)


def revoke(con: Connection, token_id: str, by: str, reason: str, at: datetime) -> ListedToken:
    """The token, which holds no longer.

    Raises:
        UsageError: No reason.
        LedgerError: There is no such token.
        Refused: It was revoked already.
    """
    reasoned(reason, "Revoking a token")
    row = con.execute(select(token).where(token.c.token_id == token_id)).first()
    if row is None:
        msg = f"There is no token {token_id}. `foreshock tokens list` shows them."
        raise LedgerError(msg)
    held = _listed(row.token_id, json.loads(row.body), row.revocation)
    if held.revoked_at is not None:
        msg = f"Token {token_id} of {held.name} was revoked by {held.revoked_by} at {held.revoked_at:%Y-%m-%d %H:%M}."
        raise Refused(msg)
    ended = chain.canonical({"by": by, "reason": reason, "at": at.isoformat()})
    con.execute(update(token).where(token.c.token_id == token_id).values(revocation=ended))
    con.execute(delete(session).where(session.c.token_id == token_id))
    told = {"by": by, "reason": reason, "name": held.name, "sha256": chain.digest(ended)}
    chain.append(con, at, [chain.Entry("token_revoked", chain.revocation_of(token_id), told)])
    return _listed(token_id, json.loads(row.body), ended)


def tokens(con: Connection) -> list[ListedToken]:
    """All tokens there ever were, the newest first."""
    found = [_listed(row.token_id, json.loads(row.body), row.revocation) for row in con.execute(select(token))]
    return sorted(found, key=lambda each: (each.created_at, each.token_id), reverse=True)


def bearer(con: Connection, secret: str, at: datetime) -> Person | None:
    """Who shows the token; None where it is none of ours, expired or revoked."""
    parts = secret.split("_", 2)
    row = con.execute(select(token).where(token.c.token_id == parts[1])).first() if len(parts) == 3 else None
    body = json.loads(row.body) if row is not None else {}
    alike = hmac.compare_digest(_sha256(secret), body.get("secret_sha256", _sha256("")))
    if row is None or not alike:
        return None
    held = _listed(row.token_id, body, row.revocation)
    return held.person if held.holds(at) else None


def begin(con: Connection, person: Person, at: datetime, until: datetime) -> str:
    """The cookie of a new session; sessions that have ended are forgotten."""
    cookie = secrets.token_urlsafe(RANDOM_BYTES)
    con.execute(delete(session).where(session.c.expires_at <= at))
    owners = list(person.owners)
    held = {"name": person.name, "role": person.role.value, "pools": list(person.pools), "owners": owners}
    row = {
        "cookie_sha256": _sha256(cookie),
        "token_id": person.token_id,
        "body": chain.canonical(held),
        "expires_at": min(until, person.expires_at or until),
    }
    con.execute(insert(session), row)
    told = {"role": person.role.value, "owners": owners, "token": person.token_id, "by": person.name}
    chain.append(con, at, [chain.Entry("logged_in", person.name, told)])
    return cookie


def end(con: Connection, cookie: str, by: str, at: datetime) -> None:
    """End a session."""
    gone = con.execute(delete(session).where(session.c.cookie_sha256 == _sha256(cookie)))
    if gone.rowcount:
        chain.append(con, at, [chain.Entry("logged_out", by, {"by": by})])


def holder(con: Connection, cookie: str, at: datetime) -> Person | None:
    """Whose session it is; None where there is none, or it has ended."""
    digest = _sha256(cookie)
    row = con.execute(select(session).where(session.c.cookie_sha256 == digest)).first()
    if row is None or not hmac.compare_digest(row.cookie_sha256, digest) or row.expires_at <= at:
        return None
    told = json.loads(row.body)
    pools, owners = (tuple(told.get(kind, ())) for kind in ("pools", "owners"))
    return Person(told["name"], Role(told["role"]), pools, row.token_id, row.expires_at, owners)


def _listed(token_id: str, body: Mapping[str, Any], revocation: str | None) -> ListedToken:
    ended = json.loads(revocation) if revocation is not None else None
    return ListedToken(
        token_id=token_id,
        name=body["name"],
        role=Role(body["role"]),
        pools=tuple(body["pools"]),
        created_by=body["created_by"],
        created_at=datetime.fromisoformat(body["created_at"]),
        expires_at=datetime.fromisoformat(body["expires_at"]),
        revoked_by=ended["by"] if ended else None,
        revoked_at=datetime.fromisoformat(ended["at"]) if ended else None,
        revoked_because=ended["reason"] if ended else None,
        owners=tuple(body.get("owners", ())),
    )


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
