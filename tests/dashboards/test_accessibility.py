"""Every page under an accessibility checker (axe, from npm: `make daemons` fetches it), and charts drawn by Plotly.

The page that a wall loads anew by itself is not among them: it is asked for, and says how to stop it (WCAG 2.2.1).
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dashboards.pictures import SIZES, served
from decisions.access.values import Role
from tests.dashboards.conftest import Night, verdict
from tests.dashboards.people import bearer, token
from tests.dashboards.test_looking import tell
from tests.dashboards.windows import windowed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

AXE = Path(__file__).parents[2] / ".foreshock/axe/node_modules/axe-core/axe.min.js"
LOOKING = ("/fleet", "/maintenance?owner=team-1", "/audit", "/hosts/r06-03")
OPEN = (
    "/",
    *LOOKING,
    "/maintenance",
    "/hosts/nowhere",
    "/login",
    "/proposals/id-r12-08",
    "/proposals/nope",
    "INCIDENT",
)
"""Whatever is shown to nobody in particular: a queue, an incident, a decision, errors, the login."""
OWN = ("/proposals/id-r12-08", "/proposals/id-r04-11", "/proposals/id-r06-03", "/maintenance?host=r13-01")
"""What a person finds who may decide: to approve, to stop, nothing left, and a window to start."""
FORMS = {
    "a login that fails": ("/login", {"token": "guess"}),
    "no reason": ("/proposals/id-r12-08", {"reason": " "}),
    "nothing to start": ("/maintenance?host=r13-01", {"reason": " "}),
}

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Site:
    """Where pages are served, an incident on them, and tokens of two: who may decide, and who speaks for owners."""

    address: str
    incident: str
    secret: str
    owners_secret: str

    def url(self, path: str) -> str:
        """Of a page."""
        return self.address + (f"/incidents/{self.incident}" if path == "INCIDENT" else path)


@pytest.fixture(scope="module")
def site(made: Night, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The pages of a night with a past and an owner's open window, served by a process of its own."""
    home = tmp_path_factory.mktemp("seen")
    for name in ("ledger.db", "warehouse.duckdb"):
        shutil.copyfile(made.home / name, home / name)
    tell(home)
    night = Night(home)
    windowed(night, besides=("r12-08-vm1", "r12-08-vm3"))
    (incident,) = verdict().incidents
    with served(home) as address:
        owners = token(night, role=Role.OWNER, owners=("team-0", "team-1"))
        yield Site(address, incident.incident_id, token(night), owners)


@pytest.fixture(scope="module")
def person(opened: "Browser", site: Site) -> "Iterator[BrowserContext]":
    """A browser that somebody who may decide is logged in with."""
    context = opened.new_context()
    page = context.new_page()
    page.goto(site.url("/login"))
    page.get_by_label("Token").fill(site.secret)
    page.keyboard.press("Enter")
    page.wait_for_url(site.url("/"))
    yield context
    context.close()


def faults(page: "Page") -> list[object]:
    """What the checker finds in the page: light on a phone and dark on a desk, with all details open."""
    if not AXE.exists():
        pytest.skip(f"no axe at {AXE}: `make daemons` fetches it from npm")
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[object] = []
    for scheme, size in (("light", "phone"), ("dark", "desk")):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": SIZES[size][0], "height": SIZES[size][1]})
        asked = "axe.run().then(found => found.violations.map(each => [each.impact, each.id, each.nodes[0].html]))"
        found += page.evaluate(asked)
    return found


@pytest.mark.parametrize("path", OPEN)
def test_no_page_has_a_fault(opened: "Browser", site: Site, path: str) -> None:
    """Contrast, names, landmarks, order of headings: the checker finds nothing on what everybody may see."""
    page = opened.new_page()
    page.goto(site.url(path))
    found = faults(page)
    page.close()
    assert found == []


@pytest.mark.parametrize("path", OWN)
def test_no_form_has_a_fault(person: "BrowserContext", site: Site, path: str) -> None:
    """Nor on what a person sees who may decide: labels, names of buttons, what is described by what."""
    page = person.new_page()
    page.goto(site.url(path))
    found = faults(page)
    page.close()
    assert found == []


@pytest.mark.parametrize("path", ["/maintenance", "/fleet"])
def test_no_page_of_an_owner_has_a_fault(opened: "Browser", site: Site, path: str) -> None:
    """Nor on the page of those who speak for two owners, with a window to start, nor on a refusal."""
    context = opened.new_context(extra_http_headers=bearer(site.owners_secret))
    page = context.new_page()
    page.goto(site.url(path))
    found = faults(page)
    context.close()
    assert found == []


@pytest.mark.parametrize(("path", "typed"), FORMS.values(), ids=FORMS)
def test_no_refusal_has_a_fault(
    opened: "Browser", person: "BrowserContext", site: Site, path: str, typed: dict[str, str]
) -> None:
    """Nor where what was sent comes back with what is wrong with it, in words that are announced."""
    page = opened.new_page() if "token" in typed else person.new_page()
    page.goto(site.url(path))
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    for name, value in typed.items():
        page.locator(f"[name={name}]").first.fill(value)
    page.locator("main form[method=post] button").first.click()
    page.get_by_role("alert").wait_for()
    found = faults(page)
    page.close()
    assert found == []


@pytest.mark.parametrize("path", ["/hosts/r06-03", "/fleet"])
def test_a_chart_is_drawn_by_plotly_when_asked_under_the_pages_own_policy(
    opened: "Browser", site: Site, path: str
) -> None:
    """Nothing is loaded before the button is pressed; then Plotly draws, from this server, in silence."""
    said, asked = [], []
    page = opened.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url(path), wait_until="networkidle")
    assert not [url for url in asked if "plotly" in url]
    page.locator(".closer").first.press("Enter")
    page.locator(".drawn .main-svg .trace").first.wait_for(state="attached", timeout=30_000)
    page.close()
    assert said == []
    assert all(url.startswith(site.address) for url in asked)


@pytest.mark.parametrize("path", OPEN)
def test_a_page_fits_and_says_its_charts_without_javascript(opened: "Browser", site: Site, path: str) -> None:
    """Without JavaScript nothing is wider than a phone, and each chart has a drawing, a sentence and values."""
    width, height = SIZES["phone"]
    page = opened.new_page(viewport={"width": width, "height": height}, java_script_enabled=False)
    page.goto(site.url(path))
    widths = page.locator("body").evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    charts = page.locator("figure.chart")
    for at in range(charts.count()):
        assert charts.nth(at).locator("svg[role=img]").get_attribute("aria-label")
        assert charts.nth(at).locator("tbody tr").count()
    page.close()
    assert widths[0] <= widths[1]
