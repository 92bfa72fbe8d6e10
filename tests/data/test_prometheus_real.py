"""A real Prometheus with a real node exporter, and with a history that promtool wrote."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from daemons import binary, free_port, running, until
from facts import entities, hosts, vms

from data.sources import prometheus, smart_series, web
from data.sources.known import known
from data.warehouse import Warehouse

pytestmark = pytest.mark.slow
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
RAW = 'smartctl_device_attribute{device="sda",attribute_name="x",attribute_value_type'
SMART = f"""\
smartctl_device{{device="sda",protocol="ATA",model_name="ST4000DM000",serial_number="ZA1",firmware_version="CC52"}} 1
{RAW}="raw",attribute_id="5"}} 8
{RAW}="worst",attribute_id="5"}} 99
{RAW}="raw",attribute_id="194"}} 68719476770
smartctl_device_power_on_seconds{{device="sda"}} 44442000
smartctl_device_temperature{{device="sda",temperature_type="current"}} 34
smartctl_device_capacity_bytes{{device="sda"}} 4000787030016
smartctl_device_smart_status{{device="sda"}} 1
smartctl_device{{device="nvme0",protocol="NVMe",model_name="P4510",serial_number="NV1",firmware_version="VD"}} 1
smartctl_device_power_on_seconds{{device="nvme0"}} 43790400
smartctl_device_power_cycle_count{{device="nvme0"}} 22
smartctl_device_media_errors{{device="nvme0"}} 2
"""
"""What smartctl_exporter tells of two drives, cut to what is read."""


@contextmanager
def _prometheus(folder: Path, scrapes: str = "") -> Iterator[str]:
    """The address of a server that stores in `folder` and scrapes host h1 every second."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        f"- job_name: node\n  static_configs: [{{targets: ['{scrapes}'], labels: {{instance: 'h1:9100'}}}}]\n"
        if scrapes
        else ""
    )
    command = [
        binary("prometheus", "prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
        "--storage.tsdb.retention.time=10y", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with running(command, folder / "prometheus.log"):
        url = f"http://127.0.0.1:{port}"
        until(lambda: httpx.get(f"{url}/-/ready").status_code == httpx.codes.OK, "Prometheus is ready")
        yield url


def _history(folder: Path, lines: list[str]) -> None:
    """Let promtool write the lines of OpenMetrics into the store."""
    text = folder / "history.om"
    folder.mkdir(exist_ok=True)
    text.write_text("\n".join([*lines, "# EOF"]) + "\n")
    command = [binary("promtool", "prometheus"), "tsdb", "create-blocks-from", "openmetrics", text, folder / "tsdb"]
    subprocess.run(command, check=True, capture_output=True)


def _samples(series: str, values: list[float], begins: datetime, step: timedelta) -> list[str]:
    times = [(begins + n * step).timestamp() for n in range(len(values))]
    return [f"{series} {value} {at:.0f}" for at, value in zip(times, values, strict=True)]


def _load(warehouse: Warehouse, url: str, now: datetime, days: int = 3) -> int:
    with web.client(url) as client:
        return sum(rows.rows_loaded for rows in prometheus.load(warehouse, client, history_days=days, now=now))


def test_days_of_history_become_readings_and_events_once(tmp_path: Path) -> None:
    """Two days of SMART, a DIMM's errors across an outage, an Xid and the host's temperature, in one go or in three."""
    begins = MIDNIGHT - timedelta(days=2)
    hourly, quarter = timedelta(hours=1), timedelta(minutes=15)
    drives: list[str] = []
    for line in SMART.splitlines():
        series, value = line.rsplit(" ", 1)
        labelled = series.replace("{", '{instance="h1:9100",')
        drives += _samples(labelled, [float(value)] * 48, begins, hourly)
    ce = 'node_edac_csrow_correctable_errors_total{instance="h1:9100",controller="0",csrow="2"}'
    xid = 'DCGM_FI_DEV_XID_ERRORS{instance="h1:9400",Hostname="h1",UUID="GPU-1"}'
    heat = 'node_hwmon_temp_celsius{instance="h1:9100",chip="c",sensor="temp1"}'
    outage_ends = begins + timedelta(hours=30)
    lines = [
        *drives,
        *_samples(ce, [0.0] * 40 + [3.0] * 10, begins, quarter), *_samples(ce, [5.0] * 20, outage_ends, quarter),
        *_samples(xid, [0.0] * 40 + [79.0] * 10, begins, quarter),
        *_samples(heat, [40.0, 61.0, 42.0], begins, hourly),
    ]  # fmt: skip
    _history(tmp_path / "p", lines)
    found = {}
    with _prometheus(tmp_path / "p") as url:
        for name, moments in {
            "whole": [MIDNIGHT + hourly] * 2,
            "cut": [begins + timedelta(hours=hours) for hours in (11, 29, 31, 49)],
        }.items():
            with Warehouse.open(tmp_path / name) as warehouse:
                warehouse.put_inventory(hosts("h1"), vms(), entities(), begins)
                loaded = [_load(warehouse, url, moment) for moment in moments]
                found[name] = warehouse.con.execute(
                    "select component, entity_id, kind, observed_at, value from event join entity using (entity_key) "
                    "order by all"
                ).fetchall()
                readings = warehouse.con.execute(
                    "select entity_id, count(*), any_value(smart_9_raw), any_value(smart_194_raw), any_value(host_id) "
                    "from disk_day join entity using (entity_key) join entity_host using (entity_key) "
                    "group by 1 order by 1"
                ).fetchall()
                counters = warehouse.con.execute(
                    "select entity_id, smart_5_raw, smart_187_raw from disk_change join entity using (entity_key) "
                    "order by 1"
                ).fetchall()
            if name == "whole":
                assert loaded == [8, 0]
            assert readings == [("NV1", 2, 12164, None, "h1"), ("ZA1", 2, 12345, 34, "h1")]
            assert counters == [("NV1", None, 2), ("ZA1", 8, None)]
    assert found["whole"] == found["cut"]
    assert [row[:3] + row[4:] for row in found["whole"]] == [
        ("gpu", "GPU-1", "xid", 79.0), ("memory", "h1/mc0/2/-1/-1", "ce", 3.0),
        ("memory", "h1/mc0/2/-1/-1", "ce", 2.0), ("node", "h1", "temperature_peak", 61.0),
    ]  # fmt: skip
    assert [row[3].astimezone(UTC) for row in found["whole"][1:3]] == [begins + timedelta(hours=10), outage_ends]


def test_what_a_real_node_exporter_tells_arrives(tmp_path: Path) -> None:
    """SMART and DIMM errors that stand in its textile folder are scraped, stored and read: drives by serial number."""
    exporter = binary("prometheus-node-exporter", "prometheus-node-exporter")
    folder, port = tmp_path / "textfile", free_port()
    folder.mkdir()
    (folder / "smart.prom").write_text(SMART)
    errors = folder / "edac.prom"
    row = 'node_edac_csrow_correctable_errors_total{controller="0",csrow="1"}'
    errors.write_text(f"{row} 0\n")
    command = [
        exporter, f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults", "--collector.textfile",
        f"--collector.textfile.directory={folder}",
    ]  # fmt: skip
    with (
        running(command, tmp_path / "exporter.log"),
        _prometheus(tmp_path / "p", f"127.0.0.1:{port}") as url,
        web.client(url) as client,
        Warehouse.open(tmp_path / "home") as warehouse,
    ):
        seen = _counts(client, row)
        until(lambda: 0.0 in seen(), "the first scrape")
        time.sleep(3)  # a step that ends before the errors
        errors.write_text(f"{row} 4\n")
        until(lambda: 4.0 in seen(), "the errors are scraped")
        time.sleep(3)  # a step that ends after them
        for _ in range(2):
            rows = list(
                prometheus.load(warehouse, client, history_days=1, step=timedelta(seconds=2), settling=timedelta(0))
            )
        drives, rejects = smart_series.readings(
            client, known(warehouse), "instance", datetime.now(UTC) + timedelta(seconds=1)
        )
        told = warehouse.con.execute("select entity_id, errors from memory_error join entity using (entity_key)")
        assert told.fetchall() == [("h1/mc0/1/-1/-1", 4)]
        assert sum(one.rows_loaded for one in rows) == 0
    assert {(one.serial, one.host_id, one.values["smart_9_raw"]) for one in drives} == {
        ("ZA1", "h1", 12345), ("NV1", "h1", 12164)
    }  # fmt: skip
    assert rejects == []


def _counts(client: httpx.Client, query: str) -> Callable[[], list[float]]:
    def seen() -> list[float]:
        found = client.get("/api/v1/query", params={"query": query}).json()["data"]["result"]
        return [float(one["value"][1]) for one in found]

    return seen
