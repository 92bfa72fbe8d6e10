"""Opt-outs: a person keeps a host or a pool out of actions, with a reason and for a time that ends by itself."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from data.errors import UsageError
from decisions.domain import Action, OptOut

NAMESPACE: Final = UUID("3c0f5f5c-2a3e-5b6e-9a55-0d0f2a4a7b11")


def opt_out(
    scope: str,
    name: str,
    actions: Iterable[Action],
    *,
    by: str,
    reason: str,
    at: datetime,
    days: float,
    longest_days: float,
) -> OptOut:
    """The opt-out of the host or pool for so many days; no actions named: all that become orders.

    Raises:
        UsageError: There is no reason, it would last longer than policy allows or not at all, or it is of watching.
    """
    if not reason.strip():
        msg = "An opt-out needs a reason: whoever is on call next must know why the host is left alone."
        raise UsageError(msg)
    if not 0 < days <= longest_days:
        msg = (
            f"An opt-out lasts more than 0 and at most {longest_days:g} days (opt_outs.longest_days in the policy), "
            f"not {days:g}. Renew it when it ends."
        )
        raise UsageError(msg)
    covered = tuple(sorted(set(actions)))
    if Action.MONITOR in covered:
        msg = "Nobody can opt out of being watched: monitor changes nothing. Name other actions, or none for all."
        raise UsageError(msg)
    opt_out_id = str(uuid5(NAMESPACE, f"{scope}|{name}|{','.join(covered)}|{by}|{at.isoformat()}"))
    return OptOut(opt_out_id, scope, name, covered, by, reason.strip(), at, at + timedelta(days=days))


def again(out: OptOut, times: int) -> OptOut:
    """The opt-out under the id it has after so many others of the same person at the same moment."""
    return replace(out, opt_out_id=str(uuid5(NAMESPACE, f"{out.opt_out_id}|{times}"))) if times else out
