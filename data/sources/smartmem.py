"""SmartMem: corrected-error logs of DIMMs as Huawei published them, one Feather file per DIMM, one row per error.

The file's name is the DIMM's serial number. `burst_info` lists, for each beat of the faulty burst, the data pins that
were wrong: `{'0': [29], '1': [], ...}`. Rows that repeat in every part that is kept count once.
"""

import json
import math
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.feather as feather

from data.quarantine import Reject
from data.readings import EARLIEST, Absorbed
from data.sources import memory_log
from data.sources.arrival import Arrival
from data.sources.memory_log import Log, LoggedError
from data.warehouse import Warehouse

SOURCE: Final = "smartmem"
SUFFIXES: Final = frozenset({".feather"})
ADDRESS: Final = {
    "CpuId": "cpu",
    "ChannelId": "channel",
    "DimmId": "slot",
    "RankId": "rank",
    "deviceID": "device",
    "BankgroupId": "bank_group",
    "BankId": "bank",
    "RowId": "row",
    "ColumnId": "column",
}
"""The published columns that become address parts; each may be empty in a row, `deviceID` often is."""
REQUIRED: Final = ("LogTime", "error_type_full_name", "RowId", "ColumnId")
TYPES: Final = {"CE.READ": "READ", "CE.SCRUB": "SCRUB", "CE": None}
_GIB: Final = 1024**3
_EARLIEST: Final = datetime.combine(EARLIEST, time(), UTC).timestamp()


def load(warehouse: Warehouse, path: Path, *, arrival: Arrival = "published", now: datetime | None = None) -> Absorbed:
    """What became of the rows of one Feather file."""
    return memory_log.absorb(warehouse, read(path), SOURCE, path.name, arrival=arrival, now=now)


def read(path: Path) -> Log:
    """What the file says, damaged rows and a damaged file set aside with their reason."""
    try:
        table = feather.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        return Log(rejects=(Reject(None, "unreadable_file", f"not Feather: {error}"),))
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        return Log(rejects=(Reject(None, "missing_required_column", f"no column {', '.join(missing)}"),))
    serial = path.stem
    rows: list[LoggedError] = []
    rejects: list[Reject] = []
    for line, raw in enumerate(table.to_pylist(), start=1):
        found = _row(serial, raw)
        if isinstance(found, LoggedError):
            rows.append(found)
        else:
            rejects.append(
                Reject(line, found, f"error type {raw['error_type_full_name']}", json.dumps(raw, default=str))
            )
    return Log(rows, rejects, {serial: _make(table)} if rows else {})


def _row(serial: str, raw: dict[str, Any]) -> LoggedError | str:
    """The row as an error, or why it is none."""
    moment = _whole(raw["LogTime"])
    if moment is None or moment < _EARLIEST:
        return "bad_time"
    kind = str(raw["error_type_full_name"]).upper()
    corrected = kind in TYPES
    if not corrected and not kind.startswith("UE"):
        return "unknown_error_type"
    parts = {ours: _whole(raw.get(theirs)) for theirs, ours in ADDRESS.items()}
    if any(part is not None and part < 0 for part in parts.values()):
        return "bad_value"
    access = TYPES.get(kind)
    detail: dict[str, int | str] = {"access": access} if access else {}
    detail |= {name: part for name, part in parts.items() if part is not None}
    detail |= burst(raw.get("burst_info"))
    return LoggedError(serial, datetime.fromtimestamp(moment, UTC), 1, detail, corrected)


def burst(told: object) -> dict[str, int]:
    """How many distinct data pins and beats were wrong in the burst, and how many bits in all; empty if not told."""
    if not isinstance(told, str):
        return {}
    try:
        beats = json.loads(told.replace("'", '"'))
        wrong = [list(pins) for pins in beats.values() if pins]
    except (json.JSONDecodeError, AttributeError, TypeError):
        return {}
    pins = {pin for beat in wrong for pin in beat}
    return {"dqs": len(pins), "beats": len(wrong), "bits": sum(len(beat) for beat in wrong)} if pins else {}


def _make(table: pa.Table) -> tuple[str | None, int | None]:
    """Manufacturer, model and part number as they are published (letters stand for names), and the size in bytes."""
    first = table.slice(0, 1).to_pylist()[0]
    named = [str(first[name]) for name in ("Manufacturer", "Model", "PN") if first.get(name)]
    size = _whole(first.get("Capacity"))
    return "-".join(named) or None, size * _GIB if size else None


def _whole(value: object) -> int | None:
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return int(value)
    return None
