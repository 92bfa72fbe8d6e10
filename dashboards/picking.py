"""Which proposals of a night the queue shows: a few of each part, or all of one part, page by page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Final

from dashboards.views import Card, Group, Part
from dashboards.words import Section
from decisions.ledger.values import Asked

SHOWN: Final = 20
"""Groups of one part of the page; more are a link away."""
SHOWN_BRIEF: Final = 10
"""The same where there is nothing to do."""
SHOWN_OF_INCIDENT: Final = 3
"""Proposals of one incident in a part; more are a link away."""
PAGE: Final = 50
"""Proposals of a part that is shown alone."""
BRIEF: Final = frozenset({Section.WATCHING, Section.OVER})
"""Parts where there is nothing to do: their proposals take less room."""


@dataclass(frozen=True)
class PickedGroup:
    """Proposals of one incident, or one alone, and which of them are shown."""

    incident_id: str | None
    count: int
    shown: Sequence[Asked]


@dataclass(frozen=True)
class PickedPart:
    """One part of the queue, and which of its proposals are shown."""

    section: Section
    count: int
    groups: Sequence[PickedGroup]
    hidden: int

    def filled(self, cards: Mapping[str, Card]) -> Part:
        """The part with those cards, by proposal."""
        groups = (
            Group(one.incident_id, one.count, tuple(cards[each.proposal_id] for each in one.shown))
            for one in self.groups
        )
        return Part(self.section, self.count, tuple(groups), self.hidden)


@dataclass(frozen=True)
class Wanted:
    """What is asked of the queue."""

    on: date | None = None
    """The day asked about; null: the newest cycle."""
    show: Section | None = None
    """Only this part, all of it."""
    incident_id: str | None = None
    """Of that part only what shares this incident."""
    page: int = 1
    """Of that part, from 1."""

    def picked(self, parts: Mapping[Section, Sequence[Asked]]) -> list[PickedPart]:
        """What is shown of the parts, which hold the most urgent first."""
        if self.show is None:
            return [_some(section, parts[section]) for section in Section if section in parts]
        asked = [one for one in parts.get(self.show, ()) if self.incident_id in (None, one.incident_id)]
        shown = asked[(self.page - 1) * PAGE : self.page * PAGE]
        alone = [PickedGroup(None, 1, (one,)) for one in shown]
        return [PickedPart(self.show, len(asked), alone, len(asked) - len(shown))] if shown else []


def _some(section: Section, asked: Sequence[Asked]) -> PickedPart:
    """The most urgent groups of a part; an incident stands where its most urgent proposal does."""
    groups: dict[str, list[Asked]] = {}
    for one in asked:
        groups.setdefault(one.incident_id or f"alone {one.proposal_id}", []).append(one)
    most = SHOWN_BRIEF if section in BRIEF else SHOWN
    shown = [
        PickedGroup(group[0].incident_id, len(group), group[:SHOWN_OF_INCIDENT])
        for group in islice(groups.values(), most)
    ]
    return PickedPart(section, len(asked), shown, len(asked) - sum(len(group.shown) for group in shown))
