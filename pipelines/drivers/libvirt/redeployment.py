"""Starting a VM anew on another host, so that never two of it run and that killed anywhere it can be asked again.

What is begun stands in the notes before it happens. A VM is started only after its source has said that it does not run
there, or the fence has proven that the source is off.
"""

import logging
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import libvirt

from data.errors import ExecutorError
from pipelines.drivers import Impossible, Moved, Restarted
from pipelines.drivers.libvirt import domains
from pipelines.drivers.libvirt.fleet import Fleet
from pipelines.drivers.libvirt.hosts import Hosts, Silent
from pipelines.drivers.libvirt.notes import Notes, Redeploy

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Redeployment:
    """What redeploying needs; `choose` finds a target for a definition, other than the source."""

    fleet: Fleet
    hosts: Hosts
    notes: Notes
    choose: Callable[[str, str], str]
    clock: Callable[[], float] = time.time

    def redeploy(self, vm_id: str, source: str, target: str | None) -> Moved:
        """Where the VM runs now, started anew if it did not run elsewhere already."""
        if target == source:
            msg = f"VM {vm_id} cannot be redeployed from host {source} to itself"
            raise Impossible(msg)
        self.hosts.end_leaving(vm_id, source)
        where = self.hosts.host_of(vm_id)
        if where is not None and where != source:
            return self._already(vm_id, where)
        self._not_begun_elsewhere(vm_id, source)
        if self._silent(source):
            xml = self._kept(vm_id)
            self._fence(vm_id, source)
            return self._start_kept(vm_id, source, target, xml)
        with self.hosts.asked(source) as con:
            domain = domains.named(con, vm_id)
            if domain is not None:
                return self._carry(vm_id, domain, source, target)
        return self._vanished(vm_id, source, target)

    def clear_up(self, source: str) -> None:
        """Remove what is left on a source, which answers again, of VMs that were started anew elsewhere."""
        for note in self.notes.redeploys():
            if note.source != source or note.started_at is None:
                continue
            seen = {one.host_id: one for one in self.hosts.seen(note.vm_id)}
            left = seen.pop(source, None)
            if left is not None and left.lives and any(one.lives for one in seen.values()):
                _log.error("VM %s runs on %s and on %s: stop the wrong one", note.vm_id, source, ", ".join(seen))
                continue
            if left is not None and not left.lives and seen:
                with self.hosts.asked(source):
                    domains.undefine(left.domain)
            if left is not None or source not in self.hosts.silent():
                self.notes.done(note.vm_id)

    def _already(self, vm_id: str, where: str) -> Moved:
        """A repeated call: the VM runs elsewhere, so only clearing up may be left."""
        note = self.notes.redeploy(vm_id)
        if note is None:
            return Moved(where, 0.0)
        if note.started_at is None:
            note = replace(note, started_at=self.clock())
            self.notes.begin(note)
        with suppress(ExecutorError):
            self.clear_up(note.source)
        assert note.started_at is not None  # noqa: S101 - narrows the type
        return Moved(where, note.started_at - note.ended_at, interrupted=True)

    def _not_begun_elsewhere(self, vm_id: str, source: str) -> None:
        """Refuse while an earlier target is silent, on which the VM might have been started."""
        note = self.notes.redeploy(vm_id)
        if note is not None and note.target not in {None, source} and note.target in self.hosts.silent():
            msg = (
                f"VM {vm_id} might have been started on host {note.target}, which does not answer: wait for it, or "
                "make sure that it is off and redeploy the VM from there"
            )
            raise Impossible(msg)

    def _carry(self, vm_id: str, domain: Any, source: str, target: str | None) -> Moved:
        """From a source that answers; a VM that its owner had stopped stays so."""
        xml, note = domains.definition(domain), self.notes.redeploy(vm_id)
        self.notes.keep(vm_id, xml)
        target = target or self.choose(source, xml)
        arrival = self._defined(vm_id, target, xml)
        if domains.lives(domain):
            self.notes.begin(Redeploy(vm_id, source, self.clock()))
            domains.stop(domain, self.fleet.shutdown_seconds)
            note = Redeploy(vm_id, source, self.clock())
            self.notes.begin(note)
        elif domain.isActive():
            msg = f"VM {vm_id} was left halted on {source} by a migration; if it runs nowhere else, resume it by hand"
            raise Impossible(msg)
        elif note is None or note.source != source or note.started_at is not None:
            domains.undefine(domain)
            return Moved(target, 0.0)
        try:
            pause = self._start(note, target, arrival)
        except Impossible as error:
            self._start_again(vm_id, domain, error)
            msg = f"{error}; VM {vm_id} was started again on {source}"
            raise Restarted(msg) from error
        with suppress(ExecutorError):
            self.clear_up(source)
        return Moved(target, pause, interrupted=True)

    def _start_again(self, vm_id: str, domain: Any, refusal: Impossible) -> None:
        """On the source, as the target refused."""
        try:
            domain.create()
        except libvirt.libvirtError as error:
            msg = f"VM {vm_id} runs nowhere now: its target refused ({refusal}), and so did its source ({error})"
            raise ExecutorError(msg) from error
        self.notes.done(vm_id)

    def _vanished(self, vm_id: str, source: str, target: str | None) -> Moved:
        """The source answers and has no such VM: it may be started from its notes once every host says so."""
        stopped = [one.host_id for one in self.hosts.seen(vm_id) if one.host_id != source]
        if stopped and self.notes.redeploy(vm_id) is None:
            return Moved(stopped[0], 0.0)
        if silent := self.hosts.silent():
            msg = f"VM {vm_id} is not on {source} and might run on {', '.join(silent)}, which does not answer"
            raise Impossible(msg)
        return self._start_kept(vm_id, source, target, self._kept(vm_id))

    def _start_kept(self, vm_id: str, source: str, target: str | None, xml: str) -> Moved:
        """On the target, by the definition last seen; the source runs nothing."""
        note = self.notes.redeploy(vm_id)
        if note is None or note.source != source or note.started_at is not None:
            note = Redeploy(vm_id, source, self.clock())
            self.notes.begin(note)
        target = target or self.choose(source, xml)
        return Moved(target, self._start(note, target, self._defined(vm_id, target, xml)), interrupted=True)

    def _start(self, note: Redeploy, target: str, arrival: Any) -> float:
        """How many seconds the VM was off, now that it runs on the target."""
        note = replace(note, target=target)
        self.notes.begin(note)
        with self.hosts.asked(target):
            try:
                arrival.create()
            except libvirt.libvirtError:
                with suppress(libvirt.libvirtError):
                    domains.undefine(arrival)
                raise
        self.notes.begin(note := replace(note, started_at=self.clock()))
        assert note.started_at is not None  # noqa: S101 - narrows the type
        return note.started_at - note.ended_at

    def _defined(self, vm_id: str, target: str, xml: str) -> Any:
        """The VM on its target, not started yet; what an interrupted migration left there is removed."""
        try:
            with self.hosts.asked(target) as con:
                left = domains.named(con, vm_id)
                if left is not None:
                    domains.discard_arrival(left)
                return domains.define(con, xml)
        except Silent as error:
            raise Impossible(str(error)) from error

    def _kept(self, vm_id: str) -> str:
        xml = self.notes.definition(vm_id)
        if xml is None:
            msg = f"VM {vm_id} was never seen by this driver, so nobody knows its definition; define it by hand"
            raise Impossible(msg)
        return xml

    def _silent(self, source: str) -> bool:
        """Whether the source does not answer, and has not for as long as a fence asks for."""
        patience = self.fleet.silent_seconds if self.fleet.fence_command else 0
        end = time.monotonic() + patience
        while source in self.hosts.silent():
            if time.monotonic() >= end:
                return True
            time.sleep(min(1.0, patience))
        return False

    def _fence(self, vm_id: str, source: str) -> None:
        """Proof that the source is off."""
        why = f"host {source} does not answer, so VM {vm_id} might still run there and was not started elsewhere"
        if not self.fleet.fence_command:
            msg = f"{why}. Set fence_command to something that switches the host off for certain, then retry."
            raise Impossible(msg)
        try:
            done = subprocess.run(
                [*self.fleet.fence_command, source], capture_output=True, text=True, timeout=self.fleet.fence_seconds,
                check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            msg = f"{why}: its fence failed ({error}). Switch the host off by hand, then retry."
            raise Impossible(msg) from error
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()[-200:]
            msg = f"{why}: its fence ended with {done.returncode} ({said}). Switch the host off by hand, then retry."
            raise Impossible(msg)
        _log.warning("host %s was fenced so that VM %s can be started elsewhere", source, vm_id)
