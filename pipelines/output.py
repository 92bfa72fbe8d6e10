"""What a command hands back, and how it reaches a person or a script."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN: Final = 5
"""Entries of a list that a report still shows one by one."""


@dataclass(frozen=True)
class Output:
    """One command's answer: `data` for `--json`, `text` for a person (where empty, tables made from `data`)."""

    data: Mapping[str, object]
    text: str = ""
    exit_code: int = 0


def plain(value: object) -> object:
    """The same value made of what JSON knows: reports become objects, times ISO 8601, not-a-number null."""
    match value:
        case None | bool() | int():
            return value
        case Enum():
            return value.value
        case str():
            return value
        case float():
            return value if isfinite(value) else None
        case datetime() | date():
            return value.isoformat()
        case Path():
            return str(value)
        case Mapping():
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return str(value)


def as_object(report: object) -> dict[str, Any]:
    """A report as one JSON object."""
    made = plain(report)
    return made if isinstance(made, dict) else {"result": made}


def print_json(data: object) -> None:
    """Print one JSON object on a line of its own."""
    sys.stdout.write(json.dumps(plain(data), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_text(output: Output) -> None:
    """Print an answer for a person."""
    from rich.console import Console

    console = Console(file=sys.stdout, soft_wrap=bool(output.text))
    if output.text:
        console.print(output.text, markup=False, highlight=False)
        return
    data = plain(output.data)
    assert isinstance(data, dict)  # noqa: S101 - plain() keeps a mapping a mapping
    for part in _tables(data):
        console.print(part)


def _tables(data: Mapping[str, object], title: str = "") -> Iterator["RenderableType"]:
    scalars = {key: value for key, value in data.items() if not isinstance(value, dict) and not _is_rows(value)}
    if scalars:
        yield _table([{"": key, title or "value": value} for key, value in scalars.items()])
    for key, value in data.items():
        name = f"{title}.{key}" if title else key
        if isinstance(value, dict):
            yield from _tables(value, name) if value else [f"{name}: none"]
        elif _is_rows(value):
            assert isinstance(value, list)  # noqa: S101 - what _is_rows says
            yield _table(value, name)


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _table(rows: list[dict[str, object]], title: str = "") -> "RenderableType":
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:,.4g}"
        case bool() | str():
            return str(value)
        case int():
            return f"{value:,}"
        case list():
            return "\n".join(_cell(item) for item in value) or "-"
        case dict():
            return ", ".join(f"{key}: {_cell(item)}" for key, item in value.items()) or "-"
    return str(value)


@contextmanager
def only_ours_on_stdout() -> Iterator[None]:
    """While it holds, whatever libraries print on standard output goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def markdown(data: object) -> str:
    """A report as a Markdown table; longer lists are counted, not shown."""
    rows = data.items() if isinstance(data, dict) else [("result", data)]
    lines = [f"| {key} | {_short(value)} |" for key, value in rows]
    return "\n".join(["| | |", "|---|---|", *lines])


def _short(value: object) -> str:
    if isinstance(value, list) and len(value) > _SHOWN:
        return f"{len(value)} entries"
    return _cell(value).replace("\n", ", ").replace("|", "\\|")
