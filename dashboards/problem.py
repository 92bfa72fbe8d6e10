"""Errors as people and programs get them: a page, or problem+json (RFC 9457)."""

from collections.abc import Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException

PROBLEM: Final = "application/problem+json"
_DESCRIPTIONS: Final = {
    401: "Nobody has shown who they are, or the token does not hold",
    403: "The asker may not",
    404: "There is no such thing",
    409: "As things stand it cannot be done",
    412: "Somebody has decided since: who, what, why and when",
    422: "A parameter makes no sense",
    428: "The ETag of what was seen is missing",
    503: "Unreadable",
}


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for OpenAPI."""
    return {status: {"description": _DESCRIPTIONS[status], "content": {PROBLEM: {}}} for status in statuses}


class Problem(HTTPException):
    """An error with more to say to programs than its sentence."""

    def __init__(self, status: int, detail: str, more: Mapping[str, object]) -> None:
        super().__init__(status, detail)
        self.more = more
