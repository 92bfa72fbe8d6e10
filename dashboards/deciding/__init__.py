"""Deciding: in the browser and by the API alike, with the same words, written into the ledger in the same way."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException

from dashboards.queue import Look, Room
from decisions.access.values import Person
from decisions.ledger.said import LONGEST_NAME, Condition, Decided, Said, Say
from decisions.ledger.starts import Start
from decisions.ledger.values import ListedOrder, ListedProposal
from pipelines.settings import Settings
from pipelines.steps.cancel import cancel
from pipelines.steps.say import say
from pipelines.steps.start_vm import start_vm

_WRITTEN: Final = r"^[^\x00]*[^\s\x00][^\x00]*$"
"""Something that is not blank, and that every database keeps."""
Reason = Annotated[str, Field(max_length=2_000, pattern=_WRITTEN)]


class DecisionRequest(BaseModel):
    """What a person says to a proposal.

    A veto or a snooze holds the host for so many `hours`, or until `expires_at`; with neither, until the proposal
    expires. A snooze also ends when the action or the risk band changes. `hand_over` names whom `to`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    verdict: Say
    reason: Reason
    hours: Annotated[float | None, Field(gt=0, le=24 * 366)] = None
    expires_at: AwareDatetime | None = None
    to: Annotated[str | None, Field(max_length=LONGEST_NAME, pattern=_WRITTEN)] = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.hours is not None and self.expires_at is not None:
            msg = "give hours or expires_at, not both"
            raise ValueError(msg)
        if self.verdict not in {Say.VETO, Say.SNOOZE} and (self.hours or self.expires_at):
            msg = "only a veto or a snooze has an end of its own"
            raise ValueError(msg)
        if (self.verdict is Say.HAND_OVER) != (self.to is not None):
            msg = "hand_over names whom it is handed `to`, and nothing else does"
            raise ValueError(msg)
        return self


class StartRequest(BaseModel):
    """Which VM begins now that its owner was offered a window for, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vm_id: Annotated[str, Field(max_length=200, pattern=_WRITTEN)]
    reason: Reason


@dataclass(frozen=True)
class Desk:
    """Where decisions are made: what is seen, and where it is written."""

    room: Room
    settings: Settings

    def seen(self, proposal_id: str) -> tuple[ListedProposal, datetime]:
        """The proposal as it stands, and whose time it is.

        Raises:
            HTTPException: 404, there is no such proposal.
        """
        with self.room.look() as look:
            return found(look, proposal_id), look.now

    def ordered(self, order_id: str) -> ListedProposal:
        """The proposal that the order came from.

        Raises:
            HTTPException: 404, there is no such order.
        """
        with self.room.look() as look:
            held = look.book.orders([order_id]).get(order_id) if look.book else None
            if held is None:
                raise HTTPException(404, f"There is no order {order_id}. /v1/proposals names them.")
            return found(look, held.order.proposal_id)

    def decide(self, person: Person, proposal_id: str, now: datetime, asked: DecisionRequest, on: Condition) -> Decided:
        """The decision, written down under the person's name.

        Raises:
            UsageError: What is asked makes no sense.
            Refused: Somebody was faster, or as things stand it cannot be done.
        """
        until = now + timedelta(hours=asked.hours) if asked.hours is not None else asked.expires_at
        said = Said(proposal_id, asked.verdict, person.name, asked.reason.strip(), now, until, asked.to)
        return say(self.settings, said, replace(on, request=f"{proposal_id} {asked.model_dump_json()}"))

    def stop(self, person: Person, order_id: str, reason: str, now: datetime) -> ListedOrder:
        """The order after it was called back, also from the executor where it can still stop it.

        Raises:
            Refused: It has ended already, or the executor can no longer stop it.
        """
        return cancel(self.settings, order_id, person.name, reason.strip(), now)

    def start(self, person: Person, order_id: str, asked: StartRequest) -> Start:
        """The wish to begin with the VM within its owner's window, as it is held: whoever asked first is named.

        Raises:
            Refused: There is no open window, or nothing is left to begin with.
            ExecutorError: The executor did not hear of it.
        """
        with self.room.look() as look:
            wish = Start(order_id, asked.vm_id, person.name, asked.reason.strip(), look.now)
        return start_vm(self.settings, wish)


def found(look: Look, proposal_id: str) -> ListedProposal:
    """The proposal as it stands.

    Raises:
        HTTPException: 404, there is no such proposal.
    """
    listed = look.book.proposal(proposal_id, look.now) if look.book else None
    if listed is None:
        msg = f"There is no proposal {proposal_id} here. The queue, and /v1/proposals, show those that there are."
        raise HTTPException(404, msg)
    return listed
