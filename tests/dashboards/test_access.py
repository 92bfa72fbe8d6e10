"""Who may look and who may decide: tokens, sessions, forms, and what each is refused."""

import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dashboards.access import cookies
from dashboards.access.gate import SAFE
from dashboards.app import create_app
from data.errors import UsageError
from decisions.access import Access
from decisions.access.values import Person, Role
from decisions.domain import Verdict
from decisions.ledger.schema import history, session
from decisions.ledger.schema import token as tokens
from pipelines.cli import main
from pipelines.settings import ReviewSettings, Settings
from tests.dashboards.conftest import ASOF, BASE, SCRIPT, Night, verdict
from tests.dashboards.people import Browser, bearer, field, token
from tests.dashboards.windows import windowed

REQUIRED = Settings(review=ReviewSettings(authentication="required"))
WORDS = {"verdict": "approve", "reason": "seen it before"}
TYPED = 'its owner\'s "yes" & more ÄÖ/?#' + "é" * 900
STARTED = {"vm_id": "r13-01-vm1", "reason": "owner asked"}


def changing() -> list[str]:
    """Every route that takes more than a reading request, whoever added it."""
    app = create_app(Path("nowhere"), "sqlite:///nowhere/ledger.db")
    return [each.path for each in app.routes if set(getattr(each, "methods", None) or ()) - SAFE]


WRITES = [path for path in changing() if path.startswith("/v1/")]
FORMS = [path for path in changing() if path not in {*WRITES, "/login", "/logout"}]
DECIDE = "/v1/proposals/id-r12-08/decisions"


@pytest.fixture
def night(night_on_each: Night) -> Night:
    """The night with its ledger on each database."""
    return night_on_each


def order_of(night: Night, host: str = "r04-11") -> str:
    """The order for the host."""
    with night.ledger() as ledger:
        return next(each.order.order_id for each in ledger.orders() if each.order.host_id == host)


def asked(night: Night, path: str) -> tuple[str, dict[str, str]]:
    """The route to something that is there, and a body that would do."""
    windowed(night)
    order_id, proposal_id = order_of(night, "r13-01" if "start" in path else "r04-11"), "id-r12-08"
    if path.endswith("stop"):
        proposal_id = "id-r04-11"
    body = WORDS if path.endswith("decisions") else STARTED if "start" in path else {"reason": "owner asked"}
    if path == "/maintenance/start":
        body = {**body, "order_id": order_id}
    return path.format(proposal_id=proposal_id, order_id=order_id), body


def unchanged(night: Night) -> bool:
    """Whether nobody has decided anything."""
    with night.ledger() as ledger, ledger._engine.connect() as con:
        spoken = con.execute(history.select().where(history.c.kind.in_(("approved", "vm_start")))).all()
        waiting = ledger.proposal("id-r12-08", ASOF).decision is None
        return waiting and ledger.order(order_of(night)).state == "requested" and not _named(spoken)


def _named(spoken: Sequence[Any]) -> list[str]:
    """Those who did what was done, but for policy."""
    told = (json.loads(row.body).get("by") for row in spoken)
    return [by for by in told if by not in (None, "policy")]


