"""Orders and answers as CloudEvents 1.0 in structured JSON, and back; both sides check `data` by the same models.

Source of the format: CloudEvents specification 1.0.2, JSON event format. An event's `id` is the idempotency key: an
order's is the order's own id, so the same order sent twice is the same event.
"""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self, TypeVar
from uuid import NAMESPACE_URL, uuid5

from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from data.errors import InputError
from decisions.domain import Action, Answer, BadAnswer, Change, Order, OrderState, VmOutcome, VmPlan

CONTENT_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"
REQUESTED: Final = "io.foreshock.order.requested.v1"
CANCELLED: Final = "io.foreshock.order.cancelled.v1"
START: Final = "io.foreshock.vm.start.v1"
ANSWER: Final = "io.foreshock.order.{state}.v1"
SOURCE: Final = "/foreshock"
EXECUTOR: Final = "/foreshock/executor"

LONGEST_ID: Final = 200
LONGEST: Final = 4_000
"""Characters of an id, and of a sentence."""
_PRINTABLE: Final = r"^[^\x00-\x1f\x7f]+$"
_CLOCK: Final = "([01][0-9]|2[0-3]):[0-5][0-9]"
_DATE: Final = "2[01][0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_MOMENT: Final = rf"^{_DATE}T{_CLOCK}:[0-5][0-9](\.[0-9]{{1,9}})?(Z|[+-]{_CLOCK})$"
"""RFC 3339, from 2000 to 2199, always with its offset from UTC."""


def _written_out(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and re.fullmatch(_MOMENT, value)):
        return value
    msg = "a moment is written by RFC 3339 with its offset from UTC, such as 2026-11-01T02:00:00Z"
    raise ValueError(msg)


Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, pattern=_PRINTABLE)]
Sentence = Annotated[str, Field(max_length=LONGEST)]
Moment = Annotated[
    AwareDatetime, BeforeValidator(_written_out), Field(strict=False, json_schema_extra={"pattern": _MOMENT})
]


class Envelope(BaseModel):
    """The attributes of an event, and its data; others are extensions, which nobody reads here."""

    model_config = ConfigDict(
        extra="allow", strict=True, json_schema_extra={"propertyNames": {"pattern": "^[a-z0-9]+$"}}
    )

    specversion: Literal["1.0"]
    id: Annotated[str, Field(min_length=1, max_length=250, pattern=_PRINTABLE)]
    source: Id
    type: Id
    subject: Annotated[str, Field(min_length=1, max_length=250, pattern=_PRINTABLE)] | None = None
    time: Moment | None = None
    datacontenttype: Literal["application/json"] | None = None
    dataschema: Id | None = None
    data: Any = None


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


_Read = TypeVar("_Read", bound=_Data)


class VmData(_Data):
    """What is asked for one VM."""

    vm_id: Id
    technique: Action
    target_host_id: Id | None = None
    seconds: Annotated[float, Field(ge=0, le=10_000_000)] = 0.0
    deadline: Moment | None = None


class ChangeData(_Data):
    """The service that the host gets."""

    name: Id
    attribute: Id
    value: Id
    becomes: Id


class Precondition(_Data):
    """What must still hold when the order starts; otherwise it is refused."""

    vm_ids: Annotated[tuple[Id, ...], Field(max_length=10_000)]
    """They are all on the host."""
    no_later_than: Moment
    """The decision has not expired."""


class OrderData(_Data):
    """`data` of `io.foreshock.order.requested.v1`."""

    proposal_id: Id
    host_id: Id
    action: Action
    vms: Annotated[tuple[VmData, ...], Field(max_length=10_000)]
    not_before: Moment
    expires_at: Moment
    precondition: Precondition
    reasons: Annotated[tuple[Sentence, ...], Field(max_length=100)]
    model_version: Annotated[str, Field(max_length=400)]
    policy_version: Annotated[str, Field(max_length=400)]
    remedy: ChangeData | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """What no JSON Schema can say."""
        ids = {vm.vm_id for vm in self.vms}
        if len(ids) < len(self.vms):
            msg = "a VM stands in it twice"
            raise ValueError(msg)
        if set(self.precondition.vm_ids) != ids or self.precondition.no_later_than != self.expires_at:
            msg = "the precondition is not that of these VMs until expires_at"
            raise ValueError(msg)
        return self


class CancelData(_Data):
    """`data` of `io.foreshock.order.cancelled.v1` when it is sent to the executor."""

    order_id: Id
    reason: Sentence


class StartData(_Data):
    """`data` of `io.foreshock.vm.start.v1`: what is to happen to a VM of an order begins now, before its moment."""

    order_id: Id
    vm_id: Id
    reason: Sentence


