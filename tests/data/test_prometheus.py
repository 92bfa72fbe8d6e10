"""What exporters told Prometheus becomes readings and events, once, however the time is cut into questions."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from facts import entities, hosts, vms

from data.errors import InputError
from data.sources import prometheus, smart_series, web
from data.sources.known import Known
from data.warehouse import Warehouse

DAY = datetime(2026, 1, 5, tzinfo=UTC)
STEP = timedelta(minutes=5)
Samples = Mapping[datetime, float]


class Scripted:
    """Answers like the API would, from the last sample of each step."""

    def __init__(self, series: Mapping[str, list[tuple[dict[str, str], Samples]]]) -> None:
        self.series, self.most_steps = series, 10**6

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """What the API would answer."""
        asked = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        found = next((rows for metric, rows in self.series.items() if f"{metric}{{" in asked["query"]), [])
        if request.url.path.endswith("query_range"):
            first, last = (datetime.fromtimestamp(float(asked[name]), UTC) for name in ("start", "end"))
            if (last - first) / STEP > self.most_steps:
                return httpx.Response(422, json={"status": "error", "error": "loads too many samples into memory"})
            rows = [
                {
                    "metric": labels,
                    "values": [[at.timestamp(), str(v)] for at, v in samples.items() if first <= at <= last],
                }
                for labels, samples in found
            ]
        else:
            at = datetime.fromtimestamp(float(asked["time"]), UTC)
            before = [(labels, [v for t, v in samples.items() if t <= at]) for labels, samples in found]
            rows = [
                {"metric": labels, "value": [at.timestamp(), str(values[-1])]} for labels, values in before if values
            ]
        rows = [row for row in rows if row.get("values", True)]
        return httpx.Response(200, json={"status": "success", "data": {"resultType": "x", "result": rows}})


@contextmanager
def _client(answers: Callable[[httpx.Request], httpx.Response]) -> Iterator[httpx.Client]:
    with web.client("http://prom.test:9090", transport=httpx.MockTransport(answers)) as client:
        yield client


def _load(warehouse: Warehouse, answers: Callable[[httpx.Request], httpx.Response], now: datetime) -> int:
    with _client(answers) as client:
        return sum(rows.rows_loaded for rows in prometheus.load(warehouse, client, history_days=1, now=now))


def _grid(*values: float, begins: datetime = DAY) -> dict[datetime, float]:
    return {begins + STEP * (n + 1): value for n, value in enumerate(values) if value >= 0}


CE = "node_edac_csrow_correctable_errors_total"
ROW = {"instance": "h1.example.org:9100", "controller": "0", "csrow": "2"}
COUNTER = _grid(0, 0, 3, 3, -1, -1, 5, 1, 1)
"""Three errors, an outage with two more, then a host that started anew and has had one since."""
RISES = [(3, 3.0), (7, 2.0), (8, 1.0)]
EVENING = DAY + timedelta(hours=20)


def _events(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    rows = warehouse.con.execute(
        "select entity_id, kind, observed_at, value from event join entity using (entity_key) order by observed_at"
    ).fetchall()
    return [(name, kind, at.astimezone(UTC), value) for name, kind, at, value in rows]


@pytest.mark.parametrize("minutes", [[60], [15, 20, 60], [5, 10, 15, 20, 25, 30, 35, 40, 45]])
def test_a_counter_becomes_its_rises_however_the_time_is_cut(tmp_path: Path, minutes: list[int]) -> None:
    """An outage is caught up, a counter that starts anew counts from 0, and a repeat loads nothing."""
    answers = Scripted({CE: [(ROW, COUNTER)]})
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.put_inventory(hosts("h1"), vms(), entities(), DAY)
        loaded = [_load(warehouse, answers, DAY + timedelta(minutes=1 + end)) for end in minutes]
        again = _load(warehouse, answers, DAY + timedelta(minutes=1 + minutes[-1]))
        assert _events(warehouse) == [("h1/mc0/2/-1/-1", "ce", DAY + STEP * step, value) for step, value in RISES]
    assert (sum(loaded), again) == (3, 0)


def test_a_question_that_is_too_large_is_halved(tmp_path: Path) -> None:
    """A server that refuses more than three steps at once gives the same events."""
    answers = Scripted({CE: [(ROW, COUNTER)]})
    answers.most_steps = 3
    with Warehouse.open(tmp_path) as warehouse:
        assert _load(warehouse, answers, DAY + timedelta(hours=2)) == len(RISES)


def test_a_run_that_was_killed_before_it_wrote_down_how_far_it_came_is_made_good(tmp_path: Path) -> None:
    """The same page read again tells the same events, which are held already."""
    with Warehouse.open(tmp_path) as warehouse:
        _load(warehouse, Scripted({CE: [(ROW, COUNTER)]}), EVENING)
        warehouse.con.execute("delete from source_cursor")
        assert _load(warehouse, Scripted({CE: [(ROW, COUNTER)]}), EVENING) == 0


def test_errors_told_dimm_by_dimm_are_not_counted_by_row_again(tmp_path: Path) -> None:
    """Where the exporter tells channels, their sum by row is passed over; errors of no row are still told."""
    dimm = ROW | {"channel": "1", "dimm_label": "unknown"}
    told = {
        "node_edac_channel_correctable_errors_total": [(dimm, _grid(0, 2))],
        CE: [(ROW, _grid(0, 2)), (ROW | {"csrow": "unknown"}, _grid(0, 1))],
    }
    with Warehouse.open(tmp_path) as warehouse:
        _load(warehouse, Scripted(told), DAY + timedelta(minutes=6))
        _load(warehouse, Scripted(told), EVENING)
        assert sorted(row[0] for row in _events(warehouse)) == [
            "h1.example.org/mc0/-1/-1/-1", "h1.example.org/mc0/2/1/-1"
        ]  # fmt: skip


def test_uncorrected_errors_are_failures_and_xids_events(tmp_path: Path) -> None:
    """An Xid is told when it changes; a GPU is called by its serial number where that is told, else by its UUID."""
    gpu = {"instance": "10.0.0.1:9400", "Hostname": "h1", "UUID": "GPU-1"}
    told = {
        "node_edac_csrow_uncorrectable_errors_total": [(ROW, _grid(0, 1))],
        "DCGM_FI_DEV_XID_ERRORS": [
            (gpu, _grid(0, 43, 43, 79)),
            (gpu | {"UUID": "GPU-2", "DCGM_FI_DEV_SERIAL": "132"}, _grid(0, 63)),
        ],
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": [(gpu, _grid(0, 0, 2))],
    }
    with Warehouse.open(tmp_path) as warehouse:
        _load(warehouse, Scripted(told), EVENING)
        failed = warehouse.con.execute("select entity_id, cause from failure join entity using (entity_key)").fetchall()
        assert [(name, kind, value) for name, kind, _, value in sorted(_events(warehouse))] == [
            ("132", "xid", 63.0), ("GPU-1", "ecc_double_bit", 2.0), ("GPU-1", "xid", 43.0), ("GPU-1", "xid", 79.0)
        ]  # fmt: skip
    assert failed == [("h1.example.org/mc0/2/-1/-1", "ue")]


def test_a_failed_disk_of_an_array_is_an_event_when_it_fails_and_when_it_is_replaced(tmp_path: Path) -> None:
    """It is one of the host's node, by array."""
    told = {"node_md_disks": [({"instance": "h1:9100", "device": "md0"}, _grid(0, 1, 1, 0))]}
    with Warehouse.open(tmp_path) as warehouse:
        _load(warehouse, Scripted(told), EVENING)
        assert [row[2:] for row in _events(warehouse)] == [(DAY + 2 * STEP, 1.0), (DAY + 4 * STEP, 0.0)]


