"""Markup in whatever text comes from elsewhere is only text, on every page that shows it."""

from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from enum import Enum
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from decisions.domain import Action, Answer, Autonomy, Breaker, OptOut, OrderState, Verdict, VmOutcome, VmPlan
from decisions.ledger.notices import Notice, Severity
from tests.dashboards.conftest import ASOF, SCRIPT, Night, hostile_incident, make_night, proposal
from tests.dashboards.people import Browser, token
from tests.dashboards.test_browser import PHONE, log_in, looking, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Opened

NOW, ENDS = ASOF + timedelta(hours=5), ASOF + timedelta(hours=31)
HOSTS = tuple(f"{SCRIPT}{n}" for n in range(3))
OURS = frozenset({"component", "components", "feature", "status", "incident_id", "proposal_id"})
"""Names of ours and ids that we make, which are no text from elsewhere."""


def hostile(value: Any) -> Any:
    """The value with markup in each text that anybody else may have chosen."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return value if SCRIPT in value else f"{value}{SCRIPT}"
    if isinstance(value, tuple):
        return tuple(map(hostile, value))
    if is_dataclass(value) and not isinstance(value, type):
        held = {each.name: getattr(value, each.name) for each in fields(value)}
        return replace(value, **{name: each if name in OURS else hostile(each) for name, each in held.items()})
    return value


class Unsafe(HTMLParser):
    """Finds what a browser would run, or go to, that is not ours."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at an element."""
        told = dict(attrs)
        ours = (told.get("src") or "").startswith("/static/") or told.get("type") == "application/json"
        if (tag in {"script", "img", "iframe", "object"} and not ours) or any(name.startswith("on") for name in told):
            self.found.append(f"{tag} {told}")
        for name in ("href", "src", "action"):
            if told.get(name) and not str(told[name]).startswith(("/", "#", "?")):
                self.found.append(f"{tag} {told}")


def tell(home: Path) -> Night:
    """A night in which everybody who could has written markup: inventory, models, people, executor, channels."""
    night = make_night(home)
    at = ASOF + timedelta(hours=1)
    ask, auto = Autonomy.APPROVE, Autonomy.AUTO
    kinds = ((Action.EVACUATE, ask), (Action.LIVE_MIGRATE, auto), (Action.SELF_SERVICE, auto))
    proposals = []
    for host, (action, autonomy) in zip(HOSTS, kinds, strict=True):
        plans = tuple(VmPlan(f"{host}-vm{n}", action, "r20", 1.0, ENDS) for n in range(2))
        plain = proposal(host, action, autonomy, vms=plans, not_before=at, expires_at=ENDS)
        proposals.append(replace(hostile(plain), proposal_id=f"id-{action}", asof_at=at, incident_id="inc"))
    breaker = hostile(Breaker("rack r12", 3, 12, 2, "too many"))
    incident = replace(hostile(hostile_incident()), incident_id="inc")
    with night.ledger() as ledger:
        ledger.record(Verdict(at, SCRIPT, SCRIPT, tuple(proposals), {SCRIPT: 3}, (breaker,), (incident,)), at)
        orders = {each.order.action: each.order for each in ledger.orders() if SCRIPT in each.order.host_id}
        moved, offered = orders[Action.LIVE_MIGRATE], orders[Action.SELF_SERVICE]
        for order in (moved, offered):
            ledger.mark_sent(order.order_id, at)
        outcome = VmOutcome(moved.vms[0].vm_id, "failed", SCRIPT, 1.0, interrupted=True)
        ledger.apply(Answer(moved.order_id, OrderState.FAILED, at, SCRIPT, (outcome,), None))
        ledger.apply(Answer(offered.order_id, OrderState.ACCEPTED, at))
        ledger.snooze("id-evacuate", SCRIPT, SCRIPT, at)
        ledger.opt_out(OptOut("o1", "host", HOSTS[0], (Action.EVACUATE,), SCRIPT, SCRIPT, at, ENDS))
        ledger.stop(SCRIPT, SCRIPT, at)
        ledger.notices.hold([Notice("approval", Severity.PAGE, SCRIPT, SCRIPT, "/", ((SCRIPT, ""),))], bool, at)
        ledger.notices.claim(SCRIPT, Severity, at, timedelta(minutes=5))
        ledger.notices.failed(SCRIPT, SCRIPT, NOW)
    return night


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """Somebody of a hostile name who may decide, an hour after."""
    night = tell(tmp_path_factory.mktemp("hostile"))
    client = night.client(NOW)
    Browser(client).log_in(token(night, name=SCRIPT))
    return client


HOST = quote(HOSTS[0], safe="")
PAGES = (
    "/",
    "/?show=approval",
    "/proposals/id-evacuate",
    "/proposals/id-live_migrate",
    "/proposals/id-self_service",
    "/incidents/inc",
    f"/hosts/{HOST}",
    "/fleet",
    "/maintenance",
    f"/maintenance?owner={quote(SCRIPT)}&host={quote(SCRIPT)}",
    "/audit",
    f"/audit?person={quote(SCRIPT)}&host={quote(SCRIPT)}",
)
ECHOES = (f"/hosts/{quote(SCRIPT, safe='')}", f"/maintenance?after={quote(SCRIPT)}")
"""Refusals that say what was asked for."""
ERRORS = (
    f"/proposals/{quote(SCRIPT, safe='')}",
    f"/incidents/{quote(SCRIPT, safe='')}",
    f"/login?next={quote(SCRIPT)}",
    f"/?on={quote(SCRIPT)}",
)


@pytest.mark.parametrize("path", [*PAGES, *ECHOES])
def test_markup_is_only_text(client: TestClient, path: str) -> None:
    """Nothing on the page runs, loads or leads elsewhere, and what was written is there to be read."""
    page = client.get(path).text
    assert Unsafe(page).found == []
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("path", ERRORS)
def test_markup_in_an_address_does_nothing(client: TestClient, path: str) -> None:
    """An address that somebody was sent runs nothing either."""
    assert Unsafe(client.get(path).text).found == []


@pytest.mark.slow
def test_a_browser_runs_nothing_of_it(opened: "Opened", tmp_path: Path) -> None:
    """In a real browser no page has a word on its console, asks anybody else, or is renamed."""
    night = tell(tmp_path)
    with served(night, NOW) as address, looking(opened, address, PHONE) as page:
        log_in(page, address, token(night, name=SCRIPT))
        for path in PAGES:
            page.goto(address + path)
            assert page.title() != "owned"
