"""rasdaemon's database becomes events and failures of DIMMs, read-only, and once."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from memory_errors import rasdaemon

from data.sources.rasdaemon import address, load, read
from data.warehouse import Warehouse

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        (
            "node:0 card:0 module:0 rank:1 bank_group:2 bank_address:3 device:4 row:65535 column:8 bit_position:63",
            {"rank": 1, "bank_group": 2, "bank": 3, "device": 4, "row": 65535, "column": 8},
        ),
        (
            "err_code:0x0080:0x0090 socket:0 imc:1 rank:1 bg:3 ba:2 row:0x1a2b col:0x3f8",
            {"rank": 1, "bank_group": 3, "bank": 2, "row": 0x1A2B, "column": 0x3F8},
        ),
        (
            "ChannelId:0x1 PhysicalRankId:0x2 DimmRankId:0x1 Row:0x10 Column:0x8 Bank:0x3 BankGroup:0x1",
            {"rank": 1, "bank_group": 1, "bank": 3, "row": 16, "column": 8},
        ),
        ("area:DRAM err_code:0001:0090 socket:0 ha:0 channel_mask:1 rank:1", {"rank": 1}),
        ("", {}),
    ],
)
def test_addresses_are_read_in_the_words_of_each_driver(said: str, parts: dict[str, int]) -> None:
    """GHES, skx_edac, i10nm_edac and sb_edac each name the parts their own way."""
    assert address(said) == parts


def test_rows_become_events_and_failures(tmp_path: Path) -> None:
    """Corrected ones are events with their count, access and address; uncorrected ones are failures; zones are kept."""
    path = rasdaemon(
        tmp_path / "host7" / "ras-mc_event.db",
        [
            {"err_count": 3, "driver_detail": "rank:1 bank_group:2 bank_address:3 row:9 column:8"},
            {"timestamp": "2026-01-06 01:00:00 +0200", "err_msg": "memory scrubbing error", "label": "unknown memory"},
            {"timestamp": "2026-01-07 10:00:00 +0000", "err_type": "Uncorrected"},
        ],
    )
    with Warehouse.open(tmp_path / "home") as warehouse:
        done = load(warehouse, path, now=NOW)
        found = warehouse.con.execute(
            "select entity_id, observed_at, errors, scrub, bank, row_number from memory_error "
            "join entity using (entity_key) order by observed_at"
        ).fetchall()
        failed = warehouse.con.execute("select entity_id, cause from failure join entity using (entity_key)").fetchall()
    assert (done.rows_read, done.rows_loaded) == (3, 3)
    assert [(name, when.astimezone(UTC), *rest) for name, when, *rest in found] == [
        ("host7/CPU_SrcID#0_Ha#0_Chan#1_DIMM#0", datetime(2026, 1, 5, 10, tzinfo=UTC), 3, False, 3, 9),
        ("host7/mc0/1/0/-1", datetime(2026, 1, 5, 23, tzinfo=UTC), 1, True, None, None),
    ]
    assert failed == [("host7/CPU_SrcID#0_Ha#0_Chan#1_DIMM#0", "ue")]


def test_the_same_database_with_more_in_it_loads_what_is_new(tmp_path: Path) -> None:
    """A database that grew is read again, and only its new rows are loaded."""
    first = [{"timestamp": f"2026-01-05 10:00:0{n} +0000"} for n in range(3)]
    with Warehouse.open(tmp_path / "home") as warehouse:
        load(warehouse, rasdaemon(tmp_path / "a" / "h1.db", first), now=NOW)
        grown = rasdaemon(tmp_path / "b" / "h1.db", [*first, {"timestamp": "2026-01-05 11:00:00 +0000"}])
        done = load(warehouse, grown, now=NOW)
    assert (done.rows_loaded, done.rows_duplicate) == (1, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"timestamp": "yesterday"}, "bad_time"),
        ({"timestamp": "0001-01-01 00:00:00 +0200"}, "bad_time"),
        ({"timestamp": "1970-01-01 00:00:10 +0000"}, "bad_time"),
        ({"timestamp": "2036-01-05 10:00:00 +0000"}, "future_date"),
        ({"err_count": 0}, "bad_value"),
        ({"err_type": "Info"}, "unknown_error_type"),
    ],
)
def test_a_bad_row_is_set_aside(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    """It is counted and quarantined with its reason; its neighbour is loaded."""
    path = rasdaemon(tmp_path / "h1.db", [{}, change])
    with Warehouse.open(tmp_path / "home") as warehouse:
        done = load(warehouse, path, now=NOW)
        assert (done.rows_loaded, done.rows_quarantined) == (1, 1)
        assert warehouse.con.execute("select reason from quarantine").fetchall() == [(reason,)]


def test_errors_that_are_alike_in_one_second_all_count(tmp_path: Path) -> None:
    """A storm on one cell writes the same row again and again; each is one more error, however often it is read."""
    with Warehouse.open(tmp_path / "home") as warehouse:
        load(warehouse, rasdaemon(tmp_path / "a" / "h1.db", [{}, {}]), now=NOW)
        grown = rasdaemon(tmp_path / "b" / "h1.db", [{}, {}, {}])
        done, again = load(warehouse, grown, now=NOW), load(warehouse, grown, now=NOW)
        ((errors,),) = warehouse.con.execute("select sum(errors)::bigint from memory_error").fetchall()
    assert (done.rows_loaded, again.rows_loaded, errors) == (1, 0, 3)


def test_more_errors_than_a_column_holds_count_as_the_most_it_does(tmp_path: Path) -> None:
    """They are not taken for one, and further ones can be added to them."""
    path = rasdaemon(tmp_path / "h1.db", [{"err_count": 2**31 - 1}, {"err_count": 2**31}, {"err_count": 2**62}])
    with Warehouse.open(tmp_path / "home") as warehouse:
        assert load(warehouse, path, now=NOW).rows_loaded == 3
        held = warehouse.con.execute("select count(*), min(errors), sum(errors)::bigint from memory_error").fetchall()
    assert held == [(3, 2**31 - 1, 3 * (2**31 - 1))]


def test_reading_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    """Not a byte changes, and no file appears beside it."""
    path = rasdaemon(tmp_path / "h1.db", [{}])
    before, beside = path.read_bytes(), sorted(tmp_path.iterdir())
    assert len(read(path).rows) == 1
    assert (path.read_bytes(), sorted(tmp_path.iterdir())) == (before, beside)


def test_what_is_no_database_is_set_aside_whole(tmp_path: Path) -> None:
    """A text file, and a database without the table."""
    (tmp_path / "text.db").write_text("this is no database, whatever its name says" * 50)
    (tmp_path / "empty.db").touch()
    assert [one.reason for one in read(tmp_path / "text.db").rejects] == ["unreadable_file"]
    assert [one.reason for one in read(tmp_path / "empty.db").rejects] == ["missing_required_column"]
