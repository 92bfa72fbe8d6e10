"""VMs and what was and is to be done with them, for owners and those who answer them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException

from dashboards.pages import page
from dashboards.queue import Look
from data.errors import UsageError
from decisions.ledger.services import Cursor, VmService, services
from pipelines import maintenance
from pipelines.maintenance import Maintenance, OwnerMaintenance

SHOWN: Final = 100


@dataclass(frozen=True)
class Typed:
    """What a person has typed into the form of one VM."""

    order_id: str = ""
    vm_id: str = ""
    reason: str = ""


def shown(
    look: Look,
    owner: str,
    host_id: str,
    refused: str = "",
    typed: Typed | None = None,
    *,
    after: str | None = None,
    started: str = "",
) -> str:
    """The page as HTML; after a start with a sentence of what was done, or of why not.

    Raises:
        HTTPException: 422, the cursor is none.
    """
    found = vms(look, owner or None, host_id or None, after, SHOWN)
    done = next((vm for vm in found.vms if started and vm.vm_id == started and vm.started_by), None)
    told = {"found": found, "owner": owner, "host": host_id, "refused": refused, "done": done, "now": look.now}
    counts = owners(look) if not (owner or host_id or after) else ()
    typed = typed or Typed()
    simulated = look.freshness.simulated
    return page("maintenance.html", here="/maintenance", simulated=simulated, owners=counts, typed=typed, **told)


def vms(look: Look, owner: str | None, host_id: str | None, after: str | None, limit: int) -> Maintenance:
    """A page of VMs that orders are about, only those of an owner or a host if one is named.

    Raises:
        HTTPException: 422, the cursor is none.
    """
    con = look.fleet.con if look.fleet else None
    try:
        return maintenance.page(_ask(look, host_id), con, look.home, look.now, owner=owner, after=after, limit=limit)
    except UsageError as error:
        raise HTTPException(422, str(error)) from error


def owners(look: Look) -> tuple[OwnerMaintenance, ...]:
    """How the VMs of each owner stand with their newest orders; counted anew every half minute."""
    if look.fleet is None or look.book is None:
        return ()
    con, ask = look.fleet.con, _ask(look, None)
    return look.fleet.remembered("owners", lambda: maintenance.owners(ask, con, look.now), for_seconds=30)


def _ask(look: Look, host_id: str | None) -> maintenance.Ask:
    def ask(only: Collection[str] | None, after: Cursor | None) -> Iterator[VmService]:
        if look.book is None:
            return iter(())
        return services(look.book.con, look.now - maintenance.SINCE, host_id=host_id, vms=only, after=after)

    return ask
