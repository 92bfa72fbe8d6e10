"""What `/v1` answers with, beside the views that the page shows too."""

from dataclasses import dataclass
from datetime import date

from starlette.exceptions import HTTPException

from dashboards.queue import Look
from dashboards.views import ProposalView, StandingView


@dataclass(frozen=True)
class Health:
    """Whether snapshot and ledger are there."""

    status: str
    snapshot: bool
    ledger: bool


@dataclass(frozen=True)
class ProposalPage:
    """Proposals of one cycle, and where the next page begins (null: this was the last)."""

    standing: StandingView
    proposals: tuple[ProposalView, ...]
    next: str | None


def page(look: Look, on: date | None, after: str | None, limit: int) -> ProposalPage:
    """At most `limit` proposals after the one that the cursor names, of the cursor's cycle.

    Raises:
        HTTPException: 404, the cursor names no proposal.
    """
    cycle = look.cycle(on)
    if after is not None:
        cycle = look.book.cycle_of(after) if look.book else None
        if cycle is None:
            raise HTTPException(404, f"There is no proposal {after} to go on after. Leave `after` out to begin anew.")
    ids = [each.proposal_id for each in look.book.asked(cycle.cycle_id)] if look.book and cycle else []
    start = ids.index(after) + 1 if after is not None else 0
    asked = ids[start : start + limit]
    return ProposalPage(
        standing=look.standing(cycle),
        proposals=tuple(look.views(look.book.named(asked, look.now))) if look.book else (),
        next=asked[-1] if start + limit < len(ids) else None,
    )
