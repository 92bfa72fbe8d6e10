"""The page in a real browser: on a phone and on a desk, light and dark, with and without JavaScript."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from decisions.ledger.said import LONGEST_NAME, Said, Say
from pipelines.notifications.words import notices
from tests.dashboards.conftest import ASOF, Night, verdict
from tests.dashboards.people import token

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

pytestmark = pytest.mark.slow


@contextmanager
def served(night: Night, at: datetime | None = None) -> Iterator[str]:
    """Where the night's pages are served, by a process of its own; at that moment, where one is given."""
    program = (
        "import datetime, functools, pathlib, sys; from dashboards.serve import serve; home, url, *at = sys.argv[1:]; "
        "clock = (lambda: datetime.datetime.fromisoformat(at[0])) if at else None; "
        "serve(pathlib.Path(home), url, port=0, clock=clock, announce=functools.partial(print, flush=True))"
    )
    asked = [sys.executable, "-c", program, str(night.home), night.url, *([at.isoformat()] if at else [])]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def address(made: Night) -> Iterator[str]:
    """Where the pages that are only read are served."""
    with served(made) as found:
        yield found


@contextmanager
def looking(opened: "Browser", address: str, size: dict[str, int], **how: Any) -> "Iterator[Page]":
    """A page of a person's own, which at the end has said nothing, asked nobody else, and fits on its screen."""
    said, asked = [], []
    with opened.new_context(viewport=size, **how) as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        yield page
        widths = page.locator("body").evaluate("body => [document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1]
    assert said == []
    assert asked
    assert all(url.startswith((address, "data:")) for url in asked)


def log_in(page: Any, address: str, secret: str) -> None:
    """Paste the token, with the keyboard alone."""
    page.goto(f"{address}/login?next=/")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type(secret)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{address}/")


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_page_is_quiet_and_fits(
    opened: "Browser", address: str, size: dict[str, int], scheme: str, javascript: bool
) -> None:
    """No console message, no request elsewhere, no script run, nothing wider than the screen with all details open."""
    with looking(opened, address, size, color_scheme=scheme, java_script_enabled=javascript) as page:
        page.goto(address)
        for summary in page.locator(".item summary").all():
            summary.click()
        assert page.locator("section.commands").first.is_visible()
        assert page.title() == "9 proposals, night of 2026-03-02 · Foreshock review"


def test_a_long_name_stays_on_the_card(opened: "Browser", own: tuple[Night, str]) -> None:
    """Handed to somebody with as long a name as there may be, a proposal fits on a phone wherever it is shown."""
    night, address = own
    with night.ledger() as ledger:
        ledger.say(Said("id-r12-08", Say.HAND_OVER, "ana", "knows the rack", ASOF, to="m" * LONGEST_NAME))
    for path in ("/", "/proposals/id-r12-08"):
        with looking(opened, address, PHONE) as page:
            log_in(page, address, token(night))
            page.goto(f"{address}{path}")
            assert page.get_by_text("waits for mmm").first.is_visible()


@pytest.fixture
def own(night: Night) -> Iterator[tuple[Night, str]]:
    """A night of the test's own, and where it is served."""
    with served(night) as address:
        yield night, address


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_from_the_link_to_approved_in_two_clicks_and_a_reason(
    opened: "Browser", own: tuple[Night, str], size: dict[str, int], javascript: bool
) -> None:
    """Logged in, a person opens a link, clicks Decide, types why, clicks Approve, and is told what was done."""
    night, address = own
    with looking(opened, address, size, java_script_enabled=javascript) as page:
        log_in(page, address, token(night))
        page.goto(f"{address}/proposals/id-r12-08")
        page.locator(".jump a").click()
        page.keyboard.type("seen it before")
        page.get_by_role("button", name="Approve").click()
        assert page.get_by_role("status").inner_text().startswith("Approved. It starts at 04:00 UTC (in 4 h).")
    with night.ledger() as ledger:
        said = ledger.proposal("id-r12-08", ASOF).decision
    assert said is not None
    assert (said.by, said.verdict, said.reason) == ("maria", "approved", "seen it before")


@pytest.mark.parametrize("javascript", [True, False])
def test_from_a_message_to_approved_by_keyboard_alone(
    opened: "Browser", own: tuple[Night, str], javascript: bool
) -> None:
    """On a phone's screen, from the link that was sent: Enter on Decide, a reason, Enter on Approve, and no more."""
    night, address = own
    link = address + _link_of_the_message(night)
    with looking(opened, address, PHONE, java_script_enabled=javascript) as page:
        log_in(page, address, token(night))
        page.goto(f"data:text/html,<a href='{link}'>1 host needs approval</a>")
        _tab_to(page, "1 host needs approval")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Decide", exact=True).wait_for()
        _tab_to(page, "Decide")
        page.keyboard.press("Enter")
        page.keyboard.type("seen it before")
        _tab_to(page, "Approve")
        page.keyboard.press("Enter")
        page.get_by_role("status").wait_for()
        assert page.get_by_role("status").inner_text().startswith("Approved. It starts at 04:00 UTC (in 4 h).")
    with night.ledger() as ledger:
        said = ledger.proposal("id-r12-07", ASOF).decision
    assert said is not None
    assert (said.by, said.verdict, said.reason) == ("maria", "approved", "seen it before")


def _link_of_the_message(night: Night) -> str:
    """The path of the notice about the one host that waits and shares no cause with others."""
    with night.ledger() as ledger:
        seen = ledger.notices.seen(ASOF, 30.0)
    return next(notice.path for notice in notices(seen, timedelta(hours=6)) if notice.topic == "approval")


@pytest.mark.parametrize("name", ["pod 7/../rack%2F?x=1#é/host;1", "../fleet", "a%00b"])
def test_a_host_may_be_called_anything(opened: "Browser", own: tuple[Night, str], name: str) -> None:
    """A browser comes from the link on the queue to the decision, the host and its VMs, whatever the host is called."""
    night, address = own
    later = ASOF + timedelta(minutes=1)
    held = replace(verdict().proposals[1], proposal_id="id-odd", host_id=name, asof_at=later, incident_id=None)
    with night.ledger() as ledger:
        ledger.record(replace(verdict(), asof_at=later, proposals=(held,), incidents=()), later)
    with looking(opened, address, PHONE) as page:
        page.goto(f"{address}/audit")
        page.get_by_role("link", name=name, exact=True).first.click()
        assert page.locator("h1").inner_text() == f"Host {name}"


def test_the_keyboard_is_enough(opened: "Browser", own: tuple[Night, str]) -> None:
    """From the queue to a proposal put off: Tab, Enter and typing; Enter in the reason sends nothing."""
    night, address = own
    with looking(opened, address, DESK) as page:
        log_in(page, address, token(night))
        _tab_to(page, "r12-08")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{address}/proposals/id-r12-08")
        _tab_to(page, "Decide")
        page.keyboard.press("Enter")
        page.keyboard.type("owner asked")
        page.keyboard.press("Enter")
        _tab_to(page, "Snooze until it changes")
        page.keyboard.press("Enter")
        assert "Put off until it changes" in page.get_by_role("status").inner_text()


def test_a_countdown_runs(opened: "Browser", made: Night) -> None:
    """Where time passes as on the wall, the moment that a decision has until then draws nearer on the page."""
    with served(made, ASOF + timedelta(hours=29, minutes=58)) as address, looking(opened, address, PHONE) as page:
        page.goto(f"{address}/proposals/id-r12-08")
        running = page.locator(".countdown time")
        assert running.inner_text() == "in 1 min"
        page.evaluate("document.querySelector('.countdown time').dateTime = '2026-03-04T05:58:30Z'")
        page.locator(".countdown time", has_text=re.compile(r"^in [12]\d s$")).wait_for(timeout=10_000)


def test_a_link_from_another_site_finds_who_is_logged_in(opened: "Browser", own: tuple[Night, str]) -> None:
    """A message elsewhere links to the page: the browser keeps the cookie back at first, and the person is known."""
    night, address = own
    with looking(opened, address, PHONE) as page:
        log_in(page, address, token(night))
        link = f"{address}/proposals/id-r12-08"
        page.goto(f"data:text/html,<a href='{link}'>Host r12-08</a>")
        page.get_by_text("Host r12-08").click()
        page.get_by_role("button", name="Approve").wait_for()


def _tab_to(page: Any, text: str) -> None:
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == text:
            return
    pytest.fail(f"the keyboard does not come to {text!r}")
