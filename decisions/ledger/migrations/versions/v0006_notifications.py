"""What people have been told and have taken note of; and indexes for those who count orders and outcomes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables and the indexes."""
    op.create_index("orders_by_request", "orders", ["requested_at"])
    op.create_index("outcome_by_result", "outcome", ["result", "interrupted"])
    op.create_table(
        "notification",
        sa.Column("topic", sa.String, primary_key=True),
        sa.Column("severity", sa.String, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("first_at", MOMENT, nullable=False),
        sa.Column("acknowledged_about", sa.Text),
        sa.Column("acknowledged_by", sa.String),
        sa.Column("acknowledged_reason", sa.Text),
        sa.Column("acknowledged_at", MOMENT),
    )
    op.create_table(
        "notification_told",
        sa.Column("topic", sa.String, sa.ForeignKey("notification.topic"), primary_key=True),
        sa.Column("channel", sa.String, primary_key=True),
        sa.Column("severity", sa.String, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    )
    op.create_table(
        "notification_channel",
        sa.Column("channel", sa.String, primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("told_at", MOMENT),
    )
