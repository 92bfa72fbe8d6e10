"""mcelog: the log that its daemon writes (`logfile`, or through syslog), one record per machine check.

What a record means is read from the registers that it prints, not from the words around them, which differ by
processor: STATUS says whether it is an error of memory (compound error code `0000 0000 1MMM CCCC`, Intel SDM volume
3B), whether ECC corrected it (bit 61) and how many it stands for (bits 52 to 38, where MCGCAP bit 10 says so). The log
names no mainboard slot: a DIMM is called `HOST/socket0/channel1/dimm0`, with -1 for what the record does not tell. The
host is the folder that a file named `mcelog...` lies in, or else the file's own name (`HOST.log`).
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from data.quarantine import Reject
from data.sources.memory_log import Log, LoggedError

NAME: Final = "mcelog"
SUFFIXES: Final = frozenset({".log", NAME})
_BEGINS: Final = "Hardware event. This is not a software error."
_SYSLOG: Final = re.compile(r"^.*?\bmcelog(\[\d+\])?: ")
_FIELDS: Final = {
    "time": (re.compile(r"^TIME (\d+)", re.MULTILINE), 10),
    "status": (re.compile(r"^STATUS (?:0x)?([0-9a-f]+)", re.MULTILINE | re.IGNORECASE), 16),
    "mcgcap": (re.compile(r"^MCGCAP (?:0x)?([0-9a-f]+)", re.MULTILINE | re.IGNORECASE), 16),
    "socket": (re.compile(r"\bSOCKETID (?:0x)?([0-9a-f]+)", re.IGNORECASE), 16),
    "address": (re.compile(r"\bADDR (?:0x)?([0-9a-f]+)", re.IGNORECASE), 16),
    "tsc": (re.compile(r"\bTSC (?:0x)?([0-9a-f]+)", re.IGNORECASE), 16),
    "dimm": (re.compile(r"^Memory DIMM ID of error: (\d+)", re.MULTILINE), 10),
    "channel": (re.compile(r"^Memory channel ID of error: (\d+)", re.MULTILINE), 10),
}
_MEMORY_MASK: Final = 0xEF80
_MEMORY_CODE: Final = 0x0080
_UNCORRECTED_BIT: Final = 61
_COUNT_BITS: Final = (38, 0x7FFF)
_COUNTED_BIT: Final = 10
_ACCESS: Final = {1: "READ", 4: "SCRUB"}
_UNKNOWN_CHANNEL: Final = 0xF


def read(path: Path) -> Log:
    """What the log says; records of other errors than memory's, and damaged ones, are set aside with their reason."""
    host = path.absolute().parent.name if path.name.startswith(NAME) else path.stem
    rows: list[LoggedError] = []
    rejects: list[Reject] = []
    records = list(_records(path.read_text(encoding="utf-8", errors="replace")))
    for number, (line, record) in enumerate(records, start=1):
        told = {
            name: int(found[1], base)
            for name, (pattern, base) in _FIELDS.items()
            if (found := pattern.search(record)) is not None
        }
        if "status" not in told and number == len(records):
            continue  # the daemon is still writing it; the next reading finds it whole
        row = _row(host, told)
        if isinstance(row, LoggedError):
            rows.append(row)
        else:
            rejects.append(Reject(line, *row, record[:2000]))
    if not records:
        rejects.append(Reject(None, "unreadable_file", "neither a SQLite database nor a log of mcelog"))
    return Log(rows, rejects)


def _records(text: str) -> Iterator[tuple[int, str]]:
    """Each machine check of the log: the line that it begins on, and its lines."""
    begun, lines = 0, list[str]()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = _SYSLOG.sub("", raw).strip()
        if line == _BEGINS:
            if any(one.startswith("CPU ") for one in lines):
                yield begun, "\n".join(lines)
            begun, lines = number, []
        elif begun:
            lines.append(line)
    if any(one.startswith("CPU ") for one in lines):
        yield begun, "\n".join(lines)


def _row(host: str, told: dict[str, int]) -> LoggedError | tuple[str, str]:
    """The record as an error of memory, or a word for why it is none and what was found."""
    status = told.get("status")
    if status is None:
        return "truncated_record", "it has no line STATUS"
    code = status & 0xFFFF
    if code & _MEMORY_MASK != _MEMORY_CODE:
        return "not_a_memory_error", f"machine check code {code:#06x}"
    try:
        observed_at = datetime.fromtimestamp(told["time"], UTC)
    except (KeyError, OverflowError, ValueError, OSError):
        return "bad_time", f"TIME is {told.get('time')}"
    channel = told.get("channel", code & 0xF if code & 0xF != _UNKNOWN_CHANNEL else -1)
    dimm = f"{host}/socket{told.get('socket', -1)}/channel{channel}/dimm{told.get('dimm', -1)}"
    detail: dict[str, int | str] = {}
    if access := _ACCESS.get(code >> 4 & 0x7):
        detail["access"] = access
    detail |= {ours: told[name] for name, ours in (("address", "physical_address"), ("tsc", "tsc")) if name in told}
    corrected = not status >> _UNCORRECTED_BIT & 1
    shift, mask = _COUNT_BITS
    counted = corrected and told.get("mcgcap", 0) >> _COUNTED_BIT & 1
    return LoggedError(dimm, observed_at, max(1, status >> shift & mask) if counted else 1, detail, corrected)
