"""Prometheus: what exporters told it since it was last asked, in pages of at most a day.

Events are told to five minutes: each step holds the last sample of its five minutes, so that the same question always
has the same answer, however the time is cut into pages. A counter that starts anew counts from 0; the first value ever
seen of a counter tells nothing. After each page it is written down how far was read.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Final

import httpx

from data.quarantine import Reject, set_aside
from data.readings import Absorbed
from data.sources import drives, memory_log, promql, smart_series, tables
from data.sources.arrival import Arrival
from data.sources.exporters import BY_CHANNEL, BY_ROW, METRICS, Metric
from data.sources.known import Known, known
from data.sources.memory_log import Log, LoggedError
from data.sources.promql import Series
from data.sources.states import State, put_changes, put_happenings
from data.warehouse import Warehouse

SOURCE: Final = "prometheus"
STEP: Final = timedelta(minutes=5)
SETTLING: Final = timedelta(minutes=1)
BASE_DAYS: Final = 7
"""How far back the value is looked for that a counter had before a page."""


Base = Mapping[tuple[tuple[str, str], ...], float]


@dataclass(frozen=True)
class _Question:
    """Which server, what its label of hosts is, and the time of the page, after `begins` up to `ends`."""

    name: str
    host_label: str
    begins: datetime
    ends: datetime
    step: timedelta

    @property
    def ends_a_day(self) -> bool:
        return self.ends.time() == time()


@dataclass
class _Page:
    """What a page says."""

    errors: list[LoggedError] = field(default_factory=list)
    happened: list[State] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


def load(
    warehouse: Warehouse,
    client: httpx.Client,
    *,
    host_label: str = "instance",
    history_days: int = 30,
    arrival: Arrival = "published",
    now: datetime | None = None,
    step: timedelta = STEP,
    settling: timedelta = SETTLING,
) -> Iterator[Absorbed]:
    """What became of each page's facts; the last page ends with the last whole step.

    Args:
        warehouse: takes the facts.
        client: a client of the server (`data.sources.web.client`).
        host_label: the label that names the host.
        history_days: how far to go back when the server is asked for the first time.
        arrival: `published` counts what happened as known at its day's end, `now` as arriving now.
        now: the moment of loading; the wall clock's by default.
        step: how exactly moments are told; a server keeps the step that it was first asked with.
        settling: a step is asked about this long after its end, when scrapes that were under way have arrived.

    Raises:
        InputError: the server cannot be reached, refuses us or cannot answer; what came before is loaded.
    """
    moment = now or datetime.now(UTC)
    name = str(client.base_url).rstrip("/")
    ends = _floor(min(moment, datetime.now(UTC)) - settling, step)
    begins = _read_until(warehouse, name) or _floor(moment - timedelta(days=history_days), step)
    while begins < ends:
        page_ends = min(_next_midnight(begins), ends)
        yield _page(warehouse, client, _Question(name, host_label, begins, page_ends, step), arrival, moment)
        begins = page_ends


def _page(
    warehouse: Warehouse, client: httpx.Client, question: _Question, arrival: Arrival, moment: datetime
) -> Absorbed:
    hosts, name = known(warehouse), question.name
    page = _told(client, hosts, question)
    rows = memory_log.absorb(warehouse, Log(page.errors), SOURCE, name, arrival=arrival, now=moment)
    loaded = put_happenings(warehouse, page.happened, arrival, moment)
    changed = put_changes(warehouse, page.states, arrival, moment)
    believed = len(page.happened) + changed
    rows += tables.reported(warehouse, SOURCE, name, believed, loaded + changed, page.rejects, moment)
    if question.ends_a_day:
        found, rejects = smart_series.readings(client, hosts, question.host_label, question.ends)
        set_aside(warehouse, rejects, SOURCE, name, moment)
        rows += Absorbed(len(rejects), 0, 0, len(rejects))
        rows += drives.put(warehouse, found, SOURCE, name, arrival=arrival, now=moment)
    with warehouse.transaction() as con:
        con.execute("delete from source_cursor where source = ? and name = ?", [SOURCE, name])
        con.execute("insert into source_cursor values (?, ?, ?)", [SOURCE, name, question.ends])
    return rows


def _told(client: httpx.Client, hosts: Known, question: _Question) -> _Page:
    """What the metrics say of the page's time."""
    page = _Page()
    by_channel: set[str] = set()
    for metric in METRICS:
        series, base = _asked(client, metric, question)
        if metric.name.startswith(BY_CHANNEL):
            by_channel |= {dict(key).get(question.host_label, "") for key in base}
        for one in series:
            _speak(page, hosts, question.host_label, metric, one, base, by_channel)
    return page


