"""smartctl: what `smartctl --json -x DEVICE` prints for ATA, NVMe and SCSI drives, as files or as one object a line.

The host is the field `host_id` (or `host`), which whoever collects the files may add, or else the folder that a file
lies in (`HOST/sda.json`). ATA attributes are taken by their raw value, as Backblaze publishes them, but for power-on
time and temperatures, of which some drives pack more into the raw value: there it is smartctl's own reading of it. What
NVMe and SCSI drives tell goes to the attribute of the same meaning. Shapes: smartmontools 7, `smartctl(8)`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from data.catalog import catalog
from data.quarantine import Reject, set_aside
from data.readings import Absorbed
from data.sources import drives
from data.sources.arrival import Arrival
from data.sources.drives import Reading
from data.warehouse import Warehouse

SOURCE: Final = "smartctl"
SUFFIXES: Final = frozenset({".json", ".jsonl", ".ndjson"})
LINES: Final = frozenset({".jsonl", ".ndjson"})
FILES_AT_ONCE: Final = 1_000
"""So many files go into one transaction."""
UNREAD: Final = {0: "smartctl_usage", 1: "device_not_read"}
"""Bits of smartctl's exit status that say that nothing was read."""
FAILING_BIT: Final = 3
BELOW_THRESHOLD_BIT: Final = 4
NVME_DATA_UNIT_SECTORS: Final = 1000
"""NVMe counts what it wrote and read in thousands of 512-byte units (NVM Express Base Specification, SMART log)."""
_TEMPERATURES: Final = ("smart_190_raw", "smart_194_raw")


class _Unbelievable(Exception):
    """A reason to set a document aside, with what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def load(
    warehouse: Warehouse,
    paths: Sequence[Path],
    *,
    arrival: Arrival = "published",
    now: datetime | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[tuple[int, Absorbed]]:
    """What became of the readings of so many files at a time: a fleet has a file for each drive, and most are small.

    Args:
        warehouse: takes the facts.
        paths: the files.
        arrival: `published` counts a reading as known at its day's end, `now` as arriving now.
        now: the moment of loading; the wall clock's by default.
        progress: told each file's name.
    """
    moment = now or datetime.now(UTC)
    for begins in range(0, len(paths), FILES_AT_ONCE):
        batch = paths[begins : begins + FILES_AT_ONCE]
        readings: list[Reading] = []
        aside = 0
        for path in batch:
            if progress:
                progress(path.name)
            found, rejects = read(path)
            believed, undated = drives.dated(found, moment)
            readings += believed
            rejects += undated
            if rejects:
                set_aside(warehouse, rejects, SOURCE, _name(path), moment)
                aside += len(rejects)
        rows = drives.put(warehouse, readings, SOURCE, _name(batch[0]), arrival=arrival, now=moment)
        yield len(batch), rows + Absorbed(aside, 0, 0, aside)


def _name(path: Path) -> str:
    return f"{path.absolute().parent.name}/{path.name}"


def read(path: Path) -> tuple[list[Reading], list[Reject]]:
    """What the file says of drives, and what in it cannot be believed."""
    readings: list[Reading] = []
    rejects: list[Reject] = []
    for line, document in _documents(path):
        if isinstance(document, Reject):
            rejects.append(document)
            continue
        try:
            readings.append(reading(document, path.absolute().parent.name))
        except _Unbelievable as why:
            rejects.append(Reject(line, why.reason, why.detail, json.dumps(document)))
    return readings, rejects


def _documents(path: Path) -> Iterator[tuple[int | None, Any]]:
    """Each document of the file with its line, where a line is a document, or what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        yield None, Reject(None, "unreadable_file", str(error.strerror))
        return
    if not text.strip():
        yield None, Reject(None, "empty_file", "it holds nothing")
        return
    if path.suffix.lower() not in LINES:
        try:
            whole = json.loads(text)
        except ValueError as error:
            yield None, Reject(None, "unreadable_file", f"not JSON: {error}", text[:2000])
        else:
            yield from ((None, one) for one in (whole if isinstance(whole, list) else [whole]))
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                yield number, Reject(number, "malformed_line", f"not JSON: {error}", line[:2000])


def reading(document: Any, folder: str | None = None) -> Reading:
    """The drive's reading that one document of smartctl tells; `folder` names the host where no field does."""
    if not isinstance(document, dict) or not isinstance(document.get("smartctl"), dict):
        raise _Unbelievable(
            reason="not_smartctl", detail="it has no object smartctl, so it is not what smartctl --json prints"
        )
    status = _status(document)
    serial = str(document.get("serial_number") or "").strip()
    if not serial:
        raise _Unbelievable(reason="no_serial_number", detail="the field is empty")
    protocol = _at(document, "device", "protocol")
    values = _PROTOCOLS.get(protocol, _nothing)(document)
    if not values:
        raise _Unbelievable(
            reason="no_readings", detail=f"protocol {protocol!r}, exit status {status}: no known attribute"
        )
    capacity = _number(document, "user_capacity", "bytes") or _number(document, "nvme_total_capacity")
    numbers = _told({**values, "capacity_bytes": capacity, "critical_warning": _critical_warning(document)})
    for name, value in numbers.items():
        if not drives.holds(value):
            raise _Unbelievable(reason="bad_value", detail=f"{name} is {value}")
    host = document.get("host_id") or document.get("host") or folder
    return Reading(
        serial=serial,
        observed_at=_moment(document),
        values=values,
        model=_text(document, "model_name", "scsi_model_name", "scsi_product"),
        capacity_bytes=capacity,
        firmware=_text(document, "firmware_version", "scsi_revision"),
        host_id=host if isinstance(host, str) else folder,
        states=_states(document, status),
    )


