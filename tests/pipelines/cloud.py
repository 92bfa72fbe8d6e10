"""A cloud in memory for tests of executors: hosts, VMs that run on them, and faults to order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event

from data.errors import ExecutorError
from pipelines.drivers import Impossible, Moved, Restarted, Stopped

PAUSE = 0.04


def nothing() -> None:
    """No fault."""


@dataclass
class Cloud:
    """A driver whose VMs run where `runs` says; `step` is called before and after each deed, and may raise."""

    runs: dict[str, set[str]]
    step: Callable[[], None] = nothing
    pinned: Mapping[str, str] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    fenced: set[str] = field(default_factory=set)
    halted: set[str] = field(default_factory=set)
    deeds: list[tuple[str, str, str]] = field(default_factory=list)
    at_deed: Callable[[str], None] = lambda _: None
    during: Callable[[Event], None] = lambda _: None

    def host_of(self, vm_id: str) -> str | None:
        """The one host that answers and runs the VM."""
        self.step()
        return next((host for host in sorted(self.runs.get(vm_id, set())) if host not in self.dead), None)

    def vms_on(self, host_id: str) -> list[str]:
        """VMs of the host, if it answers."""
        self.step()
        if host_id in self.dead:
            msg = f"host {host_id} does not answer"
            raise ExecutorError(msg)
        return sorted(vm_id for vm_id, hosts in self.runs.items() if host_id in hosts)

    def unmovable(self, vm_id: str) -> str | None:
        """Why it is pinned, if it is."""
        return self.pinned.get(vm_id)

    def close(self, host_id: str, reason: str) -> None:
        """No new VMs."""
        assert reason
        self.step()
        self.closed.add(host_id)

    def reopen(self, host_id: str) -> None:
        """New VMs again."""
        self.step()
        self.closed.discard(host_id)

    def migrate(self, vm_id: str, source: str, target: str | None, stop: Event) -> Moved:
        """Moved at once, unless the cloud refuses or is told to stop."""
        self.step()
        if vm_id in self.refuses:
            raise Impossible(self.refuses[vm_id])
        self.during(stop)
        if stop.is_set():
            msg = "called back"
            raise Stopped(msg)
        self._go(vm_id, source, target or "spare")
        return Moved(target or "spare", PAUSE)

    def redeploy(self, vm_id: str, source: str, target: str | None) -> Moved:
        """Ended on the source, if need be by its fence, and then begun on the target: two deeds."""
        self.step()
        wanted = target or "spare"
        if self.runs[vm_id] == {wanted}:
            return Moved(wanted, PAUSE, interrupted=True)
        if source in self.dead and source not in self.fenced:
            msg = f"{source} does not answer, and may still run {vm_id}"
            raise Impossible(msg)
        if vm_id in self.full:
            msg = f"{wanted} is full; {vm_id} was started again on {source}"
            raise Restarted(msg)
        self.at_deed(vm_id)
        self.runs[vm_id].discard(source)
        self.step()
        self.runs[vm_id].add(wanted)
        self.deeds.append((vm_id, source, wanted))
        self.step()
        return Moved(wanted, PAUSE, interrupted=True)

    def pause(self, vm_id: str) -> None:
        """It stands still."""
        self.step()
        self.halted.add(vm_id)

    def resume(self, vm_id: str) -> None:
        """It goes on."""
        self.step()
        if vm_id in self.refuses:
            raise Impossible(self.refuses[vm_id])
        self.halted.discard(vm_id)

    def shut(self) -> None:
        """Nothing is held."""

    def _go(self, vm_id: str, source: str, target: str) -> None:
        if source in self.dead:
            msg = f"{source} does not answer"
            raise ExecutorError(msg)
        if self.runs[vm_id] != {source}:
            msg = f"{vm_id} is not on {source}"
            raise Impossible(msg)
        self.at_deed(vm_id)
        self.runs[vm_id] = {target}
        self.deeds.append((vm_id, source, target))
        self.step()
