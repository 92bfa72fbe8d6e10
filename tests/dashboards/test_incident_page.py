"""Incidents on the queue and on a page of their own: ranked factors, evidence, whom they are about."""

import re

from fastapi.testclient import TestClient

from tests.dashboards.conftest import SCRIPT, hostile_incident

INCIDENT = hostile_incident()


def text(page: str) -> str:
    """The page without tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_queue_names_incidents_with_their_ranked_factors(client: TestClient) -> None:
    """The sentence, the kind and the factors stand above the proposals, and lead to the incident's page."""
    page = client.get("/").text
    assert f'href="/incidents/{INCIDENT.incident_id}"' in page
    assert page.index('id="incidents"') < page.index('id="p-id-r12-07"')
    assert "rack r2 (10 of 40, explained)" in text(page)
    assert SCRIPT not in page


def test_a_proposal_leads_to_its_incident(client: TestClient) -> None:
    """Who reads why a host waits finds the cause it shares in one step."""
    page = client.get("/").text
    card = page[page.index('id="p-id-r12-08"') :]
    assert f'/incidents/{INCIDENT.incident_id}"' in card[: card.index("</article>")]


def test_the_page_of_an_incident_holds_its_evidence(client: TestClient) -> None:
    """Every factor with its counts, interval and adjusted p; hosts affected and at stake; nothing is executed."""
    answer = client.get(f"/incidents/{INCIDENT.incident_id}")
    said = text(answer.text)
    assert answer.status_code == 200
    assert "20 of 80" in said
    assert "only these" in said
    assert all(factor.named in said for factor in INCIDENT.factors[1:])
    assert SCRIPT not in answer.text


def test_the_page_of_an_incident_leads_to_what_waits(client: TestClient) -> None:
    """Who follows the message about an incident is one click from each decision that it holds up."""
    page = client.get(f"/incidents/{INCIDENT.incident_id}").text
    assert re.findall(r'href="/proposals/([^"]+)"', page) == ["id-r12-08"]
    assert "Waits for a person" in text(page)


def test_an_incident_that_is_not_there_is_said(client: TestClient) -> None:
    """An address from an old message answers 404 and where to look."""
    answer = client.get("/incidents/nope")
    assert answer.status_code == 404
    assert "/v1/incidents" in answer.text


def test_incidents_are_there_as_json(client: TestClient) -> None:
    """Scripts read the same values, for the newest cycle and for a day without one."""
    (found,) = client.get("/v1/incidents").json()
    assert found["incident_id"] == INCIDENT.incident_id
    assert found["factors"][1]["stance"] == "explained"
    assert client.get("/v1/incidents?on=2020-01-01").json() == []
