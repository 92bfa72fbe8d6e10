"""What smartctl_exporter's series say of each drive at a day's end, as the readings that `smartctl` itself would give.

Raw attributes are taken as they are; power-on time and temperatures come from the exporter's own metrics for them. The
exporter computes the bytes that NVMe drives wrote and read with a wrong unit, and does not tell their unsafe shutdowns:
these stay unknown. Metrics and labels: prometheus-community/smartctl_exporter.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import httpx

from data.catalog import catalog
from data.quarantine import Reject
from data.sources import drives, promql
from data.sources.drives import Reading
from data.sources.known import Known

DAY_SECONDS: Final = 86_399
"""A day but for the second in which the next one begins."""
_SECONDS_PER_HOUR: Final = 3600
_LOW_BYTE: Final = 0xFF
_TELLS: Final = {
    "hours": "smartctl_device_power_on_seconds",
    "celsius": 'smartctl_device_temperature{temperature_type="current"}',
    "cycles": "smartctl_device_power_cycle_count",
    "bytes": "smartctl_device_capacity_bytes",
    "media": "smartctl_device_media_errors",
    "warning": "smartctl_device_critical_warning",
    "passed": "smartctl_device_smart_status",
    "defects": "smartctl_scsi_grown_defect_list",
    "unread": "smartctl_read_total_uncorrected_errors",
    "unwritten": "smartctl_write_total_uncorrected_errors",
}
Place = tuple[str, str]


def readings(
    client: httpx.Client, known: Known, host_label: str, midnight: datetime
) -> tuple[list[Reading], list[Reject]]:
    """The last reading of each drive on the day that ends at `midnight`, and what cannot be believed."""
    moment = midnight - timedelta(seconds=1)
    drives_seen: dict[Place, list[Mapping[str, str]]] = defaultdict(list)
    for one in promql.at(client, f"last_over_time(smartctl_device[{DAY_SECONDS}s])", moment):
        drives_seen[one.labels.get(host_label, ""), one.labels.get("device", "")].append(one.labels)
    if not drives_seen:
        return [], []
    raw = _attributes(client, host_label, moment)
    tells = {name: _values(client, metric, host_label, moment) for name, metric in _TELLS.items()}
    found: list[Reading] = []
    rejects: list[Reject] = []
    for place, all_labels in drives_seen.items():
        told = {name: values[place] for name, values in tells.items() if place in values}
        drive = _reading(known, place[0], all_labels, raw.get(place, {}), told, moment)
        if isinstance(drive, Reading):
            found.append(drive)
        else:
            rejects.append(Reject(None, *drive, json.dumps([dict(labels) for labels in all_labels], sort_keys=True)))
    return found, rejects


def _attributes(client: httpx.Client, host_label: str, moment: datetime) -> dict[Place, dict[str, float]]:
    columns = catalog(drives.COMPONENT).columns
    ids = "|".join(name.removeprefix("smart_").removesuffix("_raw") for name in columns)
    query = (
        f"max by ({host_label}, device, attribute_id) (last_over_time(smartctl_device_attribute"
        f'{{attribute_value_type="raw",attribute_id=~"{ids}"}}[{DAY_SECONDS}s]))'
    )
    found: dict[Place, dict[str, float]] = defaultdict(dict)
    for one in promql.at(client, query, moment):
        place = (one.labels.get(host_label, ""), one.labels.get("device", ""))
        found[place][f"smart_{one.labels['attribute_id']}_raw"] = one.samples[-1][1]
    return found


def _values(client: httpx.Client, metric: str, host_label: str, moment: datetime) -> dict[Place, float]:
    query = f"max by ({host_label}, device) (last_over_time({metric}[{DAY_SECONDS}s]))"
    return {
        (one.labels.get(host_label, ""), one.labels.get("device", "")): one.samples[-1][1]
        for one in promql.at(client, query, moment)
    }


def _reading(
    known: Known,
    told_host: str,
    all_labels: Sequence[Mapping[str, str]],
    raw: Mapping[str, float],
    told: Mapping[str, float],
    observed_at: datetime,
) -> Reading | tuple[str, str]:
    """The drive's reading, or a word for why there is none and what was found."""
    host = known.host(told_host)
    serials = {labels.get("serial_number", "").strip() for labels in all_labels} - {""}
    if host is None:
        return "unknown_host", f"no host of the inventory is called {told_host!r}"
    if len(serials) != 1:
        word = "two_serial_numbers" if serials else "no_serial_number"
        return word, f"{told_host} named {len(serials)} serial numbers for the device that day"
    labels = all_labels[-1]
    values = _mapped(labels.get("protocol") or labels.get("interface", ""), raw, told)
    if not values:
        return "no_readings", f"protocol {labels.get('protocol')!r} told no known attribute"
    capacity = {"capacity_bytes": told["bytes"]} if told.get("bytes", 0) > 0 else {}
    wrong = [f"{name} is {value}" for name, value in (values | capacity).items() if not drives.holds(value)]
    if wrong:
        return "bad_value", wrong[0]
    states = {"smart_failing": float(told["passed"] == 0)} if "passed" in told else {}
    if "warning" in told and labels.get("protocol") == "NVMe":
        states["nvme_critical_warning"] = told["warning"]
    return Reading(
        serial=serials.pop(),
        observed_at=observed_at,
        values={name: int(value) for name, value in values.items()},
        model=labels.get("model_name") or None,
        capacity_bytes=int(capacity["capacity_bytes"]) if capacity else None,
        firmware=labels.get("firmware_version") or None,
        host_id=host,
        states=states,
    )


def _mapped(protocol: str, raw: Mapping[str, float], told: Mapping[str, float]) -> dict[str, float]:
    """Values by the columns of the catalog, from what drives of the protocol tell."""
    common = {"smart_9_raw": told["hours"] / _SECONDS_PER_HOUR} if "hours" in told else {}
    if "celsius" in told:
        common["smart_194_raw"] = told["celsius"]
    match protocol:
        case "NVMe":
            named = {"smart_12_raw": "cycles", "smart_187_raw": "media"}
        case "SCSI":
            named = {"smart_5_raw": "defects"}
        case _:
            if not raw:
                return {}
            airflow = raw.get("smart_190_raw")
            unpacked = {}
            if airflow is not None and drives.holds(airflow):
                unpacked["smart_190_raw"] = float(int(airflow) & _LOW_BYTE)
            return {**raw, **common, **unpacked}
    values = common | {column: told[name] for column, name in named.items() if name in told}
    if protocol == "SCSI" and {"unread", "unwritten"} & told.keys():
        values["smart_187_raw"] = told.get("unread", 0) + told.get("unwritten", 0)
    return values
