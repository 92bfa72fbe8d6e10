"""Which VMs an order is about, by VM; and the newest cycle without looking through all of them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_NAMED = {
    "sqlite": """
        insert into order_vm (vm_id, order_id)
        select distinct json_extract(plan.value, '$.vm_id'), orders.order_id
        from orders, json_each(orders.body, '$.vms') as plan""",
    "postgresql": """
        insert into order_vm (vm_id, order_id)
        select distinct plan ->> 'vm_id', orders.order_id
        from orders, jsonb_array_elements(orders.body::jsonb -> 'vms') as plan""",
}


def upgrade() -> None:
    """Create table and index; of the orders that are held the table tells what their bodies do."""
    op.create_table(
        "order_vm",
        sa.Column("vm_id", sa.String, primary_key=True),
        sa.Column("order_id", sa.String, sa.ForeignKey("orders.order_id"), primary_key=True),
    )
    op.execute(_NAMED[op.get_bind().dialect.name])
    op.create_index("cycle_by_moment", "cycle", ["asof_at", "recorded_at"])
