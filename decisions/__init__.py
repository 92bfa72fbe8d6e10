"""Choice: what to do about a risk."""
