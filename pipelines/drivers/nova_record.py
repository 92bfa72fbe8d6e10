"""What Nova says of itself: its refusals, and what its services wrote down of a server's actions."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from keystoneauth1.exceptions import ClientException
from openstack.compute.v2._proxy import Proxy
from openstack.compute.v2.server_action import ServerAction, ServerActionEvent
from openstack.exceptions import HttpException, NotFoundException, SDKException

from data.errors import ExecutorError
from pipelines.drivers import Impossible

REFUSALS: Final = frozenset({400, 403, 404, 409})
"""What Nova answers when it will not; after any other error it may have begun."""
LOOK: Final = "look at: openstack server event list"


@contextmanager
def asking(what: str, *, acting: bool = False, missing: bool = False) -> Iterator[None]:
    """Turn the SDK's errors into ours.

    `Impossible` only where nothing can have happened: an action (`acting`) was refused, or the server is `missing`.
    """
    try:
        yield
    except HttpException as error:
        msg = f"Nova was asked {what}, and answered {error.status_code}: {error.details or error}"
        refused = acting and error.status_code in REFUSALS
        if refused or (missing and isinstance(error, NotFoundException)):
            raise Impossible(msg) from error
        raise ExecutorError(msg) from error
    except (SDKException, ClientException) as error:
        msg = f"Nova was asked {what}, and could not be reached: {error}"
        raise ExecutorError(msg) from error


def went_wrong(compute: Proxy, vm_id: str, action: str) -> list[str]:
    """What the events of the server's latest action of that name say went wrong, in order."""
    for found in _actions(compute, vm_id):
        if found.action == action:
            wrong = [one for one in _events(compute, vm_id, found) if one["result"] == "Error"]
            return list(dict.fromkeys(str(one["details"]) for one in wrong if one["details"]))
    return []


def why(compute: Proxy, vm_id: str, action: str) -> str:
    """The same as a sentence, also where nothing was written down."""
    return "; ".join(went_wrong(compute, vm_id, action)) or f"it does not say why; {LOOK}"


def was_on(compute: Proxy, vm_id: str) -> bool:
    """Whether the server was to run when that was last said: an evacuation does not say it."""
    said = (one.action for one in _actions(compute, vm_id) if one.action in {"create", "start", "stop", "reboot"})
    return next(said, "create") != "stop"


def pause_seconds(compute: Proxy, vm_id: str) -> float:
    """From the stop to the start, of the latest cold migration or evacuation; 0 where Nova has no events of it."""
    started: list[str] = []
    for action in _actions(compute, vm_id):
        events = {str(one["event"]): one for one in _events(compute, vm_id, action)}
        if "compute_start_instance" in events:
            started.append(_end(events["compute_start_instance"]))
        if action.action == "migrate" and "compute_finish_resize" in events:
            return _seconds(events["compute_resize_instance"]["start_time"], _end(events["compute_finish_resize"]))
        if action.action == "evacuate" and "compute_rebuild_instance" in events:
            ended = started[-1] if started else _end(events["compute_rebuild_instance"])
            return _seconds(str(action.start_time), ended)
    return 0.0


def _actions(compute: Proxy, vm_id: str) -> list[ServerAction]:
    """What was done to the server, the latest first."""
    with asking(f"for the actions of {vm_id}"):
        return list(compute.server_actions(vm_id))


def _events(compute: Proxy, vm_id: str, action: ServerAction) -> list[ServerActionEvent]:
    """What Nova's services did in an action, in order."""
    with asking(f"for the events of {vm_id}"):
        events = compute.get_server_action(action.request_id, vm_id).events or []
    return sorted(events, key=lambda one: one["start_time"])


def _end(event: ServerActionEvent) -> str:
    """When the event ended; one whose end is still being written down begins as late as it ends."""
    return str(event["finish_time"] or event["start_time"])


def _seconds(begun: str, ended: str) -> float:
    return max(0.0, (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds())
