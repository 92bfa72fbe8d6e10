"""The nouns of an incident: frozen values, light enough for everyone who decides."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

Shared = tuple[tuple[str, str], ...]
"""What parts have in common: one or two pairs of an attribute and its value."""


class Kind(StrEnum):
    """What sort of cause an incident points to."""

    HARDWARE = "hardware"
    FIRMWARE = "firmware"
    SOFTWARE = "software"
    FACILITY = "facility"


class Stance(StrEnum):
    """How a factor stands to the leading one of its incident."""

    LEADING = "leading"
    EXPLAINED = "explained"
    """It shows nothing once the leading factor is held fixed, and the leading one still shows."""
    INSEPARABLE = "inseparable"
    """Held fixed, each hides the other: these failures cannot tell the two apart."""
    BESIDES = "besides"
    """It adds to the leading factor."""


@dataclass(frozen=True)
class Factor:
    """One contributing factor with its evidence; a part counts once, and of a host only its first part of a kind."""

    shared: Shared
    named: str
    """For a person: `power feed f12`."""
    stance: Stance
    affected: int
    """Parts with the factor that failed in the window or are at risk now."""
    parts: int
    rest_affected: int
    rest_parts: int
    expected: float
    """How many of the affected there would be if parts with the factor were like the rest, by time watched."""
    relative_risk: float | None
    """Affected per time watched, with the factor over without; null: none without is affected."""
    low: float
    """The relative risk's 95 % interval; above it is `high`, null where nothing bounds it."""
    high: float | None
    p_adjusted: float
    """The chance that any factor has so small a p value in a fleet where nothing is shared."""
    p_given_leading: float | None
    """Of this factor while the leading one is held fixed; null for the leading one itself."""
    leading_p_given: float | None
    """Of the leading factor while this one is held fixed."""
    since: datetime | None
    """When the first host or part with it came; null: before the records begin."""
    first_at: datetime
    """The first affected part's failure, or first day at risk."""
    last_at: datetime
    sentence: str


@dataclass(frozen=True)
class Incident:
    """Many hosts, one cause: what they share, who has it, and who has it and is still well."""

    incident_id: str
    """A function of the leading factor and of when it began; the same on every night that finds it again."""
    kind: Kind
    components: tuple[str, ...]
    """Kinds of parts that fail more often for it."""
    factors: tuple[Factor, ...]
    """The leading one first, then the most telling."""
    first_at: datetime
    last_at: datetime
    hosts_affected: tuple[str, ...]
    parts_at_risk: tuple[str, ...]
    """Parts with the leading factor that have not failed and are at risk now."""
    parts_failed: tuple[str, ...]
    hosts_at_stake: tuple[str, ...]
    """Hosts with the leading factor that are not affected yet."""
    parts_at_stake: int
    sentence: str
    simulated: bool = False
    response: str = ""
    """What is proposed for the cause, as a sentence; empty before a policy has looked at it."""

    @property
    def leading(self) -> Factor:
        """The factor that the incident is named after."""
        return self.factors[0]

    @property
    def share(self) -> float:
        """Share of the affected parts that are affected because of the leading factor: 1 - expected / affected."""
        return max(0.0, 1.0 - self.leading.expected / self.leading.affected) if self.leading.affected else 0.0
