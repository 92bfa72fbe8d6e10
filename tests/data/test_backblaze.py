"""Backblaze files go in once, and whatever is wrong with them is set aside with its reason."""

import gzip
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from data.errors import InputError
from data.readings import Absorbed
from data.sources import backblaze
from data.sources.backblaze import ENDINGS, load
from data.sources.files import expand
from data.warehouse import Warehouse

HEADER = (
    "date,serial_number,model,capacity_bytes,failure,smart_1_raw,smart_5_raw,smart_9_raw,smart_194_raw,smart_197_raw"
)
NOW = datetime(2016, 1, 1, tzinfo=UTC)


def ingest(home: Path, *paths: Path) -> Absorbed:
    total = Absorbed()
    with Warehouse.open(home) as warehouse:
        for _, rows in load(warehouse, expand(list(paths), ENDINGS), now=NOW):
            total += rows
        warehouse.publish()
    return total


def ask(home: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(home / "warehouse.duckdb")) as con:
        con.execute("set time zone 'UTC'")
        return con.execute(query).fetchall()


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_day_goes_in_once(home: Path, tmp_path: Path) -> None:
    """The same file a second time loads nothing and counts every row as a duplicate."""
    day = write(tmp_path / "2013-04-10.csv", "2013-04-10,A,M,1000,0,1,0,10,25,0", "2013-04-10,B,M,1000,1,1,8,10,25,3")
    assert ingest(home, day) == Absorbed(2, 2, 0, 0)
    assert ingest(home, day) == Absorbed(2, 0, 2, 0)
    assert ask(home, "select failed_at from failure") == [(datetime(2013, 4, 11, tzinfo=UTC),)]


def test_a_damaged_archive_gives_up_only_its_damage(home: Path, tmp_path: Path) -> None:
    """Every kind of damage is quarantined under its own reason, and all sound rows are loaded."""
    good = "2013-04-10,{},M,1000,0,1,0,10,25,0"
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(
            "data/2013-04-10.csv",
            "\n".join(
                [
                    HEADER,
                    good.format("A"),
                    good.format("A"),
                    "2013-04-10,B,M,1000,0,1",
                    "2013-04-10,C,M,1000,0,1,oops,10,25,0",
                    "2099-04-10,D,M,1000,0,1,0,10,25,0",
                    "0015-03-31,D,M,1000,0,1,0,10,25,0",
                    good.format("E") + ",7",
                    good.format(""),
                    good.format("F"),
                ]
            ),
        )
        packed.writestr("data/2013-04-11.csv", "")
        packed.writestr(
            "data/2013-04-12.csv", HEADER.replace("serial_number,", "") + "\n2013-04-12,M,1,0,1,0,10,25,0\n"
        )
        packed.writestr(
            "data/2013-04-13.csv", HEADER.replace(",smart_5_raw", "") + "\n2013-04-13,A,M,1000,0,1,10,25,0\n"
        )
    rows = ingest(home, archive)
    reasons = dict(ask(home, "select reason, count(*) from quarantine group by reason"))
    assert reasons == {
        "duplicate_row": 1,
        "truncated_line": 1,
        "bad_value": 1,
        "future_date": 1,
        "bad_time": 1,
        "too_many_columns": 1,
        "no_serial_number": 1,
        "empty_file": 1,
        "missing_required_column": 1,
        "missing_column": 1,
    }
    assert rows == Absorbed(rows_read=12, rows_loaded=3, rows_duplicate=1, rows_quarantined=8)
    assert ask(home, "select line, raw from quarantine where reason = 'bad_value'") == [
        (5, "2013-04-10,C,M,1000,0,1,oops,10,25,0")
    ]


def test_a_restated_day_is_not_rewritten(home: Path, tmp_path: Path) -> None:
    """A second, different reading for a day is quarantined and the first one stays."""
    ingest(home, write(tmp_path / "a.csv", "2013-04-10,A,M,1000,0,1,0,10,25,0", "2013-04-10,B,M,1000,0,1,0,10,25,0"))
    rows = ingest(
        home, write(tmp_path / "b.csv", "2013-04-10,A,M,1000,0,1,99,10,25,0", "2013-04-10,B,M,1000,0,1,0,10,25,0")
    )
    assert rows == Absorbed(2, 0, 1, 1)
    assert ask(home, "select smart_5_raw from disk_change order by entity_key") == [(0,), (0,)]
    assert ask(home, "select reason from quarantine") == [("restated",)]


TWO_DAYS = (
    ("2013-04-10,A,M,1000,0,1,0,10,25,0", "2013-04-10,B,M,1000,0,1,8,10,25,"),
    ("2013-04-11,A,M,1000,0,2,3,34,25,0", "2013-04-11,B,M,1000,1,1,8,34,25,"),
)


