"""What the libvirt driver must remember when its process or a host is gone: a few small files in a folder.

`definitions/` holds each VM's XML as it was last seen, secrets included, readable by the owner of the process alone;
`closed/` the hosts that take no VMs; `redeploys/` what was begun and is not cleared up yet. Each file is written whole
or not at all.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import quote


@dataclass(frozen=True)
class Redeploy:
    """A VM that is being started anew, or was while its source was dead."""

    vm_id: str
    source: str
    ended_at: float
    """When it was stopped, or its source found dead; seconds since 1970."""
    target: str | None = None
    """Where it is to be started, known before that is tried."""
    started_at: float | None = None


@dataclass(frozen=True)
class Notes:
    """The folder, which is made when something is written."""

    folder: Path

    def keep(self, vm_id: str, definition: str) -> None:
        """Remember how the VM is defined."""
        path = self._path("definitions", vm_id, "xml")
        if not path.exists() or path.read_text(encoding="utf-8") != definition:
            _write(path, definition)

    def definition(self, vm_id: str) -> str | None:
        """The definition last seen, or null."""
        path = self._path("definitions", vm_id, "xml")
        return path.read_text(encoding="utf-8") if path.exists() else None

    def close(self, host_id: str, reason: str) -> None:
        """Remember that the host takes no VMs."""
        _write(self._path("closed", host_id, "txt"), reason)

    def reopen(self, host_id: str) -> None:
        """Forget that the host took no VMs."""
        self._path("closed", host_id, "txt").unlink(missing_ok=True)

    def closed(self, host_id: str) -> bool:
        """Whether the host takes no VMs."""
        return self._path("closed", host_id, "txt").exists()

    def begin(self, redeploy: Redeploy) -> None:
        """Remember where the redeploy stands."""
        _write(self._path("redeploys", redeploy.vm_id, "json"), json.dumps(asdict(redeploy)))

    def redeploy(self, vm_id: str) -> Redeploy | None:
        """The redeploy of the VM that is not cleared up, or null."""
        path = self._path("redeploys", vm_id, "json")
        return Redeploy(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def redeploys(self) -> Iterator[Redeploy]:
        """All redeploys that are not cleared up."""
        for path in sorted((self.folder / "redeploys").glob("*.json")):
            yield Redeploy(**json.loads(path.read_text(encoding="utf-8")))

    def done(self, vm_id: str) -> None:
        """Forget the redeploy: nothing of the VM is left on its source."""
        self._path("redeploys", vm_id, "json").unlink(missing_ok=True)

    def _path(self, kind: str, name: str, suffix: str) -> Path:
        return self.folder / kind / f"{quote(name, safe='')}.{suffix}"


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, suffix=".new", delete=False, encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
