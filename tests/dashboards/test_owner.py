"""Those who speak for owners of VMs: they see their own VMs and start what these were offered, and nothing else."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from httpx import Response

from dashboards.access import cookies
from dashboards.access.gate import SAFE
from dashboards.app import create_app
from data.contracts import ENTITIES, HOSTS, VMS
from data.warehouse import Warehouse
from decisions.access.values import Person, Role
from pipelines.cli import main
from pipelines.settings import ReviewSettings, Settings
from tests.dashboards.conftest import ASOF, BASE, GIB, SCRIPT, Night
from tests.dashboards.people import Browser, bearer, token
from tests.dashboards.test_windows import PATIENT, WHY, Offered, offer, press
from tests.data.simulator.worlds import host, vm, world

OPEN = {
    "/login": "whoever is nobody yet",
    "/logout": "ends a session of theirs",
    "/healthz": "says nothing of the fleet",
    "/openapi.json": "says nothing of the fleet",
    "/static": "style sheets and scripts",
    "/": "leads to the page that is theirs",
    "/maintenance": "their VMs",
    "/maintenance/start": "starts one of theirs",
    "/v1/vms": "their VMs",
    "/v1/orders/{order_id}/starts": "starts one of theirs",
}
"""All that is not shut to them, and why."""


def routes() -> list[tuple[str, str]]:
    """Every method and address that the app answers to, whoever added it."""
    app = create_app(Path("nowhere"), "sqlite:///nowhere/ledger.db")
    found = [(each, method) for each in app.routes for method in getattr(each, "methods", None) or ("GET",)]
    return sorted((method, str(getattr(each, "path", ""))) for each, method in found)


SHUT = [(method, path) for method, path in routes() if path not in OPEN]


def own(home: Path, owners: Mapping[str, str], at: datetime = ASOF - timedelta(days=30)) -> None:
    """Have the inventory tell whose VMs are whose."""
    row = {"cluster": "c1", "zone": "z1", "rack": "r1", "fault_domain": 0, "hardware_model": "HX-2", "firmware": "1"}
    size = {"vcpus": 4, "memory_bytes": GIB, "simulated": True}
    hosts = [{"host_id": name, "state": "in_service", **row, **size} for name in "ab"]
    kind = {"series": "D", "dirty_bytes_per_second": 1, "availability_set": None, "live_migratable": False, **size}
    vms = [{"vm_id": name, "host_id": "a", "owner": owner, **kind} for name, owner in owners.items()]
    with Warehouse.open(home) as warehouse:
        told = ((hosts, HOSTS), (vms, VMS), ([], ENTITIES))
        warehouse.put_inventory(*(pa.Table.from_pylist(rows, schema) for rows, schema in told), at)
        warehouse.publish()


@dataclass(frozen=True)
class Speaker:
    """Somebody who speaks for owners, in a browser and by token, where v1 is team-a's and v2 is team-b's."""

    offered: Offered
    client: TestClient
    secret: str

    def get(self, path: str) -> Response:
        """What the browser is told."""
        return self.client.get(path, follow_redirects=False)

    def vms(self) -> list[str]:
        """Whose VMs programs are told."""
        found = self.client.get("/v1/vms", headers=bearer(self.secret)).json()["vms"]
        return [each["vm_id"] for each in found]

    def start(self, vm_id: str, *, by_form: bool, order_id: str | None = None, **changes: str) -> Response:
        """Ask for the VM to begin, as a person or as a program."""
        held = order_id or self.offered.order_id
        if not by_form:
            body = {"vm_id": vm_id, "reason": WHY}
            return self.client.post(f"/v1/orders/{held}/starts", json=body, headers=bearer(self.secret))
        csrf = cookies.csrf(self.client.cookies[cookies.SESSION])
        sent = {"csrf": csrf, "order_id": held, "vm_id": vm_id, "reason": WHY} | changes
        return self.client.post("/maintenance/start", data=sent, follow_redirects=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Offered:
    """An order with a window for each of two VMs, of two owners, at an executor; for tests that only read."""
    home = tmp_path_factory.mktemp("owned")
    hosts, vms = [host("a"), host("b", 1)], [vm("v1", "a", live=False), vm("v2", "a", live=False)]
    world(hosts, vms, path=home / "world.db", spec=PATIENT).close()
    own(home, {"v1": "team-a", "v2": "team-b", "v3": "team-a"})
    return offer(Night(home), Settings(home=home, review=ReviewSettings(authentication="required")))


@pytest.fixture
def offered(made: Offered, home: Path) -> Offered:
    """A copy, for tests that write."""
    shutil.copytree(made.night.home, home)
    return Offered(Night(home), made.settings.model_copy(update={"home": home}), made.order_id)


def speaker(offered: Offered, owners: tuple[str, ...] = ("team-a",), role: Role = Role.OWNER) -> Speaker:
    """Somebody who speaks for the owners, logged in."""
    secret = token(offered.night, "anna", role, owners=owners)
    client = offered.client()
    Browser(client).log_in(secret)
    return Speaker(offered, client, secret)


@pytest.fixture
def anna(offered: Offered) -> Iterator[Speaker]:
    """Somebody who speaks for team-a alone."""
    found = speaker(offered)
    with found.client:
        yield found


@pytest.fixture(scope="module")
def reader(made: Offered) -> Iterator[Speaker]:
    """The same, for tests that only read."""
    found = speaker(made)
    with found.client:
        yield found


@pytest.mark.parametrize(("method", "path"), SHUT)
def test_every_route_is_shut_that_does_not_say_otherwise(reader: Speaker, method: str, path: str) -> None:
    """Queue, decisions, hosts, fleet, audit, metrics: by token and by cookie it is 403, whether it is there or not."""
    csrf = {"csrf": cookies.csrf(reader.client.cookies[cookies.SESSION])}
    for name in ("a", "id-a", reader.offered.order_id, "nope"):
        route = re.sub(r"{[^}]*}", name, path)
        by_token = reader.client.request(method, route, headers=bearer(reader.secret))
        by_cookie = reader.client.request(method, route, data=csrf if method not in SAFE else None)
        for answer in (by_token, by_cookie):
            assert answer.status_code == 403, answer.text
            assert "anna sees the VMs of team-a, and only those" in answer.text
            problem = answer.headers["content-type"] == "application/problem+json"
            assert problem == path.startswith("/v1/")


def test_what_is_open_to_owners_is_named_here() -> None:
    """Whoever opens another route says so in this file, and what is shut is most of what there is."""
    assert {path for _, path in routes()} >= OPEN.keys()
    assert len(SHUT) > 20


def test_a_new_route_is_shut_to_owners(offered: Offered) -> None:
    """A route that somebody adds and does not think of owners is refused to them, and to nobody else."""
    app = create_app(offered.night.home, offered.night.url)
    for add in (app.get, app.post):
        add("/v1/new")(lambda: "all of the fleet")
    with TestClient(app, base_url=BASE) as client:
        for method, may in (("GET", Role.VIEWER), ("POST", Role.OPERATOR)):
            owner = bearer(token(offered.night, role=Role.OWNER, owners=("team-a",)))
            assert client.request(method, "/v1/new", headers=owner).status_code == 403
            assert client.request(method, "/v1/new", headers=bearer(token(offered.night, role=may))).status_code == 200
        speaks = bearer(token(offered.night, role=Role.VIEWER, owners=("team-a",)))
        assert client.post("/v1/new", headers=speaks).status_code == 403


def test_the_page_is_about_their_vms_and_leads_nowhere_else(reader: Speaker) -> None:
    """What is offered until when and what was chosen, with a form; no word of others, no link that would be refused."""
    page = reader.get("/maintenance").text
    assert "You may pick the moment until <b>20:00 UTC" in page
    assert page.count("Start VM ") == page.count('id="vm-') == 1
    assert "v2" not in page
    assert "team-b" not in page
    assert "anna" in page
    assert "for team-a" in page
    links = {link for link in page.split('href="')[1:] if not link.startswith("/static/")}
    assert {reader.get(link.partition('"')[0].replace("&amp;", "&")).status_code for link in links} <= {200, 303}


def test_the_api_tells_the_same(reader: Speaker) -> None:
    """Those VMs, by token and by cookie; of another owner, there or not, nothing is told but that."""
    assert reader.vms() == ["v1"]
    assert [each["vm_id"] for each in reader.get("/v1/vms?owner=team-a&host=a").json()["vms"]] == ["v1"]
    for path in ("/v1/vms", "/maintenance"):
        answers = {name: reader.get(f"{path}?owner={name}") for name in ("team-b", "nobody")}
        assert {each.status_code for each in answers.values()} == {403}
        assert answers["team-b"].text.replace("team-b", "nobody") == answers["nobody"].text
    assert reader.get("/v1/vms?owner=").status_code == 403
    assert reader.get("/v1/vms?owner=team-b").headers["content-type"] == "application/problem+json"


def test_a_cursor_shows_no_other_vm(reader: Speaker) -> None:
    """Whatever place in the list is asked for, it is a list of theirs."""
    cursor = f"{(ASOF + timedelta(days=1)).isoformat()}~x~y"
    assert [each["vm_id"] for each in reader.client.get("/v1/vms", params={"after": cursor}).json()["vms"]] == ["v1"]


@pytest.mark.parametrize("by_form", [True, False], ids=["page", "API"])
def test_they_start_what_they_were_offered(anna: Speaker, by_form: bool) -> None:
    """Their VM begins now and the other waits; the history has it under their name."""
    answer = anna.start("v1", by_form=by_form)
    assert answer.status_code == (303 if by_form else 201), answer.text
    assert anna.offered.fates() == {"v1": "chosen"}
    assert told(anna.offered) == [("vm_start", "anna", WHY)]
    page = anna.get(answer.headers["location"] if by_form else "/maintenance").text
    assert f"Chosen: to start it, at 2026-03-03 01:00 UTC (anna: {WHY})" in page
    assert ("anna has started it" in page) == by_form


def test_the_button_on_the_page_starts_it(anna: Speaker) -> None:
    """The form as it stands on the page does, with the person's own token in it."""
    answer = press(Browser(anna.client), anna.get("/maintenance").text, host="", reason="nobody works now")
    assert (answer.status_code, answer.headers["location"]) == (303, "/maintenance?started=v1")
    assert anna.offered.fates() == {"v1": "chosen"}


