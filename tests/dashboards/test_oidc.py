"""Logging in with an identity provider: a small one on loopback, and answers that do not hold."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn
from fastapi import FastAPI, Form
from fastapi.testclient import TestClient
from httpx import Response
from joserfc import jwt
from joserfc.jwk import RSAKey

from dashboards.access import cookies, oidc
from dashboards.app import create_app
from data.errors import SettingsError
from decisions.access.values import Role
from pipelines import listening
from pipelines.settings import OidcSettings, ReviewSettings, Settings
from tests.dashboards import people
from tests.dashboards.conftest import BASE, Night

CLIENT, SECRET = "foreshock", "between the two of us"


@dataclass
class Provider:
    """An identity provider that says of whoever comes what `claims` say."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    nonce: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k1"}))
    signs_with: RSAKey | None = None

    def app(self) -> FastAPI:
        """The provider's discovery, keys and tokens."""
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        def discovery() -> dict[str, Any]:
            return {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
            }

        @app.get("/keys")
        def keys() -> dict[str, Any]:
            return {"keys": [self.key.as_dict(private=False)]}

        @app.post("/token")
        def token(code: str = Form(), code_verifier: str = Form()) -> dict[str, Any]:
            self.asked.append({"code": code, "code_verifier": code_verifier})
            now = int(time.time())
            plain = {"iss": self.url, "aud": CLIENT, "sub": "42", "iat": now, "exp": now + 60, "nonce": self.nonce}
            signed = jwt.encode({"alg": "RS256", "kid": "k1"}, {**plain, **self.claims}, self.signs_with or self.key)
            return {"access_token": "opaque", "token_type": "Bearer", "id_token": signed}

        return app


