"""Incidents: what the hosts of a cycle that fail have in common, as they were found before it was decided."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the table of incidents."""
    op.create_table(
        "incident",
        sa.Column("cycle_id", sa.String, sa.ForeignKey("cycle.cycle_id"), primary_key=True),
        sa.Column("rank", sa.Integer, primary_key=True),
        sa.Column("incident_id", sa.String, nullable=False),
        sa.Column("asof_at", MOMENT, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Index("incident_by_id", "incident_id", "asof_at"),
        sa.Index("incident_by_moment", "asof_at"),
    )
