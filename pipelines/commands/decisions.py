"""Commands about proposals: list, show, approve, veto, snooze, hand over.

With `review.url` or `--server`, and a token in `FORESHOCK_TOKEN`, they go by the API, under the name of the token.
"""

import getpass
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from pipelines.commands.common import COMMON, Common, Hours, Limit
from pipelines.output import Output

if TYPE_CHECKING:
    from decisions.ledger.values import ListedProposal

_Standing = Literal["shown", "waiting", "approved", "vetoed", "snoozed", "handed_over", "expired"]
_LINE: Final = (
    *("proposal_id", "asof_at", "host_id", "action", "standing", "autonomy", "expires_at", "order_id", "order_state"),
    *("reasons", "simulated"),
)
"""What the commands say of a proposal."""


def list_(
    *,
    standing: _Standing | None = None,
    host: str | None = None,
    limit: Limit = 50,
    server: str | None = None,
    common: Common = COMMON,
) -> Output:
    """Proposals of all cycles, newest first.

    Args:
        standing: Only those that stand so.
        host: Only those of that host.
        limit: At most so many.
        server: Address of the review app to ask, with a token in FORESHOCK_TOKEN; by default review.url.
        common: See every command.
    """
    from decisions.ledger.listing import Selection
    from decisions.ledger.values import Standing
    from pipelines.cycle import now_of
    from pipelines.ledgers import copied
    from pipelines.remote import asked_for

    settings = common.settings()
    if (remote := asked_for(settings, server)) is not None:
        with remote:
            told = remote.proposals(limit, host=host, standing=standing)
        return Output({"proposals": [_told(each) for each in told]})
    with copied(settings) as ledger:
        wanted = Standing(standing) if standing else None
        found = ledger.listed(now_of(settings), Selection(host, wanted), limit)
    return Output({"proposals": [_line(listed) for listed in found]})


def show(proposal_id: str, *, server: str | None = None, common: Common = COMMON) -> Output:
    """One proposal with its reasons and prices.

    Args:
        proposal_id: Which one, as `list` shows it.
        server: Address of the review app to ask, with a token in FORESHOCK_TOKEN; by default review.url.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.ledgers import copied
    from pipelines.remote import asked_for

    settings = common.settings()
    if (remote := asked_for(settings, server)) is not None:
        with remote:
            told = remote.proposal(proposal_id)
        return Output({**_told(told), "proposal": told, "decision": told["decision"]})
    with copied(settings) as ledger:
        listed = ledger.proposal(proposal_id, now_of(settings))
    return Output({**_line(listed), "proposal": listed.proposal, "decision": listed.decision})


def approve(
    proposal_id: str, *, reason: str, by: str | None = None, server: str | None = None, common: Common = COMMON
) -> Output:
    """Let it happen.

    Args:
        proposal_id: Which one.
        reason: Why.
        by: Who you are; by default the name you are logged in with, by the API the token's.
        server: Address of the review app to ask, with a token in FORESHOCK_TOKEN; by default review.url.
        common: See every command.
    """
    return _say("approve", proposal_id, reason, None, None, by, server, common)


def veto(
    proposal_id: str,
    *,
    reason: str,
    hours: Hours | None = None,
    by: str | None = None,
    server: str | None = None,
    common: Common = COMMON,
) -> Output:
    """Stop it.

    Args:
        proposal_id: Which one.
        reason: Why.
        hours: For how long the host is left alone; by default until the proposal expires.
        by: Who you are; by default the name you are logged in with, by the API the token's.
        server: Address of the review app to ask, with a token in FORESHOCK_TOKEN; by default review.url.
        common: See every command.
    """
    return _say("veto", proposal_id, reason, hours, None, by, server, common)


def snooze(
    proposal_id: str,
    *,
    reason: str,
    hours: Hours | None = None,
    by: str | None = None,
    server: str | None = None,
    common: Common = COMMON,
) -> Output:
    """Not now; ask again when the action or the risk band changes, or later.

    Args:
        proposal_id: Which one.
        reason: Why.
        hours: For how long at most; by default until the proposal expires.
        by: Who you are; by default the name you are logged in with, by the API the token's.
        server: Address of the review app to ask, with a token in FORESHOCK_TOKEN; by default review.url.
        common: See every command.
    """
    return _say("snooze", proposal_id, reason, hours, None, by, server, common)


def hand_over(
    proposal_id: str,
    *,
    to: str,
    reason: str,
    by: str | None = None,
    server: str | None = None,
    common: Common = COMMON,
) -> Output:
    """Let a named person decide; anybody who may still can, and it expires as before.

    Args:
        proposal_id: Which one.
        to: Whom it waits for.
        reason: Why.
        by: Who you are; by default the name you are logged in with, by the API the token's.
        server: Address of the review app to ask, with a token in FORESHOCK_TOKEN; by default review.url.
        common: See every command.
    """
    return _say("hand_over", proposal_id, reason, None, to, by, server, common)


def _say(
    verdict: Literal["approve", "veto", "snooze", "hand_over"],
    proposal_id: str,
    reason: str,
    hours: float | None,
    to: str | None,
    by: str | None,
    server: str | None,
    common: Common,
) -> Output:
    from decisions.ledger.said import Said, Say
    from pipelines.cycle import now_of
    from pipelines.ledgers import opened
    from pipelines.remote import asked_for
    from pipelines.steps.say import say

    settings = common.settings()
    if (remote := asked_for(settings, server, by)) is not None:
        with remote:
            told = remote.decide(proposal_id, {"verdict": verdict, "reason": reason, "hours": hours, "to": to})
            return Output({**_told(remote.proposal(proposal_id)), "by": told["by"], "order_id": told["order_id"]})
    now = now_of(settings)
    until = now + timedelta(hours=hours) if hours is not None else None
    decided = say(settings, Said(proposal_id, Say(verdict), by or getpass.getuser(), reason, now, until, to))
    with opened(settings) as ledger:
        listed = ledger.proposal(proposal_id, now)
    return Output({**_line(listed), "by": decided.by, "order_id": decided.order_id})


def _line(listed: "ListedProposal") -> dict[str, object]:
    proposal = listed.proposal
    standing = {"standing": listed.standing, "order_id": listed.order_id, "order_state": listed.order_state}
    return {name: standing[name] if name in standing else getattr(proposal, name) for name in _LINE}


def _told(proposal: Mapping[str, Any]) -> dict[str, object]:
    """The same of a proposal that the API told."""
    return {name: proposal[name] for name in _LINE}
