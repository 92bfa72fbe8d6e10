"""The queue page: what an on-call engineer reads first, and what a hostile string cannot do."""

import hashlib
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from dashboards.ledger_view import LedgerView
from dashboards.pages import day_of
from data.snapshots import PUBLISHED
from data.warehouse import Warehouse
from decisions.domain import Action, Autonomy, Verdict
from tests.dashboards.conftest import ASOF, SCRIPT, Night, hostile_incident, prices, proposal, verdict


def card(page: str, host: str) -> str:
    """The proposal of the host, as text without tags."""
    found = re.search(rf'<article class="item [\w ]+" id="p-id-{host}">(.*?)</article>', page, re.DOTALL)
    assert found, f"{host} is not on the page"
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[1]))


@pytest.fixture(scope="module")
def page(client: TestClient) -> str:
    """The queue as HTML."""
    answer = client.get("/")
    assert answer.status_code == 200
    return answer.text


def test_a_proposal_says_what_when_why_and_what_else(page: str) -> None:
    """Host, place, action, start, expiry, risk, VMs and price stand in the card before anything is opened."""
    said = card(page, "r04-11")
    assert "rack r04 · zone z1" in said
    assert "Move its VMs away live" in said
    assert "04:00 UTC in 4 h" in said
    assert "Wed 4 Mar 06:00 UTC in 30 h" in said
    why = "because of 8 more pending sectors than a week ago and 2 uncorrectable errors reported on drive Z3-r04-11"
    assert f"31 % within 14 days, {why}" in said
    assert "10 VMs: 9 move live, 1 stays" in said
    assert "0.42 expected VM interruptions against 9.8 for doing nothing" in said
    so_far = "28 of 50 came true, 56 % (95 % interval 43 % to 69 %)"
    ahead = "of the next 20, about a month&#39;s, 6 to 16 will in 95 of 100 cases."
    assert f"Such calls {so_far}; {ahead}" in said
    assert "earned precision risks like this one come true in at least 12.0% of cases" in said


def test_the_most_urgent_comes_first(page: str) -> None:
    """What waits for a person is above what went wrong, what starts by itself, what is watched and what is over."""
    hosts = re.findall(r'id="p-id-(r\d\d-\d\d)"', page)
    assert hosts[:2] == ["r12-07", "r12-08"]
    assert hosts[2] == "r07-04"
    assert set(hosts[3:5]) == {"r04-11", "r05-02"}
    assert hosts[5:7] == ["r09-01", "r10-02"]
    assert set(hosts[7:]) == {"r06-03", "r08-05"}


@pytest.mark.parametrize(
    ("host", "word"),
    [
        ("r12-08", "needs approval"),
        ("r04-11", "automatic"),
        ("r05-02", "sent"),
        ("r06-03", "completed"),
        ("r07-04", "failed"),
        ("r09-01", "shown only"),
        ("r10-02", "watched"),
    ],
)
def test_each_state_has_its_word(page: str, host: str, word: str) -> None:
    """Where a proposal stands is a word or two at its head."""
    assert f"{word} " in card(page, host)


def test_what_became_of_the_vms_is_counted(page: str) -> None:
    """An order that ended says how many VMs moved and how many were interrupted."""
    assert "9 moved, 1 stayed; none interrupted, longest pause 1.2 s" in card(page, "r06-03")
    assert "1 failed; 1 VM interrupted" in card(page, "r07-04")


def test_the_commands_are_exact(page: str) -> None:
    """A waiting proposal shows what to type to approve, veto and put it off; a pending order how to cancel it."""
    assert "foreshock decisions approve id-r12-08 --reason" in card(page, "r12-08")
    assert "foreshock decisions veto id-r12-08 --reason" in card(page, "r12-08")
    assert "foreshock orders cancel" in card(page, "r04-11")
    assert "approve" not in card(page, "r06-03")


def test_the_fleet_stands_above_the_queue(page: str) -> None:
    """Open breakers, kill switch, telemetry, model, and that all of it is simulated, come before the first proposal."""
    head = page[: page.index("<article")]
    for said in ("simulated fleet", "Breaker open.", "Rack r12: 3 of 12", "to 00:00 UTC", "disk-4", "9 hosts, 90 VMs"):
        assert said in head
    assert "Kill switch is on" not in head


def test_unknown_is_never_shown_as_low(page: str) -> None:
    """A host of unknown risk says why it is unknown, and has no price."""
    said = card(page, "r09-01")
    assert "Unknown, which is not low: too little history for drive WD-9" in said
    assert "Not priced" in said


def test_stored_script_comes_out_inert(page: str) -> None:
    """Markup in serials, models, owners, reasons and guardrails is text on the page."""
    assert SCRIPT not in page
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") >= 5


def test_nothing_inline_and_nothing_from_elsewhere(page: str) -> None:
    """The page needs no inline style or script, and names no other host."""
    assert " style=" not in page
    assert "<style" not in page
    assert not re.search(r'(?:href|src|action)="(?:https?:)?//', page)


