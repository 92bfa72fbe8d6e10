"""The same as JSON: paging, problems, headers, and who may ask."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from dashboards.app import create_app
from decisions.domain import Verdict
from decisions.ledger import Ledger
from decisions.ledger.listing import Selection
from tests.dashboards.conftest import ASOF, Night, verdict

HOSTS = [each.host_id for each in verdict().proposals]


def test_paging_gives_each_proposal_once(client: TestClient) -> None:
    """Following `next` walks the verdict from the most to gain to the least."""
    found, after = [], None
    while True:
        page = client.get("/v1/proposals", params={"limit": 4} | ({"after": after} if after else {})).json()
        assert len(page["proposals"]) <= 4
        found += [each["host_id"] for each in page["proposals"]]
        after = page["next"]
        if after is None:
            break
    assert found == HOSTS


def test_a_cursor_stays_with_its_cycle(night: Night) -> None:
    """A newer cycle between two pages neither repeats nor skips a proposal."""
    with night.client() as client, night.ledger() as ledger:
        first = client.get("/v1/proposals", params={"limit": 5}).json()
        later = ASOF.replace(day=4)
        ledger.record(Verdict(later, "policy-7", "disk-4", (), {}, ()), later)
        rest = client.get("/v1/proposals", params={"after": first["next"]}).json()
        newest = client.get("/v1/proposals").json()
    assert [each["host_id"] for each in first["proposals"] + rest["proposals"]] == HOSTS
    assert newest["proposals"] == []


def test_all_cycles_are_asked_at_once(night_on_each: Night) -> None:
    """Whatever cycle made it, what waits for a person is listed, the newest first, and paged without a gap."""
    night = night_on_each
    later = ASOF + timedelta(hours=6)
    (held,) = (each for each in verdict().proposals if each.host_id == "r12-08")
    fresh = [replace(held, proposal_id=f"id-{n}", asof_at=later, incident_id=None) for n in range(3)]
    with night.client(later) as client, night.ledger() as ledger:
        ledger.record(Verdict(later, "policy-7", "disk-4", tuple(fresh), {}, ()), later)
        ledger.veto("id-1", "maria", "no", later)
        for asked, wanted in (
            ({"standing": "waiting"}, ["id-0", "id-2", "id-r12-07", "id-r12-08"]),
            ({"standing": "vetoed"}, ["id-1"]),
            ({"standing": "expired"}, []),
            ({"host": "r12-08"}, ["id-0", "id-1", "id-2", "id-r12-08"]),
            ({}, ["id-0", "id-1", "id-2", *(f"id-{host}" for host in HOSTS)]),
        ):
            found, after = [], {}
            while after is not None:
                page = client.get("/v1/proposals", params={"cycle": "all", "limit": 2} | asked | after).json()
                found += [each["proposal_id"] for each in page["proposals"]]
                after = {"after": page["next"]} if page["next"] else None
            assert found == wanted
    assert [each.proposal.proposal_id for each in Ledger(night.url).listed(later, Selection(), 99)] == wanted


def test_an_id_may_hold_anything_that_text_can(night: Night) -> None:
    """A host whose id has slashes, dots, spaces and question marks has its page, twin and links."""
    name = "pod 7/../rack?x=1#é/host;1"
    with night.ledger() as ledger:
        later = ASOF + timedelta(hours=6)
        held = replace(verdict().proposals[1], proposal_id="id-odd", host_id=name, asof_at=later, incident_id=None)
        ledger.record(Verdict(later, "policy-7", "disk-4", (held,), {}, ()), later)
        (order,) = (ledger.approve("id-odd", "maria", "seen", later),)
        assert order is not None
    with night.client(later) as client:
        links = {
            link
            for path in ("/", "/maintenance", "/audit", "/fleet", "/proposals/id-odd")
            for link in re.findall(r'href="(/hosts/[^"]+)"', client.get(path).text)
        }
        (link,) = (each for each in links if "pod" in each)
        found = client.get("/hosts", params={"id": name}, follow_redirects=False)
        assert found.headers["location"] == link
        assert name in client.get(link).text
        assert client.get(f"/v1{link}").json()["host_id"] == name
        assert f'href="/login?next={quote(link, safe="")}"' in client.get(link).text
        assert [each["host_id"] for each in client.get("/v1/vms", params={"host": name}).json()["vms"]][:1] == [name]


def test_one_proposal_is_the_one_of_the_list(client: TestClient) -> None:
    """The list and the single answer say the same."""
    listed = client.get("/v1/proposals").json()["proposals"]
    assert client.get(f"/v1/proposals/{listed[3]['proposal_id']}").json() == listed[3]


def test_horizons_are_in_order(client: TestClient) -> None:
    """Risk curves go from the nearest horizon to the farthest."""
    assert list(client.get("/v1/proposals/id-r04-11").json()["risk"]) == ["1", "3", "7", "14", "30"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/proposals/nope", 404, "There is no proposal nope"),
        ("/v1/proposals?after=nope", 404, "no proposal nope to go on after"),
        ("/v1/proposals?limit=0", 422, "limit"),
        ("/v1/proposals?on=soon", 422, "on"),
        ("/v1/proposals?on=9999-12-31", 422, "no day to ask about"),
        ("/v1/proposals?cycle=all&after=nope", 404, "no proposal nope to go on after"),
        ("/v1/proposals?cycle=all&on=2026-03-02", 422, "Leave one of them out"),
        ("/v1/proposals?standing=waiting", 422, "go with `cycle=all`"),
        ("/v1/nothing", 404, "There is nothing at /v1/nothing"),
    ],
)
def test_errors_are_problems(client: TestClient, path: str, status: int, said: str) -> None:
    """Errors under /v1 are application/problem+json with a detail for a person."""
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert said in problem["detail"]
    assert problem["instance"] == path


def test_errors_of_pages_are_pages(client: TestClient) -> None:
    """A person who mistypes an address gets a page with a way back."""
    for path, status in (("/nothing", 404), ("/?on=soon", 422), ("/?show=all", 422)):
        answer = client.get(path)
        assert answer.status_code == status
        assert "Back to the queue" in answer.text


def test_nothing_is_there_yet(home: Path) -> None:
    """Without snapshot and ledger the API answers with an empty page, and health says what is missing."""
    with Night(home).client() as client:
        assert client.get("/v1/proposals").json()["proposals"] == []
        assert client.get("/healthz").json() == {"status": "ok", "snapshot": False, "ledger": False}


def test_an_unreadable_snapshot_is_a_problem(home: Path) -> None:
    """A damaged snapshot is said, with 503, to people and to programs."""
    home.mkdir()
    (home / "published.duckdb").write_bytes(b"not a database" * 500)
    with Night(home).client() as client:
        answer = client.get("/v1/proposals")
        assert answer.status_code == 503
        assert "cannot be read" in answer.json()["detail"]
        assert client.get("/").status_code == 503
        assert client.get("/healthz").status_code == 503


@pytest.mark.parametrize("path", ["/", "/v1/proposals", "/v1/nothing", "/static/review.css", "/nothing"])
def test_every_answer_keeps_to_itself(client: TestClient, path: str) -> None:
    """Security headers are on pages, data, files and refusals alike."""
    headers = client.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == ("max-age=300" if path.startswith("/static/") else "no-store")


def test_a_foreign_name_is_turned_away(made: Night) -> None:
    """A page elsewhere that points its own name at loopback cannot read anything."""
    client = TestClient(create_app(made.home, made.url), base_url="http://evil.example")
    assert client.get("/v1/proposals").status_code == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_is_read_cannot_be_written(client: TestClient, method: str) -> None:
    """What is read takes nothing but a reading request."""
    for path in ("/", "/v1/proposals", "/v1/proposals/id-r12-07"):
        assert client.request(method, path).status_code == 405


def test_the_description_is_there_without_a_foreign_page(client: TestClient) -> None:
    """/openapi.json describes the API; the pages that load scripts from elsewhere are off."""
    described = client.get("/openapi.json").json()
    decide = {
        "/v1/proposals/{proposal_id}/decisions",
        "/v1/orders/{order_id}/cancellation",
        "/v1/orders/{order_id}/starts",
    }
    read = {"/v1/incidents", "/v1/proposals", "/v1/proposals/{proposal_id}", "/healthz"}
    looking = {"/v1/hosts/{host_id}", "/v1/fleet", "/v1/vms", "/v1/owners", "/v1/audit"}
    files = {"/v1/audit.csv", "/v1/audit.jsonl"}
    assert set(described["paths"]) == read | decide | looking | files
    assert described["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404
    assert 'href="/openapi.json"' in client.get("/").text
