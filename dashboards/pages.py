"""Pages from templates: everything that comes from data is escaped, and every word choice is made before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from dashboards import charts, words
from dashboards.asker import ASKER
from dashboards.evidence import Exhibit
from dashboards.views import DeskView, FactorView, ProposalView, Queue
from dashboards.words import Section
from decisions.incidents.values import Incident

GIB: Final = 1024**3
SHOWN: Final = 50
SHOWN_NAMES: Final = 200
"""Hosts or parts of an incident; the command names them all."""
SHOWN_BRIEF: Final = 15
"""More than this of one part of the page are a link away: fewer where there is nothing to do."""
BRIEF: Final = frozenset({Section.WATCHING, Section.OVER})
"""Parts where there is nothing to do: their proposals take less room."""
MOST: Final = {section: SHOWN_BRIEF if section in BRIEF else SHOWN for section in Section}


@dataclass(frozen=True)
class Part:
    """One part of the page: its proposals, and how many more there are."""

    section: Section
    heading: str
    meaning: str
    count: int
    proposals: Sequence[ProposalView]

    @property
    def hidden(self) -> int:
        """How many are not shown."""
        return self.count - len(self.proposals)


@dataclass(frozen=True)
class Typed:
    """What a person has typed into the forms of a decision."""

    reason: str = ""
    hours: str = ""
    to: str = ""


def queue_page(queue: Queue, home: Path, on: date | None, show: Section | None = None) -> str:
    """The queue as HTML; with `show`, that part of it alone and whole."""
    held = [_part(section, queue) for section in Section if queue.counts.get(section)]
    cycle = queue.standing.cycle
    return _template("queue.html").render(
        queue=queue,
        standing=queue.standing,
        now=queue.standing.now,
        day=day_of(cycle.asof_at) if cycle else on,
        on=on,
        home=home,
        parts=held,
        shown=[part for part in held if show in (None, part.section)],
        show=show,
        nights=[day_of(night) for night in queue.nights],
    )


def incident_page(incident: Incident, now: datetime) -> str:
    """An incident with its ranked factors, evidence, and whom it is about, as HTML."""
    groups = (
        ("Hosts affected", incident.hosts_affected),
        ("Hosts that share it and are well", incident.hosts_at_stake),
        ("Parts at risk now", incident.parts_at_risk),
        ("Parts that failed", incident.parts_failed),
    )
    return _template("incident.html").render(incident=incident, now=now, groups=groups, shown=SHOWN_NAMES)


def page(template: str, **told: object) -> str:
    """A page from its template and what it tells."""
    return _template(template).render(**told)


def decision_page(
    desk: DeskView,
    exhibit: Exhibit | None,
    key: str,
    *,
    said: str = "",
    refused: str = "",
    typed: Typed | None = None,
) -> str:
    """A proposal with what a person needs to decide on it, and the forms to do so, as HTML.

    Args:
        desk: what is shown.
        exhibit: the evidence for the riskiest part, where the snapshot knows it.
        key: what the request that the forms make is called, so that a form sent twice decides once.
        said: what has just been done.
        refused: why what was asked has not been done.
        typed: what the person had typed.
    """
    shown = {"desk": desk, "view": desk.proposal, "now": desk.now, "key": key, "said": said, "refused": refused}
    return _template("decide.html").render(shown, exhibit=exhibit, typed=typed or Typed())


def login_page(csrf: str, ahead: str, said: str, *, by_provider: bool) -> str:
    """The login form, as HTML."""
    return _template("login.html").render(csrf=csrf, ahead=ahead, said=said, by_provider=by_provider)


def passing_page(ahead: str) -> str:
    """A page that goes on by itself, so that a browser that came from another site asks as from ours."""
    return _template("passing.html").render(ahead=ahead)


def refusal_page(title: str, detail: str) -> str:
    """An error as HTML."""
    return _template("refusal.html").render(title=title, detail=detail)


def day_of(asof_at: datetime) -> date:
    """The day that a question was about: a question on DATE is asked at the midnight that ends it."""
    return (asof_at - timedelta(microseconds=1)).date()


def _part(section: Section, queue: Queue) -> Part:
    heading, meaning = words.HEADINGS[section]
    found = [view for view in queue.shown if view.state.section is section]
    return Part(section, heading, meaning, queue.counts[section], found)


def _bar(factor: FactorView, factors: Sequence[FactorView]) -> float:
    """The bar's length, 0 to 50: a share of the longest one of the same entity."""
    longest = max((abs(each.contribution) for each in factors), default=0.0)
    return round(50 * abs(factor.contribution) / longest, 2) if longest else 0.0


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else words.length(timedelta(seconds=seconds))


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:,.0f} GiB" if size_bytes >= GIB else f"{size_bytes / GIB:.1f} GiB"


@cache
def _environment() -> Environment:
    folder = Path(__file__).parent / "templates"
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"brief_sections": BRIEF, "asker": ASKER.get}
    made.filters |= {
        "ago": words.ago,
        "bar": _bar,
        "clock": words.clock,
        "gib": _gib,
        "number": words.number,
        "percent": words.percent,
        "picture": charts.picture,
        "plural": words.plural,
        "seconds": _seconds,
    }
    return made


def _template(name: str) -> Template:
    return _environment().get_template(name)
