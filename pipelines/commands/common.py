"""Options that every command takes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Group, Parameter

if TYPE_CHECKING:
    from pipelines.settings import Settings

_MOST_ROWS: Final = 1_000_000
_MOST_HOURS: Final = 24 * 366
"""As long as by the API."""
_MOST_DAYS: Final = 36_525
"""A hundred years."""

_GROUP: Final = Group("Every command", sort_key=100)


def _day(_: object, day: date | None) -> None:
    from pipelines.clock import end_of

    if day is not None:
        end_of(day)


def _rows(_: object, limit: int) -> None:
    if not 1 <= limit <= _MOST_ROWS:
        msg = f"Give at least 1 and at most {_MOST_ROWS:,}."
        raise ValueError(msg)


def _up_to(most: int) -> Callable[[object, float | None], None]:
    def check(_: object, value: float | None) -> None:
        if value is not None and not 0 < value <= most:
            msg = f"Give more than 0 and at most {most:,}."
            raise ValueError(msg)

    return check


Day = Annotated[date, Parameter(validator=_day)]
"""A day that can be asked about."""
Limit = Annotated[int, Parameter(validator=_rows)]
"""At most so many rows."""
Hours = Annotated[float, Parameter(validator=_up_to(_MOST_HOURS))]
"""For so many hours."""
Days = Annotated[float, Parameter(validator=_up_to(_MOST_DAYS))]
"""For so many days."""


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True)
class Common:
    """Options that every command takes."""

    json: Annotated[bool, Parameter(negative="")] = False
    "One JSON object on standard output; logs on standard error."
    config: Path | None = None
    "Settings file; default `foreshock.toml` here, else in `FORESHOCK_HOME`."

    def settings(self) -> "Settings":
        """The settings of this call."""
        from pipelines.settings import load

        return load(self.config)


COMMON: Final = Common()
