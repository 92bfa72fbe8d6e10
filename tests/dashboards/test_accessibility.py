"""Every page under an accessibility checker (axe, from npm: `make test-pages` fetches it), and charts drawn by Plotly.

The page that a wall loads anew by itself is not among them: it is asked for, and says how to stop it (WCAG 2.2.1).
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dashboards.pictures import CHROMIUM, SIZES, browser, served
from tests.dashboards.conftest import Night
from tests.dashboards.test_looking import tell

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = Path(__file__).parents[2] / ".foreshock/axe/node_modules/axe-core/axe.min.js"
PAGES = ("/", "/fleet", "/maintenance", "/maintenance?owner=team-1", "/audit", "/hosts/r06-03", "/hosts/nowhere")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(made: Night, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the pages of a night with a past are served, by a process of its own."""
    home = tmp_path_factory.mktemp("seen")
    for name in ("ledger.db", "warehouse.duckdb"):
        shutil.copyfile(made.home / name, home / name)
    tell(home)
    with served(home) as address:
        yield address


@pytest.fixture(scope="module")
def opened() -> "Iterator[Browser]":
    """The browser."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: install Debian's chromium to run this")
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with browser() as found:
        yield found


@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_a_serious_fault(opened: "Browser", address: str, path: str) -> None:
    """Contrast, names, landmarks, keyboard: nothing serious or critical, light and dark, on a phone and on a desk."""
    if not AXE.exists():
        pytest.skip(f"no axe at {AXE}: `make test-pages` fetches it from npm")
    found = []
    for scheme in ("light", "dark"):
        for width, height in SIZES.values():
            page = opened.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(address + path)
            page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
            page.evaluate(AXE.read_text(encoding="utf-8"))
            asked = "axe.run().then(found => found.violations.map(each => [each.impact, each.id, each.nodes[0].html]))"
            found += [each for each in page.evaluate(asked) if each[0] in {"serious", "critical"}]
            page.close()
    assert found == []


@pytest.mark.parametrize("path", ["/hosts/r06-03", "/fleet"])
def test_a_chart_is_drawn_by_plotly_when_asked_under_the_pages_own_policy(
    opened: "Browser", address: str, path: str
) -> None:
    """Nothing is loaded before the button is pressed; then Plotly draws, from this server, in silence."""
    said, asked = [], []
    page = opened.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address + path, wait_until="networkidle")
    assert not [url for url in asked if "plotly" in url]
    page.locator(".closer").first.press("Enter")
    page.locator(".drawn .main-svg .trace").first.wait_for(state="attached", timeout=30_000)
    page.close()
    assert said == []
    assert all(url.startswith(address) for url in asked)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_and_says_its_charts_without_javascript(opened: "Browser", address: str, path: str) -> None:
    """Without JavaScript nothing is wider than a phone, and each chart has a drawing, a sentence and values."""
    width, height = SIZES["phone"]
    page = opened.new_page(viewport={"width": width, "height": height}, java_script_enabled=False)
    page.goto(address + path)
    widths = page.locator("body").evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    charts = page.locator("figure.chart")
    for at in range(charts.count()):
        assert charts.nth(at).locator("svg[role=img]").get_attribute("aria-label")
        assert charts.nth(at).locator("tbody tr").count()
    page.close()
    assert widths[0] <= widths[1]
