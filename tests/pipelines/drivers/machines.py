"""Two machines to move VMs between: real `libvirtd` and QEMU (emulated CPUs), each pair in namespaces of its own.

A machine is one process tree with its own process ids, mounts and hostname. Killing its first process is what pulling
the plug is: daemon and guests are gone at once. The kernel does the same when the tests end, however they end.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import libvirt

from pipelines.executors.driven import Driven

COUNTER: Final = 0x8000
"""Where the guest counts in its memory."""
GUEST: Final = Path(__file__).with_name("guest.s")
TOOLS: Final = ("unshare", "nsenter", "setpriv", "ip", "libvirtd", "qemu-system-x86_64", "as", "objcopy")
NAMES: Final = ("machine-a", "machine-b")
FOLDERS: Final = ("etc", "lib", "log", "cache")
ALONE: Final = ("setpriv", "--pdeathsig", "KILL")
"""Ends a process when the tests do, however they end."""
DAEMON: Final = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_dir = "{sockets}"
host_uuid = "{uuid}"
"""
HYPERVISOR: Final = """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
remember_owner = 0
dynamic_ownership = 0
migration_port_min = {port}
migration_port_max = {last}
"""
BOOT: Final = """\
set -e
hostname {name}
mount -t tmpfs tmpfs /run
mkdir /run/libvirt
mount --bind {root}/etc /etc/libvirt
mount --bind {root}/lib /var/lib/libvirt
mount --bind {root}/log /var/log/libvirt
mount --bind {root}/cache /var/cache/libvirt
mount --bind {root}/hosts /etc/hosts
libvirtd --config /etc/libvirt/libvirtd.conf >{root}/daemon.log 2>&1
"""
DEFINITION: Final = """\
<domain type="qemu">
  <name>{name}</name>
  <metadata>{metadata}</metadata>
  <memory unit="MiB">{memory_mib}</memory>
  <vcpu>1</vcpu>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw"/><source file="{disk}"/><target dev="vda" bus="virtio"/><readonly/>
    </disk>
    <serial type="file"><source path="{serial}" append="on"/></serial>
    <memballoon model="none"/>
    {devices}
  </devices>
</domain>
"""


def wait(until: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """The first true answer, asked for every tenth of a second."""
    end = time.monotonic() + seconds
    while not (found := until()):
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)
    return found


def ticking(executor: Driven, until: Callable[[], Any], what: str) -> Any:
    """The first true answer, with the executor doing what is due before each question."""

    def ticked() -> Any:
        executor.tick()
        return until()

    return wait(ticked, what)


def missing() -> str:
    """What keeps machines from being made here, or nothing."""
    tools = [tool for tool in TOOLS if shutil.which(tool) is None]
    if tools or os.geteuid():
        return ", ".join(tools) or "root, to make namespaces"
    tried = subprocess.run(
        ["unshare", "--mount", "--uts", "--pid", "--net", "--fork", "true"], capture_output=True, text=True, check=False
    )
    return f"the right to make namespaces ({tried.stderr.strip()})" if tried.returncode else ""


