"""A plain next day goes on from what is held, however that was come by."""

from pathlib import Path

import duckdb
import pytest

from data.frontier import NotPlain
from data.snapshots import empty
from data.sources import backblaze
from data.warehouse import Warehouse

DRIVES, DAYS = 20, 4
CHANGES = tuple(
    f"select * exclude (entity_key), entity_id from {table} join entity using (entity_key) order by all"
    for table in ("disk_current", "disk_superseded")
)


def write(folder: Path) -> list[Path]:
    """A file a day; on each, every other drive's counter moves, and there are a few drives more."""
    files = [folder / f"{day}.parquet" for day in range(DAYS)]
    for day, file in enumerate(files):
        duckdb.execute(
            "copy (select date '2020-01-01' + $day::integer as date, 'D' || drive as serial_number, 'M' as model, "
            "1000 as capacity_bytes, 0 as failure, drive // 2 * $day as smart_5_raw, "
            "if($day > 1, $day, null) as smart_187_raw, null::bigint as smart_10_raw, 25 as smart_194_raw "
            f"from range({DRIVES} + 2 * $day) fleet(drive)) to '{file}' (format parquet)",
            {"day": day},
        )
    return files


def changes(folder: Path, files: list[Path]) -> list[tuple[object, ...]]:
    """What is kept after the files have come one at a time, each to what the warehouse holds by then."""
    with empty() as con:
        for file in files:
            list(backblaze.load(Warehouse(folder, con), [file]))
        return [row for query in CHANGES for row in con.execute(query).fetchall()]


def test_a_day_goes_on_from_changes_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each day continues what a home holds, read a piece at a time, just as the strict way works it out."""
    files = write(tmp_path)
    monkeypatch.setattr("data.frontier._ROWS_AT_ONCE", 3)
    with monkeypatch.context() as patch:
        patch.delattr(backblaze, "_put_any")
        quick = changes(tmp_path, files)

    def not_plain(*_: object) -> None:
        raise NotPlain

    monkeypatch.setattr(backblaze, "_days", not_plain)
    assert len(quick) > DRIVES * DAYS / 2
    assert changes(tmp_path, files) == quick


def test_a_drive_that_moves_on_every_day_of_a_file_ends_as_if_each_had_come_alone(tmp_path: Path) -> None:
    """What is superseded within one transaction is kept as well; and nothing of a file that proves not to be plain."""
    days = write(tmp_path)
    one = tmp_path / "all.parquet"
    duckdb.execute(f"copy (from read_parquet({[str(day) for day in days]}) order by date) to '{one}' (format parquet)")
    assert changes(tmp_path, [one]) == changes(tmp_path, days)
    twice = tmp_path / "twice.parquet"
    duckdb.execute(
        f"copy (select * exclude (again) from (select *, 0 as again from '{one}' union all "
        f"select * replace (99 as smart_5_raw), 1 as again from '{days[-1]}') order by date, again) "
        f"to '{twice}' (format parquet)"
    )
    assert changes(tmp_path, [days[0], twice]) == changes(tmp_path, days)


def test_a_column_is_empty_only_where_all_of_the_file_says_so(tmp_path: Path) -> None:
    """Empty in one piece of a Parquet file is not empty; a column within another is none of ours."""
    file = tmp_path / "day.parquet"
    duckdb.execute(
        "copy (select if(row < 2048, null, row) as later, null::bigint as never, row as always, "
        f"{{'always': null::bigint}} as outer_ from range(4096) rows(row)) to '{file}' "
        "(format parquet, row_group_size 2048)"
    )
    assert backblaze._empty(file) == {"never", "outer_.always"}
