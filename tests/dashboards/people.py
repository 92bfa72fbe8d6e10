"""People with tokens, and forms that are sent as a browser would."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fastapi.testclient import TestClient
from httpx import Response

from decisions.access import Access
from decisions.access.values import Person, Role
from tests.dashboards.conftest import Night


def token(
    night: Night,
    name: str = "maria",
    role: Role = Role.OPERATOR,
    pools: tuple[str, ...] = (),
    days: float = 1,
    owners: tuple[str, ...] = (),
) -> str:
    """A new token; one of negative days expired long ago."""
    made_at = datetime.now(UTC) - timedelta(days=30 if days < 0 else 0)
    with Access(night.url) as access:
        person = Person(name, role, pools, expires_at=made_at + timedelta(days=abs(days)), owners=owners)
        return access.create(person, "admin", made_at).secret


def bearer(secret: str, **more: str) -> dict[str, str]:
    """Headers that show the token."""
    return {"authorization": f"Bearer {secret}", **more}


def field(page: str, name: str) -> str:
    """The value of the first hidden field of that name."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, f"there is no field {name}"
    return found[1]


@dataclass
class Browser:
    """A browser without a screen that somebody is logged in with."""

    client: TestClient

    def log_in(self, secret: str) -> Response:
        """Paste the token into the form."""
        page = self.client.get("/login").text
        return self.client.post(
            "/login", data={"csrf": field(page, "csrf"), "token": secret, "next": "/"}, follow_redirects=False
        )

    def decide(self, proposal_id: str, page: str, **fields: str) -> Response:
        """Send the form that stands on the page."""
        hidden = {name: field(page, name) for name in ("csrf", "etag", "key")}
        return self.client.post(
            f"/proposals/{proposal_id}/decisions", data={**hidden, **fields}, follow_redirects=False
        )
