"""An executor that carries orders out itself, on a cloud in memory, at a clock that the test sets."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from data.errors import ExecutorError, Refused
from decisions.domain import Action, Answer, Change, Order, OrderState, VmPlan
from pipelines.cli import main
from pipelines.drivers import Impossible
from pipelines.executors import owners
from pipelines.executors.driven import Driven, Limits
from pipelines.executors.jobs import Jobs
from pipelines.executors.reference import at_work
from pipelines.executors.service import service_by
from tests.decisions.fleets import ASOF
from tests.pipelines.cloud import PAUSE, Cloud

BEGINS = ASOF + timedelta(minutes=15)
ENDS = ASOF + timedelta(hours=30)
KEY = b"a secret shared with the proxies"


def order(*vms: VmPlan, action: Action = Action.LIVE_MIGRATE, remedy: Change | None = None) -> Order:
    """An order about host h1."""
    return Order("o1", "p1", "h1", action, vms, BEGINS, ENDS, ("it fails",), "policy", "disk-1", remedy)


def plan(vm_id: str, technique: Action = Action.LIVE_MIGRATE, deadline: datetime | None = None) -> VmPlan:
    """To host h2."""
    return VmPlan(vm_id, technique, "h2", 12.0, deadline)


@dataclass
class Site:
    """An executor at work, its cloud and its clock."""

    folder: Path
    cloud: Cloud
    now: datetime = ASOF
    service: Callable[[Order], None] | None = None
    jobs: Jobs = field(init=False)
    executor: Driven = field(init=False)

    def __post_init__(self) -> None:
        """Begin."""
        self.restart()

    def restart(self) -> None:
        """A new process on the same memory."""
        self.jobs = Jobs(self.folder / "executor.db")
        limits = Limits(patience=timedelta(minutes=1))
        self.executor = Driven(self.cloud, self.jobs, clock=lambda: self.now, service=self.service, limits=limits)

    def at(self, when: datetime) -> Answer:
        """Where the order stands once the executor has worked at that moment."""
        self.now = when
        for _ in range(4):
            self.executor.tick()
        return self.executor.poll(["o1"], when)[0]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, Cloud({"v1": {"h1"}, "v2": {"h1"}, "v3": {"h1"}}))


def test_nothing_begins_before_its_moment(site: Site) -> None:
    """An accepted order waits for not_before; then its VMs move, their pause is told, and the host is empty."""
    assert site.executor.submit(order(*map(plan, ("v1", "v2", "v3")))).state is OrderState.ACCEPTED
    assert site.at(BEGINS - timedelta(seconds=1)).state is OrderState.ACCEPTED
    assert site.cloud.deeds == []
    told = site.at(BEGINS)
    assert (told.state, told.host_state) == (OrderState.COMPLETED, "empty")
    assert [(vm.result, vm.target_host_id, vm.pause_seconds) for vm in told.vms] == [("moved", "h2", PAUSE)] * 3
    assert site.cloud.closed == {"h1"}


def test_an_order_that_comes_twice_is_taken_once(site: Site) -> None:
    """The second submission gets the first answer, also after the order has ended, and nothing moves again."""
    first = site.executor.submit(order(plan("v1")))
    site.at(BEGINS)
    assert site.executor.submit(order(plan("v1"))) == first
    site.at(BEGINS)
    assert len(site.cloud.deeds) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda site: site.cloud.runs.update(v1={"h3"}), "VM v1 is not on host h1 but on h3"),
        (lambda site: site.cloud.__setattr__("pinned", {"v1": "it has a GPU"}), "cannot be moved live: it has a GPU"),
    ],
)
def test_what_no_longer_fits_is_refused(site: Site, change: Callable[[Site], None], says: str) -> None:
    """A VM that has left, or cannot move live, refuses the order: when it comes, and again when it would begin."""
    site.executor.submit(order(plan("v1")))
    change(site)
    late = site.executor.submit(replace(order(plan("v1")), order_id="o2"))
    assert (late.state, says in str(late.reason)) == (OrderState.REFUSED, True) or "open order" in str(late.reason)
    told = site.at(BEGINS)
    assert told.state is OrderState.REFUSED
    assert says in str(told.reason)
    assert site.cloud.deeds == []


def test_a_vm_has_one_order_at_a_time(site: Site) -> None:
    """A second order about a VM that waits for its first is refused, and names the first."""
    site.executor.submit(order(plan("v1")))
    second = site.executor.submit(replace(order(plan("v1")), order_id="o2"))
    assert (second.state, second.reason) == (OrderState.REFUSED, "VM v1 belongs to another open order, o1")


def test_an_order_that_could_not_begin_in_time_expires(site: Site) -> None:
    """After expires_at nothing begins, however the executor was held up; one that comes late is expired at once."""
    site.executor.submit(order(plan("v1")))
    assert site.at(ENDS + timedelta(seconds=1)).state is OrderState.EXPIRED
    assert site.executor.submit(replace(order(plan("v1")), order_id="o2")).state is OrderState.EXPIRED
    assert site.cloud.deeds == []


def test_what_the_back_end_refuses_ends_as_refused_in_its_words(site: Site) -> None:
    """If no VM left because the back end said no, the order is refused; if some did, it failed; both say why."""
    site.cloud.refuses = {"v1": "No valid host was found"}
    site.executor.submit(order(plan("v1")))
    told = site.at(BEGINS)
    assert (told.state, told.vms[0].result) == (OrderState.REFUSED, "stayed")
    assert "No valid host was found" in str(told.reason)


def test_a_partial_success_is_a_failure_that_says_how_far_it_came(site: Site) -> None:
    """One VM moved and one did not: failed, with each VM's fate, and the host takes no new VMs."""
    site.cloud.refuses = {"v1": "the target is full"}
    site.executor.submit(order(plan("v1"), plan("v2")))
    told = site.at(BEGINS)
    assert (told.state, told.host_state) == (OrderState.FAILED, "blocked")
    assert [vm.result for vm in told.vms] == ["stayed", "moved"]
    assert told.reason == "1 of 2 VMs did not leave. VM v1: the target is full"