@pytest.mark.parametrize("by_form", [True, False], ids=["page", "API"])
def test_another_owners_vm_is_as_good_as_none(anna: Speaker, by_form: bool) -> None:
    """Nor is one's own in another order: not to be told from one that there is not; nothing begins."""
    asked = [("v2", None), ("v3", None), ("v9", None), ("v1", "o9"), ("v2", "o9")]
    answers = [anna.start(vm_id, by_form=by_form, order_id=order_id) for vm_id, order_id in asked]
    assert [each.status_code for each in answers] == [404] * 5
    known = [
        each.text.replace(f"VM {vm_id}", "VM").replace(order_id or anna.offered.order_id, "ORDER")
        for each, (vm_id, order_id) in zip(answers, asked, strict=True)
    ]
    assert len(set(known)) == 1
    assert anna.offered.fates() == {}
    assert told(anna.offered) == []


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"csrf": "forged"}, 403, "opened before you logged in anew"),
        ({"owner": "team-b"}, 403, "and only those"),
        ({"reason": " "}, 422, "takes a reason"),
        ({"host": "b", "reason": ""}, 422, "takes a reason"),
    ],
)
def test_what_the_form_is_refused_shows_no_more(anna: Speaker, changes: dict[str, str], status: int, says: str) -> None:
    """A form that is not ours, another owner's page, no reason: nothing begins, and the page back is still theirs."""
    answer = anna.start("v1", by_form=True, **changes)
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert "v2" not in answer.text
    assert anna.offered.fates() == {}


