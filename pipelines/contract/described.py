"""The messages as OpenAPI 3.1 describes them: the models that both sides check with, in their envelopes."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from decisions.domain import OrderState
from pipelines.contract import messages, signing
from pipelines.contract.messages import ANSWER, AnswerData, CancelData, Envelope, Id, Moment, OrderData, StartData

PROBLEM: Final = "application/problem+json"
_ANSWERS: Final = [ANSWER.format(state=state) for state in OrderState if state is not OrderState.REQUESTED]


def _follows(name: str) -> Any:
    """A field of `dataschema`: left out, or the address of the schema that ships under this name."""
    return Field(json_schema_extra={"pattern": rf"^([^\x00-\x1f\x7f]*/)?{name.replace('.', '[.]')}([.]json)?$"})


class OrderRequested(Envelope):
    """The event that hands an order over."""

    id: Id
    type: Annotated[str, Field(json_schema_extra={"const": messages.REQUESTED})]
    dataschema: Annotated[str, _follows("order.requested.v1")] | None = None
    data: OrderData


class OrderCancelled(Envelope):
    """The event that calls an order back."""

    type: Annotated[str, Field(json_schema_extra={"const": messages.CANCELLED})]
    dataschema: Annotated[str, _follows("order.cancelled.v1")] | None = None
    data: CancelData


class VmStart(Envelope):
    """The event that lets a VM of an order begin now."""

    type: Annotated[str, Field(json_schema_extra={"const": messages.START})]
    dataschema: Annotated[str, _follows("vm.start.v1")] | None = None
    data: StartData


class OrderAnswer(Envelope):
    """The event that says where an order stands."""

    type: Annotated[str, Field(json_schema_extra={"enum": _ANSWERS})]
    time: Moment
    data: AnswerData


class Problem(BaseModel):
    """A refusal, by RFC 9457; `detail` is a sentence for a person."""

    type: str
    status: int
    detail: str


_HANDED: Final = (OrderRequested, OrderCancelled, VmStart)


def components() -> dict[str, Any]:
    """The schemas by name, which all below refer to."""
    models: list[Any] = [(model, "validation") for model in (*_HANDED, OrderAnswer, Problem)]
    described: dict[str, Any] = models_json_schema(models, ref_template="#/components/schemas/{model}")[1]["$defs"]
    return described


def _refers(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_SIGNED: Final = [
    {"name": name, "in": "header", "required": True, "schema": {"type": "string", "minLength": 1}}
    for name in signing.HEADERS
]
_ONE_OF: Final = {"oneOf": [_refers(model.__name__) for model in _HANDED]}
_BATCH: Final = {"type": "array", "items": _refers("OrderAnswer")}
ASKED: Final[dict[str, Any]] = {"parameters": _SIGNED}
"""What a request for answers holds beside its query."""
HANDED: Final[dict[str, Any]] = {
    **ASKED,
    "requestBody": {"required": True, "content": {messages.CONTENT_TYPE: {"schema": _ONE_OF}}},
}
"""What a request with an order holds."""


def answers(*, batch: bool, refusals: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    """What may come back: one event or a batch of them, or a refusal of these kinds."""
    kind, schema = (messages.BATCH_TYPE, _BATCH) if batch else (messages.CONTENT_TYPE, _refers("OrderAnswer"))
    refused = {"description": "Refused", "content": {PROBLEM: {"schema": _refers("Problem")}}}
    good = {"description": "Answered", "content": {kind: {"schema": schema}}}
    return {200: good, **dict.fromkeys(refusals, refused)}