def test_an_order_called_back_in_flight_stops_what_it_can(site: Site) -> None:
    """The move under way is aborted, those that wait never begin, and the host opens again."""
    site.cloud.during = lambda _: site.executor.cancel("o1", "the host recovered") and None
    site.executor.submit(order(plan("v1"), plan("v2"), plan("v3")))
    told = site.at(BEGINS)
    assert (told.state, told.reason) == (OrderState.CANCELLED, "the host recovered")
    assert {vm.result for vm in told.vms} == {"stayed"}
    assert site.cloud.closed == set()


def test_an_order_called_back_before_it_begins_never_does(site: Site) -> None:
    """Cancelled at once; an order that was never submitted cannot be."""
    site.executor.submit(order(plan("v1")))
    assert site.executor.cancel("o1", "vetoed").state is OrderState.CANCELLED
    assert site.at(BEGINS).state is OrderState.CANCELLED
    assert site.cloud.deeds == []
    with pytest.raises(ExecutorError, match="never submitted"):
        site.executor.cancel("o9", "vetoed")


def test_an_owner_picks_the_moment(site: Site) -> None:
    """Under self-service the VM waits for its deadline, unless its owner starts the event: then it is theirs."""
    site.cloud.pinned = {"v1": "it has a GPU", "v2": "it has a GPU"}
    deadline = ASOF + timedelta(days=2)
    asked = order(
        plan("v1", Action.SELF_SERVICE, deadline), plan("v2", Action.SELF_SERVICE, deadline), action=Action.SELF_SERVICE
    )
    site.executor.submit(asked)
    assert site.at(ASOF + timedelta(hours=3)).state is OrderState.STARTED
    assert site.cloud.deeds == []
    task = site.jobs.tasks("o1")[0]
    site.jobs.ask(task, site.now)
    assert [vm.result for vm in site.at(ASOF + timedelta(hours=3)).vms] == ["chosen"]
    told = site.at(deadline)
    assert [vm.result for vm in told.vms] == ["chosen", "redeployed"]
    assert told.state is OrderState.COMPLETED