def test_the_kill_switch_is_on_top_and_holds_orders(night: Night) -> None:
    """Who stopped the fleet and why is the first thing on the page, and unsent orders say that they are held."""
    with night.ledger() as ledger:
        ledger.stop("maria", "rack r12 has lost cooling", ASOF)
    with night.client() as client:
        page = client.get("/").text
    assert page.index("Kill switch is on.") < page.index("Breaker open.")
    assert "maria stopped all action" in page
    assert "rack r12 has lost cooling" in page
    assert "held" in card(page, "r04-11")


def test_an_order_of_which_nothing_is_known_went_wrong(night: Night) -> None:
    """Where the executor's answer is of no use the order stands among what went wrong, and says why."""
    with night.ledger() as ledger:
        (order_id,) = [each.order.order_id for each in ledger.orders() if each.order.host_id == "r05-02"]
        ledger.bad_answer(order_id, "it tells of a VM elsewhere", ASOF)
    with night.client() as client:
        shown = client.get("/?show=wrong").text
        told = client.get("/v1/audit?host=r05-02").json()["entries"][0]
    assert "not heard of " in card(shown, "r05-02")
    assert "of no use: it tells of a VM elsewhere" in card(shown, "r05-02")
    assert f"foreshock orders cancel {order_id}" in card(shown, "r05-02")
    assert (told["what"], told["why"]) == ("The executor's answer is of no use", "it tells of a VM elsewhere")


def test_decisions_of_people_are_shown(night: Night) -> None:
    """An approval, a veto and a snooze carry the name and the reason of whoever said so."""
    with night.ledger() as ledger:
        ledger.approve("id-r12-08", "maria", "seen it before", ASOF)
        ledger.snooze("id-r12-07", "jo", "owner asked", ASOF, ASOF + timedelta(hours=2))
        ledger.veto("id-r10-02", "jo", "false alarm", ASOF)
    with night.client() as client:
        page = client.get("/").text
    assert "Approved by maria (seen it before)" in card(page, "r12-08")
    assert "Put off by jo at 00:00 UTC, until it changes, or 02:00 UTC: owner asked" in card(page, "r12-07")
    assert "Vetoed by jo" in card(page, "r10-02")


def test_a_night_can_be_chosen(night: Night) -> None:
    """A day shows the cycle that asked about its end; a day without one says so and offers the others."""
    later = ASOF + timedelta(days=1)
    with night.ledger() as ledger:
        ledger.record(Verdict(later, "policy-7", "disk-4", (), {}, ()), later)
    with night.client() as client:
        assert "Nothing is proposed" in client.get("/").text
        assert "id-r12-07" in client.get("/", params={"on": "2026-03-02"}).text
        nowhere = client.get("/", params={"on": "2026-01-01"}).text
    assert "No cycle asked about 2026-01-01" in nowhere
    assert 'href="/?on=2026-03-02"' in nowhere


def test_open_orders_of_other_nights_are_not_forgotten(night: Night) -> None:
    """The newest night names orders of earlier ones that have not ended."""
    later = ASOF + timedelta(days=1)
    with night.ledger() as ledger:
        ledger.record(Verdict(later, "policy-7", "disk-4", (), {}, ()), later)
    with night.client() as client:
        page = client.get("/").text
    assert "2 orders of other nights are still open" in page
    assert "r04-11" in page


def test_an_overdue_cycle_is_said(made: Night) -> None:
    """A newest cycle that is days old means that the nightly run does not run; old telemetry is said as well."""
    late = made.client(ASOF + timedelta(days=3))
    page = late.get("/").text
    assert "look at the nightly run" in page
    assert "Telemetry is stale." in page
    assert "expired" in card(page, "r12-08")


def test_a_long_part_is_cut_and_a_link_away(home: Path) -> None:
    """A thousand watched hosts do not bury the rest: some are shown, all of them behind a link, page by page."""
    (watched,) = (each for each in verdict().proposals if each.host_id == "r10-02")
    many = tuple(replace(watched, proposal_id=f"id-{n}", host_id=f"h{n}") for n in range(120))
    night = Night(home)
    with night.ledger() as ledger:
        ledger.record(replace(verdict(), proposals=many), ASOF)
    with night.client(ASOF) as client:
        page = client.get("/").text
        pages = [client.get("/", params={"show": "watching", "page": n}).text for n in (1, 2, 3, 4)]
    assert page.count("<article") == 10
    assert "Show the other 110 too" in page
    assert [each.count("<article") for each in pages] == [50, 50, 20, 0]
    assert len({host for each in pages for host in re.findall(r'id="p-id-(\d+)"', each)}) == 120
    assert 'href="/?show=watching&amp;page=3"' in pages[1]


