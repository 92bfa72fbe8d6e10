"""One module per version of the ledger; never changed once released."""