def _asked(client: httpx.Client, metric: Metric, question: _Question) -> tuple[list[Series], Base]:
    """The metric's series within the page, and the value that each had before it; a day's peak once the day is over."""
    by = ", ".join([question.host_label, *metric.labels])
    if metric.how != "peak":
        return _steps(client, metric, by, question)
    if not question.ends_a_day:
        return [], {}
    query = f"max by ({by}) (max_over_time({metric.name}{{}}[{smart_series.DAY_SECONDS}s]))"
    return promql.at(client, query, question.ends - timedelta(seconds=1)), {}


def _steps(client: httpx.Client, metric: Metric, by: str, question: _Question) -> tuple[list[Series], Base]:
    """The series that are not 0 throughout, step by step, and the value that each series had before the page."""
    name = f"{metric.name}{{{metric.match}}}"
    looked = int((question.ends - question.begins + 2 * question.step).total_seconds())
    last = f"max by ({by}) (last_over_time({name}[{int(question.step.total_seconds())}s]))"
    query = f"{last} and on ({by}) (max by ({by}) (max_over_time({name}[{looked}s] @ end())) > 0)"
    before = f"{last} or max by ({by}) (last_over_time({name}[{BASE_DAYS}d]))"
    base = {_key(one.labels): one.samples[-1][1] for one in promql.at(client, before, question.begins)}
    return promql.over(client, query, question.begins + question.step, question.ends, question.step), base


def _speak(
    page: _Page,
    hosts: Known,
    host_label: str,
    metric: Metric,
    series: Series,
    base: Base,
    by_channel: Iterable[str],
) -> None:
    """Write what the series says onto the page."""
    told = series.labels.get(host_label, "")
    host = hosts.host(series.labels.get("Hostname") or told)
    raw = json.dumps({"metric": metric.name, **series.labels}, sort_keys=True)
    if host is None:
        detail = f"no host of the inventory is called {told!r}" if told else f"there is no label {host_label}"
        page.rejects.append(Reject(None, "unknown_host", detail, raw))
        return
    if metric.name.startswith(BY_ROW) and told in by_channel and series.labels.get("csrow", "").isdigit():
        return  # the same errors are told DIMM by DIMM
    named = metric.entity(hosts, host, series.labels)
    if named.unknown:
        page.rejects.append(Reject(None, named.unknown, f"{metric.name} names no entity", raw))
        return
    samples = [(at, value) for at, value in series.samples if math.isfinite(value) and value >= 0]
    if len(samples) < len(series.samples):
        page.rejects.append(Reject(None, "bad_value", "a value is below zero or no number", raw))
    before = base.get(_key(series.labels))
    for at, value in _events(metric, samples, before):
        if metric.component == "memory":
            page.errors.append(LoggedError(named.entity_id, at, int(value), {}, corrected=metric.kind == "ce"))
            continue
        code = {"xid": int(value)} if metric.kind == "xid" else {}
        happened = State(metric.component, named.entity_id, metric.kind, at, value, named.part, code)
        (page.states if metric.how == "state" else page.happened).append(happened)


def _events(metric: Metric, samples: Sequence[promql.Sample], before: float | None) -> Iterator[promql.Sample]:
    """When something happened, and the value that tells it."""
    if metric.how == "peak":
        yield from samples
        return
    for at, value in samples:
        if metric.how == "rise":
            if before is not None and value != before:
                yield at, value - before if value > before else value
        elif value != (before or 0.0) and (metric.how == "state" or value):
            yield at, value
        before = value


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _floor(moment: datetime, step: timedelta) -> datetime:
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - seconds % int(step.total_seconds()), UTC)


def _next_midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.date() + timedelta(days=1), time(), UTC)


def _read_until(warehouse: Warehouse, name: str) -> datetime | None:
    rows = warehouse.con.execute(
        "select max(read_until) from source_cursor where source = ? and name = ?", [SOURCE, name]
    ).fetchall()
    return rows[0][0].astimezone(UTC) if rows[0][0] else None
