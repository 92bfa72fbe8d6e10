"""Where VMs go: targets with room, spread over fault domains, with hosts to spare, never a host in doubt."""

from decisions.placement.assignment import Assignment, assign
from decisions.placement.problem import Occupancy

__all__ = ["Assignment", "Occupancy", "assign"]
