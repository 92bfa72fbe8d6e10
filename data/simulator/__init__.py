"""A simulated fleet: hosts, virtual machines, parts that fail, the telemetry they leave behind, and a world that moves.

Nothing here is measured on a real fleet; every row it makes says `simulated`.
"""
