"""The driver of QEMU hosts behind libvirt: a VM is a domain, and its id is the domain's name, unique in the fleet.

The hosts' daemons are asked directly, so there is no scheduler: `close` is a flag in the driver's own folder, heeded
when it chooses a target itself. Whoever else places VMs must be told elsewhere. What must hold on the hosts is in
`docs/executors/libvirt.md`.
"""

from contextlib import suppress
from pathlib import Path
from threading import Event

import libvirt

from data.errors import ExecutorError, SettingsError
from pipelines.drivers import Driver, Impossible, Moved, Stopped
from pipelines.drivers.libvirt import domains, migration
from pipelines.drivers.libvirt.fleet import Fleet, Host
from pipelines.drivers.libvirt.hosts import Hosts, Silent
from pipelines.drivers.libvirt.notes import Notes
from pipelines.drivers.libvirt.redeployment import Redeployment
from pipelines.settings import LibvirtSettings

__all__ = ["Fleet", "Host", "Libvirt", "opened"]


def opened(section: LibvirtSettings, folder: Path) -> Driver:
    """The driver that `[drive.libvirt]` describes, with its notes in the folder.

    Raises:
        SettingsError: it names no hosts, or a peer that is none of them.
    """
    if not section.hosts:
        msg = "drive.libvirt.hosts is empty: give each host's connection URI, such as h1 = 'qemu+tls://h1/system'."
        raise SettingsError(msg)
    if strange := sorted(section.peers.keys() - section.hosts.keys()):
        msg = f"drive.libvirt.peers names {strange[0]}, which drive.libvirt.hosts does not: correct one of them."
        raise SettingsError(msg)
    hosts = {host_id: Host(uri, section.peers.get(host_id)) for host_id, uri in section.hosts.items()}
    return Libvirt(Fleet(hosts, folder, **section.model_dump(exclude={"hosts", "peers"})))


