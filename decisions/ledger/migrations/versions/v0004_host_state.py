"""How an order left its host, as its executor told."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("orders", sa.Column("host_state", sa.String))
