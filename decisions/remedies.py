"""What cures a software or firmware cause, or services a host that is due: named in the policy."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from data.errors import SettingsError
from decisions.domain import Action, Change, Host
from decisions.incidents.values import Incident, Kind

ATTRIBUTES: Final = ("firmware", "kernel")
"""Host attributes that a service can change."""
CURABLE: Final = frozenset({Kind.FIRMWARE, Kind.SOFTWARE})
TECHNIQUES: Final = (Action.HOT_PATCH, Action.PRESERVE_MEMORY)
"""Ways to service a host with its VMs on it; without either it must be emptied first."""


@dataclass(frozen=True)
class Remedy:
    """A service that takes an attribute from one value to another."""

    name: str
    attribute: str
    value: str
    """Hosts with this value need it."""
    becomes: str
    """The value after the service."""
    techniques: tuple[Action, ...] = ()
    """Which of `TECHNIQUES` can carry it; where none can, the host must be emptied for it."""
    cured_share: float = 1.0
    """Share of the failures with this cause that no longer come afterwards."""
    due: date | None = None
    """Planned for every host with the value until the end of this day; null: only against a cause that was found."""

    @property
    def change(self) -> Change:
        """What it does to a host."""
        return Change(self.name, self.attribute, self.value, self.becomes)


@dataclass(frozen=True)
class Service:
    """A remedy for one host, and what it brings there."""

    remedy: Remedy
    cured: float
    """Share of the host's whole risk that is gone afterwards; 0 for planned maintenance of a host without the cause."""
    due: bool
    """The host needs it whatever its risk is: it is planned, or others like it fail for want of it."""

    def offers(self, technique: Action) -> bool:
        """Whether the technique can carry it."""
        return technique in self.remedy.techniques


def service(
    host: Host, incident: Incident | None, incidents: Sequence[Incident], remedies: Sequence[Remedy], asof_at: datetime
) -> Service | None:
    """What would help this host where it stands: the remedy for its cause, else the planned one that is due first.

    Args:
        host: as it is now.
        incident: the one that puts the host at risk, or null.
        incidents: all that are known: a host that shares what one of them is about is due for its remedy, too.
        remedies: those that the policy names.
        asof_at: the moment asked.
    """
    found = [
        _service(remedy, incident, incidents, asof_at)
        for remedy in remedies
        if getattr(host, remedy.attribute) == remedy.value
    ]
    useful = [one for one in found if one.cured > 0 or one.due]
    return min(useful, key=lambda one: (-one.cured, one.remedy.due or date.max, one.remedy.name), default=None)


def remedy_for(incident: Incident, remedies: Sequence[Remedy]) -> Remedy | None:
    """What cures the incident's cause: only software and firmware can be cured."""
    if incident.kind not in CURABLE:
        return None
    shared = set(incident.leading.shared)
    return next((remedy for remedy in remedies if (remedy.attribute, remedy.value) in shared), None)


def _service(remedy: Remedy, incident: Incident | None, incidents: Sequence[Incident], asof_at: datetime) -> Service:
    own = incident is not None and remedy_for(incident, [remedy]) is not None
    cured = remedy.cured_share * incident.share if incident is not None and own else 0.0
    due = _due(remedy, asof_at) or any(remedy_for(each, [remedy]) is not None for each in incidents)
    return Service(remedy, cured, due)


def _due(remedy: Remedy, asof_at: datetime) -> bool:
    return remedy.due is not None and asof_at.date() <= remedy.due + timedelta(days=1)


def parse(rows: Any, path: Path) -> tuple[Remedy, ...]:
    """The `[[remedies]]` of a policy file.

    Raises:
        SettingsError: A key is missing, unknown or of the wrong kind, or two remedies share a name.
    """
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        msg = f"Policy {path}: remedies must be a list of tables, each under [[remedies]]."
        raise SettingsError(msg)
    found = tuple(_parsed(row, f"Policy {path}: remedies.{at}") for at, row in enumerate(rows))
    names = [remedy.name for remedy in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        msg = f"Policy {path}: two remedies are called {twice!r}; orders name them, so give each a name of its own."
        raise SettingsError(msg)
    return found


def _parsed(row: Mapping[str, Any], where: str) -> Remedy:
    known = {field.name: field for field in fields(Remedy)}
    for key in [*row, *(name for name, field in known.items() if field.default is MISSING)]:
        if key not in known or key not in row:
            problem = "is missing" if key in known else f"is unknown; known are {', '.join(known)}"
            msg = f"{where}.{key} {problem}."
            raise SettingsError(msg)
    for key, value in row.items():
        wanted = _wanted(key, value)
        if wanted is not None:
            msg = f"{where}.{key} = {value!r} must be {wanted}."
            raise SettingsError(msg)
    return Remedy(**{**row, "techniques": tuple(Action(name) for name in row.get("techniques", ()))})


def _wanted(key: str, value: Any) -> str | None:
    """What the key's value should have been, or null where it is right."""
    if key == "techniques":
        right = isinstance(value, list) and all(name in TECHNIQUES for name in value)
        return None if right else f"a list of {', '.join(TECHNIQUES)}"
    if key == "cured_share":
        number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        return None if number else "a number between 0 and 1"
    if key == "due":
        return None if type(value) is date else "a day such as 2026-12-31"
    if key == "attribute":
        return None if value in ATTRIBUTES else f"one of {', '.join(ATTRIBUTES)}"
    return None if isinstance(value, str) and value else "a text that is not empty"
