"""Deciding by the API."""

from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from fastapi import FastAPI, Header
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dashboards.access.gate import decider, owners_may
from dashboards.deciding import DecisionRequest, Desk, Reason, StartRequest
from dashboards.deciding.windows import starter
from dashboards.problem import Problem, described
from data.errors import Changed, Refused, UsageError
from decisions.ledger.said import Condition, Decided
from decisions.ledger.starts import Start
from decisions.ledger.values import OrderLine, in_line
from pipelines.output import plain

ANYHOW: Final = "*"
"""The `If-Match` of somebody who decides whatever has happened since."""
Done = TypeVar("Done")


class CancellationRequest(BaseModel):
    """Why an order is called back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Reason


def routes(app: FastAPI, desk: Desk) -> None:
    """Put the routes for programs into the app."""

    @app.post(
        "/v1/proposals/{proposal_id}/decisions",
        tags=["proposals"],
        status_code=201,
        responses=described(401, 403, 409, 412, 428),
    )
    def decide(
        request: Request,
        response: Response,
        proposal_id: str,
        asked: DecisionRequest,
        if_match: Annotated[str | None, Header(description="The proposal's ETag, as it was seen.")] = None,
        idempotency_key: Annotated[str | None, Header(max_length=200, description="Names the request.")] = None,
    ) -> Decided:
        """Approve, veto, snooze or hand over a proposal, as the person of the token.

        412 says who decided what, why and when, if somebody has since the ETag was read. The same request under the
        same `Idempotency-Key` gets the same answer for a week, and happens once.
        """
        listed, now = desk.seen(proposal_id)
        person = decider(request, listed.proposal.pool)
        if if_match is None:
            raise HTTPException(428, "Send the proposal's ETag as If-Match, so that you decide on what you have seen.")
        seen = None if if_match.strip() == ANYHOW else if_match.strip().strip('"')
        on = Condition(seen, idempotency_key or None)
        decided = _or_problem(desk, proposal_id, lambda: desk.decide(person, proposal_id, now, asked, on))
        response.headers["etag"] = f'"{decided.etag}"'
        return decided

    @app.post(
        "/v1/orders/{order_id}/cancellation", tags=["orders"], status_code=201, responses=described(401, 403, 409)
    )
    def cancel(request: Request, order_id: str, asked: CancellationRequest) -> OrderLine:
        """Call an order back, also from the executor where it can still stop it."""
        proposal_id = desk.ordered(order_id).proposal.proposal_id
        listed, now = desk.seen(proposal_id)
        person = decider(request, listed.proposal.pool)
        return in_line(_or_problem(desk, proposal_id, lambda: desk.stop(person, order_id, asked.reason, now)))

    @app.post("/v1/orders/{order_id}/starts", tags=["maintenance"], status_code=201, responses=described(401, 403, 409))
    @owners_may
    def start(request: Request, order_id: str, asked: StartRequest) -> Start:
        """Let a VM begin whose owner was offered a window, as the owner or at the owner's word; the first is named.

        Asked again it changes nothing, and the executor is told again.
        """
        person, listed = starter(desk, request, order_id, asked.vm_id)
        proposal_id = listed.proposal.proposal_id
        return _or_problem(desk, proposal_id, lambda: desk.start(person, order_id, asked))


def _or_problem(desk: Desk, proposal_id: str, deed: Callable[[], Done]) -> Done:
    try:
        return deed()
    except Changed as error:
        listed, _ = desk.seen(proposal_id)
        more = {"decision": plain(listed.decision), "order_state": listed.order_state, "etag": listed.etag}
        raise Problem(412, str(error), more) from error
    except Refused as error:
        raise HTTPException(409, str(error)) from error
    except UsageError as error:
        raise HTTPException(422, str(error)) from error