@pytest.mark.parametrize(
    ("labels", "value", "reason"),
    [
        (ROW | {"instance": "stranger:9100"}, 3, "unknown_host"),
        (ROW | {"instance": ""}, 3, "unknown_host"),
        (ROW, float("nan"), "bad_value"),
    ],
)
def test_what_cannot_be_believed_is_set_aside(
    tmp_path: Path, labels: dict[str, str], value: float, reason: str
) -> None:
    """A host that the inventory does not know and a value that is none are counted, and kept once."""
    answers = Scripted({CE: [(labels, {DAY + STEP: 0.0, DAY + 2 * STEP: value, DAY + 3 * STEP: value})]})
    with Warehouse.open(tmp_path) as warehouse:
        warehouse.put_inventory(hosts("h1"), vms(), entities(), DAY)
        assert _load(warehouse, answers, EVENING) == 0
        assert warehouse.con.execute("select reason, source from quarantine").fetchall() == [(reason, "prometheus")]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("attribute_id=~", "1e30"),
        ("attribute_id=~", "+Inf"),
        ("smartctl_device_capacity_bytes", "1e30"),
        ("smartctl_device_capacity_bytes", "+Inf"),
    ],
)
def test_a_drive_with_a_number_beyond_64_bits_is_set_aside(metric: str, value: str) -> None:
    """Whether it is an attribute or the capacity."""
    sda = {"instance": "h1:9633", "device": "sda", "protocol": "ATA", "serial_number": "ZA1", "attribute_id": "190"}
    shown = {"smartctl_device[": "1", "attribute_id=~": "8", metric: value}

    def answer(request: httpx.Request) -> httpx.Response:
        query = parse_qs(request.content.decode())["query"][0]
        found = [{"metric": sda, "value": [DAY.timestamp(), told]} for name, told in shown.items() if name in query]
        return httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": found}})

    with _client(answer) as client:
        found, rejects = smart_series.readings(client, Known(frozenset(), frozenset(), {}), "instance", DAY)
    assert (found, [one.reason for one in rejects]) == ([], ["bad_value"])


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(401), "Set FORESHOCK_PROMETHEUS_TOKEN"),
        (httpx.Response(200, text="<html>hello"), "no JSON: '<html>hello'"),
        (httpx.Response(400, json={"status": "error", "error": "parse error"}), "parse error"),
        (httpx.ConnectError("refused"), "does not answer: refused"),
    ],
)
def test_a_server_that_gives_no_answer_is_a_clear_error(
    tmp_path: Path, answer: httpx.Response | Exception, says: str
) -> None:
    """The sentence says what happened and what to do; how far was read stays as it was."""

    def answers(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    with Warehouse.open(tmp_path) as warehouse:
        with pytest.raises(InputError, match=re.escape(says)):
            _load(warehouse, answers, EVENING)
        assert warehouse.con.execute("select * from source_cursor").fetchall() == []


def test_an_address_with_a_password_is_refused() -> None:
    """Secrets come from the environment only, and the message does not repeat one."""
    with pytest.raises(InputError) as refused:
        web.client("https://me:secret@prom.test")
    assert "secret@" not in str(refused.value)
