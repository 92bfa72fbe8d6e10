"""Commands about opt-outs: add, list, remove."""

import getpass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from pipelines.commands.common import COMMON, Common
from pipelines.output import Output

if TYPE_CHECKING:
    from decisions.ledger.values import ListedOptOut

_Action = Literal[
    "notify",
    "block_placements",
    "hot_patch",
    "preserve_memory",
    "self_service",
    "live_migrate",
    "evacuate",
    "decommission",
    "investigate",
]


def add(
    *,
    reason: str,
    days: float,
    host: str | None = None,
    pool: str | None = None,
    action: Annotated[tuple[_Action, ...], Parameter(negative="")] = (),
    by: str | None = None,
    common: Common = COMMON,
) -> Output:
    """Keep a host or a pool out of actions, for a time. Orders for it that have not begun are called back.

    Args:
        reason: Why, for whoever is on call next.
        days: For how long; at most what the policy allows (opt_outs.longest_days).
        host: Which host.
        pool: Or which pool (a cluster).
        action: Only that action, may be given several times; by default everything that becomes an order.
        by: Who you are; by default the name you are logged in with.
        common: See every command.
    """
    from decisions.domain import Action
    from pipelines.cycle import now_of
    from pipelines.steps.opt_out import opt_out

    settings = common.settings()
    actions = tuple(Action(name) for name in action)
    done = opt_out(settings, host, pool, actions, by or getpass.getuser(), reason, days, now_of(settings))
    return Output({"opt_out": done.opt_out, "called_back": done.called_back})


def list_(*, ended: Annotated[bool, Parameter(negative="")] = False, common: Common = COMMON) -> Output:
    """Who keeps what out, why and until when.

    Args:
        ended: Also those that have ended.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.ledgers import copied

    settings = common.settings()
    now = now_of(settings)
    with copied(settings) as ledger:
        found = ledger.opt_outs()
    holding = [each for each in found if each.removal is None and each.opt_out.expires_at > now]
    return Output({"opt_outs": [_line(each) for each in (found if ended else holding)]})


def remove(opt_out_id: str, *, reason: str, by: str | None = None, common: Common = COMMON) -> Output:
    """End an opt-out before its time.

    Args:
        opt_out_id: Which one, as `list` shows it.
        reason: Why.
        by: Who you are; by default the name you are logged in with.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.ledgers import opened

    settings, name = common.settings(), by or getpass.getuser()
    with opened(settings) as ledger:
        ledger.remove_opt_out(opt_out_id, name, reason, now_of(settings))
    return Output({"removed": opt_out_id, "by": name, "reason": reason})


def _line(each: "ListedOptOut") -> dict[str, object]:
    out, removal = each.opt_out, each.removal
    return {
        "opt_out_id": out.opt_out_id,
        out.scope: out.name,
        "actions": list(out.actions) or "all that become orders",
        "by": out.by,
        "reason": out.reason,
        "at": out.at,
        "expires_at": out.expires_at,
        "removed_at": removal.at if removal else None,
        "removed_by": removal.by if removal else None,
        "removed_because": removal.reason if removal else None,
    }
