"""Memory errors as hosts log them: rasdaemon's database or mcelog's log, told apart by what the file holds."""

from datetime import datetime
from pathlib import Path
from typing import Final

from data.readings import Absorbed
from data.sources import mcelog, memory_log, rasdaemon
from data.sources.arrival import Arrival
from data.warehouse import Warehouse

SUFFIXES: Final = rasdaemon.SUFFIXES | mcelog.SUFFIXES
_SQLITE: Final = b"SQLite format 3\0"


def load(warehouse: Warehouse, path: Path, *, arrival: Arrival = "published", now: datetime | None = None) -> Absorbed:
    """What became of the rows of one database or log."""
    with path.open("rb") as file:
        database = file.read(len(_SQLITE)) == _SQLITE
    if database or path.suffix.lower() in rasdaemon.SUFFIXES:
        return rasdaemon.load(warehouse, path, arrival=arrival, now=now)
    name = f"{path.absolute().parent.name}/{path.name}"
    return memory_log.absorb(warehouse, mcelog.read(path), mcelog.NAME, name, arrival=arrival, now=now)