class VmOutcomeData(_Data):
    """What became of one VM."""

    vm_id: Id
    result: Literal["moved", "redeployed", "chosen", "paused", "stayed", "failed", "lost"]
    target_host_id: Id | None
    pause_seconds: Annotated[float, Field(ge=0)]
    interrupted: bool


class AnswerData(_Data):
    """`data` of `io.foreshock.order.{accepted,started,completed,failed,refused,cancelled,expired}.v1`."""

    order_id: Id
    reason: Sentence | None = None
    vms: tuple[VmOutcomeData, ...] = ()
    host_state: Literal["in_service", "blocked", "empty", "repair", "probation"] | None = None
    """How the order left its host, once it has ended."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        """What no JSON Schema can say."""
        if len({vm.vm_id for vm in self.vms}) < len(self.vms):
            msg = "a VM stands in it twice"
            raise ValueError(msg)
        return self


SCHEMAS: Final[dict[str, type[BaseModel]]] = {
    "order.requested.v1": OrderData,
    "order.cancelled.v1": CancelData,
    "order.answer.v1": AnswerData,
    "vm.start.v1": StartData,
}


def schema(name: str) -> str:
    """The JSON Schema (2020-12) of an event's data, as it ships in `schemas/`."""
    model = SCHEMAS[name].model_json_schema()
    named = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model, "title": f"io.foreshock.{name}"}
    return json.dumps(named, indent=2, sort_keys=True) + "\n"


def order_event(order: Order, at: datetime) -> bytes:
    """The event that hands the order over; the same order gives the same id.

    Raises:
        InputError: the contract has no room for such an order.
    """
    try:
        data = _order_data(order)
    except ValidationError as error:
        msg = f"order {order.order_id} does not fit the contract: {first(error)}"
        raise InputError(msg) from error
    return _written(order.order_id, REQUESTED, SOURCE, f"host/{order.host_id}", at, data)


def _order_data(order: Order) -> OrderData:
    return OrderData(
        proposal_id=order.proposal_id,
        host_id=order.host_id,
        action=order.action,
        vms=tuple(VmData(**vars(vm)) for vm in order.vms),
        not_before=order.not_before,
        expires_at=order.expires_at,
        precondition=Precondition(vm_ids=tuple(vm.vm_id for vm in order.vms), no_later_than=order.expires_at),
        reasons=order.reasons,
        model_version=order.model_version,
        policy_version=order.policy_version,
        remedy=ChangeData(**vars(order.remedy)) if order.remedy else None,
    )


def cancel_event(order_id: str, reason: str, at: datetime) -> bytes:
    """The event that calls an order back."""
    data = CancelData(order_id=order_id, reason=reason)
    return _written(f"{order_id}/cancel", CANCELLED, SOURCE, f"order/{order_id}", at, data)


def start_event(order_id: str, vm_id: str, reason: str, at: datetime) -> bytes:
    """The event that lets a VM of an order begin now; the same wish gives the same id."""
    data = StartData(order_id=order_id, vm_id=vm_id, reason=reason)
    return _written(str(uuid5(NAMESPACE_URL, f"{order_id}/start/{vm_id}")), START, SOURCE, f"vm/{vm_id}", at, data)


def answer_event(answer: Answer) -> bytes:
    """The event that says where an order stands; the same standing gives the same id."""
    vms = tuple(VmOutcomeData.model_validate(vars(vm)) for vm in answer.vms)
    reason = answer.reason and answer.reason[:LONGEST]
    told = {"order_id": answer.order_id, "reason": reason, "vms": vms, "host_state": answer.host_state}
    data = AnswerData.model_validate(told)
    kind = ANSWER.format(state=answer.state)
    return _written(f"{answer.order_id}/{answer.state}", kind, EXECUTOR, f"order/{answer.order_id}", answer.at, data)


def read_order(event: CloudEvent) -> Order:
    """The order that an event hands over.

    Raises:
        InputError: its data or its id is not that of an order.
    """
    data, order_id = _checked(OrderData, event), event.get_id()
    if len(order_id) > LONGEST_ID:
        msg = f"event {order_id} of type {REQUESTED}: an order's id has at most {LONGEST_ID} characters"
        raise InputError(msg)
    vms = tuple(VmPlan(**vars(vm)) for vm in data.vms)
    return Order(
        order_id=order_id,
        proposal_id=data.proposal_id,
        host_id=data.host_id,
        action=data.action,
        vms=vms,
        not_before=data.not_before,
        expires_at=data.expires_at,
        reasons=data.reasons,
        policy_version=data.policy_version,
        model_version=data.model_version,
        remedy=Change(**vars(data.remedy)) if data.remedy else None,
    )


