"""Migrations of the ledger, run by `decisions.ledger.store` when a ledger is opened."""
