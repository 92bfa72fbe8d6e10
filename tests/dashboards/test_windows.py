"""Starting what owners of VMs were offered: on the maintenance page, by the API, by command, to a real executor."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from httpx import Response

from dashboards.app import create_app
from data.simulator.motion import WorldSpec
from decisions.access.values import Role
from decisions.domain import Action, Autonomy, Verdict, VmPlan
from decisions.ledger.starts import Start
from pipelines import remote
from pipelines.cli import main
from pipelines.contract import signing
from pipelines.executors.opened import opened
from pipelines.settings import ExecutorSettings, Settings
from tests.dashboards.conftest import ASOF, BASE, SCRIPT, Night, proposal
from tests.dashboards.people import Browser, bearer, field, token
from tests.data.simulator.worlds import host, vm, world

NOW = ASOF + timedelta(hours=1)
ENDS = ASOF + timedelta(hours=20)
PATIENT = WorldSpec(live_failure_rate=0.0, offered_acting_share=0.0)
ROOT = Path(__file__).parents[2]
WHY = "its owner rang"


@dataclass(frozen=True)
class Offered:
    """A home in which an executor has an order, whose host's two VMs may be started by their owners until `ENDS`."""

    night: Night
    settings: Settings
    order_id: str

    def client(self) -> TestClient:
        """A browser without a screen, an hour after the order began."""
        app = create_app(self.night.home, self.night.url, clock=lambda: NOW, settings=self.settings)
        return TestClient(app, base_url=BASE, raise_server_exceptions=False)

    def served(self, *, headers: dict[str, str], **_: object) -> TestClient:
        """The same, in the place of a client that goes over the network."""
        client = self.client()
        client.headers.update(headers)
        return client

    def fates(self) -> dict[str, str]:
        """What the executor says has become of VMs by now."""
        with opened(self.settings, NOW) as executor:
            (answer,) = executor.poll([self.order_id], NOW)
        return {one.vm_id: one.result for one in answer.vms}

    def history(self) -> list[tuple[str, str | None, str | None]]:
        """Who wanted what started, the newest first."""
        with self.client() as client:
            entries = client.get("/v1/audit").json()["entries"]
        return [(each["kind"], each["who"], each["why"]) for each in entries if each["kind"].startswith("vm_start")]


def offer(night: Night, settings: Settings, *, sent: bool = True) -> Offered:
    """The home, with the order handed over to the executor of the settings."""
    plans = [VmPlan(name, Action.SELF_SERVICE, "b", 12.0, ENDS) for name in ("v1", "v2")]
    asked = replace(proposal("a", Action.SELF_SERVICE, Autonomy.AUTO), not_before=ASOF, vms=tuple(plans))
    with night.ledger() as ledger:
        ledger.record(Verdict(ASOF, "policy-7", "disk-4", (asked,), {}, ()), ASOF)
        (order,) = ledger.lease(ASOF, 10, 60) or (ledger.orders()[0].order,)
        if sent:
            with opened(settings, ASOF) as executor:
                ledger.apply(executor.submit(order))
    return Offered(night, settings, order.order_id)


@contextmanager
def served(home: Path) -> Iterator[str]:
    """The address of `foreshock executor` on the home, a process of its own."""
    command = "from pipelines.cli import main; raise SystemExit(main(['executor', '--port', '0', '--json']))"
    environment = {**os.environ, "FORESHOCK_HOME": str(home)}
    asked = [sys.executable, "-c", command]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


@pytest.fixture
def night(home: Path) -> Night:
    """A home with a simulated world and nothing decided yet."""
    home.mkdir()
    hosts, vms = [host("a"), host("b", 1)], [vm("v1", "a", live=False), vm("v2", "a", live=False)]
    world(hosts, vms, path=home / "world.db", spec=PATIENT).close()
    return Night(home)


@pytest.fixture(params=["simulated", pytest.param("webhook", marks=pytest.mark.slow)])
def offered(request: pytest.FixtureRequest, night: Night, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offered]:
    """What owners were offered, at the executor of this process and at `foreshock executor`."""
    if request.param == "simulated":
        yield offer(night, Settings(home=night.home, executor=ExecutorSettings(kind="simulated")))
        return
    monkeypatch.setenv(signing.SECRET, "not a secret, only as long as one")
    with served(night.home) as url:
        yield offer(night, Settings(home=night.home, executor=ExecutorSettings(kind="webhook", url=url)))