def two_days(home: Path, folder: Path) -> list[Path]:
    files = [write(folder / f"{number}.csv", *lines) for number, lines in enumerate(TWO_DAYS)]
    assert ingest(home, *files).rows_loaded == 4
    return files


def test_days_that_come_again_are_known_without_a_second_look(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row counts as a duplicate, in any order and under any name, and the strict reader is not asked."""
    first, last = two_days(home, tmp_path)
    monkeypatch.delattr(backblaze, "_put_any")
    other = write(tmp_path / "other.csv", *reversed(TWO_DAYS[0]))
    assert ingest(home, last, first, other, last) == Absorbed(8, 0, 8, 0)


@pytest.mark.parametrize(
    ("line", "became", "failures"),
    [
        ("2013-04-10,A,M,1000,0,1,3,10,25,0", Absorbed(1, 0, 0, 1), 1),
        ("2013-04-10,A,M,1000,0,9,0,10,25,0", Absorbed(1, 0, 0, 1), 1),
        ("2013-04-10,A,M,1000,0,,0,10,25,0", Absorbed(1, 0, 0, 1), 1),
        ("2013-04-10,B,M,1000,0,1,8,10,25,0", Absorbed(1, 0, 0, 1), 1),
        ("2013-04-10,A,M,1000,1,1,0,10,25,0", Absorbed(1, 0, 1, 0), 2),
        ("2013-04-10,C,M,1000,0,1,0,10,25,0", Absorbed(1, 1, 0, 0), 1),
    ],
)
def test_what_a_day_adds_when_it_comes_again_is_seen(
    home: Path, tmp_path: Path, line: str, became: Absorbed, failures: int
) -> None:
    """A counter, a gauge, a null, a failure or a drive that differs from what is held gets its due."""
    two_days(home, tmp_path)
    assert ingest(home, write(tmp_path / "again.csv", line)) == became
    assert ask(home, "select count(*) from failure") == [(failures,)]


def test_files_may_be_gzipped_wherever_they_lie(home: Path, tmp_path: Path) -> None:
    """In a folder, alone or in an archive; what macOS keeps beside files is no file of readings."""
    folder = tmp_path / "days"
    (folder / "__MACOSX").mkdir(parents=True)
    days = [
        write(tmp_path / f"{day}.csv", f"2013-04-{day},A,M,1000,0,1,0,10,25,0").read_bytes() for day in (10, 11, 12)
    ]
    (folder / "10.csv.gz").write_bytes(gzip.compress(days[0]))
    with zipfile.ZipFile(folder / "11.zip", "w") as packed:
        packed.writestr("q/11.csv.gz", gzip.compress(days[1]))
        packed.writestr("q/._11.csv", b"\0\5\x16\7")
    for name in ("._10.csv", "__MACOSX/10.csv"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    alone = tmp_path / "12.csv.gz"
    alone.write_bytes(gzip.compress(days[2]))
    cut = tmp_path / "13.csv.gz"
    cut.write_bytes(gzip.compress(days[2])[:30])
    assert ingest(home, folder, alone, cut) == Absorbed(4, 3, 0, 1)
    assert ask(home, "select reason from quarantine") == [("unreadable_file",)]


def test_a_file_that_holds_nothing_of_the_kind_is_set_aside(home: Path, tmp_path: Path) -> None:
    """An archive without a file of readings, and a page that says that the file was not found."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a/readme.pdf", b"")
    (tmp_path / "b.csv").write_text("<html>404, not found</html>")
    assert ingest(home, tmp_path) == Absorbed(2, 0, 0, 2)
    found = ask(home, "select reason from quarantine order by file")
    assert found == [("unreadable_file",), ("missing_required_column",)]


def test_an_unknown_capacity_stays_unknown(home: Path, tmp_path: Path) -> None:
    """Drives that report a capacity of -1 are loaded with none."""
    ingest(home, write(tmp_path / "a.csv", "2013-04-10,A,M,-1,0,1,0,10,25,0"))
    assert ask(home, "select capacity_bytes, model, first_seen_on from entity") == [(None, "M", date(2013, 4, 10))]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_capacity_that_is_told_on_another_day_is_learned(home: Path, tmp_path: Path, order: str) -> None:
    """Whichever of the two days comes first, in one go or each to what is held."""
    days = {"a": "2013-04-10,A,M,-1,0,1,0,10,25,0", "b": "2013-04-11,A,M,1000,0,1,0,10,25,0"}
    files = [write(tmp_path / f"{name}.csv", days[name]) for name in order]
    ingest(home, *files)
    for each in files:
        ingest(tmp_path / "one by one", each)
    for where in (home, tmp_path / "one by one"):
        assert ask(where, "select capacity_bytes, first_seen_on from entity") == [(1000, date(2013, 4, 10))]


