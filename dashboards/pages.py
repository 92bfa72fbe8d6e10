"""Pages from templates: everything that comes from data is escaped, and every word choice is made before."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path
from secrets import token_hex
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from dashboards import charts, words
from dashboards.asker import ASKER
from dashboards.evidence import Exhibit
from dashboards.picking import BRIEF, PAGE, Wanted
from dashboards.views import DeskView, FactorView, ProposalView, Queue
from decisions.incidents.values import Incident

GIB: Final = 1024**3
SHOWN_BESIDES: Final = 50
"""Open orders of other nights."""
SHOWN_NAMES: Final = 200
"""Hosts or parts of an incident; the command names them all."""


@dataclass(frozen=True)
class Typed:
    """What a person has typed into the forms of a decision."""

    reason: str = ""
    hours: str = ""
    to: str = ""


@dataclass(frozen=True)
class Sheet:
    """A page that everybody is shown alike, with gaps for what is each asker's own."""

    pieces: tuple[bytes, ...]
    gaps: tuple[str, ...]
    """What belongs between the pieces, by name."""
    here: str = ""
    """Which of the pages that every page leads to it is."""

    def __len__(self) -> int:
        """In bytes."""
        return sum(map(len, self.pieces))

    def filled(self, own: Mapping[str, str]) -> bytes:
        """The page of somebody, with their own parts by name, and with who they are."""
        parts = {"asker": _template("asker.html").render(), "pages": _leads(self.here, looks=_looks()), **own}
        filled = (parts.get(gap, "").encode() for gap in self.gaps)
        return b"".join(chain.from_iterable(zip_longest(self.pieces, filled, fillvalue=b"")))


def sheet(template: str, **told: object) -> Sheet:
    """A page from its template and what it tells, `here` among it; nothing of who asks may be told."""
    parts = _GAP.split(_template(template).render(**told))
    return Sheet(tuple(part.encode() for part in parts[::2]), tuple(parts[1::2]), str(told.get("here", "")))


def fill(template: str, **told: object) -> str:
    """A part of somebody's page from its template and what it tells."""
    return _template(template).render(**told)


def page(template: str, **told: object) -> str:
    """A page of somebody from its template and what it tells."""
    return sheet(template, **told).filled({}).decode()


def queue_sheet(queue: Queue, home: Path, wanted: Wanted) -> Sheet:
    """The queue as HTML."""
    standing, cycle = queue.standing, queue.standing.cycle
    return sheet(
        "queue.html",
        queue=queue,
        standing=standing,
        now=standing.now,
        day=day_of(cycle.asof_at) if cycle else wanted.on,
        wanted=wanted,
        home=home,
        headings=words.HEADINGS,
        incidents={each.incident_id: each for each in standing.incidents},
        nights=[day_of(night) for night in queue.nights],
        page_of=PAGE,
        besides_most=SHOWN_BESIDES,
    )


def incident_sheet(incident: Incident, proposals: Sequence[ProposalView], now: datetime) -> Sheet:
    """An incident with what is proposed for it, its ranked factors, evidence, and whom it is about, as HTML."""
    groups = (
        ("Hosts affected", incident.hosts_affected),
        ("Hosts that share it and are well", incident.hosts_at_stake),
        ("Parts at risk now", incident.parts_at_risk),
        ("Parts that failed", incident.parts_failed),
    )
    told = {"incident": incident, "proposals": proposals, "groups": groups}
    return sheet("incident.html", now=now, shown=SHOWN_NAMES, besides_most=SHOWN_BESIDES, **told)


@dataclass(frozen=True)
class Decision:
    """The page of a proposal, and the proposal on a desk, for the parts of the page that are each asker's own."""

    sheet: Sheet
    desk: DeskView

    def __len__(self) -> int:
        """In bytes, or so: the desk takes about as much as the page."""
        return 2 * len(self.sheet)


