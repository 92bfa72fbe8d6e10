"""What can be known at one midnight of a replay, worked out once and shared by all arms."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final

import pyarrow as pa

from data.contracts import HORIZON_DAYS
from decisions.domain import EntityRisk, HostRisk
from decisions.risk import host_risks
from models.earned import Earned
from pipelines.clock import end_of
from pipelines.replay.scores import RISKS, RULE, Scores
from pipelines.steps.decide import earned

SURE: Final = dict.fromkeys(HORIZON_DAYS, 1.0)
"""The risk of a host that is taken to fail within a day."""


@dataclass(frozen=True)
class Night:
    """One midnight: every host's risk, how often its drives break the rule, and what the model's calls have earned."""

    at: datetime
    risks: Mapping[str, HostRisk]
    rule: Mapping[str, int]
    """Hosts with an attribute of the rule above zero, and how many of them, over all their drives."""
    earned: tuple[Earned, ...]
    model_version: str


def look(scores: Scores, day: date, home_of: Mapping[str, str], model_of: Mapping[str, str | None]) -> Night:
    """The end of the day, as the day's model saw it.

    Args:
        scores: where risks come from.
        day: which day.
        home_of: the host of each entity that has arrived.
        model_of: the make of each entity.
    """
    judge = scores.predictor(day)
    at, table = end_of(day), scores.night(day)
    risks, rule = [], dict[str, int]()
    for entity_id, status, reason, over, *curve in _rows(table):
        host_id = home_of.get(entity_id)
        if host_id is None:
            continue
        if over:
            rule[host_id] = rule.get(host_id, 0) + over
        told = {} if curve[-1] is None else dict(zip(HORIZON_DAYS, curve, strict=True))
        model = model_of[entity_id]
        risks.append(
            EntityRisk(entity_id, judge.component, host_id, at, judge.version, status, reason, told, (), model)
        )
    return Night(at, host_risks(risks), rule, earned([judge]), judge.version)


def sure(risk: HostRisk) -> HostRisk:
    """The host as one that is sure to fail within a day, by the part that is likeliest to.

    The part's make is left out: a breaker counts makes over all hosts, and a belief that names a few knows no others.
    """
    part = replace((*risk.entities, *risk.unknown)[0], status="ok", reason=None, curve=SURE, model=None)
    return replace(risk, curve=SURE, entities=(part,), unknown=())


def late(night: Night, earlier: Night) -> Night:
    """The night as it is when one has to decide on the risks of an earlier one, taken as if they were fresh."""
    risks = {host_id: replace(risk, asof_at=night.at) for host_id, risk in earlier.risks.items()}
    return Night(night.at, risks, earlier.rule, earlier.earned, earlier.model_version)


def _rows(table: pa.Table) -> "zip[tuple[Any, ...]]":
    names = ("entity_id", "status", "reason", RULE, *RISKS)
    return zip(*(table[name].to_pylist() for name in names), strict=True)
