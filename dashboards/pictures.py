"""A picture of each review page on a phone and on a desk: `python -m dashboards.pictures [--home HOME] [--out FOLDER]`.

The pages are served from the home by a server of their own, with a copy of its ledger in which somebody who may decide
is logged in, and taken in Debian's Chromium by Playwright.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from urllib.request import urlopen

from dashboards.access.cookies import SESSION
from data.errors import UsageError
from decisions.access import Access
from decisions.access.values import Person, Role

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM: Final = Path("/usr/bin/chromium")
QUIET: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES: Final = {"phone": (390, 844), "desk": (1280, 900)}
COLOURS: Final = 160
"""So many are enough for a page, and make a picture a third as large."""
_PROGRAM: Final = (
    "import functools, sys; from pathlib import Path; from dashboards.serve import serve; "
    "from pipelines.settings import PolicySettings, Settings; "
    "policy = PolicySettings(path=Path(sys.argv[3]) if sys.argv[3] else None); "
    "settings = Settings().model_copy(update={'policy': policy}); announce = functools.partial(print, flush=True); "
    "serve(Path(sys.argv[1]), sys.argv[2], port=0, settings=settings, announce=announce)"
)


@contextmanager
def served(home: Path, ledger: Path | None = None) -> Iterator[str]:
    """The address at which the pages of the home are served, as long as it is held; by default with its own ledger."""
    policy = home / "policy.toml"
    url = f"sqlite:///{(ledger or home / 'ledger.db').absolute()}"
    asked = [sys.executable, "-c", _PROGRAM, str(home.absolute()), url, str(policy) if policy.exists() else ""]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            address = server.stdout.readline().strip()
            if not address:
                msg = f"The pages of {home} cannot be served: see above."
                raise UsageError(msg)
            yield address
        finally:
            server.terminate()


@contextmanager
def visited(home: Path) -> Iterator[tuple[Path, str]]:
    """A copy of the home's ledger, and the session there of a person who may decide; the home is left as it is."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "ledger.db"
        with closing(sqlite3.connect(home / "ledger.db")) as held, closing(sqlite3.connect(copy)) as made:
            held.backup(made)
        with closing(sqlite3.connect(copy)) as made:
            (newest,) = made.execute("select max(at) from history").fetchone()
        at = datetime.fromisoformat(newest) if newest is not None else datetime.now(UTC)
        with Access(f"sqlite:///{copy}") as access:
            yield copy, access.begin(Person("maria", Role.OPERATOR), at, datetime.now(UTC) + timedelta(hours=1))


@contextmanager
def browser() -> Iterator["Browser"]:
    """Debian's Chromium, without a screen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        yield opened
        opened.close()


def pages(address: str) -> Mapping[str, str]:
    """Every page worth a picture by its name, with a host, an incident and a decision that are held there."""
    proposals = _told(address, "/v1/proposals?limit=500")["proposals"]
    incidents = _told(address, "/v1/incidents")
    found = {name: f"/{name}" for name in ("fleet", "maintenance", "audit")} | {"queue": "/"}
    acting = [each for each in proposals if each["action"] in {"evacuate", "live_migrate"}]
    for each in (acting or proposals)[:1]:
        found["host"] = f"/hosts/{quote(each['host_id'], safe='')}"
    for each in incidents[:1]:
        found["incident"] = f"/incidents/{quote(each['incident_id'], safe='')}"
    order = ("approval", "starting", "under_way")  # where there is most to decide
    open_ = [each for section in order for each in proposals if each["state"]["section"] == section]
    for each in (open_ or acting or proposals)[:1]:
        found["decision"] = f"/proposals/{quote(each['proposal_id'], safe='')}"
    return found


def take(home: Path, out: Path, *, whole: bool = False) -> list[Path]:
    """The pictures taken, as files in `out`; `whole` pages rather than what the screen shows of them first."""
    out.mkdir(parents=True, exist_ok=True)
    taken = []
    with visited(home) as (ledger, session), served(home, ledger) as address, browser() as opened:
        nobody, person = opened.new_context(), opened.new_context()
        person.add_cookies([{"name": SESSION, "value": session, "url": address}])
        for name, path in {**pages(address), "login": "/login"}.items():
            for size, (width, height) in SIZES.items():
                page = (nobody if name == "login" else person).new_page()
                page.set_viewport_size({"width": width, "height": height})
                page.goto(address + path, wait_until="networkidle")
                file = out / f"{name}-{size}.png"
                file.write_bytes(_smaller(page.screenshot(full_page=whole)))
                page.close()
                taken.append(file)
    return taken


def main() -> None:
    """Take the pictures of `--home` into `--out`."""
    asked = argparse.ArgumentParser(prog="python -m dashboards.pictures", description=__doc__)
    asked.add_argument("--home", type=Path, default=Path(os.environ.get("FORESHOCK_HOME", ".foreshock/demo")))
    asked.add_argument("--out", type=Path, default=Path("docs/pictures"))
    asked.add_argument("--whole", action="store_true", help="whole pages, not what the screen shows of them first")
    told = asked.parse_args()
    if not CHROMIUM.exists():
        asked.exit(1, f"There is no browser at {CHROMIUM}: install Debian's package chromium.\n")
    if not (told.home / "ledger.db").is_file():
        asked.exit(1, f"{told.home} holds no ledger: make a home with `foreshock demo`, and give it as --home.\n")
    for file in take(told.home, told.out, whole=told.whole):
        sys.stdout.write(f"{file}\n")


def _told(address: str, path: str) -> Any:
    with urlopen(address + path) as answer:  # noqa: S310 - our own server on loopback
        return json.load(answer)


def _smaller(png: bytes) -> bytes:
    from PIL import Image

    made = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS).save(made, "PNG", optimize=True)
    return made.getvalue()


if __name__ == "__main__":
    main()
