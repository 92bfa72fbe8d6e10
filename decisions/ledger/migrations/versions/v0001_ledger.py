"""The first ledger: cycles, proposals, decisions, orders and their outbox, outcomes, episodes, control, history."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create every table, and forbid changes to the history in the database itself."""
    _choices()
    _orders()
    _standing()
    _history()


def _choices() -> None:
    op.create_table(
        "cycle",
        sa.Column("cycle_id", sa.String, primary_key=True),
        sa.Column("asof_at", MOMENT, nullable=False),
        sa.Column("policy_version", sa.String, nullable=False),
        sa.Column("model_version", sa.String, nullable=False),
        sa.Column("recorded_at", MOMENT, nullable=False),
        sa.Column("blocked", sa.Text, nullable=False),
        sa.Column("breakers", sa.Text, nullable=False),
    )
    op.create_table(
        "proposal",
        sa.Column("proposal_id", sa.String, primary_key=True),
        sa.Column("cycle_id", sa.String, sa.ForeignKey("cycle.cycle_id"), nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("asof_at", MOMENT, nullable=False),
        sa.Column("host_id", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("autonomy", sa.String, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Index("proposal_by_cycle", "cycle_id", "rank"),
        sa.Index("proposal_by_host", "host_id", "asof_at"),
    )
    final = sa.text("verdict in ('approved', 'vetoed')")
    op.create_table(
        "decision",
        sa.Column("decision_id", sa.Integer, primary_key=True),
        sa.Column("proposal_id", sa.String, sa.ForeignKey("proposal.proposal_id"), nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("decided_by", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("decided_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Index("decision_by_proposal", "proposal_id"),
        sa.Index("decision_is_final", "proposal_id", unique=True, sqlite_where=final, postgresql_where=final),
    )


def _orders() -> None:
    still = sa.text("state in ('requested', 'accepted', 'started')")
    op.create_table(
        "orders",
        sa.Column("order_id", sa.String, primary_key=True),
        sa.Column("proposal_id", sa.String, sa.ForeignKey("proposal.proposal_id"), nullable=False, unique=True),
        sa.Column("asof_at", MOMENT, nullable=False),
        sa.Column("host_id", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("not_before", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Index("orders_by_state", "state"),
        sa.Index("orders_by_host", "host_id", "requested_at"),
        sa.Index("order_is_open", "host_id", unique=True, sqlite_where=still, postgresql_where=still),
    )
    op.create_table(
        "order_event",
        sa.Column("order_id", sa.String, sa.ForeignKey("orders.order_id"), primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("reason", sa.Text),
    )
    op.create_table(
        "outbox",
        sa.Column("order_id", sa.String, sa.ForeignKey("orders.order_id"), primary_key=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("lease_until", MOMENT),
        sa.Column("last_error", sa.Text),
        sa.Index("outbox_by_state", "state", "next_attempt_at"),
    )
    op.create_table(
        "outcome",
        sa.Column("order_id", sa.String, sa.ForeignKey("orders.order_id"), primary_key=True),
        sa.Column("vm_id", sa.String, primary_key=True),
        sa.Column("result", sa.String, nullable=False),
        sa.Column("target_host_id", sa.String),
        sa.Column("pause_seconds", sa.Float, nullable=False),
        sa.Column("interrupted", sa.Boolean, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    )


def _standing() -> None:
    still = sa.text("closed_at is null")
    op.create_table(
        "episode",
        sa.Column("episode_id", sa.Integer, primary_key=True),
        sa.Column("host_id", sa.String, nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("opened_by", sa.String, sa.ForeignKey("proposal.proposal_id"), nullable=False),
        sa.Column("closed_at", MOMENT),
        sa.Column("why", sa.Text),
        sa.Index("episode_is_open", "host_id", unique=True, sqlite_where=still, postgresql_where=still),
    )
    op.create_table(
        "control",
        sa.Column("control_id", sa.Integer, primary_key=True),
        sa.Column("stopped", sa.Boolean, nullable=False),
        sa.Column("set_by", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    )


def _history() -> None:
    op.create_table(
        "history",
        sa.Column("record", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("previous_hash", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(
                f"create trigger history_no_{verb} before {verb} on history "
                "begin select raise(abort, 'the history is append-only'); end"
            )
        return
    op.execute(
        "create function history_is_append_only() returns trigger language plpgsql as "
        "$$ begin raise exception 'the history is append-only'; end $$"
    )
    op.execute(
        "create trigger history_no_change before update or delete or truncate on history "
        "for each statement execute function history_is_append_only()"
    )
