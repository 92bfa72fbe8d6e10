"""Opt-outs: hosts and pools that people keep out of actions for a time."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table of opt-outs."""
    op.create_table(
        "opt_out",
        sa.Column("opt_out_id", sa.String, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("removal", sa.Text),
    )