def revoked(night: Night) -> str:
    """A token that was revoked."""
    secret = token(night)
    with Access(night.url) as access:
        access.revoke(secret.split("_")[1], "admin", "left the team", datetime.now(UTC))
    return secret


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (lambda _: {}, 401),
        (lambda _: {"authorization": "Bearer foreshock_00000000_guess"}, 401),
        (lambda _: {"authorization": "Basic bWFyaWE6eA=="}, 401),
        (lambda night: bearer(token(night, days=-1)), 401),
        (lambda night: bearer(revoked(night)), 401),
        (lambda night: bearer(token(night, role=Role.VIEWER)), 403),
        (lambda night: bearer(token(night, pools=("elsewhere",))), 403),
    ],
    ids=["none", "unknown", "other scheme", "expired", "revoked", "viewer", "out of scope"],
)
def test_who_may_not_changes_nothing_by_the_api(
    night: Night, path: str, shown: Callable[[Night], dict[str, str]], status: int
) -> None:
    """Without a token that holds it is 401, with one that may not it is 403, and nothing happens."""
    route, body = asked(night, path)
    with night.client() as client:
        answer = client.post(route, json=body, headers={"if-match": "*", **shown(night)})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert unchanged(night)


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    ("held", "csrf", "status"),
    [
        (None, True, 401),
        (lambda night: token(night, days=-1), True, 401),
        (revoked, True, 401),
        (lambda night: token(night, role=Role.VIEWER), True, 403),
        (lambda night: token(night, pools=("elsewhere",)), True, 403),
        (token, False, 403),
    ],
    ids=["nobody", "expired", "revoked", "viewer", "out of scope", "no csrf"],
)
def test_who_may_not_changes_nothing_on_the_page(
    night: Night, path: str, held: Callable[[Night], str] | None, csrf: bool, status: int
) -> None:
    """A form without a session, of one who may not, or that no page of ours made, is refused and does nothing."""
    route, body = asked(night, path)
    with night.client() as client:
        if held is not None:
            Browser(client).log_in(held(night))
        cookie = client.cookies.get(cookies.SESSION, "")
        sent = {**body, "etag": "", "key": "k", "csrf": cookies.csrf(cookie) if csrf else "forged"}
        answer = client.post(route, data=sent, follow_redirects=False)
    assert answer.status_code == status
    assert unchanged(night)


@pytest.mark.parametrize("path", WRITES)
def test_a_session_is_no_token(night: Night, path: str) -> None:
    """What changes something by the API takes a token: a browser's cookie, which others could ride on, does not do."""
    with night.client() as client:
        Browser(client).log_in(token(night))
        route, body = asked(night, path)
        answer = client.post(route, json=body, headers={"if-match": "*"})
    assert answer.status_code == 401
    assert unchanged(night)


def test_a_token_is_known_however_its_scheme_is_written(night: Night) -> None:
    """`bearer` is `Bearer`, as HTTP has it; nobody who holds a good token is told that it is unknown."""
    heads = bearer(token(night, role=Role.VIEWER))
    written = {name: text.replace("Bearer", "bearer") for name, text in heads.items()}
    with night.client(ASOF) as client:
        assert client.get("/v1/fleet", headers=written).status_code == 200


def test_whoever_may_gets_through(night: Night) -> None:
    """The same requests of one who may are carried out, so it was the gate that refused the others, not their words."""
    for path in [*WRITES, *FORMS]:
        with night.client(ASOF) as client:
            route, body = asked(night, path)
            Browser(client).log_in(token(night))
            sent = {**body, "key": "k", "etag": "", "csrf": cookies.csrf(client.cookies[cookies.SESSION])}
            as_form = client.post(route, data=sent, follow_redirects=False) if path in FORMS else None
            headers = bearer(token(night), **{"if-match": "*"})
            answer = as_form or client.post(route, json=body, headers=headers)
        assert answer.status_code not in {401, 403, 404}, (path, answer.text)


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("ended", [True, False], ids=["login has ended", "another login"])
def test_what_was_typed_outlives_the_login(night: Night, path: str, ended: bool) -> None:
    """Who was away too long, or logged in anew elsewhere, is told that nothing was done, and finds the reason again."""
    route, body = asked(night, path)
    with night.client(ASOF) as client:
        browser = Browser(client)
        browser.log_in(token(night))
        stale = cookies.csrf(client.cookies[cookies.SESSION])
        client.cookies.clear()
        if not ended:
            browser.log_in(token(night))
        answer = client.post(route, data={**body, "reason": TYPED, "csrf": stale}, follow_redirects=False)
        assert "nothing was done" in answer.text
        if ended:
            ahead = unescape(field(answer.text, "next"))
            sent = {"csrf": field(answer.text, "csrf"), "token": token(night), "next": ahead}
            back = client.post("/login", data=sent, follow_redirects=False).headers["location"]
        else:
            (back,) = re.findall(r'href="([^"]+)">Back to it', answer.text)
        page = client.get(unescape(back)).text
    assert f">{escape(TYPED)}</textarea>" in page.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")
    assert unchanged(night)


