"""Indexes for those who read: the audit by person, host and day, a host's story, and VMs by order."""

from alembic import op

revision = "0007"
down_revision = "0006"

_SAID = {
    "sqlite": "(json_extract(body, '$.{name}'))",
    "postgresql": "(((body::jsonb) ->> '{name}'))",
}


def upgrade() -> None:
    """Create the indexes; what a record's body says is indexed as it stands there, so that it needs no second place."""
    op.create_index("orders_by_update", "orders", ["updated_at"])
    op.create_index("outcome_by_vm", "outcome", ["vm_id"])
    op.create_index("episode_by_host", "episode", ["host_id", "opened_at"])
    op.create_index("history_by_subject", "history", ["subject"])
    op.create_index("history_by_moment", "history", ["at"])
    said = _SAID[op.get_bind().dialect.name]
    op.execute(f"create index history_by_person on history {said.format(name='by')}")
    op.execute(f"create index history_by_host on history {said.format(name='host')}")
