"""Facts: how they arrive, are stored and are trusted."""