def test_a_file_that_cannot_be_read_does_not_stop_the_others(home: Path, tmp_path: Path) -> None:
    """A damaged ZIP, a damaged member and a damaged Parquet file are set aside by name; the sound file goes in."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.zip").write_bytes(b"not a zip")
    with zipfile.ZipFile(folder / "b.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("b.csv", HEADER + "\n" + "2013-04-10,B,M,1000,0,1,0,10,25,0\n" * 500)
    damaged = bytearray((folder / "b.zip").read_bytes())
    damaged[60:80] = b"\xff" * 20
    (folder / "b.zip").write_bytes(damaged)
    (folder / "c.parquet").write_bytes(b"not parquet")
    write(folder / "d.csv", "2013-04-10,A,M,1000,0,1,0,10,25,0")
    write(folder / "e.csv", "2013-04-10,A,M,1000,0,1,0,10,25,0", header=HEADER.replace("smart_9_raw", "smart_1_raw"))
    assert ingest(home, folder).rows_loaded == 1
    reasons = ask(home, "select file, reason from quarantine order by file")
    assert [(str(file).split("/")[-1], reason) for file, reason in reasons] == [
        ("a.zip", "unreadable_file"),
        ("b.csv", "unreadable_file"),
        ("c.parquet", "unreadable_file"),
        ("e.csv", "bad_header"),
    ]


def test_bad_rows_are_kept_once(home: Path, tmp_path: Path) -> None:
    """The same damaged file again adds nothing to the quarantine."""
    day = write(tmp_path / "a.csv", "2013-04-10,A,M,1000,0,oops,0,10,25,0", "2013-04-10,B,M,1000,0,1,-7,10,25,0")
    first, again = ingest(home, day), ingest(home, day)
    assert first == again == Absorbed(2, 0, 0, 2)
    assert ask(home, "select reason from quarantine") == [("bad_value",), ("bad_value",)]


def test_bad_rows_that_arrive_again_later_are_kept_once(home: Path, tmp_path: Path) -> None:
    """A live source that is read every night sets the same rows aside once, whenever they arrive."""
    write(tmp_path / "a.csv", "2013-04-10,A,M,1000,0,1,0,10,25,0")
    write(tmp_path / "b.csv", "2013-04-10,A,M,1000,0,1,9,10,25,0", "2013-04-10,B,M,1000,0,1,-7,10,25,0")
    with Warehouse.open(home) as warehouse:
        for night in range(2):
            list(load(warehouse, expand([tmp_path], ENDINGS), arrival="now", now=NOW + timedelta(days=night)))
    assert ask(home, "select reason from quarantine order by all") == [("bad_value",), ("restated",)]


def test_two_readings_of_one_file_that_differ_are_told_apart(home: Path, tmp_path: Path) -> None:
    """The first one wins; one that repeats it is a duplicate, one that differs is restated."""
    same, other = "2013-04-10,A,M,1000,0,1,0,10,25,0", "2013-04-10,A,M,1000,0,1,5,10,25,0"
    assert ingest(home, write(tmp_path / "a.csv", same, same, other)) == Absorbed(3, 1, 1, 1)
    assert ask(home, "select reason from quarantine order by 1") == [("duplicate_row",), ("restated",)]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    """A path that does not exist raises an error that names it."""
    with pytest.raises(InputError, match="nowhere"):
        expand([tmp_path / "nowhere"], ENDINGS)


def test_parquet_and_csv_give_the_same_facts(tmp_path: Path) -> None:
    """A day as Parquet is loaded exactly as the same day as CSV."""
    day = write(tmp_path / "a.csv", "2013-04-10,A,M,1000,0,1,2,10,25,3", "2013-04-10,B,M,1000,0,,,10,,")
    duckdb.connect().execute(f"copy (from '{day}') to '{tmp_path / 'a.parquet'}' (format parquet)")
    ingest(tmp_path / "csv", day)
    ingest(tmp_path / "parquet", tmp_path / "a.parquet")
    for table in ("disk_day", "disk_change"):
        assert ask(tmp_path / "csv", f"from {table}") == ask(tmp_path / "parquet", f"from {table}")


@pytest.mark.real
@pytest.mark.slow
def test_the_forty_published_days(home: Path, real: Path) -> None:
    """The archive as published loads whole, and a second time not at all."""
    archive = real / "disk" / "data_2013_04-05.zip"
    assert ingest(home, archive) == Absorbed(868_524, 868_524, 0, 0)
    assert ask(home, "select count(*) from failure") == [(120,)]
    assert ingest(home, archive) == Absorbed(868_524, 0, 868_524, 0)
