"""What can be said of one domain: whether it lives here, is on its way, and what pins it to its host."""

import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import libvirt

from data.errors import ExecutorError

NAMESPACE: Final = "urn:foreshock:vm:1"
"""Of the metadata element `<foreshock:vm xmlns:foreshock="urn:foreshock:vm:1" live_migratable="no"/>`."""
PINS: Final = {
    "./devices/hostdev": "a device of its host is passed through to it",
    "./devices/interface[@type='hostdev']": "a network device of its host is passed through to it",
    "./devices/shmem": "it shares memory with its host",
    "./launchSecurity": "its memory is encrypted by its host",
    f"./metadata/{{{NAMESPACE}}}vm[@live_migratable='no']": "its metadata says live_migratable=no",
}
"""What keeps a domain from moving live, as paths into its definition."""
DEAD: Final = {
    libvirt.VIR_DOMAIN_NOSTATE,
    libvirt.VIR_DOMAIN_SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF,
    libvirt.VIR_DOMAIN_CRASHED,
}
"""States in which no guest runs; one that is being shut down is what a broken arrival is for a moment."""
WAITING: Final = {libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP}
"""Why a domain stands still that has not begun here yet."""
POLL_SECONDS: Final = 0.1
ABORT_SECONDS: Final = 60.0
"""An aborted migration must have ended after so long."""
REMOVED_SECONDS: Final = 10.0
"""A daemon must have removed what an aborted migration left there after so long."""


def named(con: Any, vm_id: str) -> Any | None:
    """The host's domain of that name, or null."""
    with unless_gone():
        return con.lookupByName(vm_id)
    return None


def definition(domain: Any) -> str:
    """The XML to define it elsewhere with, secrets included."""
    return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))


def pin(xml: str) -> str | None:
    """Why a domain so defined cannot move live, or null."""
    root = ET.fromstring(xml)  # noqa: S314 - it comes from our own hypervisors
    return next((reason for path, reason in PINS.items() if root.find(path) is not None), None)


def memory_bytes(xml: str) -> int:
    """How much memory a domain so defined needs."""
    memory = ET.fromstring(xml).find("memory")  # noqa: S314 - it comes from our own hypervisors
    assert memory is not None  # noqa: S101 - libvirt has every domain say so
    return int(memory.text or 0) * 1_024  # libvirt writes KiB


def leaves(domain: Any) -> bool:
    """Whether a migration to another host is under way."""
    try:
        stats = domain.jobStats()
    except libvirt.libvirtError:
        return False
    out = stats.get(libvirt.VIR_DOMAIN_JOB_OPERATION) == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
    return out and stats["type"] in {libvirt.VIR_DOMAIN_JOB_BOUNDED, libvirt.VIR_DOMAIN_JOB_UNBOUNDED}


def arrives(domain: Any) -> bool:
    """Whether it only waits here for a migration to bring its memory."""
    state, reason = domain.state()
    return state == libvirt.VIR_DOMAIN_PAUSED and reason in WAITING and not leaves(domain)


def lives(domain: Any) -> bool:
    """Whether it runs or is paused here; false also for one that is gone by now."""
    with unless_gone():
        return domain.state()[0] not in DEAD and not arrives(domain)
    return False


@contextmanager
def unless_gone() -> Iterator[None]:
    """Leave the block where a domain that was there a moment ago is not any more."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise


def discard_arrival(domain: Any) -> None:
    """Remove a domain that still waits for a migration whose source is gone; the daemon may be doing the same."""
    with suppress(libvirt.libvirtError):
        if arrives(domain):
            domain.destroy()


def known(con: Any, xml: str) -> bool:
    """Whether the host has a domain with the name or the UUID of that definition; one being removed it has no more."""
    root = ET.fromstring(xml)  # noqa: S314 - it comes from our own hypervisors
    name, uuid = root.findtext("name"), root.findtext("uuid")
    if name and named(con, name) is not None:
        return True
    with unless_gone():
        return bool(uuid) and con.lookupByUUIDString(uuid) is not None
    return False


def define(con: Any, xml: str) -> Any:
    """The domain of that definition, not started.

    A daemon that is still removing what an interrupted migration left there knows no such domain, and says only that
    the operation failed: it is asked again for as long as removing may take. If it does know one, that one stays.
    """
    end = time.monotonic() + REMOVED_SECONDS
    while True:
        try:
            return con.defineXML(xml)
        except libvirt.libvirtError as error:
            passing = error.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED and not known(con, xml)
            if not passing or time.monotonic() > end:
                raise
        time.sleep(POLL_SECONDS)


def end_leaving(domain: Any) -> None:
    """Abort any migration that is under way from here.

    Raises:
        ExecutorError: it does not end.
    """
    end = time.monotonic() + ABORT_SECONDS
    while leaves(domain):
        if time.monotonic() > end:
            msg = f"the migration of VM {domain.name()} does not end; look at the daemon's log, then ask again"
            raise ExecutorError(msg)
        abort(domain)
        time.sleep(POLL_SECONDS)


def abort(domain: Any) -> None:
    """Ask the migration to end; too late or too early is no error, as the caller looks and asks again."""
    with suppress(libvirt.libvirtError):
        domain.abortJob()


def stop(domain: Any, patience_seconds: float) -> None:
    """Shut the guest down, or switch it off if it has not gone in time."""
    end = time.monotonic() + patience_seconds
    if patience_seconds > 0 and domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING:
        with suppress(libvirt.libvirtError):
            domain.shutdown()
        while domain.isActive() and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
    if domain.isActive():
        domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)


def undefine(domain: Any) -> None:
    """Forget a stopped domain, but leave its disks and firmware variables."""
    if domain.isPersistent():
        snapshots = libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        domain.undefineFlags(snapshots | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)