class Libvirt:
    """Moves domains between the hosts of a fleet. Threads may share it."""

    def __init__(self, fleet: Fleet) -> None:
        """Nothing is connected to yet."""
        self._fleet = fleet
        self._hosts = Hosts({host_id: host.uri for host_id, host in fleet.hosts.items()}, fleet.connect_seconds)
        self._notes = Notes(fleet.state)
        self._redeployment = Redeployment(fleet, self._hosts, self._notes, self._roomiest)

    def host_of(self, vm_id: str) -> str | None:
        """The host on which the VM runs or is paused, not merely arrives; null: on no host that answers.

        Its definition is kept, should that host die.

        Raises:
            ExecutorError: it runs on two, or two VMs have one name.
        """
        where = self._hosts.host_of(vm_id)
        if where is not None:
            with suppress(ExecutorError), self._hosts.asked(where) as con:
                self._notes.keep(vm_id, domains.definition(con.lookupByName(vm_id)))
        return where

    def vms_on(self, host_id: str) -> list[str]:
        """The VMs of a host, running, paused or stopped; their definitions are kept, should the host die."""
        self._redeployment.clear_up(host_id)
        with self._hosts.asked(host_id) as con:
            names = []
            for domain in con.listAllDomains():
                with domains.unless_gone():
                    if not domains.arrives(domain):
                        self._notes.keep(domain.name(), domains.definition(domain))
                        names.append(domain.name())
            return sorted(names)

    def unmovable(self, vm_id: str) -> str | None:
        """Why the VM cannot move live, whatever the target, or null, by its definition when it was last seen."""
        seen = sorted(self._hosts.seen(vm_id), key=lambda one: not one.lives)
        if seen:
            with self._hosts.asked(seen[0].host_id):
                self._notes.keep(vm_id, domains.definition(seen[0].domain))
        xml = self._notes.definition(vm_id)
        if xml is None:
            msg = f"VM {vm_id} is on no host that answers, and was never seen by this driver"
            raise ExecutorError(msg)
        return domains.pin(xml)

    def close(self, host_id: str, reason: str) -> None:
        """This driver no longer chooses the host; definitions of the VMs there are kept, if it answers."""
        self._notes.close(host_id, reason)
        with suppress(ExecutorError):
            self.vms_on(host_id)

    def reopen(self, host_id: str) -> None:
        """This driver may choose the host again; what VMs left there when they were redeployed is removed."""
        with suppress(Silent):
            self._redeployment.clear_up(host_id)
        self._notes.reopen(host_id)

    def migrate(self, vm_id: str, source: str, target: str | None, stop: Event) -> Moved:
        """Move the VM live, peer to peer, and wait; the pause is the hypervisor's own figure.

        A migration that is under way already, such as one that this driver began before it was killed, is waited for.
        Without a target it is the open host with the most free memory.

        Raises:
            Impossible: refused, failed, or not done in time; `Stopped`, if it was called back.
            ExecutorError: contact was lost, or an aborted migration does not end.
        """
        if stop.is_set():
            msg = f"VM {vm_id} was called back before it began to move"
            raise Stopped(msg)
        with self._hosts.asked(source) as con:
            domain = domains.named(con, vm_id)
            if domain is None or not domains.lives(domain):
                return self._settled(vm_id, source, Impossible(f"VM {vm_id} does not run on host {source}"))
            if ours := not domains.leaves(domain):
                work = migration.send(self._fleet, domain, self._target(vm_id, domain, source, target))
            else:
                work = migration.follow(domain)
        return self._settled(vm_id, source, migration.watch(self._fleet, vm_id, domain, work, stop, ours=ours))

    def redeploy(self, vm_id: str, source: str, target: str | None) -> Moved:
        """Stop the VM on its source and start it anew on the target; from a silent source only once it is fenced.

        A VM that its owner had stopped stays so on the target.

        Raises:
            Impossible: it might still run on a silent source, or the target will not take it.
            ExecutorError: contact was lost on the way.
        """
        return self._redeployment.redeploy(vm_id, source, target)

    def pause(self, vm_id: str) -> None:
        """Halt the VM and keep its memory; harmless when it is halted already."""
        with self._hosts.asked(self._home(vm_id)) as con:
            domain = con.lookupByName(vm_id)
            if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
                domain.suspend()

    def resume(self, vm_id: str) -> None:
        """Let a halted VM go on, and set its clock right if its guest agent answers; harmless when it runs."""
        with self._hosts.asked(self._home(vm_id)) as con:
            domain = con.lookupByName(vm_id)
            if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()
                with suppress(libvirt.libvirtError):
                    domain.setTime(flags=libvirt.VIR_DOMAIN_TIME_SYNC)

    def shut(self) -> None:
        """Let go of all connections."""
        self._hosts.close()

    def _home(self, vm_id: str) -> str:
        where = self._hosts.host_of(vm_id)
        if where is None:
            msg = f"VM {vm_id} runs on no host that answers"
            raise Impossible(msg)
        return where

    def _target(self, vm_id: str, domain: object, source: str, target: str | None) -> str:
        """Where the VM, which can move live, goes to; its definition is kept."""
        xml = domains.definition(domain)
        self._notes.keep(vm_id, xml)
        if why := domains.pin(xml):
            msg = f"VM {vm_id} cannot move live: {why}"
            raise Impossible(msg)
        if target is not None and target not in self._hosts:
            msg = f"host {target} is none of those that the libvirt driver is configured for; add its URI"
            raise Impossible(msg)
        return target or self._roomiest(source, xml)

    def _roomiest(self, source: str, xml: str) -> str:
        """The open host other than the source with the most free memory, if the VM fits."""
        needed = domains.memory_bytes(xml)
        free = {host_id: self._free_bytes(host_id) for host_id in self._hosts if host_id != source}
        fits = [host_id for host_id, left in free.items() if left >= needed]
        if not fits:
            msg = (
                f"no open host that answers has {needed / 2**20:,.0f} MiB of memory free; name a target, or reopen one"
            )
            raise Impossible(msg)
        return max(fits, key=lambda host_id: free[host_id])

    def _free_bytes(self, host_id: str) -> int:
        """Free memory; less than nothing on a host that is closed or does not answer."""
        if not self._notes.closed(host_id):
            with suppress(ExecutorError), self._hosts.asked(host_id) as con:
                return int(con.getFreeMemory())
        return -1

    def _settled(self, vm_id: str, source: str, why: Impossible) -> Moved:
        return migration.settled(self._fleet, self._hosts, vm_id, source, why)
