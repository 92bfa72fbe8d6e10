"""Who may decide, and what they said: tokens, sessions, hand-overs, and answers that are given once."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables, and the column for whom a proposal was handed to."""
    op.add_column("decision", sa.Column("assignee", sa.Text))
    op.create_table(
        "token",
        sa.Column("token_id", sa.String, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("revocation", sa.Text),
    )
    op.create_table(
        "session",
        sa.Column("cookie_sha256", sa.String, primary_key=True),
        sa.Column("token_id", sa.String, sa.ForeignKey("token.token_id")),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
    )
    op.create_table(
        "answer",
        sa.Column("asked_by", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("request_sha256", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    )
