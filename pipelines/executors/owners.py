"""What owners of VMs are told: scheduled events, in the shape that agents in VMs already read.

`GET /metadata/scheduledevents` answers for one VM. Which one it is comes, as with OpenStack's metadata service, from a
proxy on the host that adds `X-Instance-ID` and its HMAC-SHA256 under a shared secret, which guests do not know. The
shape is that of Azure's Scheduled Events, 2020-07-01.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime
from math import ceil
from typing import Annotated, Any, Final
from uuid import NAMESPACE_URL, uuid5

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data.errors import InputError, Refused, SettingsError, UsageError
from decisions.domain import Action
from pipelines.contract.messages import first
from pipelines.executors.jobs import Jobs, Task

PATH: Final = "/metadata/scheduledevents"
VARIABLE: Final = "FORESHOCK_METADATA_SECRET"
PAUSE_SECONDS: Final = 5
"""How long a VM stands still at most in a live move, as a rule."""
_SAID: Final = {
    Action.LIVE_MIGRATE: "The host is about to fail. The VM is moved to another host, and stands still for seconds.",
    Action.PRESERVE_MEMORY: "The host is serviced. The VM stands still for seconds and keeps its memory.",
    Action.EVACUATE: "The host is about to fail. The VM is stopped, and started on another host.",
    Action.SELF_SERVICE: (
        "The host has to be emptied. Start the event at a moment that suits you; at NotBefore the VM is moved or "
        "started on another host anyway."
    ),
    Action.NOTIFY: "The host may fail. Start the event to have the VM started on another host; otherwise it stays.",
}


_Id = Annotated[str, Header(alias="X-Instance-ID", min_length=1, max_length=200)]
_Signed = Annotated[str, Header(alias="X-Instance-ID-Signature", max_length=200)]
_Asked = Annotated[str, Header(alias="Metadata", max_length=10)]


class StartRequest(BaseModel):
    """The owner's word to begin now."""

    model_config = ConfigDict(extra="forbid")

    EventId: Annotated[str, Field(max_length=100)]


class StartRequests(BaseModel):
    """What an owner posts."""

    model_config = ConfigDict(extra="ignore")

    StartRequests: Annotated[list[StartRequest], Field(max_length=100)]


_EXAMPLE: Final = '{"StartRequests": [{"EventId": "..."}]}'
_SCHEMA: Final = {
    "type": "object",
    "required": ["StartRequests"],
    "properties": {"StartRequests": {"type": "array", "maxItems": 100, "items": StartRequest.model_json_schema()}},
}
_POSTED: Final = {"requestBody": {"required": True, "content": {"application/json": {"schema": _SCHEMA}}}}


def secret() -> bytes | None:
    """The secret shared with the proxies on hosts; null: nobody is told anything.

    Raises:
        SettingsError: it is too short to be one.
    """
    word = os.environ.get(VARIABLE, "")
    if word and len(word) < 16:
        msg = f"{VARIABLE} has fewer than 16 characters; make one with 'openssl rand -base64 32'."
        raise SettingsError(msg)
    return word.encode() or None


def signature(key: bytes, vm_id: str) -> str:
    """What a proxy adds to a VM's request, in hexadecimal: HMAC-SHA256 of its id."""
    return hmac.new(key, vm_id.encode(), hashlib.sha256).hexdigest()


def serve(app: FastAPI, jobs: Jobs, key: bytes | None, clock: Callable[[], datetime]) -> None:
    """Add what owners are told, if there is a secret to know them by, and `/metrics` on promises kept and broken."""
    if key is not None:
        app.include_router(router(jobs, key, clock))

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> PlainTextResponse:
        """Moments that owners were told of, by what became of them, for Prometheus."""
        name = "foreshock_owner_promises"
        heads = [
            f"# HELP {name} Moments that owners of VMs were told of, by what became of them.",
            f"# TYPE {name} gauge",
        ]
        lines = [f'{name}{{fate="{fate}"}} {count}' for fate, count in jobs.promises().items()]
        return PlainTextResponse("\n".join([*heads, *lines, ""]), media_type="text/plain; version=0.0.4")


def router(jobs: Jobs, key: bytes, clock: Callable[[], datetime]) -> APIRouter:
    """The routes for owners' agents.

    Args:
        jobs: what is to happen to VMs.
        key: the secret that proxies sign with.
        clock: whose time it is.
    """
    routes = APIRouter()

    def known(told: str, signed: str, asked: str) -> str:
        if asked.lower() != "true":
            msg = "the header 'Metadata: true' is missing, without which no page of others can ask"
            raise UsageError(msg)
        vm_id = _as_sent(told)
        if not hmac.compare_digest(signature(key, vm_id).encode(), signed.encode()):
            msg = f"the signature of instance {vm_id} is not good"
            raise Refused(msg)
        return vm_id

    @routes.get(PATH)
    def events(vm_id: _Id, signed: _Signed, asked: _Asked) -> dict[str, Any]:
        """What is to happen to the VM."""
        count, tasks = jobs.of_vm(known(vm_id, signed, asked))
        return {"DocumentIncarnation": count, "Events": [event(task) for task in tasks]}

    @routes.post(PATH, openapi_extra=_POSTED)
    def start(
        wish: Annotated[StartRequests, Depends(_wish)], vm_id: _Id, signed: _Signed, asked: _Asked
    ) -> dict[str, Any]:
        """Let events begin now."""
        asker = known(vm_id, signed, asked)
        held = {event_id(task): task for task in jobs.of_vm(asker)[1]}
        for one in wish.StartRequests:
            if one.EventId not in held:
                msg = f"VM {asker} has no event {one.EventId}: it is over, was called back, or is another VM's"
                raise UsageError(msg)
        for one in wish.StartRequests:
            jobs.ask(held[one.EventId], clock())
        return {}

    return routes


async def _wish(request: Request) -> StartRequests:
    """What an agent posts: JSON, whatever it calls it; with curl and Python's `requests` many call it a form."""
    try:
        return StartRequests.model_validate_json(await request.body())
    except ValidationError as error:
        msg = f"the body is no JSON such as {_EXAMPLE}: {first(error)}"
        raise InputError(msg) from error


def _as_sent(header: str) -> str:
    """A header's text, which came as UTF-8 and was read as the Latin-1 that HTTP has for headers."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        return header


def event(task: Task) -> dict[str, Any]:
    """One scheduled event."""
    freezes = task.technique in (Action.LIVE_MIGRATE, Action.PRESERVE_MEMORY)
    started = task.phase == "doing"
    lasts = PAUSE_SECONDS if task.technique is Action.LIVE_MIGRATE else ceil(task.seconds) or -1
    return {
        "EventId": event_id(task),
        "EventType": "Freeze" if freezes else "Redeploy",
        "ResourceType": "VirtualMachine",
        "Resources": [task.vm_id],
        "EventStatus": "Started" if started else "Scheduled",
        "NotBefore": "" if started else format_datetime(task.not_before, usegmt=True),
        "Description": _SAID.get(task.technique, ""),
        "EventSource": "Platform",
        "DurationInSeconds": lasts,
    }


def event_id(task: Task) -> str:
    """The event's id, a function of order and VM."""
    return event_id_of(task.order_id, task.vm_id)


def event_id_of(order_id: str, vm_id: str) -> str:
    """The id of the event that an order means for a VM."""
    return str(uuid5(NAMESPACE_URL, f"foreshock:{order_id}/{vm_id}"))
