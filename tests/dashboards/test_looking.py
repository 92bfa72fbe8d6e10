"""The pages that look: host, fleet, maintenance and audit, and their twins under /v1."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

from data.contracts import DRIFT, FAILURES
from data.snapshots import PUBLISHED
from data.warehouse import Warehouse
from decisions.domain import Action, OptOut, OrderState
from pipelines.cli import main
from pipelines.clock import end_of
from pipelines.executors.jobs import Jobs
from pipelines.executors.owners import event_id
from pipelines.executors.seen import Seen
from tests.dashboards.conftest import ASOF, SCRIPT, Night

NOW = ASOF + timedelta(days=3)
PAGES = ("/", "/fleet", "/maintenance", "/audit", "/hosts/r06-03", "/hosts/r12-07")


def tell(home: Path) -> None:
    """Readings and risks of all drives, one failure after its host was emptied and one before, and a watched model."""
    with Warehouse.open(home) as warehouse:
        con, days = warehouse.con, [(ASOF - timedelta(days=n)).date() for n in range(1, 11)]
        told = con.execute("select entity_key, entity_id from entity order by entity_id").fetchall()
        columns = con.sql("select * from disk_superseded limit 0").to_arrow_table().schema
        for key, name in told:
            grown = 8 if name == "Z3-r06-03" else 0
            for table, day, pending in (("superseded", days[-1], 0), ("current", days[0], grown)):
                row = {each.name: 0 if each.type == pa.int32() or each.type == pa.int64() else None for each in columns}
                row |= {"entity_key": key, "from_day": day, "first_day": days[-1], "smart_197_raw": pending}
                row |= {"until_day": days[0]}
                if table == "current":
                    del row["until_day"]
                con.execute(f"insert into disk_{table} values ({', '.join('?' * len(row))})", list(row.values()))
            for day in days:
                con.execute("delete from disk_day where day = ? and entity_key = ?", [day, key])
                con.execute("insert into disk_day (day, entity_key, ingested_at) values (?, ?, ?)", [day, key, ASOF])
                risk = [end_of(day), key, 0.31 if grown else 0.01]
                con.execute(
                    "insert into risk (asof_at, entity_key, component, model_version, status, risk_1d, risk_3d, "
                    "risk_7d, risk_14d, risk_30d) select $1, $2, 'disk', 'disk-4', 'ok', $3, $3, $3, $3, $3",
                    risk,
                )
        con.execute("insert into ingest_file values (?, 'backblaze', 'day.csv', 9, 9, 0, 1)", [ASOF])
        late, early = ASOF + timedelta(days=2), ASOF - timedelta(days=2)
        rows = [("Z3-r06-03", late), ("Z3-r10-02", early)]
        failures = [
            {"component": "disk", "entity_id": name, "failed_at": at, "ingested_at": at, "cause": SCRIPT}
            for name, at in rows
        ]
        warehouse.put_failures(pa.Table.from_pylist(failures, FAILURES))
        seen = {"component": "disk", "model_version": "disk-4", "asof_at": ASOF, "measure": "precision", "part": ""}
        figures = {"value": 0.5, "low": 0.4, "high": 0.6, "threshold": 0.3, "alarm": None}
        warehouse.put_drift(pa.Table.from_pylist([{**seen, **figures}], DRIFT))
        warehouse.publish()


@pytest.fixture(scope="module")
def seen(made: Night, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The night with a past, an opt-out and a hostile name; made once, for tests that only read."""
    home = tmp_path_factory.mktemp("seen")
    shutil.copyfile(made.home / "ledger.db", home / "ledger.db")
    shutil.copyfile(made.home / "warehouse.duckdb", home / "warehouse.duckdb")
    tell(home)
    night = Night(home)
    with night.ledger() as ledger:
        until = ASOF + timedelta(days=9)
        ledger.opt_out(OptOut("o1", "host", "r06-03", (Action.EVACUATE,), SCRIPT, "=2+5", ASOF, until))
        ledger.veto("id-r12-08", "maria", SCRIPT, ASOF + timedelta(hours=1))
    return night


@pytest.fixture(scope="module")
def client(seen: Night) -> Iterator[TestClient]:
    """A browser without a screen, three days later."""
    with seen.client(NOW) as client:
        yield client