def press(browser: Browser, page: str, **changes: str) -> Response:
    """Send the first form of the page that starts a VM."""
    sent = {name: field(page, name) for name in ("csrf", "order_id", "vm_id")} | {"reason": WHY, "host": "a"}
    return browser.client.post("/maintenance/start", data=sent | changes, follow_redirects=False)


def test_a_person_starts_what_an_owner_was_offered(offered: Offered) -> None:
    """One form on the page: that VM begins now, the other waits; the page and the history say who let it, and why."""
    with offered.client() as client:
        browser = Browser(client)
        assert "Log in to start it" in client.get("/maintenance").text
        browser.log_in(token(offered.night))
        page = client.get("/maintenance").text
        assert page.count("Start VM ") == 2
        answer = press(browser, page)
        assert (answer.status_code, answer.headers["location"]) == (303, "/maintenance?host=a&started=v1")
        page = client.get(answer.headers["location"]).text
        told = {each["vm_id"]: each for each in client.get("/v1/vms").json()["vms"]}
    assert "maria has started it" in page
    assert f"Its owner chose to start it, at 2026-03-03 01:00 UTC (maria: {WHY})" in page
    assert page.count("Start VM ") == 1
    assert [(told[name]["startable"], told[name]["started_by"]) for name in ("v1", "v2")] == [
        (False, "maria"),
        (True, None),
    ]
    assert offered.fates() == {"v1": "chosen"}
    assert offered.history() == [("vm_start", "maria", WHY)]
    with offered.night.ledger() as ledger:
        assert ledger.verify().ok


def test_by_the_api_the_first_who_asks_is_named(offered: Offered) -> None:
    """Asked again, also by another, it is the same wish: nothing moves twice, and one record stands."""
    body = {"vm_id": "v1", "reason": WHY}
    with offered.client() as client:
        path = f"/v1/orders/{offered.order_id}/starts"
        first = client.post(path, json=body, headers=bearer(token(offered.night)))
        again = client.post(path, json=body, headers=bearer(token(offered.night, name="ana")))
    assert first.status_code == 201, first.text
    assert (first.json()["by"], first.json()["at"]) == ("maria", "2026-03-03T01:00:00Z")
    assert again.json() == first.json()
    assert offered.history() == [("vm_start", "maria", WHY)]


def test_the_last_vm_ends_the_order_before_its_window_does(offered: Offered) -> None:
    """When all owners have gone, nobody waits for the window's end."""
    with offered.client() as client:
        for name in ("v1", "v2"):
            body = {"vm_id": name, "reason": WHY}
            headers = bearer(token(offered.night))
            assert client.post(f"/v1/orders/{offered.order_id}/starts", json=body, headers=headers).is_success
    with opened(offered.settings, NOW) as executor:
        assert executor.poll([offered.order_id], NOW)[0].state == "completed"


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"reason": " "}, 422, "takes a reason"),
        ({"reason": "x" * 2_001}, 422, "at most 2000 characters"),
        ({"vm_id": "v9"}, 409, "offers no window for VM v9"),
        ({"order_id": "o9"}, 404, "There is no order o9"),
        ({"csrf": "forged"}, 403, "opened before you logged in anew"),
    ],
)
def test_what_cannot_be_started_is_said(night: Night, changes: dict[str, str], status: int, says: str) -> None:
    """No reason, no window, no such order, no form of ours: nothing begins, and what was typed is kept."""
    offered = offer(night, Settings(home=night.home))
    with offered.client() as client:
        browser = Browser(client)
        browser.log_in(token(night))
        answer = press(browser, client.get("/maintenance?host=a").text, **changes)
    assert (answer.status_code, says in answer.text) == (status, True), answer.text
    assert offered.fates() == {}
    assert offered.history() == []
    if status == 409:
        assert "Not started." in answer.text


def test_a_viewer_finds_no_button(night: Night) -> None:
    """Who may not decide sees the window and no form."""
    with offer(night, Settings(home=night.home)).client() as client:
        Browser(client).log_in(token(night, role=Role.VIEWER))
        page = client.get("/maintenance").text
    assert "Its owner may pick the moment until" in page
    assert "/maintenance/start" not in page


def test_before_the_executor_has_the_order_there_is_nothing_to_start(night: Night) -> None:
    """An order that was not handed over yet offers no button, and the API says why."""
    offered = offer(night, Settings(home=night.home), sent=False)
    with offered.client() as client:
        assert client.get("/v1/vms").json()["vms"][0]["startable"] is False
        body, headers = {"vm_id": "v1", "reason": WHY}, bearer(token(night))
        answer = client.post(f"/v1/orders/{offered.order_id}/starts", json=body, headers=headers)
    assert (answer.status_code, "not with the executor yet" in answer.json()["detail"]) == (409, True)


