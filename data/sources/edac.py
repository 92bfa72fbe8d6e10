"""Memory errors as hosts log them: rasdaemon's database or mcelog's log, told apart by what the file holds."""

from datetime import datetime
from pathlib import Path
from typing import Final

from data.quarantine import Reject
from data.readings import Absorbed
from data.sources import mcelog, memory_log, rasdaemon
from data.sources.arrival import Arrival
from data.sources.memory_log import Log
from data.warehouse import Warehouse

SUFFIXES: Final = rasdaemon.SUFFIXES | mcelog.SUFFIXES
_SQLITE: Final = b"SQLite format 3\0"


def load(warehouse: Warehouse, path: Path, *, arrival: Arrival = "published", now: datetime | None = None) -> Absorbed:
    """What became of the rows of one database or log."""
    if path.suffix.lower() in rasdaemon.SUFFIXES or _is_database(path):
        return rasdaemon.load(warehouse, path, arrival=arrival, now=now)
    try:
        log = mcelog.read(path)
    except OSError as error:
        log = Log(rejects=(Reject(None, "unreadable_file", str(error.strerror)),))
    name = f"{path.absolute().parent.name}/{path.name}"
    return memory_log.absorb(warehouse, log, mcelog.NAME, name, arrival=arrival, now=now)


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False
