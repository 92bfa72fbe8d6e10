"""What the libvirt driver is configured with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Host:
    """The address of a host's daemon: from here, and from the other hosts where that differs."""

    uri: str
    peer_uri: str | None = None


@dataclass(frozen=True)
class Fleet:
    """The hosts, and the limits that moves keep to."""

    hosts: Mapping[str, Host]
    state: Path
    """A folder that outlives the process and is not shared with another driver."""
    bandwidth_mib_per_second: int = 0
    """Most that one migration may use; 0: as much as there is."""
    downtime_ms_most: int = 300
    """The pause that the hypervisor aims for; a guest that writes faster than the network copies never gets there."""
    timeout_seconds: float = 600.0
    """A live migration is aborted after so long."""
    connect_seconds: float = 10.0
    """A host that has not answered after so long counts as silent."""
    shutdown_seconds: float = 60.0
    """A guest to redeploy is switched off if it has not shut down after so long; 0: it is not asked to."""
    fence_command: tuple[str, ...] = ()
    """Run with the host's id as its last argument before a silent host's VM is started elsewhere; exit code 0: the host
    is off for certain."""
    fence_seconds: float = 120.0
    """The command has failed after so long."""
    silent_seconds: float = 30.0
    """A host is fenced only after so long a silence."""