def read_cancel(event: CloudEvent) -> CancelData:
    """The order that an event calls back, and why.

    Raises:
        InputError: its data says no such thing.
    """
    return _checked(CancelData, event)


def read_start(event: CloudEvent) -> StartData:
    """The VM that an event lets begin, and why.

    Raises:
        InputError: its data says no such thing.
    """
    return _checked(StartData, event)


def read_answer(body: bytes | str) -> Answer:
    """The answer that an event holds.

    Raises:
        InputError: it is no answer.
    """
    return _answer(read_event(body))


def _answer(event: CloudEvent) -> Answer:
    kind, at = str(event.get_type()), event.get_time()
    state = next((state for state in OrderState if kind == ANSWER.format(state=state)), None)
    if state is None or at is None:
        msg = f"an event of type {kind} is no answer to an order, or has no time"
        raise InputError(msg)
    data = _checked(AnswerData, event)
    vms = tuple(VmOutcome(**vars(vm)) for vm in data.vms)
    return Answer(data.order_id, state, at.astimezone(UTC), data.reason, vms, data.host_state)


def batch(events: Sequence[bytes]) -> bytes:
    """Several events in one body, by the JSON batch format."""
    return b"[" + b",".join(events) + b"]"


def read_batch(body: bytes) -> tuple[list[Answer], list[BadAnswer]]:
    """The answers of a batch, and what in it is none: one that cannot be read spoils no other.

    Raises:
        InputError: it is no JSON list.
    """
    try:
        held = json.loads(body)
    except (ValueError, RecursionError) as error:
        msg = f"the body is no batch of CloudEvents 1.0 in JSON: {error}"
        raise InputError(msg) from error
    if not isinstance(held, list):
        msg = f"the body is no batch of CloudEvents 1.0 in JSON: it is no list but {type(held).__name__}"
        raise InputError(msg)
    read, bad = [], []
    for each in held:
        try:
            read.append(read_answer(json.dumps(each)))
        except InputError as error:
            bad.append(BadAnswer(_about(each), f"The executor's answer cannot be read: {error}"))
    return read, bad


def _about(event: object) -> str | None:
    """The order that an event is about which cannot be read."""
    data = event.get("data") if isinstance(event, dict) else None
    order_id = data.get("order_id") if isinstance(data, dict) else None
    return order_id if isinstance(order_id, str) else None


def read_event(body: bytes | str) -> CloudEvent:
    """The event in a body of structured JSON.

    Raises:
        InputError: it is not one.
    """
    try:
        held = Envelope.model_validate_json(body)
    except ValidationError as error:
        msg = f"the body is no CloudEvent 1.0 in structured JSON: {first(error)}"
        raise InputError(msg) from error
    return _event(held)


def _event(held: Envelope) -> CloudEvent:
    attributes = held.model_dump(exclude_none=True, exclude={"data"})
    try:
        return CloudEvent(attributes, held.data)
    except BaseCloudEventException as error:
        msg = f"the body is no CloudEvent 1.0 in structured JSON: {error}"
        raise InputError(msg) from error


def _written(id_: str, kind: str, source: str, subject: str, at: datetime, data: _Data) -> bytes:
    attributes = {
        "specversion": "1.0",
        "id": id_,
        "type": kind,
        "source": source,
        "subject": subject,
        "time": at.astimezone(UTC),
        "datacontenttype": "application/json",
    }
    return JSONFormat().write(CloudEvent(attributes=attributes, data=data.model_dump(mode="json")))


def _checked(model: type[_Read], event: CloudEvent) -> _Read:
    """The event's data by the model, as strictly as the JSON Schema has it."""
    where = f"an event of type {event.get_type()}"  # not by its id, which may be another whenever it is sent
    schema = event.get_dataschema()
    names = [name for name, held in SCHEMAS.items() if held is model]
    if schema is not None and schema.rsplit("/", 1)[-1].removesuffix(".json") not in names:
        msg = f"{where}: its data follow {schema}, and what is read here is {' or '.join(names)}"
        raise InputError(msg)
    try:
        return model.model_validate_json(json.dumps(event.get_data()))
    except ValidationError as error:
        msg = f"{where}: {first(error)}"
        raise InputError(msg) from error


def first(error: ValidationError) -> str:
    """What is wrong first, and where."""
    found = error.errors()[0]
    place = ".".join(str(part) for part in found["loc"])
    return f"{place}: {found['msg']}" if place else str(found["msg"])
