"""What a command hands back, and how it reaches a person or a script."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from math import isfinite
from pathlib import Path
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_SHOWN: Final = 5
"""Entries of a list that a report still shows one by one."""
_PROSE: Final = 24
"""Columns of text that is longer are at least so wide."""
_BESIDE: Final = 3
"""What a column of a table takes beside its text: a line and a space on each side."""
_OBEYED: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal obeys in place of showing them, and those that it cannot be sent."""


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
    from rich.text import Text

    console = Console(file=sys.stdout)
    if output.text:
        console.print(Text(inert(output.text)), soft_wrap=True)
        return
    data = plain(output.data)
    assert isinstance(data, dict)  # noqa: S101 - plain() keeps a mapping a mapping
    for part in _parts(data, console.width):
        console.print(part, soft_wrap=isinstance(part, Text))


def inert(text: str) -> str:
    """The text with what a terminal would obey spelled out, but for line ends and tabs."""
    return _OBEYED.sub(lambda found: repr(found[0])[1:-1], text)


def _parts(data: Mapping[str, object], width: int, title: str = "") -> "Iterator[Table | Text]":
    from rich.text import Text

    scalars = {key: value for key, value in data.items() if not isinstance(value, dict) and not _is_rows(value)}
    if scalars:
        lines: list[dict[str, object]] = [{"": key, title or "value": value} for key, value in scalars.items()]
        yield _table(lines, width) or _blocks([scalars], width, title)
    for key, value in data.items():
        name = f"{title}.{key}" if title else key
        if isinstance(value, dict):
            yield from _parts(value, width, name) if value else [Text(inert(f"{name}: none"))]
        elif _is_rows(value):
            assert isinstance(value, list)  # noqa: S101 - what _is_rows says
            yield _table(value, width, name) or _blocks(value, width, name)


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _table(rows: list[dict[str, object]], width: int, title: str = "") -> "Table | None":
    """The rows as a table; None where a word of them, such as an id, would not stay whole."""
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(key for row in rows for key in row))
    columns = [[_cell(name), *(_cell(row.get(name)) for row in rows)] for name in names]
    widths = _widths(columns, width - len(names) * _BESIDE - 1)
    if widths is None:
        return None
    table = Table(title=Text(inert(title), "table.title") if title else None, title_justify="left")
    for (head, *_), wide in zip(columns, widths, strict=True):
        table.add_column(Text(head), width=wide, overflow="fold")
    for cells in zip(*(column[1:] for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _widths(columns: list[list[str]], room: int) -> list[int] | None:
    """How wide each column is, the narrow ones first as wide as they need; None where a word would be broken."""
    from rich.cells import cell_len

    most = [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns]
    words = [max((cell_len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    widths = [max(word, min(line, _PROSE)) for word, line in zip(words, most, strict=True)]
    spare = room - sum(widths)
    if spare < 0:
        return None
    wanting = sorted(range(len(columns)), key=lambda at: most[at] - widths[at])
    for others, at in zip(range(len(columns), 0, -1), wanting, strict=True):
        more = min(most[at] - widths[at], spare // others)
        widths[at] += more
        spare -= more
    return widths


def _blocks(rows: list[dict[str, object]], width: int, title: str) -> "Text":
    """The rows below each other, a line for each value that there is, with every word whole."""
    from rich.text import Text

    told = ["\n".join(_block(row, width)) for row in rows]
    return Text("\n\n".join([inert(title), *told] if title else told) + "\n")


def _block(row: Mapping[str, object], width: int) -> Iterator[str]:
    names = {f"{_cell(key)}:": value for key, value in row.items() if value is not None}
    indent = max(map(len, names), default=0) + 1
    for name, value in names.items():
        first, *more = _folded(_cell(value), width - indent) or [""]
        yield f"{name:<{indent}}{first}"
        yield from (" " * indent + line for line in more)


def _folded(text: str, width: int) -> list[str]:
    fold = TextWrapper(max(width, _PROSE), break_long_words=False, break_on_hyphens=False)
    return [part for line in text.split("\n") for part in fold.wrap(line) or [""]]


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:,.4g}"
        case bool():
            return str(value)
        case int():
            return f"{value:,}"
        case list():
            return "\n".join(_cell(item) for item in value) or "-"
        case dict():
            return ", ".join(f"{_cell(key)}: {_cell(item)}" for key, item in value.items()) or "-"
    return inert(str(value)).expandtabs()


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
