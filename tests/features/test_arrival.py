"""What is known of drives does not depend on the way in which their days came."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from drives import START, Reading, histories, put
from hypothesis import given, settings
from hypothesis import strategies as st

from data.quality import check
from data.snapshots import empty
from data.sources import backblaze
from data.warehouse import Warehouse
from features.build import frame, spine

HEADER = (
    "date,serial_number,model,capacity_bytes,failure,smart_1_raw,smart_5_raw,smart_9_raw,smart_187_raw,smart_194_raw,"
    "smart_197_raw"
)
SEEN = {
    "days": "select entity_id, disk_day.* exclude (entity_key) from disk_day join entity using (entity_key) "
    "order by all",
    "changes": "select entity_id, disk_change.* exclude (entity_key) from disk_change join entity using (entity_key) "
    "left join entity_version using (entity_key, version) "
    "where (from_day + 1)::timestamptz < coalesce(known_until, 'infinity') order by all",
    "beliefs": "select entity_id, version, known_from, known_until from entity_version join entity using (entity_key) "
    "order by all",
    "failures": "select entity_id, failed_at, failure.ingested_at from failure join entity using (entity_key) "
    "order by all",
    "drives": "select entity_id, model, capacity_bytes, first_seen_on from entity order by all",
}

"""What any question can come to see. A belief's changes after it was given up are seen by none: whether they are
kept depends on whether the late day came before or after them."""


def write(folder: Path, number: int, readings: list[Reading]) -> Path:
    """A CSV file in the published format."""
    lines = [
        f"{r.day},{r.entity_id},M,4000000000000,{r.failure},,{r.smart_5},100,{r.smart_187},{r.smart_194},"
        for r in readings
    ]
    file = folder / f"{number}.csv"
    file.write_text("\n".join([HEADER, *lines]).replace("None", "") + "\n")
    return file


def known(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """All that is held, by names of our own only, and the features asked on several days."""
    assert not [found for found in check(con) if found.severity == "error"]
    held: dict[str, Any] = {name: con.execute(query).fetchall() for name, query in SEEN.items()}
    asked = spine(con, "disk", [START + timedelta(days=n) for n in (2, 9, 16, 23)])
    rows = frame(con, "disk", asked).drop_columns(["entity_key"]).to_pylist()
    return held | {"features": sorted(rows, key=lambda row: (row["entity_id"], row["asof_at"]))}


def loaded(files: list[tuple[list[Reading], datetime | None]]) -> dict[str, Any]:
    """What is known after these files, each with the moment at which it came, or none for a published one."""
    with empty() as con, TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder), con)
        written = [(write(Path(folder), number, rows), at) for number, (rows, at) in enumerate(files)]
        for at, some in groupby(written, key=itemgetter(1)):
            arrival = "now" if at else "published"
            for _ in backblaze.load(warehouse, [file for file, _ in some], arrival=arrival, now=at):
                pass
        return known(con)


def rebuilt(readings: list[Reading]) -> dict[str, Any]:
    """What is known when all of it is worked out at once."""
    with empty() as con:
        put(con, readings)
        return known(con)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_any_order_of_published_days_ends_in_the_same_knowledge(readings: list[Reading], random: Random) -> None:
    """In order or mixed, sent twice and restated afterwards: facts, changes and features are those of a rebuild."""
    by_day = [[r for r in readings if r.day == day] for day in sorted({r.day for r in readings})]
    restated = [replace(r, smart_5=77) for r in by_day[0]]
    mixed = random.sample(readings, len(readings))
    shuffled = [[*mixed[start::4], *mixed[:2]] for start in range(4)]
    expected = rebuilt(readings)
    assert loaded([(rows, None) for rows in [*by_day, by_day[-1], restated]]) == expected
    assert loaded([(rows, None) for rows in [*by_day[1:], *shuffled, restated]]) == expected


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_late_days_end_in_the_same_beliefs(readings: list[Reading], random: Random) -> None:
    """Files that come in time, late or long after, in any order, leave the beliefs of a rebuild, each with its time."""
    files: list[tuple[list[Reading], datetime | None]] = []
    for day in sorted({r.day for r in readings}):
        hours = random.choice([0, 11, 30, 24 * 5])
        rows = [replace(r, late_hours=hours) for r in readings if r.day == day]
        files.append((rows, rows[0].ingested_at))
    expected = rebuilt([r for rows, _ in files for r in rows])
    assert loaded(files) == expected
    assert loaded(random.sample(files, len(files))) == expected