@pytest.fixture
def provider() -> Iterator[Provider]:
    """The provider, served."""
    made = Provider(claims={"preferred_username": "maria", "groups": ["staff", "oncall"]})
    with listening.bound("127.0.0.1", 0) as listener:
        made.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(made.app(), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield made
        server.should_exit = True
        thread.join()


@pytest.fixture
def client(night: Night, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A browser on an app that knows the provider."""
    monkeypatch.setenv(oidc.SECRET, SECRET)
    known = OidcSettings(issuer=provider.url, client_id=CLIENT, roles={"oncall": "operator", "staff": "viewer"})
    settings = Settings(review=ReviewSettings(authentication="required", oidc=known))
    with TestClient(create_app(night.home, night.url, settings=settings), base_url=BASE) as client:
        yield client


def come_back(client: TestClient, provider: Provider, ahead: str = "/proposals/id-r12-08", **changes: str) -> Response:
    """Go to the provider and back, as a browser would."""
    sent = client.get("/login/oidc", params={"next": ahead}, follow_redirects=False)
    told = {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    assert told["redirect_uri"] == f"{BASE}/login/oidc/back"
    assert told["code_challenge_method"] == "S256"
    provider.nonce = provider.nonce or told["nonce"]
    back = {"code": "once", "state": told["state"], **changes}
    return client.get("/login/oidc/back", params=back, follow_redirects=False)


def test_a_login_at_the_provider_is_a_session(client: TestClient, provider: Provider) -> None:
    """The highest role that the claim gives, under the claim's name; then on to the page that was asked for."""
    answer = come_back(client, provider)
    assert answer.status_code == 200
    assert "url=/proposals/id-r12-08" in answer.text
    assert provider.asked[0]["code_verifier"]
    page = client.get("/proposals/id-r12-08").text
    assert '<b>maria</b> <span class="quiet">operator' in page
    assert 'value="approve"' in page


def test_what_was_typed_outlives_the_way_to_the_provider(client: TestClient, provider: Provider) -> None:
    """A reason that is longer than any cookie comes back from the provider, too."""
    typed = 'its owner\'s "yes" ÄÖ' + "é" * 900
    form = client.post("/proposals/id-r12-08/decisions", data={"verdict": "veto", "reason": typed}).text
    answer = come_back(client, provider, unescape(people.field(form, "next")))
    (back,) = re.findall(r'href="(/proposals/[^"]+)"', answer.text)
    assert "é" * 900 in client.get(unescape(back)).text


def test_the_login_form_offers_the_provider(client: TestClient) -> None:
    """Who has no token finds the other way in."""
    assert 'href="/login/oidc?next=%2F"' in client.get("/login").text


@pytest.mark.parametrize(
    ("groups", "role", "owners"),
    [
        (["team-web", "team-db", "other"], Role.OWNER, ("db", "web")),
        ("team-web", Role.OWNER, ("web",)),
        (["team-web", "staff"], Role.VIEWER, ("web",)),
        (["staff", 7, None], Role.VIEWER, ()),
    ],
)
def test_the_claim_says_for_which_owners_one_speaks(groups: object, role: Role, owners: tuple[str, ...]) -> None:
    """For all that it gives: as an owner where it gives no role, beside what the role may where it does."""
    known = OidcSettings(roles={"staff": "viewer"}, owners={"team-web": "web", "team-db": "db"})
    person = oidc.person_in({"preferred_username": "anna", "groups": groups}, known)
    assert (person.role, person.owners) == (role, owners)


def test_an_owner_of_the_provider_sees_no_more(
    night: Night, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session that the provider vouched for is bounded as a token's is."""
    monkeypatch.setenv(oidc.SECRET, SECRET)
    known = OidcSettings(issuer=provider.url, client_id=CLIENT, owners={"staff": "team-1"})
    settings = Settings(review=ReviewSettings(authentication="required", oidc=known))
    with TestClient(create_app(night.home, night.url, settings=settings), base_url=BASE) as client:
        assert come_back(client, provider).status_code == 200
        assert client.get("/proposals/id-r12-08").status_code == 403
        assert {each["owner"] for each in client.get("/v1/vms").json()["vms"]} == {"team-1"}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"groups": ["staff-of-another-house"]}, 403),
        ({"groups": None}, 403),
        ({"preferred_username": " "}, 403),
        ({"preferred_username": "policy"}, 403),
        ({"aud": "another client"}, 401),
        ({"iss": "https://evil.example"}, 401),
        ({"exp": 1}, 401),
        ({"nonce": "of another login"}, 401),
    ],
    ids=lambda each: str(each)[:40],
)
def test_an_answer_that_does_not_hold_is_no_login(
    client: TestClient, provider: Provider, changes: dict[str, Any], status: int
) -> None:
    """No role, no name or that of policy, meant for another client, by another issuer, too old, for another login."""
    provider.claims |= changes
    assert come_back(client, provider).status_code == status
    assert cookies.SESSION not in client.cookies


def test_a_forged_signature_is_no_login(client: TestClient, provider: Provider) -> None:
    """A token that the provider's key did not sign is refused."""
    provider.signs_with = RSAKey.generate_key(2048, {"kid": "k1"})
    assert come_back(client, provider).status_code == 401
    assert cookies.SESSION not in client.cookies


def test_a_state_of_another_browser_is_no_login(client: TestClient, provider: Provider) -> None:
    """Who is sent back without having set out from here is refused."""
    assert come_back(client, provider, state="somebody else's").status_code == 401
    assert not provider.asked


def test_a_provider_that_is_away_is_said(client: TestClient, night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token still works, and the page says so."""
    known = OidcSettings(issuer="http://127.0.0.1:9", client_id=CLIENT, roles={"oncall": "operator"})
    app = create_app(night.home, night.url, settings=Settings(review=ReviewSettings(oidc=known)))
    answer = TestClient(app, base_url=BASE).get("/login/oidc")
    assert answer.status_code == 503
    assert "Use a token" in answer.text


def test_a_provider_without_its_secret_is_refused(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret comes from the environment alone."""
    monkeypatch.delenv(oidc.SECRET, raising=False)
    known = OidcSettings(issuer="http://127.0.0.1:9", client_id=CLIENT, roles={"oncall": "operator"})
    with pytest.raises(SettingsError, match="FORESHOCK_OIDC_SECRET"):
        create_app(night.home, night.url, settings=Settings(review=ReviewSettings(oidc=known)))