def test_an_owner_may_start_sooner_than_the_order_says(site: Site) -> None:
    """A StartRequest before not_before moves that VM now; the others wait for the moment that they were told."""
    site.executor.submit(order(plan("v1"), plan("v2")))
    site.jobs.ask(site.jobs.tasks("o1")[0], site.now)
    assert site.at(ASOF + timedelta(minutes=1)).state is OrderState.STARTED
    assert site.cloud.deeds == [("v1", "h1", "h2")]
    assert site.at(BEGINS).state is OrderState.COMPLETED
    assert site.jobs.promises() == {"kept": 2, "broken": 0, "withdrawn": 0, "open": 0}


def test_a_person_starts_a_vm_in_its_owners_place(site: Site) -> None:
    """As if its owner had started the event: that VM goes now; a VM with nothing to come is refused."""
    site.cloud.pinned = {"v1": "it has a GPU", "v2": "it has a GPU"}
    deadline = ASOF + timedelta(days=2)
    plans = [plan(name, Action.SELF_SERVICE, deadline) for name in ("v1", "v2")]
    site.executor.submit(order(*plans, action=Action.SELF_SERVICE))
    with pytest.raises(ExecutorError, match="never submitted"):
        site.executor.start_vm("o9", "v1", "maria: its owner rang")
    assert site.executor.start_vm("o1", "v1", "maria: its owner rang").state is OrderState.ACCEPTED
    assert [vm.result for vm in site.at(BEGINS).vms] == ["chosen"]
    for vm_id in ("v1", "v3"):
        with pytest.raises(Refused, match=f"VM {vm_id} has nothing left to start"):
            site.executor.start_vm("o1", vm_id, "maria: its owner rang")
    assert site.at(BEGINS).state is OrderState.STARTED
    assert site.jobs.promises() == {"kept": 1, "broken": 0, "withdrawn": 0, "open": 1}


def test_a_dead_source_is_left_only_behind_its_fence(site: Site) -> None:
    """VMs of a host that does not answer wait until the host is surely off, and then start elsewhere."""
    site.cloud.dead = {"h1"}
    site.executor.submit(order(plan("v1", Action.EVACUATE), plan("v2", Action.EVACUATE), action=Action.EVACUATE))
    assert site.at(BEGINS).state is OrderState.STARTED
    site.cloud.fenced = {"h1"}
    told = site.at(BEGINS + timedelta(seconds=30))
    assert {vm.result for vm in told.vms} == {"redeployed"}
    assert site.cloud.runs["v1"] == {"h2"}


def test_a_vm_that_was_stopped_for_nothing_was_interrupted(site: Site) -> None:
    """A target that refuses a VM already stopped costs it a restart where it was; that is told, and not tried twice."""
    site.cloud.full = {"v1"}
    site.executor.submit(order(plan("v1", Action.EVACUATE), action=Action.EVACUATE))
    told = site.at(BEGINS)
    assert (told.state, told.host_state) == (OrderState.FAILED, "blocked")
    assert [(vm.result, vm.interrupted) for vm in told.vms] == [("failed", True)]
    assert "h2 is full; v1 was started again on h1" in str(told.reason)


