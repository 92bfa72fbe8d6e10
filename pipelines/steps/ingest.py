"""Ingest: files become facts.

One file is one transaction, so a kill loses at most the file in hand, and a repeat finds what is loaded already and
counts it as duplicate.
"""

import glob
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, get_args

from pydantic import ValidationError

from data.arrays import frugal
from data.errors import InputError, UsageError
from data.readings import Absorbed
from data.sources import (
    backblaze,
    edac,
    infinitehbd,
    inventory,
    lanl,
    parquet,
    rasdaemon,
    smartctl,
    smartmem,
    tables,
    titan,
)
from data.sources.files import expand
from data.warehouse import Warehouse
from pipelines.settings import ASKED_KINDS, Settings, SourceKind, SourceSettings

logger = logging.getLogger(__name__)

Arrival = Literal["published", "now"]
KINDS: Final[tuple[SourceKind, ...]] = get_args(SourceKind)
LOGS: Final = {"smartmem": smartmem, "rasdaemon": rasdaemon, "edac": edac}
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
    unreachable: tuple[str, ...] = ()
    """Why sources that are asked over the network gave nothing, one sentence each."""

    def __add__(self, other: "IngestReport") -> "IngestReport":
        return IngestReport(
            files=self.files + other.files,
            rows_read=self.rows_read + other.rows_read,
            rows_loaded=self.rows_loaded + other.rows_loaded,
            rows_duplicate=self.rows_duplicate + other.rows_duplicate,
            rows_quarantined=self.rows_quarantined + other.rows_quarantined,
            quarantine=dict(Counter(self.quarantine) + Counter(other.quarantine)),
            seconds=self.seconds + other.seconds,
            unreachable=self.unreachable + other.unreachable,
        )


def ingest(
    settings: Settings,
    kind: str,
    paths: Sequence[str | Path],
    *,
    arrival: Arrival = "published",
    at: datetime | None = None,
    progress: Callable[[str], None] | None = None,
) -> IngestReport:
    """What became of the rows in `paths`, which are loaded and published.

    Args:
        settings: where the warehouse is.
        kind: one of `KINDS`.
        paths: files or folders; for sources that are asked over the network, their addresses. What `[[sources]]` says
            of such an address holds here too.
        arrival: for daily readings: `published` at their day's end, or `now`.
        at: the moment of loading; the wall clock's by default.
        progress: told each file's name.

    Raises:
        UsageError: a kind that is not known, or no path.
        InputError: a path that cannot be read; what came before it is loaded.
    """
    if not paths:
        msg = f"ingest {kind}: give at least one {'address' if kind in ASKED_KINDS else 'file or folder'} to read."
        raise UsageError(msg)
    return ingest_all(settings, [_source(settings, kind, tuple(map(str, paths)), arrival)], at=at, progress=progress)


def _source(settings: Settings, kind: str, named: tuple[str, ...], arrival: Arrival) -> SourceSettings:
    """The source of that kind at `named`, with what the settings say of it."""
    known = _known(kind)
    if known not in ASKED_KINDS:
        return SourceSettings(kind=known, paths=named, arrival=arrival)
    for source in settings.sources:
        if source.kind == known and set(named) <= set(source.urls):
            return source.model_copy(update={"urls": named, "arrival": arrival})
    try:
        return SourceSettings(kind=known, urls=named, arrival=arrival)
    except ValidationError:
        msg = f"ingest {kind}: give http:// or https:// addresses without user and password."
        raise UsageError(msg) from None  # its own words would repeat a password


def ingest_all(
    settings: Settings,
    sources: Iterable[SourceSettings],
    *,
    at: datetime | None = None,
    progress: Callable[[str], None] | None = None,
    patient: bool = False,
) -> IngestReport:
    """What became of the rows of all `sources`, which are loaded in turn and then published once.

    Args:
        settings: where the warehouse is.
        sources: what to load.
        at: the moment of loading; the wall clock's by default.
        progress: told each file's name.
        patient: whether a source that is asked over the network and does not answer is reported instead of raised.
    """
    started = time.monotonic()
    now = at or datetime.now(UTC)
    files, rows, unreachable = 0, Absorbed(), list[str]()
    with frugal(), open_warehouse(settings) as warehouse:
        held = set_aside(warehouse)
        try:
            for source in _one_by_one(sources):
                try:
                    for part in load(warehouse, source, now, progress):
                        files, rows = files + 1, rows + part
                except InputError as error:
                    if not patient or source.kind not in ASKED_KINDS:
                        raise
                    logger.warning("%s: %s", source.kind, error)
                    unreachable.append(str(error))
        finally:
            warehouse.publish()
        new = set_aside(warehouse) - held
    return replace(reported(files, rows, started, new), unreachable=tuple(unreachable))


def _one_by_one(sources: Iterable[SourceSettings]) -> Iterator[SourceSettings]:
    """The sources, those that are asked over the network address by address: one that is silent holds up no other."""
    for source in sources:
        if source.urls:
            yield from (source.model_copy(update={"urls": (url,)}) for url in source.urls)
        else:
            yield source


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
    """What became of the rows of each file of `source`, one transaction a file, or of each page of an answer."""
    if source.urls:
        from pipelines.steps import asked  # with all that it takes to ask over a network

        for url in source.urls:
            if progress:
                progress(url)
            yield from asked.load(warehouse, source, url, now)
    if source.paths:
        yield from _read(warehouse, source, now, progress)


def _read(
    warehouse: Warehouse, source: SourceSettings, now: datetime, progress: Callable[[str], None] | None
) -> Iterator[Absorbed]:
    paths = [found for path in source.paths for found in _matching(path)]
    if source.kind == "inventory":
        for folder in paths:
            yield inventory.load(warehouse, inventory.read_picture(folder), at=now)
        return
    if source.kind == "smartctl":
        yield from _smartctl(warehouse, paths, source, now, progress)
        return
    if source.kind in LOGS or source.kind in HISTORIES:
        read, suffixes = _file_reader(source.kind)
        for path in expand(paths, suffixes):
            if progress:
                progress(path.name)
            yield read(warehouse, path, arrival=source.arrival, now=now)
        return
    files = expand(paths, backblaze.ENDINGS)
    if source.kind == "backblaze":
        for _, rows in backblaze.load(warehouse, files, arrival=source.arrival, now=now, progress=progress):
            yield rows
        return
    for path in files:
        yield parquet.load(warehouse, source.kind, path)


def _smartctl(
    warehouse: Warehouse,
    paths: Sequence[Path],
    source: SourceSettings,
    now: datetime,
    progress: Callable[[str], None] | None,
) -> Iterator[Absorbed]:
    files = expand(paths, smartctl.SUFFIXES)
    for count, rows in smartctl.load(warehouse, files, arrival=source.arrival, now=now, progress=progress):
        yield rows
        yield from [Absorbed()] * (count - 1)  # each file counts as one


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
