"""Ingest beside a bare parse, a primary key and data frames; how its cost grows, and what keeping changes costs."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pandas as pd

from benchmarks import drive_files
from benchmarks.bench import Finding, Places
from benchmarks.contest import BenchmarkError, Contest, Contestant, Spread, alone, contest, same
from data.catalog import catalog

_PEERS: Final = "benchmarks.ingest_peers"
_SAMPLED: Final = 40
"""One drive in so many is checked against pandas."""

FORESHOCK: Final = "foreshock ingest"
COMMAND: Final = "the command as typed"
AGAIN: Final = "the same files again"
YARD: Final = "parse: PyArrow"
PARSERS: Final = {
    YARD: "arrow_parse", "parse: PyArrow, small blocks": "arrow_parse_small_blocks", "parse: DuckDB": "duckdb_parse",
    "parse: Polars": "polars_parse",
}  # fmt: skip
LOADERS: Final = {"pandas, pyarrow engine": "pandas_load", "Polars": "polars_load"}
KEY: Final = "DuckDB, primary key"


@dataclass(frozen=True)
class Sizes:
    """How much is simulated."""

    drives: int = 22_000
    days: int = 40
    year_days: int = 365
    fleet: int = 68_000
    fleet_days: int = 30


def run(places: Places, sizes: Sizes | None = None) -> Finding:
    """What the forty days cost, beside its peers and day by day."""
    size, work = sizes or Sizes(), places.scratch("ingest")
    real = drive_files.published(places.telemetry, work / "published")
    files = real or drive_files.simulated(work / "simulated", size.drives, 0, size.days)
    typed = [places.telemetry / drive_files.ARCHIVE] if real else files
    whole, keyed = compare(work, files, typed, places.rounds)
    days = grow(work, files, size, places.rounds)
    packed = parquet(work, files, places.rounds)
    for home in work.glob("run-*"):
        shutil.rmtree(home) if home.is_dir() else home.unlink()
    return _finding(whole, keyed, days, packed, len(files), size, real=bool(real))


def compare(work: Path, files: Sequence[Path], typed: Sequence[Path], rounds: int) -> tuple[Contest, Contest]:
    """The load of all files beside its peers, and beside a primary key, checked before any time counts.

    `typed` is what the command is given: the same days, packed as they are published.

    Raises:
        BenchmarkError: a contestant holds other rows than the others, or the changes kept are not those of pandas.
    """
    named = tuple(map(str, files))
    home = work / "run-whole"
    contestants = [
        Contestant(FORESHOCK, f"{_PEERS}:foreshock", (str(home), "", *named)),
        Contestant(COMMAND, f"{_PEERS}:command", (str(work / "run-typed"), *map(str, typed))),
        Contestant(AGAIN, f"{_PEERS}:again", (str(work / "run-again"), str(home), *named)),
        *(Contestant(name, f"{_PEERS}:{target}", named) for name, target in (PARSERS | LOADERS).items()),
    ]
    key = Contestant(KEY, f"{_PEERS}:primary_key", (str(work / "run-key.duckdb"), *named))
    found = contest(contestants, rounds)
    keyed = contest([contestants[0], key], 1)  # ten times as long: once will do
    same({name: one.answer(name) for one in (found, keyed) for name in one.runs}, ["rows"])
    check(home, files)
    return found, keyed


def check(home: Path, files: Sequence[Path]) -> None:
    """Compare the days and changes that the warehouse holds of a sample of drives with those that pandas works out.

    Raises:
        BenchmarkError: they differ.
    """
    serials = pd.read_csv(files[-1], usecols=["serial_number"])["serial_number"].sort_values()
    sample = set(serials.iloc[::_SAMPLED])
    held = [name for name in _columns() if name in pd.read_csv(files[0], nrows=0)]
    frames = [pd.read_csv(one, usecols=["date", "serial_number", *held], parse_dates=["date"]) for one in files]
    days = pd.concat([one[one["serial_number"].isin(sample)] for one in frames], ignore_index=True)
    drives = days.sort_values("date").groupby("serial_number")
    expected = {str(serial): list(_spelt_out(drive)) for serial, drive in drives}
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as con:
        kept = _kept(con, sample)
        counted = dict(
            con.execute(
                "select entity_id, count(*) from disk_day join entity using (entity_key) "
                "where list_contains($sample, entity_id) group by all",
                {"sample": sorted(sample)},
            ).fetchall()
        )
    if counted != days["serial_number"].value_counts().to_dict() or kept != expected:
        differing = next((serial for serial in expected if kept.get(serial) != expected[serial]), "a count of days")
        msg = f"The warehouse does not hold what pandas works out from the files: look at {differing}."
        raise BenchmarkError(msg)


def _columns() -> list[str]:
    return [f"{stem}_raw" for stem in catalog("disk").counters]


def _spelt_out(drive: pd.DataFrame) -> Any:
    """A drive's changes with their running totals, by going from day to day."""
    before: dict[str, int | None] = {}
    totals: dict[str, list[Any]] = {name: [0, None, None, 0] for name in _columns()}
    first = drive["date"].iloc[0].date()
    rows: list[dict[str, Any]] = drive.to_dict("records")  # type: ignore[assignment]
    for row in rows:
        day, now = row["date"].date(), dict[str, int | None]()
        for name in _columns():
            value = row.get(name)
            now[name] = None if value is None or pd.isna(value) else int(value)
            was, total = before.get(name), totals[name]
            rise = 0 if value is None or pd.isna(value) or was is None else int(value) - was
            if rise:
                total[0], total[1], total[3] = total[0] + 1, day, max(total[3], rise)
            if total[2] is None and now[name]:
                total[2] = day
        if now != before:
            yield (day, first, *(one for name in _columns() for one in (now[name], *totals[name])))
        before = now