def test_nobody_starts_a_vm_while_all_action_is_stopped(night: Night) -> None:
    """Under the kill switch a start is refused with who threw it and why, before executor or history hear of it."""
    offered = offer(night, Settings(home=night.home, executor=ExecutorSettings(kind="simulated")))
    with night.ledger() as ledger:
        ledger.stop("ann", "the executor goes wrong", NOW)
    with offered.client() as client:
        body, headers = {"vm_id": "v1", "reason": WHY}, bearer(token(night))
        answer = client.post(f"/v1/orders/{offered.order_id}/starts", json=body, headers=headers)
    assert (answer.status_code, "ann has stopped all action" in answer.json()["detail"]) == (409, True)
    assert (offered.history(), offered.fates()) == ([], {})


def test_an_executor_that_is_down_leaves_the_button(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says what did not answer and keeps the reason; the history says that nothing began; later it goes."""
    monkeypatch.setenv(signing.SECRET, "not a secret, only as long as one")
    offered = offer(night, Settings(home=night.home, executor=ExecutorSettings(kind="simulated")))
    away = ExecutorSettings(kind="webhook", url="http://127.0.0.1:9", timeout_seconds=1)
    down = replace(offered, settings=Settings(home=night.home, executor=away))
    for site, status in ((down, 503), (offered, 303)):
        with site.client() as client:
            browser = Browser(client)
            browser.log_in(token(night))
            answer = press(browser, client.get("/maintenance").text)
        assert answer.status_code == status, answer.text
        if status == 503:
            assert "did not answer" in answer.text
            assert f">{WHY}</textarea>" in answer.text
    assert [kind for kind, _, _ in offered.history()] == ["vm_start", "vm_start_failed", "vm_start"]
    assert offered.fates() == {"v1": "chosen"}


def test_a_wish_that_the_executor_never_heard_is_repeated(night: Night) -> None:
    """Killed between the record and the executor: whoever asks again has it done, under the name of the first."""
    offered = offer(night, Settings(home=night.home))
    with night.ledger() as ledger:
        ledger.start_vm(Start(offered.order_id, "v1", "maria", WHY, NOW))
    with offered.client() as client:
        body, headers = {"vm_id": "v1", "reason": "still there"}, bearer(token(night, name="ana"))
        assert client.post(f"/v1/orders/{offered.order_id}/starts", json=body, headers=headers).json()["by"] == "maria"
    assert offered.fates() == {"v1": "chosen"}
    assert offered.history() == [("vm_start", "maria", WHY)]


def test_markup_in_a_reason_is_only_text(night: Night) -> None:
    """What was typed comes out inert, on the page that refuses it and on the one that tells it."""
    offered = offer(night, Settings(home=night.home))
    with offered.client() as client:
        browser = Browser(client)
        browser.log_in(token(night))
        page = client.get("/maintenance").text
        refused = press(browser, page, vm_id="v9", reason=SCRIPT).text
        press(browser, page, reason=SCRIPT)
        shown = client.get("/maintenance").text + client.get("/audit").text
    assert SCRIPT not in refused + shown
    assert shown.count("&lt;script&gt;document") >= 2


@pytest.mark.parametrize("way", ["here", "by the API"])
def test_a_command_does_the_same(
    night: Night, way: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`foreshock orders start-vm` lets the VM begin, in this home or through the review app under the token's name."""
    offered = offer(night, Settings(home=night.home))
    monkeypatch.setenv("FORESHOCK_HOME", str(night.home))
    asked = ["orders", "start-vm", offered.order_id, "v1", "--reason", WHY, "--json"]
    if way == "here":
        monkeypatch.setattr("pipelines.cycle.now_of", lambda _: NOW)
        asked += ["--by", "maria"]
    else:
        monkeypatch.setenv("FORESHOCK__REVIEW__URL", BASE)
        monkeypatch.setenv(remote.TOKEN, token(night))
        monkeypatch.setattr(httpx, "Client", offered.served)
    assert main(asked) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["by"], told["vm_id"]) == ("maria", "v1")
    assert offered.fates() == {"v1": "chosen"}
    assert offered.history() == [("vm_start", "maria", WHY)]
