"""A store in parts holds what the snapshot holds, takes only what is new, and survives a kill between two writes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import duckdb
import pyarrow as pa
import pytest
from drives import START, Reading, put
from fsspec.implementations.memory import MemoryFileSystem

from data import parts
from data.errors import EngineError, UsageError, WarehouseError
from data.parts import KEPT_HOURS, Manifest, Store, export, opened, tables
from data.snapshots import empty
from features.build import fleet, frame, spine
from tests.object_store import BUCKET

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PARTS = 3


class Killed(BaseException):
    """Stands for a SIGKILL: nothing of ours catches it."""


def readings(days: int, first: int = 0) -> list[Reading]:
    """Seven drives, one of which fails in the end."""
    return [
        Reading(f"D{drive}", START + timedelta(days=day), day // 9, None, failure=int(drive == 3 and day == 39))
        for day in range(first, days)
        for drive in range(7)
    ]


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """Forty days of seven drives, over two months."""
    with empty() as held:
        put(held, readings(40))
        yield held


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty place in memory, where a file is moved to its name; or in the object store, for who asks for it."""
    if getattr(request, "param", "memory") == "memory":
        yield Store(f"memory://{uuid4().hex}")
        return
    with request.getfixturevalue("s3").entered():
        yield Store(f"s3://{BUCKET}/{uuid4().hex}")


def exported(con: duckdb.DuckDBPyConnection, store: Store, *, at: datetime = NOW, count: int = PARTS) -> Manifest:
    return export(con, store, "disk", count, uuid4().hex, at)


def held(con: duckdb.DuckDBPyConnection, table: str) -> list[tuple[object, ...]]:
    return sorted(con.execute(f"select * from {table}").fetchall(), key=str)


def whole(store: Store, manifest: Manifest) -> dict[str, list[tuple[object, ...]]]:
    """Each table, put together from its parts."""
    found: dict[str, list[tuple[object, ...]]] = {name: [] for name in tables("disk")}
    for number in range(manifest.parts):
        with opened(store, manifest.of(number)) as con:
            for name in found:
                found[name] += held(con, name)
    return {name: sorted(rows, key=str) for name, rows in found.items()}


