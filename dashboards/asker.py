"""Who asks for the page that is being made, for what every page shows of them."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from decisions.access.values import Person


@dataclass(frozen=True)
class Asker:
    """Who asks for a page: nobody in particular, or a person, and what their forms carry."""

    person: Person | None = None
    csrf: str = ""
    path: str = "/"


NOBODY: Final = Asker()
ASKER: Final[ContextVar[Asker]] = ContextVar("asker", default=NOBODY)
