"""Runs the ledger's migrations on the connection it is given; `decisions.ledger.store` gives one."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
with context.begin_transaction():
    context.run_migrations()