def test_two_forms_outlive_one_login(night: Night) -> None:
    """Of two pages whose login has ended each keeps what was typed there, also once the other has logged in."""
    with night.client(ASOF) as client:
        pages = [
            client.post("/proposals/id-r12-08/decisions", data={**WORDS, "reason": f"typed in tab {tab}"}).text
            for tab in (1, 2)
        ]
        for page in pages:
            sent = {"token": token(night), "next": unescape(field(page, "next"))}
            answer = client.post("/login", data={**sent, "csrf": field(page, "csrf")}, follow_redirects=False)
        assert answer.status_code == 403
        assert "Log in with this one instead" in answer.text
        sent["next"] = unescape(field(answer.text, "next"))
        answer = client.post("/login", data={**sent, "csrf": field(answer.text, "csrf")})
        assert ">typed in tab 2</textarea>" in answer.text
    assert unchanged(night)


def test_logging_out_after_the_login_has_ended_asks_for_none(night: Night) -> None:
    """Who is logged out already is taken to the front page, not to the login."""
    with night.client() as client:
        Browser(client).log_in(token(night))
        kept = client.cookies[cookies.SESSION]
        for _ in range(2):
            client.cookies.set(cookies.SESSION, kept)
            answer = client.post("/logout", data={"csrf": cookies.csrf(kept)}, follow_redirects=False)
            assert (answer.status_code, answer.headers.get("location")) == (303, "/")


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_nobody_is_logged_in_or_out_by_another_site(night: Night, path: str) -> None:
    """A form that no page of ours made neither begins a session nor ends one."""
    with night.client() as client:
        Browser(client).log_in(token(night))
        kept = client.cookies[cookies.SESSION]
        answer = client.post(path, data={"csrf": "forged", "token": token(night, "eve")}, follow_redirects=False)
        assert answer.status_code == 403
        assert client.cookies[cookies.SESSION] == kept
        assert "maria" in client.get("/").text


def test_nothing_that_changes_something_is_missed() -> None:
    """What the tests above walk over is what there is, and none of it takes anything but POST."""
    app = create_app(Path("nowhere"), "sqlite:///nowhere/ledger.db")
    methods = {method for each in app.routes for method in (getattr(each, "methods", None) or ())}
    assert methods - SAFE == {"POST"}
    assert len(WRITES) >= 3
    assert len(FORMS) >= 3


def test_a_session_ends_with_its_token(night: Night) -> None:
    """Who is logged in with a token that is revoked is logged out."""
    secret = token(night)
    with night.client() as client:
        Browser(client).log_in(secret)
        assert "maria" in client.get("/").text
        with Access(night.url) as access:
            access.revoke(secret.split("_")[1], "admin", "lost", datetime.now(UTC))
        assert "maria" not in client.get("/").text


