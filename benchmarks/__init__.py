"""Figures that take minutes: each prints what it measured, in one run."""
