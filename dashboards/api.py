"""What `/v1` answers with, beside the views that the page shows too."""

from dataclasses import dataclass
from datetime import date
from itertools import groupby

from starlette.exceptions import HTTPException

from dashboards.queue import Look
from dashboards.views import ProposalView, StandingView
from data.errors import LedgerError
from decisions.ledger.listing import Selection


@dataclass(frozen=True)
class Health:
    """Whether snapshot and ledger are there."""

    status: str
    snapshot: bool
    ledger: bool


@dataclass(frozen=True)
class ProposalPage:
    """Proposals, and where the next page begins (null: this was the last)."""

    standing: StandingView
    proposals: tuple[ProposalView, ...]
    next: str | None


def every(look: Look, wanted: Selection, after: str | None, limit: int) -> ProposalPage:
    """At most `limit` proposals of all cycles that are wanted, after the one that the cursor names.

    Raises:
        HTTPException: 404, the cursor names no proposal.
    """
    try:
        listed = look.book.listed(look.now, wanted, after, limit + 1) if look.book else []
    except LedgerError as error:
        raise HTTPException(404, str(error)) from error
    nights = groupby(listed[:limit], key=lambda each: each.proposal.asof_at)
    return ProposalPage(
        standing=look.standing(look.cycle(None)),
        proposals=tuple(view for _, night in nights for view in look.views(list(night))),
        next=listed[limit - 1].proposal.proposal_id if len(listed) > limit else None,
    )


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
