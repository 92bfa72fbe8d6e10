"""Evidence: what was knowable about an entity, and when."""
