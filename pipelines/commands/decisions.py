"""Commands about proposals: list, show, approve, veto, snooze."""

import getpass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pipelines.commands.common import COMMON, Common
from pipelines.output import Output

if TYPE_CHECKING:
    from decisions.ledger.values import ListedProposal

_Standing = Literal["shown", "waiting", "approved", "vetoed", "snoozed", "expired"]


def list_(
    *, standing: _Standing | None = None, host: str | None = None, limit: int = 50, common: Common = COMMON
) -> Output:
    """Proposals, newest first.

    Args:
        standing: Only those that stand so.
        host: Only those of that host.
        limit: At most so many.
        common: See every command.
    """
    from decisions.ledger.values import Standing
    from pipelines.cycle import now_of
    from pipelines.ledgers import copied

    settings = common.settings()
    with copied(settings) as ledger:
        wanted = Standing(standing) if standing else None
        found = ledger.proposals(now_of(settings), host_id=host, standing=wanted, limit=limit)
    return Output({"proposals": [_line(listed) for listed in found]})


def show(proposal_id: str, *, common: Common = COMMON) -> Output:
    """One proposal with its reasons and prices.

    Args:
        proposal_id: Which one, as `list` shows it.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.ledgers import copied

    settings = common.settings()
    with copied(settings) as ledger:
        listed = ledger.proposal(proposal_id, now_of(settings))
    return Output({**_line(listed), "proposal": listed.proposal, "decision": listed.decision})


def approve(proposal_id: str, *, reason: str, by: str | None = None, common: Common = COMMON) -> Output:
    """Let it happen.

    Args:
        proposal_id: Which one.
        reason: Why.
        by: Who you are; by default the name you are logged in with.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.ledgers import opened

    settings, name = common.settings(), by or getpass.getuser()
    now = now_of(settings)
    with opened(settings) as ledger:
        order = ledger.approve(proposal_id, name, reason, now)
        listed = ledger.proposal(proposal_id, now)
    return Output({**_line(listed), "by": name, "order_id": order.order_id if order else None})


def veto(
    proposal_id: str, *, reason: str, hours: float | None = None, by: str | None = None, common: Common = COMMON
) -> Output:
    """Stop it.

    Args:
        proposal_id: Which one.
        reason: Why.
        hours: For how long the host is left alone; by default until the proposal expires.
        by: Who you are; by default the name you are logged in with.
        common: See every command.
    """
    return _refuse("veto", proposal_id, reason, hours, by, common)


def snooze(
    proposal_id: str, *, reason: str, hours: float | None = None, by: str | None = None, common: Common = COMMON
) -> Output:
    """Not now; ask again later.

    Args:
        proposal_id: Which one.
        reason: Why.
        hours: For how long; by default until the proposal expires.
        by: Who you are; by default the name you are logged in with.
        common: See every command.
    """
    return _refuse("snooze", proposal_id, reason, hours, by, common)


def _refuse(
    verb: Literal["veto", "snooze"], proposal_id: str, reason: str, hours: float | None, by: str | None, common: Common
) -> Output:
    from pipelines.cycle import now_of
    from pipelines.ledgers import opened

    settings, name = common.settings(), by or getpass.getuser()
    now = now_of(settings)
    until = now + timedelta(hours=hours) if hours is not None else None
    with opened(settings) as ledger:
        say = ledger.veto if verb == "veto" else ledger.snooze
        say(proposal_id, name, reason, now, until)
        listed = ledger.proposal(proposal_id, now)
    return Output({**_line(listed), "by": name})


def _line(listed: "ListedProposal") -> dict[str, object]:
    proposal = listed.proposal
    return {
        "proposal_id": proposal.proposal_id,
        "asof_at": proposal.asof_at,
        "host_id": proposal.host_id,
        "action": proposal.action,
        "standing": listed.standing,
        "autonomy": proposal.autonomy,
        "expires_at": proposal.expires_at,
        "order_id": listed.order_id,
        "order_state": listed.order_state,
        "reasons": proposal.reasons,
        "simulated": proposal.simulated,
    }