def words(page: str) -> str:
    """What a page says, without tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.mark.parametrize("path", PAGES)
def test_stored_script_comes_out_inert(client: TestClient, path: str) -> None:
    """No tag of a hostile name, reason or cause reaches a page as a tag, nor ends the figures' block of data."""
    page = client.get(path).text
    assert SCRIPT not in page
    assert "<img" not in page
    assert "document.title='owned'</script>" not in page


@pytest.mark.parametrize("path", PAGES)
def test_every_link_of_the_pages_answers(client: TestClient, path: str) -> None:
    """Whatever a page links to on this server is there, but for decisions, and targets that this inventory lacks."""
    links = {each.replace("&amp;", "&") for each in re.findall(r'href="(/[^"#]*)', client.get(path).text)}
    for link in sorted(each for each in links if not each.startswith(("/proposals/", "/hosts/r20-"))):
        assert client.get(link).status_code == 200, link


def test_a_host_says_where_it_stands_and_why(client: TestClient) -> None:
    """State, risk, the reading that grew and the drive's place among its peers."""
    said = words(client.get("/hosts/r06-03").text)
    assert "Host r06-03 in service 31 % within 14 days" in said
    assert "pending sectors" in said.lower()
    assert "8: the highest of 9 live drives of make ST4000DM000; the middle one has 0." in said
    assert "31 %: the highest of 9 live drives" in said


def test_a_hosts_timeline_names_people_and_ends_with_the_newest(client: TestClient) -> None:
    """The failure stands above the order, which stands above the decision and the proposal that caused it."""
    told = client.get("/v1/hosts/r06-03").json()["timeline"]
    kinds = [each["kind"] for each in told]
    assert kinds[0] == "failure"
    assert [kinds.index(kind) for kind in ("failure", "order", "decision", "proposal")] == sorted(
        kinds.index(kind) for kind in ("failure", "order", "decision", "proposal")
    )
    vetoed = client.get("/v1/hosts/r12-08").json()["timeline"]
    assert [(each["what"], each["by"]) for each in vetoed if each["kind"] == "decision"] == [("Vetoed", "maria")]


def test_a_host_that_nobody_knows_is_not_found(client: TestClient) -> None:
    """Neither a page nor JSON is made up for it."""
    assert client.get("/hosts/nowhere").status_code == 404
    assert client.get("/v1/hosts/nowhere").status_code == 404
    assert "no host nowhere" in client.get("/hosts", params={"id": " nowhere "}).text


def test_the_fleet_counts_who_was_spared_and_who_was_not(client: TestClient) -> None:
    """Nine VMs had left before their drive failed; ten stood on the host whose drive failed earlier."""
    lately = client.get("/v1/fleet").json()["lately"]
    assert (lately["spared"], lately["by_failures"], lately["by_us"]) == (9, 11, 1)
    assert lately["saving"] == pytest.approx(1 - 12 / 20)
    assert lately["air"] == pytest.approx(100 * 365 * 12 / lately["vm_days"])


def test_the_fleet_says_what_is_not_measured(client: TestClient) -> None:
    """A measure that the watch never took has no figure; one that it took has its interval."""
    said = words(client.get("/fleet").text)
    assert "50% (40% to 60%)" in said
    assert "not measured" in said
    assert "simulated" in said


