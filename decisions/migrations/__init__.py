"""Migrations of the ledger, run by `decisions.ledger_store` when a ledger is opened."""