def _kept(con: duckdb.DuckDBPyConnection, sample: set[str]) -> dict[str, list[tuple[Any, ...]]]:
    kinds = ("raw", "changes", "changed_on", "nonzero_on", "max_rise")
    listed = ", ".join(f"{stem}_{kind}" for stem in catalog("disk").counters for kind in kinds)
    rows = con.execute(
        f"select entity_id, from_day, first_day, {listed} from disk_change join entity using (entity_key) "  # noqa: S608
        "where list_contains($sample, entity_id) order by entity_id, from_day",
        {"sample": sorted(sample)},
    ).fetchall()
    kept: dict[str, list[tuple[Any, ...]]] = {}
    for serial, *values in rows:
        kept.setdefault(serial, []).append(tuple(values))
    return kept


FIRST, SECOND, LAST = "the first day", "the second day", "the last day"
YEAR_FIRST, YEAR_NEXT = "a first day, simulated fleet", "a day after a year of them"
FLEET_DAY, FLEET_PARSE, PUBLISH = "a day of a large fleet", "bare parse of that day", "publish alone"


def grow(work: Path, files: Sequence[Path], size: Sizes, rounds: int) -> Contest:
    """Single days, each put into a copy of a home that holds what came before."""
    before_last = _home(work, "all-but-one", files[:-1])
    before_second = _home(work, "one", files[:1])
    year = _home(work, "year", [drive_files.history(work / "year.parquet", size.drives, size.year_days)])
    (next_day,) = drive_files.simulated(work / "after-year", size.drives, size.year_days, 1)
    fleet = _home(work, "fleet", [drive_files.history(work / "fleet.parquet", size.fleet, size.fleet_days)])
    (fleet_day,) = drive_files.simulated(work / "after-fleet", size.fleet, size.fleet_days, 1)
    days = {
        FIRST: ("", files[0]), SECOND: (before_second, files[1]), LAST: (before_last, files[-1]),
        YEAR_FIRST: ("", next_day), YEAR_NEXT: (year, next_day), FLEET_DAY: (fleet, fleet_day),
    }  # fmt: skip
    found = contest(
        [
            *(
                Contestant(name, f"{_PEERS}:foreshock", (str(work / "run-day"), str(source), str(file)))
                for name, (source, file) in days.items()
            ),
            Contestant(FLEET_PARSE, f"{_PEERS}:arrow_parse", (str(fleet_day),)),
            Contestant(PUBLISH, f"{_PEERS}:publish", (str(work / "run-publish"), str(year))),
        ],
        rounds,
    )
    for name, (_, file) in days.items():
        _expect(name, int(found.answer(name)["rows"]), _lines(file))
    return found


def _home(work: Path, name: str, files: Sequence[Path]) -> Path:
    """A home that holds these files, made once."""
    home = work / "homes" / name
    if not (home / "whole").exists():
        alone(Contestant(f"preparing {name}", f"{_PEERS}:foreshock", (str(home), "", *map(str, files))))
        (home / "whole").touch()
    return home


def _lines(file: Path) -> int:
    with file.open("rb") as lines:
        return sum(1 for _ in lines) - 1


def _expect(name: str, rows: int, expected: int) -> None:
    if rows != expected:
        msg = f"{name} loads {rows} rows of {expected}: its time does not count"
        raise BenchmarkError(msg)


PARQUET, PARQUET_PARSE = "foreshock ingest, one Parquet file", "parse: PyArrow, Parquet"


def parquet(work: Path, files: Sequence[Path], rounds: int) -> Contest:
    """The same days as one Parquet file in the order of drives: the changes kept are the same."""
    file, home = drive_files.as_parquet(work / "days.parquet", list(files)), work / "run-parquet"
    found = contest(
        [
            Contestant(PARQUET, f"{_PEERS}:foreshock", (str(home), "", str(file))),
            Contestant(PARQUET_PARSE, f"{_PEERS}:parquet_parse", (str(file),)),
        ],
        rounds,
    )
    same({name: found.answer(name) for name in found.runs}, ["rows"])
    check(home, files)
    return found


