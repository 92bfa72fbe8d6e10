"""Which proposals of a night the queue shows: a few of each part, or all of one part, page by page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Final

from dashboards import words
from dashboards.views import Card, Group, Part
from dashboards.words import Section
from decisions.domain import Action, Autonomy
from decisions.ledger.queries import standing
from decisions.ledger.values import Asked, Brief, Standing

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


def parts(asked: Sequence[Asked], briefs: Mapping[str, Brief], now: datetime) -> dict[Section, list[Asked]]:
    """The proposals of a cycle by part of the page, the most urgent first.

    What starts first is the most urgent; what has no order has no start of its own, so there the order of the verdict
    decides, what is put off last.

    Args:
        asked: the cycle's proposals, in the order of its verdict.
        briefs: where those stand that have an order or a decision.
        now: the moment that they are looked at.
    """
    found: dict[Section, list[Asked]] = {}
    sections: dict[tuple[Action, Autonomy, bool], Section] = {}
    for one in asked:
        if one.proposal_id in briefs:
            continue
        alike = one.action, one.autonomy, one.expires_at <= now
        section = sections.get(alike)
        if section is None:
            stands = standing(one, None, now)
            sections[alike] = section = words.section(stands, one.action, one.autonomy, None)
        found.setdefault(section, []).append(one)
    for brief in briefs.values():
        found.setdefault(_section(brief), []).append(brief.asked)
    for section in {_section(brief) for brief in briefs.values()}:
        found[section].sort(key=lambda one: _urgency(one, briefs.get(one.proposal_id)))
    return found


def _section(brief: Brief) -> Section:
    asked = brief.asked
    return words.section(brief.standing, asked.action, asked.autonomy, brief.order_state, troubled=brief.troubled)


def _urgency(one: Asked, brief: Brief | None) -> tuple[bool, datetime, int]:
    if brief is None:
        return False, one.asof_at, one.rank
    return brief.standing is Standing.SNOOZED, brief.starts_at or one.asof_at, one.rank


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
        groups.setdefault(one.incident_id or one.proposal_id, []).append(one)
    most = SHOWN_BRIEF if section in BRIEF else SHOWN
    shown = [
        PickedGroup(group[0].incident_id, len(group), group[:SHOWN_OF_INCIDENT])
        for group in islice(groups.values(), most)
    ]
    return PickedPart(section, len(asked), shown, len(asked) - sum(len(group.shown) for group in shown))