def test_an_evacuation_starts_anew_what_will_not_move_live(site: Site) -> None:
    """Where the host must be emptied, a VM whose live move is refused is redeployed; and one of a dead host as well."""
    site.cloud.refuses = {"v1": "the link is too slow"}
    site.executor.submit(order(plan("v1"), plan("v2", Action.EVACUATE), action=Action.EVACUATE))
    assert [vm.result for vm in site.at(BEGINS).vms] == ["redeployed", "redeployed"]
    site.cloud.dead = site.cloud.fenced = {"h1"}
    dead = replace(order(plan("v3"), action=Action.EVACUATE), order_id="o2")
    assert site.executor.submit(dead).state is OrderState.ACCEPTED
    site.at(BEGINS)
    site.at(BEGINS + timedelta(minutes=2))
    assert site.cloud.runs["v3"] == {"h2"}


def test_a_vm_that_cannot_be_found_counts_as_lost(site: Site) -> None:
    """With its host out of reach and no fence, a VM is lost after the patience has run out, and the reason says so."""
    site.executor.submit(order(plan("v1", Action.EVACUATE), action=Action.EVACUATE))
    site.cloud.dead = {"h1"}
    site.at(BEGINS)
    site.at(BEGINS + timedelta(minutes=2))
    told = site.at(BEGINS + timedelta(minutes=4))
    assert (told.state, told.vms[0].result, told.vms[0].interrupted) == (OrderState.FAILED, "lost", True)
    assert "may still run v1" in str(told.reason)


def test_a_service_pauses_the_guests_and_wakes_them_whatever_happens(tmp_path: Path) -> None:
    """VMs stand still while their host is serviced, and go on afterwards, also when the service fails."""
    cloud = Cloud({"v1": {"h1"}})
    seen: list[set[str]] = []

    def service(asked: Order) -> None:
        seen.append(set(cloud.halted))
        if asked.order_id == "o2":
            msg = "the firmware would not load"
            raise Impossible(msg)

    site = Site(tmp_path, cloud, service=service)
    paused = order(plan("v1", Action.PRESERVE_MEMORY), action=Action.PRESERVE_MEMORY)
    site.executor.submit(paused)
    assert [vm.result for vm in site.at(BEGINS).vms] == ["paused"]
    site.executor.submit(replace(paused, order_id="o2"))
    site.at(BEGINS)
    told = site.executor.poll(["o2"], BEGINS)[0]
    assert (told.state, told.reason, seen) == (OrderState.FAILED, "the firmware would not load", [{"v1"}, {"v1"}])
    assert cloud.halted == set()


def test_a_service_that_nobody_saw_end_is_not_begun_again(tmp_path: Path) -> None:
    """An executor that died during a service wakes the guests, and says that it does not know whether it took place."""
    cloud, begun = Cloud({"v1": {"h1"}}), []

    def service(asked: Order) -> None:
        begun.append(asked.order_id)
        raise KeyboardInterrupt

    site = Site(tmp_path, cloud, service=service)
    cloud.step = lambda: None
    site.executor.submit(order(plan("v1", Action.PRESERVE_MEMORY), action=Action.PRESERVE_MEMORY))
    site.now = BEGINS
    woken, cloud.resume = cloud.resume, lambda _: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        site.executor.tick()
    cloud.resume = woken  # type: ignore[method-assign]
    site.restart()
    told = site.at(BEGINS)
    assert (told.state, begun, cloud.halted) == (OrderState.FAILED, ["o1"], set())
    assert "not known" in str(told.reason)


def test_a_host_that_is_to_be_serviced_empty_is_emptied_first(tmp_path: Path) -> None:
    """A remedy that needs the host empty runs once its VMs are gone."""
    cloud, seen = Cloud({"v1": {"h1"}}), []
    site = Site(tmp_path, cloud, service=lambda _: seen.append(sorted(cloud.runs["v1"])))
    change = Change("new firmware", "firmware", "1", "2")
    site.executor.submit(order(plan("v1"), remedy=change))
    assert site.at(BEGINS).state is OrderState.COMPLETED
    assert seen == [["h2"]]