def _finding(
    whole: Contest, keyed: Contest, days: Contest, packed: Contest, count: int, size: Sizes, *, real: bool
) -> Finding:
    cheapest = min(PARSERS, key=lambda name: whole.cpu_seconds(name).middle)
    ratios: dict[str, Spread] = {
        "ingest_vs_parse": whole.ratio(FORESHOCK, YARD),
        "ingest_vs_cheapest_parse": whole.ratio(FORESHOCK, cheapest),
        "ingest_command_vs_parse": whole.ratio(COMMAND, YARD),
        "ingest_again_vs_parse": whole.ratio(AGAIN, YARD),
        "ingest_day_growth": days.ratio(LAST, FIRST),
        "ingest_day_growth_since_second": days.ratio(LAST, SECOND),
        "ingest_day_growth_after_year": days.ratio(YEAR_NEXT, YEAR_FIRST),
        "primary_key_vs_ingest": keyed.ratio(KEY, FORESHOCK),
        "ingest_vs_pandas": whole.ratio(FORESHOCK, next(iter(LOADERS))),
        "ingest_parquet_vs_parse": packed.ratio(PARQUET, PARQUET_PARSE),
        "runs_upkeep_seconds": days.cpu_seconds(FLEET_DAY),
        "publish_seconds": days.cpu_seconds(PUBLISH),
    }
    yard = {**dict.fromkeys(whole.runs, (whole, YARD)), **dict.fromkeys(packed.runs, (packed, PARQUET_PARSE))}
    rows = [_row(name, found, found.ratio(name, one)) for name, (found, one) in yard.items()]
    rows.append(_row(KEY, keyed, keyed.ratio(KEY, FORESHOCK), "times foreshock ingest"))
    rows += [_row(name, days, days.ratio(name, FIRST), "times the first day") for name in days.runs]
    peaks = {name: found.peak_bytes(name) for found in (keyed, whole, days, packed) for name in found.runs}
    return Finding(
        "Ingest", _text(count, size, cheapest, ratios, real=real),
        ["", "ratio", "CPU seconds", "most memory, MiB"], rows, ratios, peaks,
    )  # fmt: skip


def _row(name: str, found: Contest, ratio: Spread, of: str = "times a parse") -> list[str]:
    return [name, f"{ratio} {of}", str(found.cpu_seconds(name)), f"{found.peak_bytes(name) / 2**20:.0f}"]


def _text(count: int, size: Sizes, cheapest: str, ratios: Mapping[str, Spread], *, real: bool) -> str:
    what = (
        f"the first {count} daily files that Backblaze published (10 April to 19 May 2013, 868,524 drive-days)"
        if real
        else f"{count} simulated daily files of {size.drives:,} drives in the shape of those that Backblaze publishes"
    )
    packed = "of the ZIP as published, which it unpacks on the way," if real else "of the same files"
    year = f"{size.year_days} days of {size.drives:,} drives"
    fleet = f"{size.fleet:,} drives, {size.fleet_days} days"
    return f"""
`foreshock bench ingest` loads {what} and publishes them: every line
checked, each drive and day once, the changes of counters with their running totals, a transaction a file. Beside it
stand parsers that throw away what they read (all columns, with types, on one thread unless they know no other way),
data frames that keep everything in memory and nothing on disk (concatenated, each drive and day once), and a DuckDB
table with a primary key that takes the same files with `insert or ignore` (in one round). All hold as many rows, and of
one drive in {_SAMPLED} the days and changes are compared with what pandas works out, all totals included. A ratio is
of CPU seconds within one round; imports are not counted, but their memory is. `ingest_vs_parse` is against PyArrow with
its usual settings; the cheapest parser of this run was {cheapest.removeprefix("parse: ")}, against which the ratio
is {ratios["ingest_vs_cheapest_parse"]}.

*The command as typed* is `foreshock ingest backblaze` {packed} as a process of its own, imports and
all. *The same files again* finds every row held already: a day that says what is held of it is compared in memory and
changes nothing; a row that differs from it goes to the strict reader.

Single days go into a copy of a home that holds what came before, in a process of their own. The year ({year})
and the large fleet ({fleet}) are simulated: on 0.6 % of drive-days a counter changes, as in genuine files.
`runs_upkeep_seconds` are the CPU seconds, not a ratio, of a day of the large fleet as a whole: read, checked, its
changes kept, committed and published. `publish_seconds` are those of publishing alone, of the home with the year: a
checkpoint and a copy of the file, once for all files of a command.
"""
