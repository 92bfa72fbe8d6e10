"""Small populations for the tests of incidents: hosts in racks, with drives of some makes, some of which fail."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np

from decisions.incidents.find import find
from decisions.incidents.population import Population
from decisions.incidents.values import Incident
from decisions.incidents.words import NAMES
from decisions.policy import load

ASOF = datetime(2026, 3, 1, tzinfo=UTC)
RACKS, HOSTS_PER_RACK, DRIVES = 12, 10, 4

Row = Mapping[str, str | None]


def row(rack: int, host: int, drive: int) -> dict[str, str | None]:
    """A drive with all that is told of it: two racks a feed, three a switch, makes and kernels crossing both."""
    return {
        "component": "disk",
        "part": f"r{rack}h{host}d{drive}",
        "host": f"r{rack}h{host}",
        "rack": f"r{rack}",
        "power_feed": f"f{rack // 2}",
        "switch": f"s{rack // 3}",
        "firmware": f"fw{host % 3}",
        "kernel": f"k{(host + rack) % 2}",
        "model": f"M{(host // 3 + drive) % 3}",
    }


def fleet(hit: Callable[[Row], bool], change: Callable[[Row], Row] = lambda row: row, days: float = 30.0) -> Population:
    """A fleet of 480 drives in which those fail that `hit` says; `change` rewrites what is told of each."""
    rows = [change(row(r, h, d)) for r in range(RACKS) for h in range(HOSTS_PER_RACK) for d in range(DRIVES)]
    return population(rows, [hit(each) for each in rows], [days] * len(rows))


def population(rows: list[Row], hit: list[bool], days: list[float]) -> Population:
    """Stays as columns; the failures are a few hours apart, in the order of the rows, the last two days ago."""
    when = [ASOF - timedelta(days=2, hours=3 * (sum(hit) - sum(hit[:n]))) if one else None for n, one in enumerate(hit)]
    moments = [None if at is None else at.replace(tzinfo=None) for at in when]
    told = {
        name: np.array([each.get(name) for each in rows], dtype=object)
        for name in ("component", "part", "host", *NAMES)
    }
    return Population(
        asof_at=ASOF,
        component=told.pop("component"),
        part=told.pop("part"),
        host=told.pop("host"),
        days=np.array(days),
        event_at=np.array(moments, dtype="datetime64[us]"),
        failed=np.array(hit),
        current=~np.array(hit),
        attributes={name: words for name, words in told.items() if (words != None).any()},  # noqa: E711
        since={},
    )


@cache
def feed_incident() -> Incident:
    """The incident of a fleet whose power feed f1 fails."""
    return find(fleet(lambda one: one["power_feed"] == "f1" and str(one["part"]).endswith("d0")), load().incidents)[0]