@dataclass
class Machine:
    """A host that can be switched on, and off the hard way."""

    name: str
    root: Path
    port: int
    network: int
    """The process whose network it is on."""
    uuid: str = field(default_factory=lambda: str(uuid4()))
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """The address of its daemon."""
        return f"qemu+unix:///system?socket={self.root}/s/libvirt-sock"

    def on(self) -> None:
        """Boot, and wait until the daemon answers; what was defined before is defined still."""
        for folder in (*FOLDERS, "s"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "s/libvirt-sock").unlink(missing_ok=True)
        (self.root / "etc/libvirtd.conf").write_text(DAEMON.format(sockets=self.root / "s", uuid=self.uuid))
        (self.root / "etc/qemu.conf").write_text(HYPERVISOR.format(port=self.port, last=self.port + 30))
        (self.root / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in NAMES))
        spaces = (
            "nsenter",
            f"--net=/proc/{self.network}/ns/net",
            "unshare",
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        )
        boot = BOOT.format(name=self.name, root=self.root)
        with (self.root / "boot.log").open("wb") as log:
            self.process = subprocess.Popen([*ALONE, *spaces, "sh", "-c", boot], stderr=log)
        wait(self._answers, f"libvirtd of {self.name}")

    def off(self) -> None:
        """Pull the plug."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            wait(lambda: not self._answers(), f"the end of {self.name}")

    def hang(self, how: signal.Signals = signal.SIGSTOP) -> None:
        """Stop everything on it where it stands, as a host does that is neither dead nor answers; or let it go on."""
        assert self.process is not None
        for pid in _descendants(self.process.pid):
            os.kill(pid, how)

    def domain(self, name: str) -> Any:
        """The domain as the daemon sees it now, or null."""
        con = libvirt.open(self.uri)
        try:
            return con.lookupByName(name)
        except libvirt.libvirtError:
            return None

    def runs(self, name: str) -> bool:
        """Whether the guest runs here, and is not merely arriving."""
        found = self.domain(name)
        return found is not None and found.state()[0] == libvirt.VIR_DOMAIN_RUNNING

    def count(self, name: str) -> int:
        """What the guest has counted to, read out of its memory."""
        return int.from_bytes(self.domain(name).memoryPeek(COUNTER, 4, libvirt.VIR_MEMORY_PHYSICAL), "little")

    def _answers(self) -> bool:
        assert self.process is None or self.process.poll() is None, (self.root / "boot.log").read_text()
        try:
            libvirt.open(self.uri).close()
        except libvirt.libvirtError:
            return False
        return True


def _descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(below for child in children for below in _descendants(child))]


@dataclass(frozen=True)
class Guest:
    """A VM that counts, and what it has printed."""

    name: str
    serial: Path
    definition: str

    def start(self, machine: Machine) -> "Guest":
        """Itself, defined on the machine and counting."""
        libvirt.open(machine.uri).defineXML(self.definition).create()
        wait(lambda: self.counted(), f"the first count of {self.name}")
        return self

    def counted(self) -> list[int]:
        """All that it has printed, an unfinished line left out. Two of it at once would print each count twice."""
        return [int(line, 16) for line in self.serial.read_text().split("\n")[:-1]] if self.serial.exists() else []


@contextmanager
def machines(root: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines, switched on, that see nothing but each other."""
    wire = subprocess.Popen(
        [*ALONE, "unshare", "--net", "sh", "-c", "ip link set lo up && echo && exec sleep infinity"],
        stdout=subprocess.PIPE,
    )
    assert wire.stdout is not None
    wire.stdout.readline()
    pair = [Machine(name, root / name, 49_200 + 100 * n, wire.pid) for n, name in enumerate(NAMES)]
    try:
        for machine in pair:
            machine.on()
        yield pair[0], pair[1]
    finally:
        for machine in pair:
            machine.off()
        wire.kill()
        wire.wait()


def guest(folder: Path, name: str, *, busy: bool = False, metadata: str = "", devices: str = "") -> Guest:
    """A guest with 64 MiB; a busy one rewrites half a MiB eighteen times a second."""
    image = folder / f"{name}.img"
    (folder / f"{name}.o").unlink(missing_ok=True)
    subprocess.run(
        ["as", "--32", "--defsym", f"BUSY={int(busy)}", "-o", str(folder / f"{name}.o"), str(GUEST)], check=True
    )
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(folder / f"{name}.o"), str(image)], check=True)
    os.truncate(image, 2**20)
    serial = folder / f"{name}.serial"
    definition = DEFINITION.format(
        name=name, disk=image, serial=serial, memory_mib=64, metadata=metadata, devices=devices
    )
    return Guest(name, serial, definition)
