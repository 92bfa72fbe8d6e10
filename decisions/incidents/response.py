"""What is proposed for the cause that many hosts share, in place of one evacuation after another."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from decisions.incidents.values import Incident, Kind
from decisions.policy import Policy
from decisions.remedies import remedy_for

NAMED: Final = 3


def responded(incidents: Sequence[Incident], policy: Policy) -> tuple[Incident, ...]:
    """The incidents, each with what is proposed for its cause."""
    return tuple(replace(each, response=_response(each, policy)) for each in incidents)


def _response(incident: Incident, policy: Policy) -> str:
    remedy = remedy_for(incident, policy.remedies)
    affected, more = len(incident.hosts_affected), len(incident.hosts_at_stake)
    if remedy is not None:
        return (
            f"Service the cause: {remedy.name} ({remedy.attribute} {remedy.value} to {remedy.becomes}) on {affected} "
            f"hosts affected and {more} that share it, {policy.service.hosts_per_cycle} a cycle; their VMs stay."
        )
    if incident.kind is Kind.HARDWARE:
        return (
            f"Empty the hosts at risk in the order of what is at stake; {incident.leading.named} on {more} more hosts "
            "is watched, and worth replacing."
        )
    if policy.incidents.holds_moves:
        look = "the firmware" if incident.kind is Kind.FIRMWARE else incident.leading.named
        return f"Hold: no host is moved for it by itself; a person looks at {look} first ({_named(incident)})."
    limit = policy.limits.hosts_at_once_per_rack
    return f"Drain in order, {limit} at a time in a rack, the most at stake first ({_named(incident)})."


def _named(incident: Incident) -> str:
    hosts = incident.hosts_affected
    more = f" and {len(hosts) - NAMED} more" if len(hosts) > NAMED else ""
    return f"{', '.join(hosts[:NAMED])}{more}"
