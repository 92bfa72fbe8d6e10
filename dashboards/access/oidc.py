"""Logging in with an identity provider, by OpenID Connect's code flow with PKCE; Authlib checks what comes back.

Authlib is loaded only where there is a provider.
"""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Final

import httpx
from fastapi import FastAPI, Query
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from dashboards.access import cookies
from dashboards.access.login import MOST_AHEAD, Door
from dashboards.pages import passing_page
from data.errors import SettingsError
from decisions.access.values import Person, Role
from decisions.ledger.record import POLICY
from pipelines.settings import OidcSettings

SECRET: Final = "FORESHOCK_OIDC_SECRET"  # noqa: S105 - the name of the variable, not the secret
MINUTES: Final = 10
"""How long a login at the provider may take."""
MOST_AWAY: Final = 200
"""People at the provider of whom it is known what they want to see next; of more, the last that went."""


def routes(app: FastAPI, door: Door) -> None:
    """Put the provider's routes into the app, if there is a provider.

    Raises:
        SettingsError: The client's id or secret is missing, or no claim gives a role.
    """
    settings, review = door.settings.review.oidc, door.settings.review
    if not settings.issuer:
        return
    from authlib.integrations.starlette_client import OAuthError
    from joserfc.errors import JoseError

    provider, ways = _provider(settings), dict[str, str]()
    app.add_middleware(
        SessionMiddleware,
        secret_key=cookies.fresh(),
        session_cookie="foreshock_oidc",
        max_age=MINUTES * 60,
        path="/login",
        same_site="lax",  # the provider sends the browser back from another site
        https_only=review.url.startswith("https://"),
    )

    @app.get("/login/oidc", include_in_schema=False)
    async def depart(
        request: Request, ahead: Annotated[str, Query(alias="next", max_length=MOST_AHEAD)] = "/"
    ) -> Response:
        request.session["way"] = way = cookies.fresh()
        ways[way] = cookies.ahead(ahead)  # not in the cookie: it may hold a reason that was typed
        while len(ways) > MOST_AWAY:
            del ways[next(iter(ways))]
        back = f"{review.url or str(request.base_url).rstrip('/')}/login/oidc/back"
        try:
            await _same_issuer(provider, settings)
            sent: Response = await provider.authorize_redirect(request, back)
        except httpx.HTTPError as error:
            raise HTTPException(503, f"The identity provider cannot be reached: {error}. Use a token.") from error
        return sent

    @app.get("/login/oidc/back", include_in_schema=False)
    async def arrive(request: Request) -> Response:
        try:
            told = await provider.authorize_access_token(request)
        except (OAuthError, JoseError) as error:
            raise HTTPException(401, f"The identity provider's answer does not hold: {error}.") from error
        except httpx.HTTPError as error:
            raise HTTPException(503, f"The identity provider cannot be reached: {error}. Use a token.") from error
        person = person_in(told.get("userinfo") or {}, settings)
        ahead = ways.pop(request.session.pop("way", ""), cookies.AHEAD)
        response = HTMLResponse(passing_page(ahead))  # a redirect would still count as the provider's
        await run_in_threadpool(door.seat, request, response, person)
        return response


def person_in(claims: Mapping[str, Any], settings: OidcSettings) -> Person:
    """Who the claims are about, in the highest role that they give, and all owners of VMs whom they speak for.

    Raises:
        HTTPException: 403, they give none, or name nobody.
    """
    held = claims.get(settings.role_claim) or ()
    held = (held,) if isinstance(held, str) else [value for value in held if isinstance(value, str)]
    owners = tuple(sorted({settings.owners[value] for value in held if value in settings.owners}))
    roles = [Role(settings.roles[value]) for value in held if value in settings.roles]
    if owners:
        roles.append(Role.OWNER)
    name = claims.get(settings.name_claim)
    if not roles or not isinstance(name, str) or name.strip() in {"", POLICY}:
        raise HTTPException(403, f"The identity provider gives no role here ({settings.role_claim}). Ask an admin.")
    return Person(name.strip(), max(roles, key=lambda role: role.rank), owners=owners)


def _provider(settings: OidcSettings) -> Any:
    from authlib.integrations.starlette_client import OAuth

    secret = os.environ.get(SECRET)
    if not secret or not settings.client_id or not (settings.roles or settings.owners):
        needs = f"client_id and roles or owners, and the client's secret in {SECRET}"
        msg = f"review.oidc needs {needs}. Set them, or take it out."
        raise SettingsError(msg)
    return OAuth().register(
        "provider",
        client_id=settings.client_id,
        client_secret=secret,
        server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={"scope": settings.scope, "code_challenge_method": "S256", "timeout": 10.0},
    )


async def _same_issuer(provider: Any, settings: OidcSettings) -> None:
    told = (await provider.load_server_metadata()).get("issuer")
    if told != settings.issuer:
        raise HTTPException(503, f"The identity provider calls itself {told}, and review.oidc.issuer says otherwise.")
