"""Whether the facts can be trusted: each check is a query in `data/checks/` that returns the bad rows."""

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import duckdb

from data.errors import WarehouseError
from data.snapshots import arrow

Severity = Literal["error", "warning"]
_EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """A check that found something: how many bad rows, and the first few."""

    check: str
    severity: Severity
    says: str
    rows: int
    examples: tuple[dict[str, object], ...]


def check(con: duckdb.DuckDBPyConnection) -> list[Finding]:
    """What the checks found, errors first; empty when all is well."""
    findings = []
    for file in sorted(files("data").joinpath("checks").iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".sql"):
            finding = _run(con, file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
            if finding.rows:
                findings.append(finding)
    return sorted(findings, key=lambda finding: (finding.severity, finding.check))


def _run(con: duckdb.DuckDBPyConnection, name: str, text: str) -> Finding:
    severity = re.search(r"^-- severity: (error|warning)$", text, re.MULTILINE)
    says = re.search(r"^-- says: (.+)$", text, re.MULTILINE)
    if not severity or not says:
        msg = f"data/checks/{name}.sql must start with '-- severity: error' or 'warning', and '-- says: ...'."
        raise WarehouseError(msg)
    bad = arrow(con, text)
    return Finding(
        name,
        "error" if severity[1] == "error" else "warning",
        says[1],
        bad.num_rows,
        tuple(bad.slice(0, _EXAMPLES).to_pylist()),
    )
