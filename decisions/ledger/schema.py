"""The ledger's tables as they are now; `decisions/ledger/migrations` brings an older ledger here."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

HEAD: Final = "0009"
"""The newest migration."""


class UtcDateTime(TypeDecorator[datetime]):
    """Moments: aware in, UTC out, whatever the database keeps."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The moment in UTC; one without a time zone is a bug of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = f"The ledger keeps moments with their time zone; {value!r} has none."
            raise ValueError(msg)
        return value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The moment in UTC; SQLite forgets the time zone, so it is put back."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class Words(TypeDecorator[str]):
    """What people and executors write: without the one character that PostgreSQL keeps in no text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """The text, with U+FFFD for NUL."""
        return value.replace("\x00", "\ufffd") if value is not None else None


METADATA: Final = MetaData()

cycle = Table(
    "cycle",
    METADATA,
    Column("cycle_id", String, primary_key=True),
    Column("asof_at", UtcDateTime, nullable=False),
    Column("policy_version", String, nullable=False),
    Column("model_version", String, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("blocked", Text, nullable=False),  # JSON: how often each guardrail bit
    Column("breakers", Text, nullable=False),  # JSON: the breakers that were open
    Index("cycle_by_moment", "asof_at", "recorded_at"),
)

incident = Table(
    "incident",
    METADATA,
    Column("cycle_id", ForeignKey("cycle.cycle_id"), primary_key=True),
    Column("rank", Integer, primary_key=True),  # 0 the most telling
    Column("incident_id", String, nullable=False),
    Column("asof_at", UtcDateTime, nullable=False),
    Column("body", Text, nullable=False),  # JSON: the whole incident
    Index("incident_by_id", "incident_id", "asof_at"),
    Index("incident_by_moment", "asof_at"),
)

proposal = Table(
    "proposal",
    METADATA,
    Column("proposal_id", String, primary_key=True),
    Column("cycle_id", ForeignKey("cycle.cycle_id"), nullable=False),
    Column("rank", Integer, nullable=False),  # place in the verdict, 0 the most to gain
    Column("asof_at", UtcDateTime, nullable=False),
    Column("host_id", String, nullable=False),
    Column("action", String, nullable=False),
    Column("autonomy", String, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("body", Text, nullable=False),  # JSON: the whole proposal
    Index("proposal_by_cycle", "cycle_id", "rank"),
    Index("proposal_by_host", "host_id", "asof_at"),
)

decision = Table(
    "decision",
    METADATA,
    Column("decision_id", Integer, primary_key=True),
    Column("proposal_id", ForeignKey("proposal.proposal_id"), nullable=False),
    Column("verdict", String, nullable=False),  # approved | vetoed | snoozed | handed_over
    Column("decided_by", String, nullable=False),  # a person, or `policy`
    Column("reason", Words, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),  # until then a veto or a snooze holds the host
    Column("assignee", Text),  # to whom it was handed over
    Index("decision_by_proposal", "proposal_id"),
    Index(
        "decision_is_final",
        "proposal_id",
        unique=True,
        sqlite_where=text("verdict in ('approved', 'vetoed')"),
        postgresql_where=text("verdict in ('approved', 'vetoed')"),
    ),
)

orders = Table(
    "orders",
    METADATA,
    Column("order_id", String, primary_key=True),
    Column("proposal_id", ForeignKey("proposal.proposal_id"), nullable=False, unique=True),
    Column("asof_at", UtcDateTime, nullable=False),
    Column("host_id", String, nullable=False),
    Column("action", String, nullable=False),
    Column("state", String, nullable=False),  # requested | accepted | started | completed | failed | ...
    Column("reason", Words),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("body", Text, nullable=False),  # JSON: the whole order
    Column("host_state", String),  # how it left its host, if the executor told
    Index("orders_by_state", "state"),
    Index("orders_by_host", "host_id", "requested_at"),
    Index("orders_by_update", "updated_at"),
    Index("orders_by_request", "requested_at"),
    Index(
        "order_is_open",
        "host_id",
        unique=True,
        sqlite_where=text("state in ('requested', 'accepted', 'started')"),
        postgresql_where=text("state in ('requested', 'accepted', 'started')"),
    ),
)

order_vm = Table(
    "order_vm",
    METADATA,
    Column("vm_id", String, primary_key=True),
    Column("order_id", ForeignKey("orders.order_id"), primary_key=True),
)

order_event = Table(
    "order_event",
    METADATA,
    Column("order_id", ForeignKey("orders.order_id"), primary_key=True),
    Column("step", Integer, primary_key=True),  # 0 is the request
    Column("state", String, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("reason", Words),
)

outbox = Table(
    "outbox",
    METADATA,
    Column("order_id", ForeignKey("orders.order_id"), primary_key=True),
    Column("state", String, nullable=False),  # pending | leased | sent | dead
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcDateTime, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("last_error", Words),
    Index("outbox_by_state", "state", "next_attempt_at"),
)

outcome = Table(
    "outcome",
    METADATA,
    Column("order_id", ForeignKey("orders.order_id"), primary_key=True),
    Column("vm_id", String, primary_key=True),
    Column("result", String, nullable=False),  # moved | redeployed | chosen | paused | stayed | failed | lost
    Column("target_host_id", String),
    Column("pause_seconds", Float, nullable=False),
    Column("interrupted", Boolean, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("outcome_by_result", "result", "interrupted"),
    Index("outcome_by_vm", "vm_id"),
)

episode = Table(
    "episode",
    METADATA,
    Column("episode_id", Integer, primary_key=True),
    Column("host_id", String, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("opened_by", ForeignKey("proposal.proposal_id"), nullable=False),
    Column("closed_at", UtcDateTime),
    Column("why", Words),
    Index("episode_by_host", "host_id", "opened_at"),
    Index(
        "episode_is_open",
        "host_id",
        unique=True,
        sqlite_where=text("closed_at is null"),
        postgresql_where=text("closed_at is null"),
    ),
)

control = Table(
    "control",
    METADATA,
    Column("control_id", Integer, primary_key=True),
    Column("stopped", Boolean, nullable=False),
    Column("set_by", String, nullable=False),
    Column("reason", Words, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)

opt_out = Table(
    "opt_out",
    METADATA,
    Column("opt_out_id", String, primary_key=True),
    Column("body", Text, nullable=False),  # JSON: the whole opt-out, never changed
    Column("removal", Text),  # JSON: who ended it before its time, why and when
)

token = Table(
    "token",
    METADATA,
    Column("token_id", String, primary_key=True),
    Column("body", Text, nullable=False),  # JSON: whose, role, pools, expiry, sha256 of the secret; never changed
    Column("revocation", Text),  # JSON: who ended it before its time, why and when
)

session = Table(
    "session",
    METADATA,
    Column("cookie_sha256", String, primary_key=True),
    Column("token_id", ForeignKey("token.token_id")),  # null: logged in with an identity provider
    Column("body", Text, nullable=False),  # JSON: whose, role, pools
    Column("expires_at", UtcDateTime, nullable=False),
)

answer = Table(
    "answer",
    METADATA,
    Column("asked_by", String, primary_key=True),
    Column("key", String, primary_key=True),  # what the asker called the request
    Column("request_sha256", String, nullable=False),
    Column("body", Text, nullable=False),  # JSON: the answer that was given
    Column("at", UtcDateTime, nullable=False),
)

notification = Table(
    "notification",
    METADATA,
    Column("topic", String, primary_key=True),  # what it is about: `approval`, `incident/ID`, `step/NAME`, ...
    Column("severity", String, nullable=False),  # page | warn | info
    Column("title", Words, nullable=False),
    Column("body", Text, nullable=False),
    Column("path", String, nullable=False),  # of its review page
    Column("about", Text, nullable=False),  # JSON: what it tells of; something new among it is a change
    Column("first_at", UtcDateTime, nullable=False),
    Column("acknowledged_about", Text),  # JSON: what a person has taken note of
    Column("acknowledged_by", String),
    Column("acknowledged_reason", Text),
    Column("acknowledged_at", UtcDateTime),
)

notification_told = Table(
    "notification_told",
    METADATA,
    Column("topic", ForeignKey("notification.topic"), primary_key=True),
    Column("channel", String, primary_key=True),
    Column("severity", String, nullable=False),
    Column("about", Text, nullable=False),  # JSON: what the channel has been told
    Column("at", UtcDateTime, nullable=False),
)

notification_channel = Table(
    "notification_channel",
    METADATA,
    Column("channel", String, primary_key=True),
    Column("failures", Integer, nullable=False),  # in a row
    Column("last_error", Words),
    Column("next_attempt_at", UtcDateTime, nullable=False),  # by the wall's clock
    Column("told_at", UtcDateTime),
)

history = Table(
    "history",
    METADATA,
    Column("record", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 ... without a gap
    Column("at", String, nullable=False),  # ISO 8601, as it was hashed
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON
    Column("previous_hash", String, nullable=False),
    Column("hash", String, nullable=False),  # sha256 of previous_hash and the record's canonical JSON
    Index("history_by_subject", "subject"),
    Index("history_by_moment", "at"),
    # and, by what a record's body says, history_by_person and history_by_host: see decisions/ledger/audit.py
)
