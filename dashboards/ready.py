"""What pages will ask of a snapshot, asked before anybody looks: a few large questions in place of thousands."""

import gc
import json
from dataclasses import dataclass
from time import sleep
from typing import Any, Final

from pydantic import TypeAdapter

from dashboards import maintenance
from dashboards.evidence import gather
from dashboards.fleet import fleet
from dashboards.queue import Look
from decisions.domain import EntityRisk


@dataclass(frozen=True)
class _Open:
    """What is asked around a proposal."""

    host_id: str
    vms: tuple[str, ...]
    targets: frozenset[str]
    risk: EntityRisk | None
    """Of the part that it is about."""


_RISK: Final = TypeAdapter(EntityRisk)


def make_ready(look: Look) -> None:
    """Ask all that the pages of the fleet, of owners and of the newest cycle's proposals rest on."""
    fleet(look)
    maintenance.owners(look)
    if look.fleet is None:
        return
    newest = look.book.newest() if look.book is not None else None
    if look.book is None or newest is None:
        return
    cycle_id, at = newest
    found = [_around(json.loads(body)) for body in look.book.bodies(cycle_id, look.now)]
    look.fleet.places([one.host_id for one in found], at)
    look.fleet.targets(sorted({name for one in found for name in one.targets}), at)
    look.fleet.members([name for one in found for name in one.vms], at)
    gather(look.fleet, [one.risk for one in found if one.risk is not None])
    _settle()


def _settle() -> None:
    """Leave what has been gathered out of later searches for garbage: each stops all pages while it lasts."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _around(told: dict[str, Any]) -> _Open:
    """From a proposal as it was written down: to make it whole takes three times as long, and there are thousands."""
    known = told["risk"]["entities"] or told["risk"]["unknown"]
    vms = tuple(plan["vm_id"] for plan in told["vms"])
    targets = frozenset(plan["target_host_id"] for plan in told["vms"]) - {None}
    sleep(0)  # whoever waits for a page goes first
    return _Open(told["host_id"], vms, targets, _RISK.validate_python(known[0]) if known else None)