def test_the_fleet_page_says_that_an_experiment_is_open(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the share that policy leaves to chance; as shipped nothing is, and nothing is said."""
    policy = night.home / "policy.toml"
    policy.write_text("[experiment]\nshare = 0.2\n", encoding="utf-8")
    with night.client() as client:
        assert "An experiment is open" not in client.get("/fleet").text
    monkeypatch.setenv("FORESHOCK__POLICY__PATH", str(policy))
    with night.client() as client:
        page = client.get("/fleet").text
        assert client.get("/v1/fleet").json()["experiment_share"] == 0.2
    assert "An experiment is open: of 20\N{NO-BREAK SPACE}% of the hosts at risk" in page


def test_a_wall_loads_the_fleet_anew_only_when_asked(client: TestClient) -> None:
    """A page that reloads by itself takes the reader's place away, so it is a choice."""
    assert "http-equiv" not in client.get("/fleet").text
    assert '<meta http-equiv="refresh" content="60">' in client.get("/fleet?every=60").text
    assert client.get("/fleet?every=1").status_code == 422


def test_limits_in_use_say_the_fullest_scope(client: TestClient) -> None:
    """Hosts that were to be emptied within a day count against their scopes' shares; three days later none does."""
    budgets = {each["limit"]: each for each in client.get("/v1/fleet").json()["budgets"]}
    assert budgets["Hosts emptied: fleet"]["used"] == 0
    assert all(each["allowed"] >= 1 for each in budgets.values())


def test_vms_page_by_cursor_gives_each_once(client: TestClient) -> None:
    """All pages together are all VMs of all orders, none twice."""
    whole = client.get("/v1/vms", params={"limit": 500}).json()["vms"]
    found, after = [], None
    while True:
        page = client.get("/v1/vms", params={"limit": 7} | ({"after": after} if after else {})).json()
        found += page["vms"]
        after = page["next"]
        if after is None:
            break
    assert found == whole
    assert len({(each["order_id"], each["vm_id"]) for each in found}) == len(found) == 40


def test_vms_say_what_is_done_and_what_is_to_come(client: TestClient) -> None:
    """Moved, left behind, failed, not begun: each VM stands where the ledger has it; what comes has an event."""
    vms = {each["vm_id"]: each for each in client.get("/v1/vms", params={"limit": 500}).json()["vms"]}
    stands = {name: vms[name]["stands"] for name in ("r06-03-vm1", "r06-03-vm10", "r07-04-vm1", "r07-04-vm2")}
    assert stands == {
        "r06-03-vm1": "done",
        "r06-03-vm10": "stays",
        "r07-04-vm1": "went wrong",
        "r07-04-vm2": "not done",
    }
    assert vms["r04-11-vm1"]["stands"] == "waiting"
    assert vms["r04-11-vm1"]["event"]["kind"] == "Freeze"
    assert vms["r06-03-vm1"]["event"] is None
    assert [vms[name]["target_host_id"] is not None for name in stands] == [True, False, False, False]


def test_an_owner_sees_only_his_vms(client: TestClient) -> None:
    """Asked for one owner, no VM of another comes; asked for one host, only those of its orders."""
    mine = client.get("/v1/vms", params={"owner": "team-1", "limit": 500}).json()["vms"]
    assert {each["owner"] for each in mine} == {"team-1"}
    here = client.get("/v1/vms", params={"host": "r06-03"}).json()["vms"]
    assert {each["host_id"] for each in here} == {"r06-03"}
    counts = {each["owner"]: each for each in client.get("/v1/owners").json()}
    assert counts["team-1"]["done"] == sum(each["stands"] == "done" for each in mine)


def test_a_cursor_of_no_page_is_refused(client: TestClient) -> None:
    """Nonsense after `after` is an error of the asker, with a way out."""
    for cursor in ("nonsense", "2026-03-03~a~b", "x~y~z"):
        answer = client.get("/v1/vms", params={"after": cursor})
        assert answer.status_code == 422
        assert "leave it out" in answer.json()["detail"] or "time zone" in answer.json()["detail"]


def test_the_audit_filters_by_person_host_and_day(client: TestClient) -> None:
    """Each filter leaves what it names and nothing else; together they leave what fits all."""
    said = client.get("/v1/audit", params={"person": "maria"}).json()["entries"]
    assert [(each["who"], each["what"], each["host_id"]) for each in said] == [("maria", "Vetoed", "r12-08")]
    here = client.get("/v1/audit", params={"host": "r06-03", "limit": 500}).json()["entries"]
    assert {each["kind"] for each in here} >= {"proposal", "approved", "order", "order_state", "outcome", "opt_out"}
    assert {each["host_id"] for each in here if each["host_id"]} == {"r06-03"}
    day = {"day": date(2026, 3, 4).isoformat()}
    assert client.get("/v1/audit", params=day).json()["entries"] == []
    assert client.get("/audit", params={"person": "", "host": "", "day": ""}).status_code == 200


def test_the_audit_pages_by_cursor(client: TestClient) -> None:
    """The pages together are the history from its end to its beginning."""
    found, after = [], None
    while True:
        page = client.get("/v1/audit", params={"limit": 10} | ({"after": after} if after else {})).json()
        found += [each["record"] for each in page["entries"]]
        after = page["next"]
        if after is None:
            break
    assert found == list(range(page["records"], 0, -1))


def test_the_audit_exports_everything_and_no_formula(client: TestClient) -> None:
    """CSV and JSON lines hold every record; what a spreadsheet would reckon with is quoted."""
    records = client.get("/v1/audit").json()["records"]
    rows = list(csv.DictReader(StringIO(client.get("/v1/audit.csv").text)))
    assert len(rows) == len(client.get("/v1/audit.jsonl").text.splitlines()) == records
    assert {row["why"] for row in rows if row["kind"] == "opt_out"} == {"'=2+5"}


def test_a_changed_record_shows_in_the_audit(seen: Night, tmp_path: Path) -> None:
    """Whoever edits the history is contradicted by its hash, on the page as in JSON."""
    shutil.copyfile(seen.home / "ledger.db", tmp_path / "ledger.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.begin() as con:
        for trigger in con.execute(text("select name from sqlite_master where type = 'trigger'")).scalars().all():
            con.execute(text(f"drop trigger {trigger}"))
        con.execute(text("update history set body = replace(body, 'maria', 'mario') where kind = 'vetoed'"))
    engine.dispose()
    with Night(tmp_path).client(NOW) as client:
        assert "The chain does not verify" in client.get("/audit").text
        entries = client.get("/v1/audit", params={"person": "mario"}).json()["entries"]
    assert [each["intact"] for each in entries] == [False]


def test_without_a_home_every_page_still_answers(tmp_path: Path) -> None:
    """Before anything is published or decided, the pages say so, and no figure is invented."""
    with Night(tmp_path).client(NOW) as client:
        assert "not measured" in client.get("/fleet").text
        assert "No order of the last 30 days" in client.get("/maintenance").text
        assert "Nothing has been recorded yet" in client.get("/audit").text
        assert client.get("/v1/fleet").json()["lately"] is None
    assert not (tmp_path / PUBLISHED).exists()


def test_the_command_tells_the_same_as_the_api(
    seen: Night, client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`foreshock vms --json` and /v1/vms give the same VMs; the text says what a person asks."""
    monkeypatch.setenv("FORESHOCK_HOME", str(seen.home))
    assert main(["vms", "--host", "r06-03", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["vms"]
    served = client.get("/v1/vms", params={"host": "r06-03"}).json()["vms"]
    assert [(each["vm_id"], each["stands"]) for each in told] == [(each["vm_id"], each["stands"]) for each in served]
    assert main(["vms", "--owner", "team-1", "--limit", "1"]) == 0
    assert "team-1" in capsys.readouterr().out
    assert main(["vms", "--after", "nonsense"]) == 2


def test_what_an_owner_asked_of_the_executor_of_this_home_is_told(seen: Night, tmp_path: Path) -> None:
    """The event's id is the one that the owner sees in the VM, and his wish to start it stands with it."""
    for name in ("ledger.db", PUBLISHED):
        shutil.copyfile(seen.home / name, tmp_path / name)
    night = Night(tmp_path)
    with night.ledger() as ledger:
        order = next(each.order for each in ledger.orders() if each.order.host_id == "r05-02")
    with closing(Jobs(tmp_path / "executor.db")) as jobs:
        jobs.take(order, OrderState.ACCEPTED, None, ASOF)
        task = jobs.tasks(order.order_id)[0]
        jobs.ask(task, ASOF + timedelta(hours=1))
    with night.client(NOW) as client:
        vms = {each["vm_id"]: each for each in client.get("/v1/vms", params={"host": "r05-02"}).json()["vms"]}
    event = vms[task.vm_id]["event"]
    assert event["event_id"] == event_id(task)
    assert event["asked_at"] == "2026-03-03T01:00:00Z"


def test_an_executor_of_a_simulation_has_asked_nobody(seen: Night, tmp_path: Path) -> None:
    """Its memory holds requests and no VMs, and the page is shown all the same."""
    for name in ("ledger.db", PUBLISHED):
        shutil.copyfile(seen.home / name, tmp_path / name)
    Seen(tmp_path / "executor.db").close()
    with Night(tmp_path).client(NOW) as client:
        assert client.get("/maintenance").status_code == 200
        events = [each["event"] for each in client.get("/v1/vms", params={"host": "r05-02"}).json()["vms"]]
    assert events
    assert all(event is None or event["asked_at"] is None for event in events)
