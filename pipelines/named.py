"""Hosts and pools that a person names, held against the inventory: a slip of the pen would otherwise go unseen."""

import difflib
from datetime import datetime
from typing import Final

from data.errors import UsageError
from pipelines import situation
from pipelines.settings import Settings
from pipelines.snapshot import snapshot

_SHOWN: Final = 5
"""Names that are offered where none is near."""


def require(settings: Settings, scope: str, name: str, now: datetime) -> None:
    """Nothing, where the inventory holds a host or a pool of that name.

    Raises:
        UsageError: it holds none; the nearest names are offered.
        WarehouseError: no inventory has been published.
    """
    with snapshot(settings) as con:
        hosts = situation.hosts(con, situation.pictured_at(con, now))
    known = list(hosts) if scope == "host" else sorted({host.cluster for host in hosts.values()})
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        more = " ..." if len(known) > _SHOWN else ""
        hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known[:_SHOWN]) or 'none'}{more}"
        msg = f"No {scope} {name} is in the inventory as of {now:%Y-%m-%d %H:%M} UTC. {hint}"
        raise UsageError(msg)