def test_the_parts_make_up_the_snapshot(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Every fact of a drive is in one part, none is in two, and a drive's facts are in the same."""
    manifest = exported(con, store)
    assert whole(store, manifest) == {name: held(con, name) for name in tables("disk")}
    for number in range(PARTS):
        with opened(store, manifest.of(number)) as part:
            keys = part.execute("select distinct entity_key from disk_day order by 1").fetchall()
            assert keys == part.execute("select distinct entity_key from entity order by 1").fetchall()


def test_only_what_is_new_is_written(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """A day more touches its month and nothing before; the same again touches nothing."""
    first = exported(con, store)
    assert exported(con, store).written == 0
    put(con, readings(41, first=40))
    second = exported(con, store)
    assert 0 < second.written < first.written
    january = [piece for piece in first.pieces if piece.month == "2020-01"]
    assert set(january) <= set(second.pieces)
    assert whole(store, second)["disk_day"] == held(con, "disk_day")


def test_moves_and_late_days_come_along_in_every_belief(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """A drive that moves, and one whose past is told otherwise weeks later, are asked in parts as in the whole."""
    exported(con, store)
    put(con, readings(46, first=40))
    put(con, [Reading("D5", START - timedelta(days=3), 7, None, late_hours=24 * 60)])
    manifest = exported(con, store)
    assert any(piece.month == "9999-12" for piece in manifest.pieces)
    assert whole(store, manifest) == {name: held(con, name) for name in tables("disk")}
    days = [START + timedelta(days=n) for n in (30, 45, 58)]
    asked, counts = spine(con, "disk", days), fleet(con, "disk", days)
    rows = [frame(con, "disk", asked)]
    for number in range(PARTS):
        with opened(store, manifest.of(number)) as part:
            rows.append(frame(part, "disk", spine(part, "disk", days), counts))
    keys = [("asof_at", "ascending"), ("entity_key", "ascending")]
    assert pa.concat_tables(rows[1:]).sort_by(keys).equals(rows[0])


def test_facts_of_an_earlier_shape_say_what_to_do(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """What another version published is refused in words, by whoever needs a table that it lacks."""
    con.execute("create table kept as from disk_change")
    con.execute("drop view disk_change; drop table disk_current; drop table disk_superseded")
    con.execute("alter table kept rename to disk_change")
    with pytest.raises(WarehouseError, match=r"another version of Foreshock \(.*disk_current.*foreshock ingest"):
        spine(con, "disk", [START])
    with pytest.raises(WarehouseError, match="foreshock ingest"):
        exported(con, store)
    assert store.names() == []


def test_a_snapshot_that_is_held_is_not_read_again(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """The snapshot's name tells that nothing has changed."""
    first = export(con, store, "disk", PARTS, "snapshot", NOW)
    con.close()
    assert export(con, store, "disk", PARTS, "snapshot", NOW) == first


def test_another_number_of_parts_divides_anew(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Nothing of the old division is taken over."""
    exported(con, store)
    again = exported(con, store, count=2)
    assert whole(store, again) == {name: held(con, name) for name in tables("disk")}


@pytest.mark.parametrize(
    ("store", "writes"), [("memory", 0), ("memory", 1), ("memory", 3), ("s3", 3)], indirect=["store"]
)
def test_killed_anywhere_the_store_is_the_old_one_and_a_repeat_makes_the_new(
    con: duckdb.DuckDBPyConnection, store: Store, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """A kill after so many writes leaves what was; a repeat ends as an undisturbed export."""
    before, was = exported(con, store), {name: held(con, name) for name in tables("disk")}
    put(con, readings(45, first=40))
    done: list[str] = []

    def put_or_die(self: Store, local: Path, name: str) -> None:
        if len(done) == writes:
            raise Killed
        done.append(name)
        put_file(self, local, name)

    put_file = Store.put
    monkeypatch.setattr(Store, "put", put_or_die)
    with pytest.raises(Killed):
        exported(con, store)
    monkeypatch.setattr(Store, "put", put_file)
    assert store.manifest() == before
    assert whole(store, before) == was
    assert whole(store, exported(con, store)) == {name: held(con, name) for name in tables("disk")}


def test_what_is_no_longer_named_is_kept_for_who_still_reads_it(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Two days later it goes."""
    first = exported(con, store)
    put(con, readings(41, first=40))
    exported(con, store, at=NOW)
    assert whole(store, first)["disk_day"]
    put(con, readings(42, first=41))
    exported(con, store, at=NOW + timedelta(hours=KEPT_HOURS + 1))
    gone = {name for piece in first.pieces for name in piece.files} - set(store.names())
    assert gone
    assert all("2020-01" not in name for name in gone)


def test_a_place_that_needs_another_package_says_so(con: duckdb.DuckDBPyConnection) -> None:
    """An unknown kind of storage is named, with what to do."""
    with pytest.raises(EngineError, match=r"gopher://x.*Install"):
        exported(con, Store("gopher://x"))


def test_a_worker_that_cannot_reach_the_store_says_so() -> None:
    """With the place, and what a worker needs."""
    unreached = pytest.raises(EngineError, match=r"cannot read file:///nowhere.*Every worker must reach it")
    with unreached, opened(Store("file:///nowhere"), {"entity": ["entity/part=00000/all-0.parquet"]}):
        pass


def test_what_looks_at_its_neighbours_is_not_kept_in_parts() -> None:
    """A GPU's evidence lies in its cage and its batch as well."""
    with pytest.raises(UsageError, match="gpu cannot be kept in parts"):
        tables("gpu")


def test_a_store_of_another_format_is_written_anew(
    con: duckdb.DuckDBPyConnection, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this program cannot read counts as nothing."""
    exported(con, store)
    monkeypatch.setattr(parts, "FORMAT", parts.FORMAT + 1)
    assert store.manifest() is None
    assert exported(con, store).written > 0


def test_files_that_got_lost_are_written_again(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Whether the snapshot is the one that is held or a newer one, and nothing but what is missing."""
    first = export(con, store, "disk", PARTS, "snapshot", NOW)
    for snapshot in ("snapshot", "newer"):
        store.remove(first.of(1)["disk_day"])
        again = export(con, store, "disk", PARTS, snapshot, NOW)
        assert again.written == len(first.of(1)["disk_day"])
        assert whole(store, again) == {name: held(con, name) for name in tables("disk")}


def test_a_damaged_manifest_counts_as_none(con: duckdb.DuckDBPyConnection, store: Store, tmp_path: Path) -> None:
    """What a machine that lost its power has left of it; all is written anew."""
    first = exported(con, store)
    (tmp_path / "manifest").write_bytes(b'{"form\0\0')
    store.put(tmp_path / "manifest", parts.MANIFEST)
    assert store.manifest() is None
    assert exported(con, store).written == first.written


@pytest.mark.parametrize(
    "left", [b"PAR1", b"PAR1" + b"\xff" * 40 + b"\x28\x00\x00\x00PAR1"], ids=["cut", "overwritten"]
)
def test_a_damaged_file_is_named_and_comes_back_once_it_is_removed(
    con: duckdb.DuckDBPyConnection, store: Store, tmp_path: Path, left: bytes
) -> None:
    """The message says which file, and to remove it."""
    manifest = exported(con, store)
    (name,) = manifest.of(1)["entity"]
    (tmp_path / "left").write_bytes(left)
    store.put(tmp_path / "left", name)
    damaged = pytest.raises(EngineError, match=rf"{name}.*remove it and repeat this run")
    with damaged, opened(store, manifest.of(1)):
        pass
    store.remove([name])
    assert whole(store, exported(con, store))["entity"] == held(con, "entity")


def test_sound_files_are_not_blamed_for_a_statement(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """What DuckDB finds wrong with a question is told as that."""
    manifest = exported(con, store)
    with pytest.raises(duckdb.InvalidInputException, match="parameter"), opened(store, manifest.of(1)) as part:
        part.execute("select $one", {"two": 2})


def test_two_who_write_the_same_file_at_once_both_succeed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flow and a person's command bring the same snapshot at the same time; the file is whole all the while."""
    (tmp_path / "one").write_bytes(b"whole")
    put_file, others = MemoryFileSystem.put_file, [1]

    def meanwhile(self: MemoryFileSystem, *args: object, **kwargs: object) -> None:
        put_file(self, *args, **kwargs)
        if others:
            others.pop()
            store.put(tmp_path / "one", "table/file")

    monkeypatch.setattr(MemoryFileSystem, "put_file", meanwhile)
    store.put(tmp_path / "one", "table/file")
    assert store.names() == ["table/file"]
    for _ in range(2):
        store.remove(["table/file"])