def test_an_executor_that_died_asks_where_the_vm_is(site: Site) -> None:
    """A move whose end the executor did not live to see is found at its target, and not begun again."""

    def die(_: str) -> None:
        site.cloud.at_deed = lambda _: None
        site.cloud.step = lambda: (_ for _ in ()).throw(KeyboardInterrupt)

    site.cloud.at_deed = die
    site.executor.submit(order(plan("v1")))
    site.now = BEGINS
    with pytest.raises(KeyboardInterrupt):
        site.executor.tick()
    site.cloud.step = lambda: None
    site.restart()
    told = site.at(BEGINS)
    assert (told.state, told.vms[0].result, len(site.cloud.deeds)) == (OrderState.COMPLETED, "moved", 1)


def test_a_full_disk_does_not_end_the_work(site: Site) -> None:
    """What no driver and no rule foresees, such as a database that cannot be written once, is tried again."""
    over, faults = Event(), [sqlite3.OperationalError("database or disk is full")]

    def tick() -> None:
        if faults:
            raise faults.pop()
        site.executor.tick()
        over.set()

    site.executor.submit(order(plan("v1")))
    site.now = BEGINS
    at_work(tick, over, 0.001)
    assert site.cloud.deeds == [("v1", "h1", "h2")]


def ask(
    site: Site, method: str, vm_id: str, json: object = None, content: str | None = None, **changes: str
) -> tuple[int, dict[str, object]]:
    """What the owner's agent gets."""
    app = FastAPI()
    owners.serve(app, site.jobs, KEY, lambda: site.now)
    headers = {"Metadata": "true", "X-Instance-ID": vm_id, "X-Instance-ID-Signature": owners.signature(KEY, vm_id)}
    sent = {name: text.encode("latin-1") for name, text in {**headers, **changes}.items()}
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.request(method, owners.PATH, json=json, content=content, headers=sent)
        return answer.status_code, answer.json() if answer.status_code == 200 else {}


def test_an_owner_is_told_and_starts_the_event(site: Site) -> None:
    """The event says what, and when at the earliest; the document changes when it does; a start is heard."""
    site.cloud.pinned = {"v1": "it has a GPU"}
    deadline = ASOF + timedelta(days=2)
    site.executor.submit(order(plan("v1", Action.SELF_SERVICE, deadline), plan("v2"), action=Action.SELF_SERVICE))
    _, told = ask(site, "GET", "v1")
    (event,) = told["Events"]  # type: ignore[misc]
    assert (event["EventType"], event["EventStatus"], event["NotBefore"], event["Resources"]) == (
        "Redeploy",
        "Scheduled",
        "Tue, 03 Mar 2026 00:00:00 GMT",
        ["v1"],
    )
    assert ask(site, "GET", "v1")[1] == told
    assert ask(site, "GET", "v2")[1]["Events"][0]["EventType"] == "Freeze"  # type: ignore[index]
    assert ask(site, "GET", "v3")[1] == {"DocumentIncarnation": 0, "Events": []}
    assert ask(site, "POST", "v1", {"StartRequests": [{"EventId": event["EventId"]}]})[0] == 200
    site.at(BEGINS)
    after = ask(site, "GET", "v1")[1]
    assert after["Events"] == []
    assert int(str(after["DocumentIncarnation"])) > int(str(told["DocumentIncarnation"]))


def test_nobody_hears_or_starts_what_is_not_theirs(site: Site) -> None:
    """Without the header, with a wrong signature, or for another VM's event, nothing is told and nothing begins."""
    site.executor.submit(order(plan("v1"), plan("v2")))
    theirs = owners.event_id(site.jobs.tasks("o1")[0])
    assert ask(site, "GET", "v1", Metadata="")[0] != 200
    assert ask(site, "GET", "v1", **{"X-Instance-ID-Signature": "0" * 64})[0] != 200
    assert ask(site, "POST", "v2", {"StartRequests": [{"EventId": theirs}]})[0] != 200
    assert all(task.asked_at is None for task in site.jobs.tasks("o1"))


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain"])
def test_an_agent_need_not_call_its_body_json(site: Site, kind: str) -> None:
    """`curl -d` and `requests.post(data=...)`, as agents have them, call JSON a form; a start is heard all the same."""
    site.executor.submit(order(plan("v1")))
    wish = json.dumps({"DocumentIncarnation": 1, "StartRequests": [{"EventId": owners.event_id_of("o1", "v1")}]})
    assert ask(site, "POST", "v1", content=wish, **{"Content-Type": kind})[0] == 200
    assert site.jobs.tasks("o1")[0].asked_at == site.now