def drawn(exhibit: Exhibit | None) -> Markup:
    """The evidence as HTML; empty where the snapshot knows none."""
    if exhibit is None:
        return Markup()
    return Markup(_template("exhibit.html").render(exhibit=exhibit))  # noqa: S704 - from a template that escapes


def decision(desk: DeskView, evidence: Markup, *, ready: bool = True) -> Decision:
    """A proposal with what a person needs to decide on it.

    Args:
        desk: what is shown.
        evidence: the evidence for the riskiest part, drawn.
        ready: whether what the snapshot knows is known here, too; it will be in a moment.
    """
    shown = {"desk": desk, "view": desk.proposal, "now": desk.now, "drawn": evidence, "ready": ready}
    return Decision(sheet("decide.html", **shown), desk)


_OWN: Final = ("said", "jump", "own_forms", "countdown")
"""Templates of what is each asker's own on the page of a proposal."""


def decision_page(
    told: Decision, key: str, now: datetime, *, said: str = "", refused: str = "", typed: Typed | None = None
) -> bytes:
    """The page of a proposal with the forms to decide on it, as HTML.

    Args:
        told: what everybody is shown.
        key: what the request that the forms make is called, so that a form sent twice decides once.
        now: what the countdown counts from.
        said: what has just been done.
        refused: why what was asked has not been done.
        typed: what the person had typed.
    """
    shown = {"desk": told.desk, "view": told.desk.proposal, "key": key, "typed": typed or Typed(), "now": now}
    own = {name: _template(f"{name}.html").render(shown, said=said, refused=refused) for name in _OWN}
    return told.sheet.filled(own)


def login_page(csrf: str, ahead: str, said: str, *, by_provider: bool) -> str:
    """The login form, as HTML."""
    return page("login.html", csrf=csrf, ahead=ahead, said=said, by_provider=by_provider)


def passing_page(ahead: str) -> str:
    """A page that goes on by itself, so that a browser that came from another site asks as from ours."""
    return _template("passing.html").render(ahead=ahead)


def refusal_page(title: str, detail: str, back: tuple[str, str] | None = None) -> str:
    """An error as HTML, with a link, by address and words, to where it goes on: as a rule to the asker's front page."""
    front = ("/", "Back to the queue") if _looks() else ("/maintenance", "Back to your VMs")
    return page("refusal.html", title=title, detail=detail, back=back or front)


def day_of(asof_at: datetime) -> date:
    """The day that a question was about: a question on DATE is asked at the midnight that ends it."""
    return (asof_at - timedelta(microseconds=1)).date()


def _looks() -> bool:
    """Whether the asker is none of those who see only the VMs of owners they speak for."""
    person = ASKER.get().person
    return person is None or person.role.looks


@cache
def _leads(here: str, *, looks: bool) -> str:
    """Links to the pages, from one of them."""
    return _template("nav.html").render(here=here, looks=looks)


_MARK: Final = token_hex(16)
"""Which no data can hold, as nobody knows it."""
_GAP: Final = re.compile(rf"<!--{_MARK} (\w+)-->")


def _gap(name: str) -> Markup:
    """Where something that is each asker's own belongs."""
    return Markup(f"<!--{_MARK} {name}-->")  # noqa: S704 - both are ours


def _bar(factor: FactorView, factors: Sequence[FactorView]) -> float:
    """The bar's length, 0 to 50: a share of the longest one of the same entity."""
    longest = max((abs(each.contribution) for each in factors), default=0.0)
    return round(50 * abs(factor.contribution) / longest, 2) if longest else 0.0


def _quoted(text: object) -> str:
    """Any id as one segment of a path, or a value in a query: unlike Jinja's own it quotes slashes too."""
    return quote(str(text), safe="")


def _upright(text: str) -> str:
    """The text as a sentence begins."""
    return text[:1].upper() + text[1:]


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
        auto_reload=False,
    )
    made.globals |= {"brief_sections": BRIEF, "asker": ASKER.get, "gap": _gap}
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
        "upright": _upright,
        "urlencode": _quoted,
    }
    return made


def _template(name: str) -> Template:
    return _environment().get_template(name)
