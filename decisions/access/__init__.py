"""Who may look and who may decide: tokens and sessions, kept in the ledger's database, hashed.

A token's secret is shown once, when it is made; a session's is in its browser's cookie alone. What is kept is their
sha256, which is enough for 256 random bits. Tokens that are made and ended are in the history, which vouches for them.
Moments here are the wall clock's, also where the fleet is simulated.
"""

from datetime import datetime

from decisions.access import keep
from decisions.access.values import ListedToken, Made, Person
from decisions.ledger.store import Opened, reading, writing


class Access(Opened):
    """The tokens and sessions of the ledger at a SQLAlchemy URL."""

    def create(self, person: Person, by: str, at: datetime) -> Made:
        """A new token for the person, until their `expires_at`, and its secret, which cannot be had again.

        Raises:
            UsageError: What `decisions.access.keep.create` says.
        """
        with writing(self._engine) as con:
            return keep.create(con, person, by, at)

    def revoke(self, token_id: str, by: str, reason: str, at: datetime) -> ListedToken:
        """The token, which holds no longer, nor do sessions that began with it.

        Raises:
            LedgerError: There is no such token.
            Refused: It was revoked already.
        """
        with writing(self._engine) as con:
            return keep.revoke(con, token_id, by, reason, at)

    def tokens(self) -> list[ListedToken]:
        """All tokens there ever were, the newest first, without their secrets."""
        with reading(self._engine) as con:
            return keep.tokens(con)

    def begin(self, person: Person, at: datetime, until: datetime) -> str:
        """The cookie of a new session, which ends then, or with the token it began with."""
        with writing(self._engine) as con:
            return keep.begin(con, person, at, until)

    def end(self, cookie: str, by: str, at: datetime) -> None:
        """End a session."""
        with writing(self._engine) as con:
            keep.end(con, cookie, by, at)
