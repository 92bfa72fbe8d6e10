"""What everybody is told alike, as JSON: written once for each state of snapshot and ledger."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter
from starlette.responses import Response

from dashboards.queue import Look, Room

T = TypeVar("T")


@dataclass(frozen=True)
class Written:
    """An answer as JSON, what its ETag is, where it has one, and as of when it is, where that is not now."""

    body: bytes
    etag: str | None = None
    as_of: datetime | None = None

    def __len__(self) -> int:
        """In bytes."""
        return len(self.body)

    def response(self) -> Response:
        """The answer as it is sent."""
        headers = {"etag": f'"{self.etag}"'} if self.etag is not None else {}
        headers |= {"last-modified": format_datetime(self.as_of, usegmt=True)} if self.as_of is not None else {}
        return Response(self.body, headers=headers, media_type="application/json")


def told(
    room: Room,
    question: Hashable,
    kind: type[T],
    make: Callable[[Look], T],
    gather: Callable[[], object] = lambda: None,
) -> Response:
    """The answer of that type, as JSON; nothing of who asks may go into it.

    Args:
        room: where it is looked for.
        question: what is asked, with everything that the answer depends on.
        kind: the answer's type.
        make: makes it.
        gather: what is done before, while others have their turn.
    """
    return room.shared(("v1", question), lambda look: written(kind, make(look)), gather).response()


def written(kind: type[T], value: T, etag: str | None = None, as_of: datetime | None = None) -> Written:
    """The value of that type as JSON."""
    return Written(_adapter(kind).dump_json(value), etag, as_of)


_ADAPTERS: Final[dict[Any, TypeAdapter[Any]]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
