"""One live migration: begun in a thread of its own, watched by its job's statistics, aborted when it must be."""

import logging
import time
from concurrent.futures import Future, wait
from threading import Event
from typing import Any, Final

import libvirt

from data.errors import ExecutorError
from pipelines.drivers import Impossible, Moved, Stopped
from pipelines.drivers.libvirt import domains
from pipelines.drivers.libvirt.fleet import Fleet
from pipelines.drivers.libvirt.hosts import Hosts, begun

FLAGS: Final = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
)

_log = logging.getLogger(__name__)


def send(fleet: Fleet, domain: Any, target: str) -> "Future[Any]":
    """The migration to the target, under way."""
    host = fleet.hosts[target]
    limit = fleet.bandwidth_mib_per_second
    params = {libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: limit} if limit else {}
    return begun(lambda: domain.migrateToURI3(host.peer_uri or host.uri, params, FLAGS))


def follow(domain: Any) -> "Future[Any]":
    """A migration that was begun by somebody else, as if it were ours."""

    def end() -> None:
        while domains.leaves(domain):
            time.sleep(domains.POLL_SECONDS)

    return begun(end)


def watch(fleet: Fleet, vm_id: str, domain: Any, work: "Future[Any]", stop: Event, *, ours: bool) -> Impossible:
    """Why the VM is where it was, should that be so once this returns: the migration has ended, or will not.

    Only a migration of `ours` is told its longest pause: somebody may have set that of another since it began.
    """
    began, limited = time.monotonic(), not ours
    why: Impossible | None = None
    until = began + fleet.timeout_seconds
    while not wait([work], domains.POLL_SECONDS).done:
        now = time.monotonic()
        limited = limited or _limited(fleet, domain)
        if why is None and stop.is_set():
            why, until = Stopped(f"VM {vm_id} was called back while it moved"), now
        elif why is None and now > until:
            why = Impossible(f"VM {vm_id} was not moved within {fleet.timeout_seconds:g} s; its migration was aborted")
        if why is None:
            _log.debug("VM %s: %s bytes of memory to go after %.1f s", vm_id, _remaining(domain), now - began)
        elif now > until + domains.ABORT_SECONDS:
            break
        else:
            domains.abort(domain)
    error = work.exception() if work.done() else None
    return why or Impossible(f"VM {vm_id} could not move: {error or 'the hypervisor gave no reason'}")


def _limited(fleet: Fleet, domain: Any) -> bool:
    """Whether the migration now keeps to the longest pause, which libvirt forgets if told before memory flows."""
    try:
        if domains.leaves(domain) and domain.jobStats().get(libvirt.VIR_DOMAIN_JOB_MEMORY_TOTAL):
            domain.migrateSetMaxDowntime(fleet.downtime_ms_most, 0)
            return True
    except libvirt.libvirtError:
        pass
    return False


def settled(fleet: Fleet, hosts: Hosts, vm_id: str, source: str, why: Impossible) -> Moved:
    """Where the VM is after a migration, by what the hosts say.

    Raises:
        Impossible: `why`, as it lives on its source.
        ExecutorError: nobody knows, or the migration does not end.
    """
    hosts.end_leaving(vm_id, source)
    where = hosts.host_of(vm_id)
    if where == source:
        raise why
    if where is None:
        msg = f"VM {vm_id} lives on no host that answers: {why}"
        raise ExecutorError(msg)
    with hosts.asked(where) as con:
        return Moved(where, _pause_seconds(fleet, domains.named(con, vm_id)))


def _pause_seconds(fleet: Fleet, domain: Any) -> float:
    """The downtime by the hypervisor's statistics; where it kept none, the most that it was allowed."""
    completed = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    try:
        stats = domain.jobStats(completed)
    except libvirt.libvirtError as error:
        _log.warning("VM %s: no statistics of its migration (%s)", domain.name(), error)
        stats = {}
    return float(stats.get(libvirt.VIR_DOMAIN_JOB_DOWNTIME, fleet.downtime_ms_most)) / 1_000


def _remaining(domain: Any) -> object:
    try:
        return domain.jobStats().get(libvirt.VIR_DOMAIN_JOB_MEMORY_REMAINING, "unknown")
    except libvirt.libvirtError:
        return "unknown"
