"""Ingest: files become facts.

One file is one transaction, so a kill loses at most the file in hand, and a repeat finds what is loaded already and
counts it as duplicate.
"""

import glob
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, get_args

from data.errors import InputError, UsageError
from data.readings import Absorbed
from data.sources import (
    backblaze,
    edac,
    infinitehbd,
    inventory,
    lanl,
    memory_log,
    parquet,
    rasdaemon,
    smartctl,
    smartmem,
    tables,
    titan,
)
from data.warehouse import Warehouse
from pipelines.settings import Settings, SourceKind, SourceSettings

Arrival = Literal["published", "now"]
KINDS: Final[tuple[SourceKind, ...]] = get_args(SourceKind)
LOGS: Final = {"smartmem": smartmem, "rasdaemon": rasdaemon, "edac": edac, "smartctl": smartctl}
HISTORIES: Final = {"lanl": lanl, "titan": titan, "infinitehbd": infinitehbd}


@dataclass(frozen=True)
class IngestReport:
    """What became of the files and their rows; `rows_read` is the sum of the other three."""

    files: int = 0
    rows_read: int = 0
    rows_loaded: int = 0
    rows_duplicate: int = 0
    rows_quarantined: int = 0
    quarantine: Mapping[str, int] = field(default_factory=dict)
    """Entries that are new in quarantine, by reason.

    Notes are among them: `missing_column` stands for a whole file, whose rows are loaded.
    """
    seconds: float = 0.0

    def __add__(self, other: "IngestReport") -> "IngestReport":
        return IngestReport(
            files=self.files + other.files,
            rows_read=self.rows_read + other.rows_read,
            rows_loaded=self.rows_loaded + other.rows_loaded,
            rows_duplicate=self.rows_duplicate + other.rows_duplicate,
            rows_quarantined=self.rows_quarantined + other.rows_quarantined,
            quarantine=dict(Counter(self.quarantine) + Counter(other.quarantine)),
            seconds=self.seconds + other.seconds,
        )


def ingest(
    settings: Settings,
    kind: str,
    paths: Sequence[Path],
    *,
    arrival: Arrival = "published",
    at: datetime | None = None,
    progress: Callable[[str], None] | None = None,
) -> IngestReport:
    """What became of the rows in `paths`, which are loaded and published.

    Args:
        settings: where the warehouse is.
        kind: one of `KINDS`.
        paths: files or folders.
        arrival: for daily readings: `published` at their day's end, or `now`.
        at: the moment of loading; the wall clock's by default.
        progress: told each file's name.

    Raises:
        UsageError: a kind that is not known, or no path.
        InputError: a path that cannot be read; what came before it is loaded.
    """
    if not paths:
        msg = f"ingest {kind}: give at least one file or folder to read."
        raise UsageError(msg)
    source = SourceSettings(kind=_known(kind), paths=tuple(map(str, paths)), arrival=arrival)
    return ingest_all(settings, [source], at=at, progress=progress)


def ingest_all(
    settings: Settings,
    sources: Iterable[SourceSettings],
    *,
    at: datetime | None = None,
    progress: Callable[[str], None] | None = None,
) -> IngestReport:
    """What became of the rows of all `sources`, which are loaded in turn and then published once."""
    started = time.monotonic()
    now = at or datetime.now(UTC)
    files, rows = 0, Absorbed()
    with open_warehouse(settings) as warehouse:
        held = set_aside(warehouse)
        try:
            for source in sources:
                for part in load(warehouse, source, now, progress):
                    files, rows = files + 1, rows + part
        finally:
            warehouse.publish()
        new = set_aside(warehouse) - held
    return reported(files, rows, started, new)


def reported(files: int, rows: Absorbed, started: float, quarantine: Mapping[str, int]) -> IngestReport:
    """The report on `rows` of so many files; `started` is the monotonic clock's reading at the beginning."""
    return IngestReport(
        files=files,
        rows_read=rows.rows_read,
        rows_loaded=rows.rows_loaded,
        rows_duplicate=rows.rows_duplicate,
        rows_quarantined=rows.rows_quarantined,
        quarantine=dict(sorted(quarantine.items())),
        seconds=round(time.monotonic() - started, 3),
    )


def set_aside(warehouse: Warehouse) -> Counter[str]:
    """Entries in quarantine, by reason."""
    return Counter(dict(warehouse.con.execute("select reason, count(*) from quarantine group by reason").fetchall()))


def open_warehouse(settings: Settings) -> Warehouse:
    """The warehouse of these settings, open for writing."""
    return Warehouse.open(
        settings.home,
        memory_limit=settings.warehouse.memory_limit,
        lock_wait_seconds=settings.warehouse.lock_wait_seconds,
    )


def load(
    warehouse: Warehouse, source: SourceSettings, now: datetime, progress: Callable[[str], None] | None = None
) -> Iterator[Absorbed]:
    """What became of the rows of each file of `source`, one transaction a file."""
    paths = [found for path in source.paths for found in _matching(path)]
    if source.kind == "inventory":
        for folder in paths:
            yield inventory.load(warehouse, inventory.read_picture(folder), at=now)
        return
    if source.kind in LOGS or source.kind in HISTORIES:
        read, suffixes = _file_reader(source.kind)
        for path in memory_log.expand(paths, suffixes):
            if progress:
                progress(path.name)
            yield read(warehouse, path, arrival=source.arrival, now=now)
        return
    for path in backblaze.expand(paths):
        if source.kind == "backblaze":
            for _, rows in backblaze.load(warehouse, path, arrival=source.arrival, now=now, progress=progress):
                yield rows
        else:
            yield parquet.load(warehouse, source.kind, path)


def _file_reader(kind: str) -> tuple[Callable[..., Absorbed], frozenset[str]]:
    """What reads one file of the kind, and how such files' names end."""
    if kind in HISTORIES:
        return HISTORIES[kind].load, tables.SUFFIXES
    return LOGS[kind].load, LOGS[kind].SUFFIXES


def _matching(path: str) -> list[Path]:
    """The files behind a path or pattern, in order of name; a pattern must match something."""
    if Path(path).exists():
        return [Path(path)]
    found = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - the pattern may be absolute
    if not found:
        msg = f"No file or folder matches {path!r}. Correct the path; nothing was loaded from it."
        raise InputError(msg)
    return [Path(name) for name in found]


def _known(kind: str) -> SourceKind:
    for known in KINDS:
        if kind == known:
            return known
    msg = f"{kind!r} is no source that Foreshock reads. Known: {', '.join(KINDS)}."
    raise UsageError(msg)
