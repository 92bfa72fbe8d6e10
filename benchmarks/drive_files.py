"""Drive files to load: the published ones where they are at hand, and simulated ones of the same shape and any size."""

import zipfile
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import duckdb

ARCHIVE: Final = Path("disk/data_2013_04-05.zip")
FIRST_DAY: Final = date(2013, 4, 10)
_ATTRIBUTES: Final = (
    *range(1, 14), 15, *range(183, 202), 223, 225, 240, 241, 242, 250, 251, 252, 254, 255,
)  # fmt: skip
_COLUMNS: Final = [f"smart_{attribute}_{kind}" for attribute in _ATTRIBUTES for kind in ("normalized", "raw")]
_FILLED: Final = {
    "smart_1_raw": "hash(drive, day) % 200000000",
    "smart_5_raw": "if(drive % 10 = 0, 8 * ((day + drive // 10) // 18), 0)",
    "smart_9_raw": "drive % 20000 + 24 * day",
    "smart_194_raw": "20 + (drive + hash(drive, day // 3)) % 9",
    "smart_197_raw": "if(drive % 100 = 0, (day + drive // 100) // 40, 0)",
}
"""The attributes that the published days of 2013 hold. One drive in ten reallocates sectors every eighteenth day: on
0.6 % of drive-days a counter changes, as in genuine files."""


def published(telemetry: Path, folder: Path) -> list[Path]:
    """The published daily files, unpacked once; none where they are absent."""
    archive = telemetry / ARCHIVE
    if not archive.is_file():
        return []
    with zipfile.ZipFile(archive) as packed:
        names = sorted(name for name in packed.namelist() if name.endswith(".csv") and not name.startswith("__MACOSX"))
        for name in names:
            if not (folder / name).exists():
                packed.extract(name, folder)
    return [folder / name for name in names]


def simulated(folder: Path, drives: int, first: int, count: int) -> list[Path]:
    """A daily CSV file for each of `count` days from day number `first` of a fleet of so many drives."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{FIRST_DAY + timedelta(days=day)}.csv" for day in range(first, first + count)]
    for day, file in enumerate(files, first):
        if not file.exists():
            _write(_rows(drives, day, 1, _COLUMNS), file, "format csv, header")
    return files


def history(file: Path, drives: int, days: int) -> Path:
    """One Parquet file with the first `days` days of such a fleet, one row per drive and day."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(_rows(drives, 0, days, list(_FILLED)), file, "format parquet")
    return file


def as_parquet(file: Path, days: list[Path]) -> Path:
    """The daily files as one Parquet file in the published schema."""
    if not file.exists():
        names = days[0].open().readline().strip().split(",")
        kinds = {"date": "DATE", "serial_number": "VARCHAR", "model": "VARCHAR"}
        listed = ", ".join(f"'{name}': '{kinds.get(name, 'BIGINT')}'" for name in names)
        reader = f"read_csv({[str(day) for day in days]}, auto_detect = false, header = true, columns = {{{listed}}})"
        _write(f"select * from {reader} order by serial_number, date", file, "format parquet, compression zstd")  # noqa: S608
    return file


def _rows(drives: int, first: int, days: int, names: list[str]) -> str:
    values = ", ".join(f"({_FILLED.get(name, 'null')})::bigint as {name}" for name in names)
    return (
        f"select date '{FIRST_DAY}' + day::int as date, 'SIM' || lpad(drive::varchar, 7, '0') as serial_number, "  # noqa: S608
        "'SIM ' || drive % 12 as model, 3000592982016::bigint as capacity_bytes, "
        f"(hash(drive, day) % 20000 = 0)::int as failure, {values} "
        f"from range({first}, {first + days}) days(day), range({drives}) fleet(drive)"
    )


def _write(rows: str, file: Path, how: str) -> None:
    draft = file.with_suffix(".draft")
    with duckdb.connect() as con:
        con.execute("set enable_progress_bar = false")
        con.execute(f"copy ({rows}) to '{draft}' ({how})")
    draft.replace(file)