def test_a_vm_that_changed_hands_is_its_new_owners_alone(offered: Offered) -> None:
    """Who had it before neither sees nor starts it, who has it now does both."""
    own(offered.night.home, {"v1": "team-b", "v2": "team-a"}, ASOF - timedelta(days=1))
    anna = speaker(offered)
    assert anna.vms() == ["v2"]
    assert anna.start("v1", by_form=False).status_code == 404
    assert anna.start("v2", by_form=False).status_code == 201


def test_one_may_speak_for_several_owners(offered: Offered) -> None:
    """The VMs of all of them, or of the one that is asked for."""
    both = speaker(offered, ("team-a", "team-b"))
    assert both.vms() == ["v1", "v2"]
    page = both.get("/maintenance?owner=team-b").text
    assert "<option selected>team-b</option>" in page
    assert page.count("Start VM ") == 1


@pytest.mark.parametrize("owners", [(), ("nobody",), (SCRIPT,)])
def test_who_speaks_for_nobody_sees_nothing(offered: Offered, owners: tuple[str, ...]) -> None:
    """An owner of no VM, or none at all, is not everybody; and a name is only text."""
    lost = speaker(offered, owners)
    assert lost.vms() == []
    page = lost.get("/maintenance").text
    assert "No order of the last 30 days was about a VM of yours." in page
    assert SCRIPT not in page
    assert lost.start("v1", by_form=True).status_code in {403, 404}


def test_without_an_inventory_nothing_is_theirs(offered: Offered) -> None:
    """Where it is not known whose VM it is, it is not shown, and not started."""
    anna = speaker(offered)
    (offered.night.home / "published.duckdb").unlink()
    assert anna.vms() == []
    assert anna.start("v1", by_form=False).status_code == 404


