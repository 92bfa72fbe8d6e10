"""An order that was handed over keeps no error of a try before: its last error says that the answer is of no use."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Forget why handing over failed at first, of orders that the executor has since."""
    op.execute("update outbox set last_error = null where state = 'sent'")
