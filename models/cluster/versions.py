"""Whether workers would give the answers that are given here: the same packages, and the same source of Foreshock."""

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

PACKAGES: Final = ("dask", "distributed", "duckdb", "lightgbm", "numpy", "pyarrow", "python")
"""What answers depend on; of the scheduler only those that it must have."""
SCHEDULING: Final = ("dask", "distributed", "python")
_FOLDERS: Final = ("data", "features", "models")
_SOURCE: Final = (".py", ".sql", ".toml", ".csv")


def source_sha256() -> str:
    """Return the hex sha256 of the source of the folders that workers compute with."""
    digest = hashlib.sha256()
    for folder in _FOLDERS:
        for name, file in sorted(_walk(files(folder), folder)):
            digest.update(name.encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _walk(folder: Traversable, name: str) -> list[tuple[str, Traversable]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{name}/{entry.name}")
        elif entry.name.endswith(_SOURCE):
            found.append((f"{name}/{entry.name}", entry))
    return found


def differing(versions: dict[str, Any], sources: dict[str, Any], own: str) -> tuple[str, ...]:
    """Return a phrase for each way in which a scheduler or a worker differs from here.

    Args:
        versions: what Dask's `get_versions` says.
        sources: the `source_sha256` of each worker by its address, or the error that it gave instead.
        own: the one here.
    """
    here = versions["client"]["packages"]
    found = _packages("the scheduler", versions["scheduler"]["packages"], here, SCHEDULING)
    for address, worker in sorted(versions["workers"].items()):
        found += _packages(f"worker {address}", worker["packages"], here, PACKAGES)
    for address, source in sorted(sources.items()):
        if isinstance(source, BaseException):
            found.append(f"worker {address} cannot import Foreshock ({source})")
        elif source != own:
            found.append(f"worker {address} has another Foreshock ({source[:12]}, here {own[:12]})")
    return tuple(found)


def _packages(who: str, there: dict[str, str], here: dict[str, str], names: tuple[str, ...]) -> list[str]:
    return [
        f"{who} has {name} {there.get(name) or 'not at all'}, here {here.get(name)}"
        for name in names
        if there.get(name) != here.get(name)
    ]
