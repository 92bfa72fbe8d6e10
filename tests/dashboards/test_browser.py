"""The page in a real browser: on a phone and on a desk, light and dark, with and without JavaScript."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dashboards.conftest import Night

CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(made: Night) -> Iterator[str]:
    """Where the page is served, by a process of its own."""
    program = (
        "import functools, pathlib, sys; from dashboards.serve import serve; "
        "serve(pathlib.Path(sys.argv[1]), sys.argv[2], port=0, announce=functools.partial(print, flush=True))"
    )
    asked = [sys.executable, "-c", program, str(made.home), made.url]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_the_page_is_quiet_and_fits(address: str, size: dict[str, int], scheme: str, javascript: bool) -> None:
    """No console message, no request elsewhere, no script run, nothing wider than the screen with all details open."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: install Debian's chromium to run this")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    said, asked = [], []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        context = browser.new_context(viewport=size, color_scheme=scheme, java_script_enabled=javascript)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        for summary in page.locator(".item summary").all():
            summary.click()
        assert page.locator("section.commands").first.is_visible()
        widths = page.locator("body").evaluate("body => [document.documentElement.scrollWidth, innerWidth]")
        title = page.title()
        browser.close()
    assert widths[0] <= widths[1]
    assert said == []
    assert title == "9 proposals, night of 2026-03-02 · Foreshock review"
    assert asked
    assert all(url.startswith(address) for url in asked)
