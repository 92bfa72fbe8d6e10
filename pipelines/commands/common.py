"""Options that every command takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Group, Parameter

if TYPE_CHECKING:
    from pipelines.settings import Settings

_GROUP: Final = Group("Every command", sort_key=100)


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
