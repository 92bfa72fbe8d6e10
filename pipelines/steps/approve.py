"""Approve: a stand-in for the on-call engineer in simulated runs, who says yes to everything that waits."""

from datetime import datetime
from typing import Final

from data.errors import Refused
from decisions.ledger import Ledger
from decisions.ledger.values import Standing

STAND_IN: Final = "simulated on-call"


def approve_waiting(ledger: Ledger, now: datetime) -> int:
    """How many waiting proposals of the last cycle were approved; one that the ledger refuses stays as it is."""
    approved = 0
    for listed in ledger.proposals(now, cycle_id=ledger.cycles(limit=1)[0].cycle_id, standing=Standing.WAITING):
        try:
            ledger.approve(listed.proposal.proposal_id, STAND_IN, "stands in for a person in a simulated run", now)
        except Refused:
            continue
        approved += 1
    return approved