def test_proposals_of_one_cause_stand_together(home: Path) -> None:
    """Hundreds of hosts behind one power feed are one group, with a link to all of them, beside what stands alone."""
    (plain,) = (each for each in verdict().proposals if each.host_id == "r12-08")
    cause = hostile_incident().incident_id
    many = [
        replace(plain, proposal_id=f"id-{n}", host_id=f"h{n}", incident_id=cause if n % 4 else None) for n in range(80)
    ]
    night = Night(home)
    with night.ledger() as ledger:
        ledger.record(replace(verdict(), proposals=tuple(many)), ASOF)
    with night.client(ASOF) as client:
        page = client.get("/").text
        whole = client.get("/", params={"show": "approval", "incident": cause, "page": 2}).text
    assert page.count("<article") == 3 + 19
    assert "60 hosts share this cause" in page
    assert f'href="/?show=approval&amp;incident={cause}"' in page
    assert whole.count("<article") == 10


@pytest.mark.parametrize("published", [False, True])
def test_emptiness_says_what_to_do_next(home: Path, published: bool) -> None:
    """Without a snapshot or without a cycle the page names the next command, and makes no ledger."""
    if published:
        with Warehouse.open(home) as warehouse:
            warehouse.publish()
    with Night(home).client() as client:
        page = client.get("/").text
    assert ("foreshock run" if published else "foreshock ingest") in page
    assert not (home / "ledger.db").exists()


def test_reading_changes_nothing(night: Night) -> None:
    """Whatever is asked, snapshot and ledger stay byte for byte as they were."""

    def content() -> list[str]:
        return [hashlib.sha256((night.home / name).read_bytes()).hexdigest() for name in ("ledger.db", PUBLISHED)]

    before = content()
    with night.client() as client:
        for path in ("/", "/v1/proposals", "/v1/proposals/id-r12-07", "/healthz"):
            assert client.get(path).status_code == 200
    assert content() == before


def test_a_writer_never_makes_a_reader_wait(night: Night) -> None:
    """While another process holds the warehouse's lock and writes to the ledger, the page answers."""
    with Warehouse.open(night.home), night.ledger() as ledger, night.client() as client:
        writer = ledger._engine.execution_options(writes=True).connect()
        with writer, writer.begin():
            writer.exec_driver_sql("update proposal set rank = rank")
            assert client.get("/").status_code == 200


def test_a_real_fleet_goes_by_the_wall_clock(home: Path) -> None:
    """Without simulated hosts, what is expired counts from now."""
    plain = tuple(replace(each, simulated=False) for each in verdict().proposals)
    with Night(home).ledger() as ledger:
        ledger.record(replace(verdict(), proposals=plain), ASOF)
    with Night(home).client() as client:
        standing = client.get("/v1/proposals").json()["standing"]
    assert standing["clock"] == "wall"
    assert abs(datetime.fromisoformat(standing["now"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_automatic_means_that_policy_allowed_it(page: str) -> None:
    """An order that nobody approved says that policy did."""
    assert any(each.autonomy is Autonomy.AUTO for each in verdict().proposals if each.host_id == "r04-11")
    assert "Policy lets this happen by itself" in card(page, "r04-11")


def test_the_ledger_of_a_newer_program_is_refused_in_words(night: Night) -> None:
    """A ledger that this program does not know is an error with a next step, not a stack trace."""
    with night.ledger() as ledger, ledger._engine.begin() as con:
        con.exec_driver_sql("update alembic_version set version_num = '9999'")
    with night.client() as client:
        answer = client.get("/")
    assert answer.status_code == 503
    assert "version 9999" in answer.text


def test_the_day_is_the_one_that_was_asked_about() -> None:
    """A question about 2 March is asked at the midnight that ends it."""
    assert day_of(ASOF) == date(2026, 3, 2)


def test_the_ledger_is_opened_to_read_only(made: Night) -> None:
    """The page's own connection refuses to write."""
    with LedgerView(made.url).open() as book:
        assert book is not None
        with pytest.raises(OperationalError, match="readonly"):
            book.con.exec_driver_sql("delete from proposal")


def test_an_action_that_was_drawn_says_so_and_what_it_would_be(night: Night) -> None:
    """On the queue and on its own page: an experiment drew it, and not that nothing that is allowed costs less."""
    at, chances = ASOF + timedelta(hours=1), {Action.MONITOR: 0.25, Action.BLOCK_PLACEMENTS: 0.75}
    odds = {"chances": chances, "propensity": 0.25, "prices": prices(2.0, 0.2), "asof_at": at}
    drawn = proposal("r10-02", Action.MONITOR, Autonomy.AUTO, proposal_id="id-drawn", **odds)
    plain = proposal("r09-01", Action.BLOCK_PLACEMENTS, Autonomy.AUTO, proposal_id="id-plain", **odds)
    with night.ledger() as ledger:
        ledger.record(replace(verdict(), asof_at=at, proposals=(drawn, plain), model_version="disk-5"), at)
    said = "Without it this would be: put no new VMs on it (0.18 expected VM interruptions)"
    with night.client() as client:
        pages = {name: client.get(f"/proposals/id-{name}").text for name in ("drawn", "plain")}
        assert said in client.get("/").text
    assert said in pages["drawn"]
    assert "0.20 expected VM interruptions." in pages["drawn"]
    assert "nothing that is allowed costs less" not in pages["drawn"]
    assert "An experiment drew this" not in pages["plain"]
