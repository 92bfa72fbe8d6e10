"""rasdaemon: its SQLite database `ras-mc_event.db`, table `mc_event`, one row per report of a memory controller.

The database does not name its host: the folder it lies in does (`HOST/ras-mc_event.db`), or else its own name
(`HOST.db`). A DIMM is called `HOST/LABEL`, by the label of the mainboard's slot, or `HOST/mc0/1/0/-1` by controller and
layers where no label is known. It is opened read-only, and may be in use.

The address stands in `driver_detail`, in words that differ by driver; those of GHES, `skx_edac`, `i10nm_edac` and
`sb_edac` are known.
"""

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from data.quarantine import Reject
from data.readings import Absorbed
from data.sources import memory_log
from data.sources.arrival import Arrival
from data.sources.memory_log import Log, LoggedError
from data.warehouse import Warehouse

SOURCE: Final = "rasdaemon"
FILE: Final = "ras-mc_event.db"
SUFFIXES: Final = frozenset({".db", ".sqlite"})
CORRECTED: Final = {"Corrected": True, "Uncorrected": False, "Deferred": False, "Fatal": False}
"""Error types by whether ECC corrected them; `Info` is no error."""
PARTS: Final = {
    "rank": ("dimmrankid", "physicalrankid", "rank"),
    "device": ("device",),
    "bank_group": ("bank_group", "bankgroup", "bg"),
    "bank": ("bank_address", "bank", "ba"),
    "row": ("row",),
    "column": ("column", "col"),
}
"""Our names of address parts, and what drivers call them, the more exact name first."""
_PAIR: Final = re.compile(r"\b(\w+):\s*(0x[0-9a-f]+|\d+)\b", re.IGNORECASE)
_TIME: Final = "%Y-%m-%d %H:%M:%S %z"
_LEAST: Final = ("timestamp", "err_count", "err_type", "label")


def load(warehouse: Warehouse, path: Path, *, arrival: Arrival = "published", now: datetime | None = None) -> Absorbed:
    """What became of the rows of one database."""
    name = f"{path.absolute().parent.name}/{path.name}"
    return memory_log.absorb(warehouse, read(path), SOURCE, name, arrival=arrival, now=now)


def read(path: Path) -> Log:
    """What the database says, damaged rows and a damaged file set aside with their reason."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as con:
            con.row_factory = sqlite3.Row
            columns = {row["name"] for row in con.execute("pragma table_info(mc_event)")}
            missing = [name for name in _LEAST if name not in columns]
            if missing:
                reason = Reject(None, "missing_required_column", f"mc_event has no {', '.join(missing)}")
                return Log(rejects=(reason,))
            told = [dict(row) for row in con.execute("select * from mc_event order by rowid")]
    except sqlite3.DatabaseError as error:
        return Log(rejects=(Reject(None, "unreadable_file", f"SQLite cannot read it: {error}"),))
    host = path.absolute().parent.name if path.name == FILE else path.stem
    rows: list[LoggedError] = []
    rejects: list[Reject] = []
    for line, raw in enumerate(told, start=1):
        found = _row(host, raw)
        if isinstance(found, LoggedError):
            rows.append(found)
        else:
            rejects.append(Reject(raw.get("id") or line, *found, json.dumps(raw, default=str)))
    return Log(rows, rejects)


def _row(host: str, raw: Mapping[str, Any]) -> LoggedError | tuple[str, str]:
    """The row as an error, or a word for why it is none and what was found."""
    try:
        observed_at = datetime.strptime(str(raw["timestamp"]), _TIME).astimezone(UTC)
    except (OverflowError, ValueError):
        return "bad_time", f"timestamp {raw['timestamp']!r} is not like 2026-01-31 23:59:59 +0000"
    kind = str(raw["err_type"])
    if kind not in CORRECTED:
        return "unknown_error_type", f"error type {kind}"
    count = raw["err_count"]
    if not isinstance(count, int) or count < 1:
        return "bad_value", f"error count {count!r}"
    detail: dict[str, int | str] = {**address(str(raw.get("driver_detail") or ""))}
    message = str(raw.get("err_msg") or "").lower()
    access = "SCRUB" if "scrub" in message else "READ" if "read" in message else None
    if access:
        detail["access"] = access
    return LoggedError(f"{host}/{_location(raw)}", observed_at, count, detail, CORRECTED[kind])


def _location(raw: Mapping[str, Any]) -> str:
    label = str(raw["label"] or "").strip()
    if label and "unknown" not in label.lower() and label.lower() != "any memory":
        return label
    layers = "/".join(str(raw.get(name, -1)) for name in ("top_layer", "middle_layer", "lower_layer"))
    return f"mc{raw.get('mc', 0)}/{layers}"


def address(driver_detail: str) -> dict[str, int]:
    """The address parts that a driver's text names, by our names; numbers may be decimal or hexadecimal."""
    told = {name.lower(): int(number, 0) for name, number in _PAIR.findall(driver_detail) if _is_number(number)}
    found = {}
    for part, names in PARTS.items():
        for name in names:
            if name in told:
                found[part] = told[name]
                break
    return found


def _is_number(text: str) -> bool:
    return text.lower().startswith("0x") or text == "0" or not text.startswith("0")
