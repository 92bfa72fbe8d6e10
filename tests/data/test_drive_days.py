"""What the quick reader of a sound file reads is what the strict reader reads."""

from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from data.frontier import NotPlain
from data.snapshots import empty
from data.sources import backblaze, drive_days
from data.warehouse import Warehouse

COLUMNS = (
    "date,serial_number,model,capacity_bytes,failure,smart_1_raw,smart_5_raw,smart_9_raw,smart_194_raw,smart_197_raw,"
    "other"
)
NUMBERS = [
    "5", "0", "", " 5", "5 ", "+5", "-5", "0x10", "1_000", "5.0", "5.5", "1e3", "NULL", "nan", "NA", "00012", "'5'",
    "9223372036854775807", "9223372036854775808", "\N{ARABIC-INDIC DIGIT THREE}", '"5"',
]  # fmt: skip
DAYS = ["2013-04-10", "2013-4-10", " 2013-04-10", "2013-04-10 00:00:00", "2013-02-30", "2013-04-11", "infinity", ""]
NAMES = ["A", "B", "C", "A ", "#A", "A;B", "NULL", "nan", "", " ", "'A", '"A"', "Ä", "A\\"]
LINE_ENDS = ["\n", "\n", "\r\n", "\n\n", "\r"]

lines = st.tuples(
    st.sampled_from(DAYS[:1] * 20 + DAYS), st.sampled_from(NAMES), st.sampled_from(["M", "", "Ö M", "M,M"]),
    st.sampled_from(["1000", "-1", ""]), st.sampled_from(["0", "0", "1", "2", "128", ""]), st.sampled_from(NUMBERS),
    st.sampled_from(["0", "8"]), st.sampled_from(NUMBERS[:3]), st.just("25"), st.just("0"),
    st.sampled_from(["", "z", "é", 'a"b']),
).map(",".join)  # fmt: skip


def read_quickly(file: Path, before: Path | None = None) -> list[tuple[Any, ...]] | None:
    """The rows by the quick reader, maybe `before` another file, unless it leaves the file to the strict one."""
    reader = drive_days.CsvReader()
    try:
        days = [next(reader.read(one, COLUMNS.split(","), None)) for one in (before, file) if one]
    except NotPlain:
        return None
    day, names = days[-1], ("entity_id", "model", "capacity_bytes", "failure", "smart_1_raw", "smart_9_raw")
    return [
        (day.day, day.ingested_at - timedelta(days=1), *(row.get(name) for name in names))
        for row in day.readings.to_pylist()
    ]


def read_strictly(file: Path) -> tuple[list[tuple[Any, ...]], int]:
    """The rows by the strict reader, and how many lines it set aside."""
    with empty() as con:
        con.execute("begin")
        backblaze.stage(con, "disk")
        backblaze._stage_part(con, backblaze._Part(file, "file"), None)
        rows = con.execute(
            "select day, ingested_at - interval 1 day, entity_id, model, capacity_bytes, failure, smart_1_raw, "
            "smart_9_raw from staged"
        ).fetchall()
        return rows, len(con.execute("from staged_reject").fetchall())


@settings(max_examples=60, deadline=None)
@given(st.lists(lines, min_size=1, max_size=3), st.sampled_from(LINE_ENDS[:4]), st.booleans())
def test_what_is_read_quickly_is_read_so_strictly(rows: list[str], end: str, after_empty: bool) -> None:
    """Odd numbers, dates, names, quotes and line ends: either the quick reader passes, or both read the same rows.

    Nor does it matter whether columns were empty in the file before.
    """
    with TemporaryDirectory() as folder:
        file, empty = Path(folder) / "day.csv", Path(folder) / "before.csv"
        file.write_text(end.join([COLUMNS, *rows, ""]), newline="")
        empty.write_text(f"{COLUMNS}\n2013-04-09,A,M,1000,0,,,,,,\n")
        quick = read_quickly(file, empty if after_empty else None)
        if quick is not None:
            assert read_strictly(file) == (quick, 0)


def test_a_sound_day_is_read_quickly(tmp_path: Path) -> None:
    """The quick reader does not leave everything to the strict one."""
    file = tmp_path / "day.csv"
    file.write_text(f"{COLUMNS}\n2013-04-10,A,M,-1,0,5,0,10,25,0,\n")
    assert read_quickly(file) == read_strictly(file)[0] != []


def test_a_file_that_no_reader_takes_is_set_aside(home: Path, tmp_path: Path) -> None:
    """Lines that end now so, now so, beside a quote stop no other file: the file is quarantined under its name."""
    odd, sound = tmp_path / "a.csv", tmp_path / "b.csv"
    row = "2013-04-10,{},{},1000,0,5,0,10,25,0,z"
    odd.write_text("\n".join([COLUMNS, row.format("A", '"M"') + "\r", row.format("B", "M"), ""]), newline="")
    sound.write_text(f"{COLUMNS}\n{row.format('C', 'M')}\n")
    with Warehouse.open(home) as warehouse:
        found = [rows.rows_loaded for _, rows in backblaze.load(warehouse, [odd, sound])]
        reasons = warehouse.con.execute("select file, reason from quarantine").fetchall()
    assert found == [0, 1]
    assert reasons == [(f"{tmp_path.name}/a.csv", "unreadable_file")]


def test_days_of_parquet_that_are_moments_are_those_of_utc(tmp_path: Path) -> None:
    """Half an hour before midnight is that day, whichever zone the machine is in."""
    told = {
        "date": "timestamptz '2013-04-10 23:30:00+00'", "serial_number": "'A'", "model": "'M'",
        "capacity_bytes": "1000", "failure": "0", "smart_5_raw": "8",
    }  # fmt: skip
    row = ", ".join(f"{value} as {name}" for name, value in told.items())
    with empty() as con:
        con.execute(f"copy (select {row}) to '{tmp_path / 'a.parquet'}' (format parquet)")
        con.execute("set global timezone = 'Pacific/Auckland'")
        query = f"{backblaze._selected(list(told))} from read_parquet($path)"
        days = [one.day for one in drive_days.read_query(con, query, tmp_path / "a.parquet", None)]
    assert days == [date(2013, 4, 10)]