@pytest.mark.parametrize(("vm_id", "status"), [("v1", 201), ("v2", 403)])
def test_a_viewer_may_speak_for_owners(offered: Offered, vm_id: str, status: int) -> None:
    """Who looks at everything starts what those owners were offered, and nothing else."""
    viewer = speaker(offered, role=Role.VIEWER)
    assert viewer.vms() == ["v1", "v2"]
    assert viewer.get("/").status_code == 200
    assert viewer.get("/maintenance").text.count("Start VM ") == 1
    assert viewer.start(vm_id, by_form=False).status_code == status
    assert viewer.client.post(
        f"/v1/orders/{offered.order_id}/cancellation", json={"reason": WHY}, headers=bearer(viewer.secret)
    ).status_code == (403)


def test_the_login_leads_to_their_page(offered: Offered) -> None:
    """The front page is another's, so they come to theirs, and a refusal leads back to it."""
    anna = speaker(offered)
    assert (anna.get("/").status_code, anna.get("/").headers["location"]) == (303, "/maintenance")
    refused = anna.get("/fleet").text
    assert "anna sees the VMs of team-a, and only those" in refused
    assert 'href="/maintenance">Back to your VMs' in refused
    assert 'href="/audit"' not in refused


def test_what_one_may_open_is_on_nobody_elses_page(offered: Offered) -> None:
    """Pages are made once for all who ask, and each has its asker's links: an owner's page leaves no trace."""
    anna, olga = speaker(offered), speaker(offered, (), Role.OPERATOR)
    for _ in range(2):
        assert 'href="/audit"' not in anna.get("/maintenance").text
        page = olga.get("/maintenance").text
        assert 'href="/audit"' in page
        assert page.count("Start VM ") == 2
        assert "at its owner's word" in unescape(page)


def test_what_can_be_started_comes_first(offered: Offered) -> None:
    """Of an owner's VMs the one that waits for a word is before newer orders that do not."""
    both = speaker(offered, ("team-a", "team-b"))
    assert both.start("v1", by_form=False).status_code == 201
    page = both.get("/maintenance").text
    assert page.index('id="vm-v2') < page.index('id="vm-v1')
    assert page.index("You may pick the moment until") < page.index('id="vm-v1')
    assert page.count("You may pick the moment until") == 1


def test_a_session_is_bounded_like_its_token(offered: Offered) -> None:
    """The cookie knows the owners after the token is out of sight, and the history says for whom it spoke."""
    speaker(offered, ("team-b",))
    with offered.client() as client:
        entries = client.get("/v1/audit", headers=bearer(token(offered.night, "eva"))).json()["entries"]
    bodies = [json.loads(each["body"]) for each in entries if each["kind"] in {"logged_in", "token_created"}]
    assert [each["owners"] for each in bodies[:3]] == [[], ["team-b"], ["team-b"]]


def test_a_role_that_sees_least_is_below_all_others() -> None:
    """Owners decide nothing and look at nothing else; whoever looks or decides does so as before."""
    assert [role.looks for role in Role] == [False, True, True, True]
    assert not Person("o", Role.OWNER, owners=("team-a",)).may_decide("c7")
    assert not Person("v", Role.VIEWER).speaks_for(None)


def test_a_token_for_owners_is_made_by_command(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It names the owners, which none of that role goes without; where everybody reads everything, that is said."""
    monkeypatch.setenv("FORESHOCK_HOME", str(home))
    asked = ["tokens", "create", "anna", "--role", "owner", "--days", "9"]
    named = ["--owner", "team-a", "--owner", "team-b"]
    assert main([*asked, *named, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["owners"] == ["team-a", "team-b"]
    assert main([*asked, *named]) == 0
    assert "review.authentication" in capfd.readouterr().out
    monkeypatch.setenv("FORESHOCK__REVIEW__AUTHENTICATION", "required")
    assert main([*asked, *named]) == 0
    assert "review.authentication" not in capfd.readouterr().out
    assert main(asked) == main([*asked, "--owner", " "]) == 2
    assert "--owner OWNER" in capfd.readouterr().err


def told(offered: Offered) -> list[tuple[str, str, str]]:
    """Who wanted what started, the newest first, as an operator reads it."""
    with offered.client() as client:
        entries = client.get("/v1/audit", headers=bearer(token(offered.night))).json()["entries"]
    return [(each["kind"], each["who"], each["why"]) for each in entries if each["kind"].startswith("vm_start")]
