"""Node features are those that pandas computes from the outages that had arrived."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.contracts import EVENTS, FAILURES, STAYS
from data.snapshots import empty
from data.warehouse import Warehouse
from features import build

START = datetime(2004, 1, 1, tzinfo=UTC)
GRACE = timedelta(hours=build.GRACE_HOURS)
ASKED = (5, 40, 120)

Outage = tuple[int, float, str, float]
"""Node, day it began, cause, days after which it was known."""
OUTAGES = st.lists(
    st.tuples(
        st.integers(0, 11), st.floats(0, 119, width=32), st.sampled_from(["Hardware: CPU", "Software: OS"]),
        st.sampled_from([0.0, 0.0, 3.0, 50.0]),
    ),
    max_size=25, unique_by=lambda one: (one[0], round(one[1], 3)),
)  # fmt: skip


def at(days: float) -> datetime:
    """So many days after the start, to the second."""
    return START + timedelta(seconds=round(days * 86_400))


def held(outages: list[Outage]) -> pd.DataFrame:
    """The outages as a table."""
    rows = [(node, at(day), at(day + late), cause.split(":")[0]) for node, day, cause, late in outages]
    return pd.DataFrame(rows, columns=["node", "failed_at", "known_at", "cause"])


def put(warehouse: Warehouse, outages: list[Outage]) -> None:
    """Two systems of six nodes, and their outages, each an hour long."""
    named = [f"lanl-{1 + node // 6}-{node % 6}" for node in range(12)]
    told = [
        {"component": "node", "entity_id": name, "model": name.rsplit("-", 1)[0], "host_id": name,
         "valid_from": at(-30), "valid_until": None}
        for name in named
    ]  # fmt: skip
    warehouse.put_stays(pa.Table.from_pylist(told, STAYS))
    failures = [
        {
            "component": "node",
            "entity_id": named[node],
            "failed_at": at(day),
            "ingested_at": at(day + late),
            "cause": cause,
        }
        for node, day, cause, late in outages
    ]
    returns = [
        {"component": "node", "entity_id": named[node], "observed_at": at(day) + timedelta(hours=1),
         "ingested_at": at(day + late) + timedelta(hours=1), "kind": "returned", "value": 3600.0, "detail": None}
        for node, day, _, late in outages
    ]  # fmt: skip
    warehouse.put_failures(pa.Table.from_pylist(failures, FAILURES))
    warehouse.put_events(pa.Table.from_pylist(returns, EVENTS))


def oracle(outages: list[Outage], node: int, asof: datetime) -> dict[str, float]:
    """Features of a node at a moment, the slow and obvious way."""
    seen = held(outages)
    seen = seen[(seen.failed_at <= asof) & (seen.known_at <= asof + GRACE)]
    own, system = seen[seen.node == node], seen[seen.node // 6 == node // 6]
    beside = system[(system.node != node) & ((system.node - node).abs() <= 4)]

    def within(part: pd.DataFrame, days: float) -> pd.DataFrame:
        return part[part.failed_at > asof - timedelta(days=days)]

    answer: dict[str, float] = {"outages": len(own), "system_nodes": 6, "age_days": (asof - at(-30)).days}
    for days in (1, 7, 30, 90, 365):
        answer[f"outages_{days}d"] = len(within(own, days))
    for days in (1, 7, 30):
        answer[f"system_outages_{days}d"] = len(within(system, days)) / 6
    answer["hardware_outages_30d"] = (within(own, 30).cause == "Hardware").sum()
    answer["system_software_outages_30d"] = (within(system, 30).cause == "Software").sum() / 6
    answer["neighbour_outages_30d"] = len(within(beside, 30))
    answer["outages_over_system_365d"] = (len(own) + 1) / (len(system) / 6 + 1)
    if len(own):
        answer["days_since_outage"] = (asof - own.failed_at.max()).total_seconds() / 86_400
    return answer


@settings(max_examples=15, deadline=None)
@given(OUTAGES)
def test_features_equal_the_oracle_whenever_they_are_asked(outages: list[Outage]) -> None:
    """Of each node, at several moments, with outages that became known late; the first feature is always told."""
    with empty() as con:
        warehouse = Warehouse.__new__(Warehouse)
        warehouse.con = con
        put(warehouse, outages)
        days = [(at(day) - timedelta(days=1)).date() for day in ASKED]
        rows = build.frame(con, "node", build.spine(con, "node", days)).to_pylist()
    for row in rows:
        system, number = map(int, row["entity_id"].split("-")[1:])
        expected = oracle(outages, (system - 1) * 6 + number, row["asof_at"])
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5), row["entity_id"]
        assert row[build.feature_names("node")[0]] is not None
        assert (row["days_since_outage"] is None) == ("days_since_outage" not in expected)


def test_what_is_told_later_is_not_seen_earlier() -> None:
    """An outage that becomes known a month late changes no earlier answer."""
    early: list[Outage] = [(0, 10.0, "Hardware: CPU", 0.0), (1, 20.0, "Software: OS", 0.0)]
    day = [(at(40) - timedelta(days=1)).date()]
    with empty() as con:
        warehouse = Warehouse.__new__(Warehouse)
        warehouse.con = con
        put(warehouse, early)
        before = build.frame(con, "node", build.spine(con, "node", day)).to_pylist()
        put(warehouse, [(2, 30.0, "Hardware: CPU", 30.0)])
        assert build.frame(con, "node", build.spine(con, "node", day)).to_pylist() == before
