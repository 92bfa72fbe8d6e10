"""One cycle: ingest, settle what came back, score, decide, dispatch, settle, and tell people what is new.

Each step can be killed and repeated, and a question is asked once: a second cycle of the same day changes nothing.
An executor that cannot be reached does not hold up the decision: hosts whose orders it has count as at work meanwhile.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from data.errors import WarehouseError
from pipelines.calls import Call, straight
from pipelines.clock import asked, end_of, last_day, moment
from pipelines.notifications import words
from pipelines.settings import Settings
from pipelines.snapshot import snapshot
from pipelines.steps.decide import DecideReport, decide
from pipelines.steps.dispatch import DispatchReport, dispatch
from pipelines.steps.ingest import IngestReport, ingest_all
from pipelines.steps.notify import NotifyReport, notify, telling
from pipelines.steps.score import REASONS, ScoreReport, challengers, champions, score_with
from pipelines.steps.settle import SettleReport, settle
from pipelines.steps.world import has_world, ingest_world, last_told

if TYPE_CHECKING:
    from models.predictor import Predictor


@dataclass(frozen=True)
class CycleReport:
    """The reports of a cycle's steps; `settle` is what came back before and after together."""

    asof_at: datetime
    ingest: IngestReport
    score: tuple[ScoreReport, ...]
    decide: DecideReport
    dispatch: DispatchReport
    settle: SettleReport
    notify: NotifyReport
    seconds: float
    stage_seconds: Mapping[str, float]
    """How long each step took, both settlings together."""


def run(
    settings: Settings,
    on: date | None = None,
    *,
    call: Call = straight,
    predictors: Mapping[str, "Predictor"] | None = None,
    reasons: int = REASONS,
) -> CycleReport:
    """What one cycle did.

    Args:
        settings: where everything is.
        on: the day to ask about, at its end; without one the clock's moment.
        call: how the steps are called.
        predictors: the models to believe, by component; the champions by default.
        reasons: how many of the riskiest entities get reasons.
    """
    started = time.monotonic()
    now = now_of(settings, on)
    asof_at = asked(now)
    with telling(settings, now, call) as trail:
        ingested = trail(ingest, settings, now)
        before = trail(settle, settings, now, patient=True)
        trail.begin("score")
        believed = predictors if predictors is not None else champions(settings)
        scores = tuple(trail(score_with, settings, one, [asof_at], reasons=reasons) for one in believed.values())
        if predictors is None:
            beside = challengers(settings, believed)
            scores += tuple(trail(score_with, settings, one, [asof_at], reasons=0, shadow=True) for one in beside)
        decided = trail(decide, settings, asof_at, believed, now=now)
        sent = trail(dispatch, settings, now)
        after = trail(settle, settings, now, patient=True)
        failing = words.unanswered(after.unanswered) if after.unanswered is not None else None
        told = trail(notify, settings, now, ran=trail.steps, failing=failing) if settings.notify else NotifyReport()
    stages, seconds = trail.seconds, round(_since(started), 3)
    return CycleReport(asof_at, ingested, scores, decided, sent, _both(before, after), told, seconds, stages)


def score_and_decide(settings: Settings, now: datetime, *, dry_run: bool = False) -> DecideReport:
    """The decision on the last midnight up to `now`, scored first unless it is a dry run, which writes nothing."""
    believed, asof_at = champions(settings), asked(now)
    if not dry_run:
        for one in believed.values():
            score_with(settings, one, [asof_at])
        for one in challengers(settings, believed):
            score_with(settings, one, [asof_at], reasons=0, shadow=True)
    return decide(settings, asof_at, believed, now=now, dry_run=dry_run)


def ingest(settings: Settings, now: datetime) -> IngestReport:
    """What became of the configured sources' rows, and of what a simulated world has told by `now`."""
    configured = ingest_all(settings, settings.sources, at=now, patient=True) if settings.sources else IngestReport()
    told = ingest_world(settings, now) if has_world(settings) else IngestReport()
    return configured + told


def now_of(settings: Settings, on: date | None = None) -> datetime:
    """The moment that a run is about, by `pipelines.clock.moment`.

    A simulated fleet of which nothing has been ingested yet is asked about at the end of its last day.
    """
    if on is not None:
        return end_of(on)
    try:
        with snapshot(settings) as con:
            if has_world(settings) and last_day(con) is None:
                return moment(settings, con, last_told(settings))
            return moment(settings, con, None)
    except WarehouseError:
        return moment(settings, None, last_told(settings) if has_world(settings) else None)


def _both(before: SettleReport, after: SettleReport) -> SettleReport:
    return replace(
        after,
        closed=before.closed + after.closed,
        labels_added=before.labels_added + after.labels_added,
        why=_summed(before.why, after.why),
        orders=_summed(before.orders, after.orders),
        outcomes=_summed(before.outcomes, after.outcomes),
        hosts=_summed(before.hosts, after.hosts),
        seconds=round(before.seconds + after.seconds, 3),
        unanswered=after.unanswered or before.unanswered,
        bad=tuple(dict.fromkeys((*before.bad, *after.bad))),
    )


def _summed(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in sorted({*first, *second})}


def _since(started: float) -> float:
    return time.monotonic() - started
