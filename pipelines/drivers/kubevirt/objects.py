"""What objects of a cluster say: functions over them as JSON has them."""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pipelines.drivers import Moved

OURS: Final = "foreshock-"
"""How names of migrations begin that were begun here."""
FINAL: Final = frozenset({"Succeeded", "Failed"})
STARTS_ITSELF: Final = frozenset({"Always", "RerunOnFailure"})
"""Run strategies by which KubeVirt makes a new instance after one that failed."""

Thing = Mapping[str, Any]
"""An object of the cluster."""


def attempt(instance: Thing, source: str, known: list[Thing]) -> str:
    """The name of the next migration of this instance from there: the same for all who have seen the same ones."""
    stem = OURS + hashlib.sha256(f"{instance['metadata']['uid']}/{source}".encode()).hexdigest()[:16]
    numbers = [re.fullmatch(rf"{stem}-(\d+)", one["metadata"]["name"]) for one in known]
    return f"{stem}-{max((int(found[1]) for found in numbers if found), default=0) + 1}"


def status(thing: Thing | None) -> Thing:
    """Its status; empty where there is none yet."""
    found: Thing = (thing or {}).get("status") or {}
    return found


def over(thing: Thing) -> bool:
    """Whether an instance or a migration has come to its end."""
    return status(thing).get("phase") in FINAL


def of(migration: Thing, instance: Thing) -> bool:
    """Whether the migration is one of this instance."""
    return bool(migration["spec"]["vmiName"] == instance["metadata"]["name"])


def node_of(instance: Thing | None) -> str | None:
    """Where the instance runs; being paused is a condition of running ones."""
    held = status(instance)
    return str(held["nodeName"]) if held.get("phase") == "Running" and held.get("nodeName") else None


def condition(thing: Thing, kind: str) -> Thing | None:
    """The condition of that type, or null."""
    return next((one for one in status(thing).get("conditions", []) if one["type"] == kind), None)


def ready(node: Thing) -> bool:
    """Whether the node answers."""
    found = condition(node, "Ready")
    return found is not None and found["status"] == "True"


def strategy(machine: Thing) -> str:
    """The run strategy, also of machines that have the older `running` instead."""
    spec = machine["spec"]
    return str(spec.get("runStrategy") or ("Always" if spec.get("running") else "Halted"))


def comes_by_itself(machine: Thing) -> bool:
    """Whether KubeVirt will make an instance of it unasked, or has been asked to already."""
    return strategy(machine) in STARTS_ITSELF or bool(status(machine).get("stateChangeRequests"))


def why(migration: Thing | None, instance: Thing) -> str:
    """What the migration's state says, which for a while stands with the instance alone."""
    if migration is None:
        return "somebody deleted the migration"
    for state in (status(migration).get("migrationState"), status(instance).get("migrationState")):
        if state and state.get("migrationUid") == migration["metadata"]["uid"] and state.get("failureReason"):
            return str(state["failureReason"])
    told = [one for one in status(migration).get("conditions", []) if one["status"] == "True"]
    said = "; ".join(filter(None, (one.get("message") or one.get("reason") or one["type"] for one in told)))
    return said or f"it gave no reason; look at kubectl describe vmim {migration['metadata']['name']}"


def arrived(instance: Thing, source: str) -> Moved:
    """A VM that runs elsewhere now: moved live if its last migration says so, else started anew."""
    state = status(instance).get("migrationState") or {}
    live = bool(state.get("completed") and not state.get("failed") and state.get("sourceNode") == source)
    node = str(status(instance)["nodeName"])
    return Moved(node, 0.0 if live else start_seconds(instance), interrupted=not live)


def start_seconds(instance: Thing) -> float:
    """From the making of the instance until it ran, by the cluster's clock; 0 where that is not told."""
    for step in status(instance).get("phaseTransitionTimestamps", []):
        if step["phase"] == "Running":
            began = datetime.fromisoformat(instance["metadata"]["creationTimestamp"])
            return max(0.0, (datetime.fromisoformat(step["phaseTransitionTimestamp"]) - began).total_seconds())
    return 0.0
