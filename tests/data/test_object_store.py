"""An object store holds the parts: only what is asked for is moved, and who is not let in is told, without secrets."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import duckdb
import fsspec
import pytest
from daemons import free_port
from drives import START

from data.errors import EngineError
from data.parts import KEPT_HOURS, MANIFEST, Manifest, Store, export, opened
from data.snapshots import empty
from tests.object_store import BUCKET, Asked, ObjectStore, forget

NOW = datetime(2026, 1, 1, tzinfo=UTC)
READINGS = """
insert into disk_day by name
select
    $first + day::integer as day,
    drive::integer as entity_key,
    timestamptz '2021-01-01 00:00:00+00' as ingested_at,
    (hash(day, drive, 1) // 2)::bigint as smart_1_raw,
    (hash(day, drive, 2) // 2)::bigint as smart_7_raw,
    (hash(day, drive, 3) // 2)::bigint as smart_9_raw
from range($days) as one (day), range($drives) as two (drive)
"""
DRIVES = 3000


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """Three months of three thousand drives, whose counters say nothing twice."""
    with empty() as held:
        held.execute(
            "insert into entity by name select drive::integer as entity_key, 'disk' as component, "
            "'D' || drive as entity_id, 'test' as source, true as simulated from range(?) as one (drive)",
            [DRIVES],
        )
        held.execute(READINGS, {"first": START, "days": 91, "drives": DRIVES})
        yield held


@pytest.fixture
def store(s3: ObjectStore) -> Iterator[Store]:
    """An empty place."""
    with s3.entered():
        yield Store(f"s3://{BUCKET}/{uuid4().hex}")


def exported(con: duckdb.DuckDBPyConnection, store: Store, at: datetime = NOW) -> Manifest:
    return export(con, store, "disk", 1, uuid4().hex, at)


def changed(asked: list[Asked], store: Store) -> list[str]:
    """The files of the store that requests changed, in order of time."""
    root = store.url.removeprefix("s3:/")
    return [one.path.removeprefix(f"{root}/") for one in asked if one.method not in {"GET", "HEAD"}]


def test_files_are_put_once_the_manifest_last(con: duckdb.DuckDBPyConnection, store: Store, s3: ObjectStore) -> None:
    """Nothing is put under another name first; what is new is put alone; what is not named goes after its time."""
    with s3.watched() as asked:
        first = exported(con, store)
    assert changed(asked, store) == [*(name for piece in first.pieces for name in piece.files), MANIFEST]
    con.execute(READINGS, {"first": START + timedelta(days=91), "days": 1, "drives": DRIVES})
    con.execute("delete from disk_day where day = ?", [START])
    with s3.watched() as asked:
        second = exported(con, store, NOW)
    (old,) = second.retired
    assert [name[:24] for name in changed(asked, store)] == [
        "disk_day/part=00000/2020", "disk_day/part=00000/2020", MANIFEST
    ]  # fmt: skip
    with s3.watched() as asked:
        exported(con, store, NOW + timedelta(hours=KEPT_HOURS + 1))
    assert changed(asked, store) == [MANIFEST, old]


def test_a_day_is_read_without_the_others(con: duckdb.DuckDBPyConnection, store: Store, s3: ObjectStore) -> None:
    """Of other months' files only the ends are read, of its own file one column; nothing is read twice or ahead."""
    files = exported(con, store).of(0)
    held = fsspec.filesystem("s3", use_listings_cache=False).du(f"{store.url}/disk_day")
    with opened(store, files) as part, s3.watched() as asked:
        assert part.execute("select count(smart_1_raw) from disk_day where day = ?", [START]).fetchall() == [(DRIVES,)]
        of_a_day = sum(one.sent_bytes for one in asked)
        part.execute("select max(columns(*)) from disk_day").fetchall()
        of_all = sum(one.sent_bytes for one in asked)
    assert of_a_day < 0.15 * held
    assert of_all < 1.05 * held
    assert {one.method for one in asked} == {"GET"}


def test_a_bucket_that_is_not_there_is_not_made(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """A name mistyped is an error before anything is written."""
    with pytest.raises(EngineError, match=r"cannot read s3://telemetri/x: .*bucket does not exist"):
        exported(con, Store("s3://telemetri/x"))
    assert not fsspec.filesystem("s3", use_listings_cache=False).exists("telemetri")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "a-secret", "Forbidden"),
        ("AWS_ACCESS_KEY_ID", "somebody", "Forbidden"),
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}", "Could not connect"),
    ],
    ids=["a wrong key", "an unknown user", "a server that is gone"],
)
def test_who_is_not_let_in_is_told_what_it_takes_and_no_secret(
    store: Store, s3: ObjectStore, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """A wrong key, an unknown user and a server that is gone: who reads, and who writes."""
    manifest = {"entity": ["entity/part=00000/all-0.parquet"]}
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv(name, value)
    forget()
    with pytest.raises(EngineError, match=rf"cannot read s3://.*{said}.*AWS_ACCESS_KEY_ID") as exporting:
        store.manifest()
    with pytest.raises(EngineError, match=r"cannot read s3://.*AWS_ACCESS_KEY_ID") as reading, opened(store, manifest):
        pass
    assert "a-secret" not in f"{exporting.value}{reading.value}"
    assert s3.environment["AWS_SECRET_ACCESS_KEY"] not in f"{exporting.value}{reading.value}"


def test_a_file_that_goes_while_it_is_read_is_told_in_a_sentence(con: duckdb.DuckDBPyConnection, store: Store) -> None:
    """Readings are read when they are asked for, by DuckDB, which tells Python's errors as tracebacks."""
    files = exported(con, store).of(0)
    gone = pytest.raises(EngineError, match=r"^\S+ cannot read s3://[^\n]*The specified key does not exist[^\n]*$")
    with gone, opened(store, files) as part:
        store.remove(files["disk_day"])
        part.execute("select count(smart_1_raw) from disk_day").fetchall()
