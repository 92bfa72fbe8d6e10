"""The command about VMs: which have been moved or serviced, and what their owners are offered."""

from typing import TYPE_CHECKING

from pipelines.commands.common import COMMON, Common, Limit
from pipelines.output import Output
from pipelines.snapshot import snapshot

if TYPE_CHECKING:
    from pipelines.maintenance import VmMaintenance


def vms(
    *,
    owner: str | None = None,
    host: str | None = None,
    after: str | None = None,
    limit: Limit = 100,
    common: Common = COMMON,
) -> Output:
    """VMs that orders of the last 30 days are about: what is done, what is offered until when, what owners chose.

    Args:
        owner: Only VMs of that owner.
        host: Only VMs of orders for that host.
        after: `next` of the page before.
        limit: At most so many.
        common: See every command.
    """
    from data.errors import UsageError
    from data.snapshots import PUBLISHED
    from pipelines import maintenance
    from pipelines.cycle import now_of
    from pipelines.ledgers import copied

    settings = common.settings()
    if not (settings.home / PUBLISHED).exists():
        msg = f"{settings.home} holds no snapshot yet: bring the inventory in with `foreshock ingest inventory FOLDER`."
        raise UsageError(msg)
    now = now_of(settings)
    with snapshot(settings) as con, copied(settings) as ledger, ledger.services(now - maintenance.SINCE, host) as ask:
        known = maintenance.inventory(con)
        found = maintenance.page(
            ask, known, settings.home, now, owners=[owner] if owner is not None else None, after=after, limit=limit
        )
    lines = [_line(one) for one in found.vms] or ["No order of the last 30 days is about such a VM."]
    more = [f"More: --after '{found.next}'"] if found.next else []
    return Output({"vms": found.vms, "next": found.next}, "\n".join([*lines, *more]))


def _line(one: "VmMaintenance") -> str:
    where = f"{one.host_id} to {one.target_host_id}" if one.target_host_id else one.host_id
    until = f", until {one.offered_until:%Y-%m-%d %H:%M} UTC" if one.offered_until else ""
    chose = f"; its owner chose {one.chose}" if one.chose else ""
    marked = " (simulated)" if one.simulated else ""
    owner = one.owner or "not in the inventory"
    return f"{one.vm_id}  {owner}  {where}  {one.stands.value}{until}: {one.said}{chose}{marked}"
