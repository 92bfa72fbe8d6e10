"""Judgement: how likely is a failure, and how far that can be trusted."""