def _status(document: Mapping[str, Any]) -> int:
    """The exit status of smartctl; raises where it, or a message, says that the drive's answer is worth nothing."""
    status = _number(document, "smartctl", "exit_status")
    said = _at(document, "smartctl", "messages")
    messages = [str(one.get("string", "")) for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    told = "; ".join(messages)
    if status is None:
        raise _Unbelievable(reason="not_smartctl", detail="smartctl.exit_status is missing")
    for bit, reason in UNREAD.items():
        if status >> bit & 1:
            raise _Unbelievable(reason=reason, detail=f"exit status {status}: {told or 'no message'}")
    if "checksum" in told.lower():
        raise _Unbelievable(reason="bad_checksum", detail=f"exit status {status}: {told}")
    return status


def _states(document: Mapping[str, Any], status: int) -> dict[str, float]:
    failing = _at(document, "smart_status", "passed") is False or bool(status >> FAILING_BIT & 1)
    states = {"smart_failing": float(failing), "smart_below_threshold": float(status >> BELOW_THRESHOLD_BIT & 1)}
    warning = _critical_warning(document)
    return states if warning is None else states | {"nvme_critical_warning": float(warning)}


def _critical_warning(document: Mapping[str, Any]) -> int | None:
    return _number(document, "nvme_smart_health_information_log", "critical_warning")


def _moment(document: Mapping[str, Any]) -> datetime:
    seconds = _number(document, "local_time", "time_t")
    try:
        if seconds:
            return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        pass
    raise _Unbelievable(reason="no_date", detail=f"local_time.time_t is {seconds}")


def _ata(document: Mapping[str, Any]) -> dict[str, int]:
    table = _at(document, "ata_smart_attributes", "table")
    wanted = set(catalog(drives.COMPONENT).columns)
    values: dict[str, int] = {}
    for row in table if isinstance(table, list) else ():
        name = f"smart_{_number(row, 'id')}_raw"
        raw = _number(row, "raw", "value")
        if name not in wanted or raw is None:
            continue
        shown = re.match(r"\d+", str(_at(row, "raw", "string") or "").strip())
        values[name] = int(shown[0]) if name in _TEMPERATURES and shown else raw
    hours = _number(document, "power_on_time", "hours")
    return values | {"smart_9_raw": hours} if values and hours is not None else values


def _nvme(document: Mapping[str, Any]) -> dict[str, int]:
    log = _at(document, "nvme_smart_health_information_log")
    told = {
        "smart_9_raw": _number(log, "power_on_hours"),
        "smart_12_raw": _number(log, "power_cycles"),
        "smart_187_raw": _number(log, "media_errors"),
        "smart_192_raw": _number(log, "unsafe_shutdowns"),
        "smart_194_raw": _number(log, "temperature"),
        "smart_241_raw": _sectors(_number(log, "data_units_written")),
        "smart_242_raw": _sectors(_number(log, "data_units_read")),
    }
    return _told(told)


def _scsi(document: Mapping[str, Any]) -> dict[str, int]:
    counters = _at(document, "scsi_error_counter_log")
    uncorrected = [
        count
        for access in ("read", "write", "verify")
        if (count := _number(counters, access, "total_uncorrected_errors")) is not None
    ]
    told = {
        "smart_5_raw": _number(document, "scsi_grown_defect_list"),
        "smart_9_raw": _number(document, "power_on_time", "hours"),
        "smart_187_raw": sum(uncorrected) if uncorrected else None,
        "smart_193_raw": _number(document, "scsi_start_stop_cycle_counter", "accumulated_load_unload_cycles"),
        "smart_194_raw": _number(document, "temperature", "current"),
        "smart_197_raw": _number(document, "scsi_pending_defects", "count"),
    }
    return _told(told)


def _nothing(document: Mapping[str, Any]) -> dict[str, int]:
    del document
    return {}


_PROTOCOLS: Final[Mapping[Any, Callable[[Mapping[str, Any]], dict[str, int]]]] = {
    "ATA": _ata,
    "NVMe": _nvme,
    "SCSI": _scsi,
}


def _told(values: Mapping[str, int | None]) -> dict[str, int]:
    return {name: value for name, value in values.items() if value is not None}


def _sectors(data_units: int | None) -> int | None:
    return None if data_units is None else data_units * NVME_DATA_UNIT_SECTORS


def _at(document: Any, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _number(document: Any, *keys: str) -> int | None:
    found = _at(document, *keys)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _text(document: Mapping[str, Any], *keys: str) -> str | None:
    return next((str(document[key]).strip() for key in keys if document.get(key)), None)
