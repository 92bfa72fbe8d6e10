"""What pages will ask of a snapshot, asked before anybody looks: a few large questions in place of thousands."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from time import sleep
from typing import Final

from dashboards import maintenance
from dashboards.evidence import gather
from dashboards.fleet import fleet
from dashboards.queue import Look
from decisions.domain import EntityRisk

SINCE: Final = timedelta(days=2)
"""Proposals of older cycles have expired, or are asked about one by one."""
MOST: Final = 10_000
"""Proposals, the newest first."""


@dataclass(frozen=True)
class _Open:
    """What is asked around a proposal."""

    asof_at: datetime
    host_id: str
    vms: tuple[str, ...]
    targets: tuple[str, ...]
    risk: EntityRisk | None
    """Of the part that it is about."""


def make_ready(look: Look) -> None:
    """Ask all that the pages of the fleet, of owners and of open proposals rest on; what is known already is not."""
    fleet(look)
    maintenance.owners(look)
    if look.fleet is None:
        return
    found = sorted(_open(look), key=lambda one: one.asof_at, reverse=True)
    for at, some in groupby(found, key=lambda one: one.asof_at):
        alike = list(some)
        vms = [name for one in alike for name in one.vms]
        look.fleet.places([one.host_id for one in alike], at)
        look.fleet.targets([name for one in alike for name in one.targets], at)
        look.fleet.members(vms, at)
    gather(look.fleet, [one.risk for one in found if one.risk is not None])


def _open(look: Look) -> Iterator[_Open]:
    """What is asked around each proposal that is neither expired nor long past."""
    if look.book is None:
        return
    left = MOST
    for cycle_id in look.book.cycles_since(look.now - SINCE):
        for proposal in look.book.bodies(cycle_id, look.now, left):
            known, left = proposal.risk.entities or proposal.risk.unknown, left - 1
            vms = tuple(plan.vm_id for plan in proposal.vms)
            targets = tuple({plan.target_host_id for plan in proposal.vms if plan.target_host_id is not None})
            yield _Open(proposal.asof_at, proposal.host_id, vms, targets, known[0] if known else None)
            sleep(0)  # whoever waits for a page goes first