def test_a_vm_may_be_called_by_any_name(site: Site) -> None:
    """A proxy signs the bytes of a name that is not ASCII and sends them as they are; the VM hears of its event."""
    site.cloud.runs["vümlaut"] = {"h1"}
    site.executor.submit(order(plan("vümlaut")))
    name = {"X-Instance-ID": "vümlaut".encode().decode("latin-1")}
    status, told = ask(site, "GET", "vümlaut", **name)
    assert (status, len(told.get("Events", []))) == (200, 1)  # type: ignore[arg-type]


def test_a_told_owner_may_leave_until_the_notice_ends(site: Site) -> None:
    """A VM whose owner was told stays, unless its owner wants it started elsewhere before the order expires."""
    told = order(plan("v1", Action.NOTIFY), plan("v2", Action.NOTIFY), action=Action.NOTIFY)
    site.executor.submit(told)
    assert site.at(BEGINS).state is OrderState.COMPLETED
    site.jobs.ask(site.jobs.tasks("o1")[0], site.now)
    site.at(BEGINS + timedelta(hours=1))
    assert site.cloud.deeds == [("v1", "h1", "spare")]
    site.at(ENDS + timedelta(seconds=1))
    assert ask(site, "GET", "v2")[1]["Events"] == []


def test_an_abort_is_tried_as_soon_as_it_is_wanted(site: Site) -> None:
    """The stop of a move under way is set by the call that cancels, before anything else is waited for."""
    stops: list[Event] = []

    def during(stop: Event) -> None:
        stops.append(stop)
        site.executor.cancel("o1", "stop")
        assert stop.is_set()

    site.cloud.during = during
    site.executor.submit(order(plan("v1")))
    assert site.at(BEGINS).state is OrderState.CANCELLED
    assert len(stops) == 1


def test_a_person_lets_a_serviced_host_take_vms_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A host that an order emptied stays closed until somebody returns it, with a name and a reason; once is enough."""
    site.executor.submit(order(plan("v1"), plan("v2"), plan("v3")))
    site.at(BEGINS)
    assert site.jobs.closed("h1") == "o1"
    monkeypatch.setattr("pipelines.drivers.opened.opened", lambda _: site.cloud)
    monkeypatch.setenv("FORESHOCK_HOME", str(site.folder))
    back = ["hosts", "return", "h1", "--reason", "new drive", "--by", "ada", "--json"]
    assert main(back) == 0
    assert site.cloud.closed == set()
    assert json.loads(capsys.readouterr().out)["hosts"][0]["said"] == "ada: new drive"
    assert main(back) == 2
    assert "No order has closed host h1" in capsys.readouterr().err


def test_a_command_services_a_host(tmp_path: Path) -> None:
    """The command gets order, host, attribute and value; one that fails, or is not there, is told in its own words."""
    told = tmp_path / "told"
    change = Change("new firmware", "firmware", "1", "2")
    asked = order(remedy=change, action=Action.HOT_PATCH)
    service_by(["sh", "-c", 'echo "$@" > "$0"', str(told)])(asked)
    assert told.read_text(encoding="utf-8") == "o1 h1 firmware 2\n"
    with pytest.raises(Impossible, match="ended with 3: no such firmware"):
        service_by(["sh", "-c", "echo no such firmware >&2; exit 3"])(asked)
    with pytest.raises(Impossible, match="timed out"):
        service_by(["sh", "-c", "sleep 5"], timeout_seconds=0.05)(asked)
