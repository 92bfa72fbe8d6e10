"""Opt-out: a person keeps a host or a pool out; what has not begun there is called back at once."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from data.errors import UsageError
from decisions import opt_outs
from decisions.domain import Action, OptOut
from decisions.policy import load as load_policy
from pipelines import ledgers
from pipelines.named import require
from pipelines.settings import Settings
from pipelines.steps.dispatch import CalledBack, call_back


@dataclass(frozen=True)
class OptOutReport:
    """The opt-out, and the orders that it called back."""

    opt_out: OptOut
    called_back: CalledBack


def opt_out(
    settings: Settings,
    host: str | None,
    pool: str | None,
    actions: Collection[Action],
    by: str,
    reason: str,
    days: float,
    now: datetime,
) -> OptOutReport:
    """The opt-out as the ledger holds it.

    Raises:
        UsageError: neither host nor pool is named, or both, or one that is not in the inventory; no reason; too long.
    """
    if (host is None) == (pool is None):
        msg = "Name what to keep out: --host HOST, or --pool POOL, and not both."
        raise UsageError(msg)
    scope, name = ("host", host) if host is not None else ("pool", pool)
    require(settings, scope, name or "", now)
    out = opt_outs.opt_out(
        scope,
        name or "",
        actions,
        by=by,
        reason=reason,
        at=now,
        days=days,
        longest_days=load_policy(settings.policy.path).opt_outs.longest_days,
    )
    with ledgers.opened(settings) as ledger:
        held = ledger.opt_out(out)
    return OptOutReport(held, call_back(settings, now))
