"""What moves VMs: one Protocol, a hypervisor's or a cloud's control plane behind it.

A driver does one thing at a time and remembers nothing: which order wants it, since when and how often stands with
`pipelines.executors.driven`. Calls take as long as the work takes, and may come from several threads.
"""

from dataclasses import dataclass
from threading import Event
from typing import Protocol

from data.errors import ExecutorError


class Impossible(ExecutorError):
    """The back end says no, in its own words; the VM is as it was before the call."""


class Stopped(Impossible):
    """A move was called back in time; the VM runs where it did."""


class Restarted(Impossible):
    """The back end said no after the VM had been stopped; it runs where it did, started again."""


@dataclass(frozen=True)
class Moved:
    """A VM that runs on another host now, and for how long it did not run on the way there."""

    host_id: str
    pause_seconds: float
    """As the hypervisor measured it, where it does; for a VM that was started anew, from its end to its start."""
    interrupted: bool = False
    """Whether the VM lost its memory."""


class Driver(Protocol):
    """What a control plane can do.

    `Impossible` leaves everything as it was. Any other `ExecutorError` means that nobody knows what came of the call:
    whoever called asks `host_of`.
    """

    def host_of(self, vm_id: str) -> str | None:
        """The host on which the VM runs or is paused; null: on no host that answers."""
        ...

    def vms_on(self, host_id: str) -> list[str]:
        """The VMs of a host, running, paused or stopped, in order of their ids."""
        ...

    def unmovable(self, vm_id: str) -> str | None:
        """Why the VM cannot move live, whatever the target, or null."""
        ...

    def close(self, host_id: str, reason: str) -> None:
        """The scheduler places no new VMs on the host; harmless when that is so already."""
        ...

    def reopen(self, host_id: str) -> None:
        """The scheduler may place VMs on the host again; harmless when that is so already."""
        ...

    def migrate(self, vm_id: str, source: str, target: str | None, stop: Event) -> Moved:
        """Move the running VM live, and wait until it is there.

        A move of this VM that is under way already, because contact was lost or whoever called has died, is watched to
        its end rather than begun again.

        Args:
            vm_id: which VM.
            source: the host that it runs on.
            target: where to; null: the back end chooses.
            stop: once set, the move is aborted if the back end still can.

        Raises:
            Impossible: it was refused or failed, and the VM runs on its source; `Stopped`, if it was called back.
            ExecutorError: contact was lost on the way.
        """
        ...

    def redeploy(self, vm_id: str, source: str, target: str | None) -> Moved:
        """Stop the VM on its source and start it anew on the target, also when the source is dead.

        May be repeated until it succeeds: a VM that already runs on the target stays as it is.

        Raises:
            Impossible: the VM might still run on a source that does not answer, or the target will not take it.
            ExecutorError: contact was lost on the way.
        """
        ...

    def pause(self, vm_id: str) -> None:
        """Halt the VM and keep its memory; harmless when it is halted already."""
        ...

    def resume(self, vm_id: str) -> None:
        """Let a halted VM go on, and set its clock right where the guest can be asked to; harmless when it runs."""
        ...

    def shut(self) -> None:
        """Let go of all connections."""
        ...
