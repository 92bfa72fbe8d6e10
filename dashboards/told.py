"""What everybody is told alike, as JSON: written once for each state of snapshot and ledger."""

from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter
from starlette.responses import Response

from dashboards.queue import Look, Room

T = TypeVar("T")


def told(room: Room, question: Hashable, kind: type[T], make: Callable[[Look], T]) -> Response:
    """The answer of that type, as JSON; nothing of who asks may go into it.

    Args:
        room: where it is looked for.
        question: what is asked, with everything that the answer depends on.
        kind: the answer's type.
        make: makes it.
    """
    body = room.shared(("v1", question), lambda look: _adapter(kind).dump_json(make(look)))
    return Response(body, media_type="application/json")


_ADAPTERS: Final[dict[Any, TypeAdapter[Any]]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