def test_a_session_expires(night: Night) -> None:
    """A cookie that is older than a session may be is nobody's."""
    with night.client() as client:
        Browser(client).log_in(token(night))
        with night.ledger() as ledger, ledger._engine.begin() as con:
            con.execute(session.update().values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
        assert "maria" not in client.get("/").text


def test_logging_out_ends_the_session(night: Night) -> None:
    """The cookie is worth nothing afterwards, also where somebody kept it."""
    with night.client() as client:
        Browser(client).log_in(token(night))
        kept = client.cookies[cookies.SESSION]
        client.post("/logout", data={"csrf": cookies.csrf(kept)})
        told = client.get("/v1/audit?person=maria").json()["entries"]
        assert [each["kind"] for each in told] == ["logged_out", "logged_in"]
        client.cookies.set(cookies.SESSION, kept)
        assert "maria" not in client.get("/").text


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_cookie_is_for_our_pages_alone(night: Night, scheme: str) -> None:
    """No script sees it, no other site sends it, and where the page is https it never goes over http."""
    with TestClient(create_app(night.home, night.url), base_url=f"{scheme}://127.0.0.1") as client:
        told = Browser(client).log_in(token(night)).headers.get_list("set-cookie")[0]
    assert "HttpOnly" in told
    assert "SameSite=strict" in told
    assert ("Secure" in told) == (scheme == "https")


def test_guessing_is_slowed_down(night: Night) -> None:
    """After five failed logins even the right token has to wait, and is told how long."""
    with night.client() as client:
        browser = Browser(client)
        assert [browser.log_in(f"guess-{n}").status_code for n in range(5)] == [401] * 5
        answer = browser.log_in(token(night))
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "900"


@pytest.mark.parametrize("ahead", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_a_login_leads_nowhere_else(night: Night, ahead: str) -> None:
    """An address of another host as the next page is the queue."""
    with night.client() as client:
        page = client.get("/login", params={"next": ahead}).text
        sent = {"csrf": field(page, "csrf"), "token": token(night), "next": ahead}
        answer = client.post("/login", data=sent, follow_redirects=False)
    assert answer.headers["location"] == "/"


def test_secrets_are_nowhere_but_with_their_owners(night: Night, caplog: pytest.LogCaptureFixture) -> None:
    """Neither token nor cookie is in a page, a log or the database, also not where a login failed."""
    caplog.set_level(logging.DEBUG)
    secret = token(night)
    with night.client() as client:
        browser = Browser(client)
        failed = browser.log_in(f"{secret}x").text
        browser.log_in(secret)
        cookie = client.cookies[cookies.SESSION]
        pages = [failed, client.get("/").text, client.get("/proposals/id-r12-08").text]
        client.get("/v1/proposals", headers=bearer(f"{secret}y"))
    with night.ledger() as ledger:
        assert ledger.verify().ok
    for name in ("ledger.db", "ledger.db-wal"):
        file = night.home / name
        held = file.read_bytes() if file.exists() else b""
        assert secret.encode() not in held
        assert cookie.encode() not in held
    assert secret not in caplog.text
    assert cookie not in caplog.text
    assert not any(secret in page or cookie in page for page in pages)


def test_the_history_vouches_for_tokens(night: Night) -> None:
    """A role that is raised in the database, and a token that nobody made, are found."""
    token(night, role=Role.VIEWER)
    with night.ledger() as ledger:
        with ledger._engine.begin() as con:
            body = con.execute(tokens.select()).one().body
            con.execute(tokens.update().values(body=body.replace("viewer", "admin")))
        assert not ledger.verify().ok
        with ledger._engine.begin() as con:
            con.execute(tokens.update().values(body=body))
        assert ledger.verify().ok
        with ledger._engine.begin() as con:
            con.execute(tokens.insert().values(token_id="00000000", body=body))
        assert "no record says" in (ledger.verify().reason or "")


def test_where_a_login_is_required_nothing_is_read_without_one(night: Night) -> None:
    """Pages lead to the login and back, data is 401, and a viewer reads both."""
    with TestClient(create_app(night.home, night.url, settings=REQUIRED), base_url=BASE) as client:
        answer = client.get("/proposals/id-r12-08", follow_redirects=False)
        assert answer.headers["location"] == "/login?next=%2Fproposals%2Fid-r12-08"
        assert client.get("/v1/proposals").status_code == 401
        viewer = token(night, role=Role.VIEWER)
        assert client.get("/v1/proposals", headers=bearer(viewer)).status_code == 200
        Browser(client).log_in(viewer)
        assert client.get("/proposals/id-r12-08").status_code == 200


def test_a_link_from_elsewhere_finds_the_session(night: Night) -> None:
    """A browser that follows a link from a chat keeps our cookie back, and is sent on from a page of ours."""
    elsewhere = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    with night.client() as client:
        page = client.get("/proposals/id-r12-08?done=0", headers=elsewhere).text
    assert '<meta http-equiv="refresh" content="0;url=/proposals/id-r12-08?done=0">' in page


def test_a_name_is_only_text(night: Night) -> None:
    """Markup in the name of a token and in a pool comes out inert."""
    with night.client() as client:
        Browser(client).log_in(token(night, name=SCRIPT, pools=(SCRIPT,)))
        for path in ("/", "/proposals/id-r12-08"):
            page = client.get(path).text
            assert SCRIPT not in page
            assert "&lt;script&gt;document" in page


def test_the_audit_names_who_created_a_token(night: Night) -> None:
    """The page, the files and the filter by person name whoever created it, from the record as it always was."""
    secret = token(night)
    with night.client() as client:
        client.headers.update(bearer(secret))
        (made,) = client.get("/v1/audit", params={"person": "admin"}).json()["entries"]
        assert (made["kind"], made["who"]) == ("token_created", "admin")
        assert client.get("/v1/audit", params={"person": "maria"}).json()["entries"] == []
        (line,) = client.get("/v1/audit.jsonl", params={"person": "admin"}).text.splitlines()
        assert json.loads(line)["who"] == "admin"
        assert "token_created" in client.get("/v1/audit.csv", params={"person": "admin"}).text
    with night.ledger() as ledger:
        assert ledger.verify().ok


def test_an_operator_of_a_pool_decides_there(night: Night) -> None:
    """In the pool of the token a decision is taken under its name."""
    night_after = ASOF + timedelta(days=1)
    held = [replace(each, proposal_id=f"{each.proposal_id}-c7", pool="c7") for each in verdict().proposals[1:2]]
    with night.ledger() as ledger:
        ledger.record(Verdict(night_after, "policy-7", "disk-4", tuple(held), {}, ()), ASOF)
    headers = bearer(token(night, pools=("c7",)), **{"if-match": "*"})
    with night.client() as client:
        answer = client.post("/v1/proposals/id-r12-08-c7/decisions", json=WORDS, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.json()["by"] == "maria"


def test_roles_rise_from_looking_to_deciding_everywhere() -> None:
    """A viewer decides nothing, an operator in the pools of the token, an admin anywhere."""
    assert [role.decides for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN)] == [False, True, True]
    assert not Person("v", Role.VIEWER).may_decide("c7")
    assert [Person("o", Role.OPERATOR, ("c7",)).may_decide(pool) for pool in ("c7", "c8", "")] == [True, False, False]
    assert Person("a", Role.ADMIN).may_decide("c8")


def test_a_viewer_finds_no_buttons(night: Night) -> None:
    """Who may not decide is told so where the buttons would be."""
    with night.client() as client:
        Browser(client).log_in(token(night, role=Role.VIEWER))
        page = client.get("/proposals/id-r12-08").text
    assert "You may look, not decide" in page
    assert 'name="verdict"' not in page


def test_a_large_body_is_not_read(night: Night) -> None:
    """Nobody fills the memory, with or without a token: what is too long, or of no told length, is turned away."""
    with night.client() as client:
        assert client.post(DECIDE, content=b"x" * 70_000).status_code == 413
        assert client.post(DECIDE, content=iter([b"x"] * 3)).status_code == 411


@pytest.mark.parametrize(("name", "days"), [(" ", 1), ("policy", 1), ("maria", 0)])
def test_a_token_is_a_persons_and_has_an_end(night: Night, name: str, days: float) -> None:
    """Nobody decides namelessly, or in the name of policy; a token that holds for no time is a mistake."""
    with pytest.raises(UsageError, match="A token needs the name"):
        token(night, name=name, days=days)


def test_tokens_are_made_and_ended_by_command(
    night: Night, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A token is shown when it is made and never again; it decides until it is revoked; who did both is kept."""
    monkeypatch.setenv("FORESHOCK_HOME", str(night.home))

    def command(*argv: str) -> tuple[int, str]:
        return main(["tokens", *argv, "--json"]), capfd.readouterr().out

    code, told = command("create", "maria", "--role", "operator", "--days", "90", "--pool", "c1", "--by", "ana")
    made = json.loads(told)
    assert (code, made["pools"], made["created_by"]) == (0, ["c1"], "ana")
    listed = command("list")[1]
    assert made["token_id"] in listed
    assert made["token"] not in listed
    with night.client() as client:
        assert client.get("/v1/proposals", headers=bearer(made["token"])).status_code == 200
        assert command("revoke", made["token_id"], "--reason", "left the team", "--by", "ana")[0] == 0
        assert client.get("/v1/proposals", headers=bearer(made["token"])).status_code == 401
    assert json.loads(command("list")[1])["tokens"] == []
    assert command("revoke", made["token_id"], "--reason", "again")[0] == 3
    assert command("create", "jo", "--role", "viewer", "--days", "1", "--pool", "c1")[0] == 2


def test_a_token_for_a_pool_that_is_not_there_is_refused(
    night: Night, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A slip of the pen would decide nowhere: the pool is held against the inventory, the nearest or all are named."""
    monkeypatch.setenv("FORESHOCK_HOME", str(night.home))
    create = ["tokens", "create", "maria", "--role", "operator", "--days", "9", "--pool", "c1", "--pool"]
    assert main([*create, "c11"]) == 2
    assert "No pool c11 is in the inventory" in (said := capfd.readouterr().err)
    assert "Did you mean c1?" in said
    assert main([*create, "elsewhere"]) == 2
    assert "Known: c1\n" in capfd.readouterr().err
    with Access(night.url) as access:
        assert access.tokens() == []
