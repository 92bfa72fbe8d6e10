"""Replay: a past period once more, under any policy, model and rival, without side effects."""
