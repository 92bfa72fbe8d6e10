"""Motion: when things run and what they touch."""
