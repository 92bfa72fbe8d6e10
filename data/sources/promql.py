"""The HTTP API of Prometheus: what a query says at a moment, and over a time, which is halved where it is too much."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

from data.errors import InputError
from data.sources import web

TOKEN: Final = "FORESHOCK_PROMETHEUS_TOKEN"  # noqa: S105 - the variable's name
_TOO_LARGE: Final = ("too many samples", "maximum resolution")
Sample = tuple[datetime, float]


@dataclass(frozen=True)
class Series:
    """A series' labels, and its samples in order of time."""

    labels: Mapping[str, str]
    samples: Sequence[Sample]


def at(client: httpx.Client, query: str, moment: datetime) -> list[Series]:
    """What the query says at a moment."""
    found = _data(client, "/api/v1/query", {"query": query, "time": str(moment.timestamp())})
    return list(_series(found, "value"))


def over(client: httpx.Client, query: str, first: datetime, last: datetime, step: timedelta) -> list[Series]:
    """What the query says at `first` and each `step` after it up to `last`.

    Raises:
        InputError: the server cannot be reached, refuses us, or does not understand or manage the query.
    """
    asked = {
        "query": query,
        "start": str(first.timestamp()),
        "end": str(last.timestamp()),
        "step": str(int(step.total_seconds())),
    }
    try:
        return list(_series(_data(client, "/api/v1/query_range", asked), "values"))
    except InputError as error:
        steps = (last - first) // step
        if steps < 1 or not any(words in str(error) for words in _TOO_LARGE):
            raise
    middle = first + steps // 2 * step
    return _joined([*over(client, query, first, middle, step), *over(client, query, middle + step, last, step)])


def _joined(parts: Sequence[Series]) -> list[Series]:
    whole: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for one in parts:
        whole.setdefault(tuple(sorted(one.labels.items())), []).extend(one.samples)
    return [Series(dict(labels), samples) for labels, samples in whole.items()]


def _data(client: httpx.Client, path: str, asked: Mapping[str, str]) -> Any:
    got = web.answer(client, client.build_request("POST", path, data=dict(asked)), TOKEN)
    told = web.body(got)
    if not isinstance(told, dict) or told.get("status") != "success":
        why = told.get("error", told) if isinstance(told, dict) else told
        msg = f"Prometheus at {client.base_url} cannot answer {asked['query']!r}: {why}."
        raise InputError(msg)
    return told["data"]


def _series(data: Any, field: str) -> Iterator[Series]:
    for row in data["result"]:
        samples = [row["value"]] if field == "value" else row["values"]
        yield Series(row["metric"], [(datetime.fromtimestamp(at, UTC), float(value)) for at, value in samples])
