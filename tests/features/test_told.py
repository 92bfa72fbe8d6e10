"""What was told of a part before its host was emptied, and who is spared from sampling for it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pytest
from drives import Reading, put

from data.snapshots import empty
from features import build

START = datetime(2020, 1, 1, tzinfo=UTC)
LATER = datetime(2020, 3, 1, tzinfo=UTC)
EMPTIED = START + timedelta(days=13, hours=2)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """Forty drives and forty GPUs, one a host; those of host h0 are emptied on the fourteenth day, and of sim0."""
    with empty() as held:
        put(
            held,
            [Reading(f"d{n}", date(2020, 1, 1) + timedelta(days=back), 0, 0) for n in range(40) for back in range(10)],
        )
        held.execute(
            "insert into entity select 1000 + n, 'gpu', 'd' || n, 'M', null, null, '2019-01-01', 't', false "
            "from range(40) numbers(n)"
        )
        held.execute(
            "insert into entity_host select entity_key, if(entity_id = 'd1', 'sim0', 'h' || entity_id[2:]), "
            "entity_id = 'd1', '2019-01-01', null, true from entity"
        )
        for host_id in ("h0", "sim0"):
            held.execute("insert into mitigation values (?, ?, 'evacuate', ?, ?)", [host_id, host_id, EMPTIED, EMPTIED])
        yield held


def risk(con: duckdb.DuckDBPyConnection, days: float, version: str, risk_30d: float) -> None:
    """What a version told of all entities so many days after the start."""
    con.execute(
        "insert into risk select $at, entity_key, component, $version, 'ok', null, 0, 0, 0, 0, $risk, null from entity",
        {"at": START + timedelta(days=days), "version": version, "risk": risk_30d},
    )


def told(con: duckdb.DuckDBPyConnection, component: str, known_until: datetime = LATER) -> list[dict[str, Any]]:
    """What was told of those asked about at the end of the tenth day."""
    rows = build.spine(con, component, [date(2020, 1, 10)])
    names = dict(con.execute("select entity_key, entity_id from entity").fetchall())
    found = build.told(con, component, rows, known_until).to_pylist()
    return [{"entity_id": names[row["entity_key"]], **row} for row in found]


@pytest.mark.parametrize("component", ["disk", "gpu"])
def test_what_was_told_last_before_the_host_was_emptied(con: duckdb.DuckDBPyConnection, component: str) -> None:
    """Neither earlier nor later risks count; champion and challenger speak together; simulated hosts are no matter."""
    for days, version, value in ((12, "1", 0.9), (13, "1", 0.4), (13, "2", 0.2), (14, "1", 0.8)):
        risk(con, days, version, value)
    (one,) = told(con, component)
    assert (one["entity_id"], one["told_in_days"], one["risk_30d"]) == ("d0", 3.0, pytest.approx(0.3))


def test_what_was_told_long_before_says_nothing(con: duckdb.DuckDBPyConnection) -> None:
    """Three days before the host was emptied is the oldest that counts, and a mitigation not yet known is none."""
    risk(con, 10, "1", 0.4)
    assert told(con, "disk") == []
    risk(con, 11, "1", 0.4)
    assert len(told(con, "disk")) == 1
    assert told(con, "disk", EMPTIED - timedelta(hours=1)) == []


@pytest.mark.parametrize("component", ["disk", "gpu"])
def test_sampling_spares_whose_host_is_emptied_soon(con: duckdb.DuckDBPyConnection, component: str) -> None:
    """Such a row stands for itself; who else is kept, and for how many, does not change."""
    asked: dict[str, Any] = {"negative_share": 0.05, "positive_days": 7, "known_until": LATER}
    kept = build.spine(con, component, [date(2020, 1, 10)], **asked).to_pylist()
    con.execute("delete from mitigation")
    others = build.spine(con, component, [date(2020, 1, 10)], **asked).to_pylist()
    assert [row["weight"] for row in kept if row["entity_id"] == "d0"] == [1.0]
    assert [row for row in kept if row["entity_id"] != "d0"] == [row for row in others if row["entity_id"] != "d0"]
