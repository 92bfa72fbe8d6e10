"""The commands by group; each module loads when one of its commands runs."""
