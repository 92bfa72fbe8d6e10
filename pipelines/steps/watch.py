"""Watch: whether each champion still knows the fleet; an alarm trains a challenger, and nothing is ever promoted by it.

What is measured is stored before anything is trained, and whether a challenger is due is read from the registry. So a
run that is killed anywhere, and repeated, ends as an undisturbed one.
"""

import time
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

from data.errors import ModelError, UsageError
from pipelines.clock import moment
from pipelines.settings import Settings
from pipelines.snapshot import snapshot
from pipelines.steps.drift import measured
from pipelines.steps.ingest import open_warehouse
from pipelines.steps.score import champions
from pipelines.steps.train import train
from pipelines.turn import writing

if TYPE_CHECKING:
    from models.predictor import Predictor


@dataclass(frozen=True)
class Watched:
    """What the watch over one component's champion saw, and what came of it."""

    component: str
    version: str
    until: str
    """The last day whose labels the champion knew."""
    alarms: tuple[str, ...]
    trained: str | None
    """The challenger that an alarm had trained, or null."""
    why: str
    """Why one was trained, or why not, as a sentence."""


@dataclass(frozen=True)
class WatchReport:
    """The day looked at, and every champion."""

    day: date
    models: tuple[Watched, ...]
    seconds: float


def watch(settings: Settings, on: date | None = None) -> WatchReport:
    """What was seen of every champion; measures are stored, and a challenger is trained where an alarm asks for one.

    Args:
        settings: where everything is.
        on: the day to look at, at its end; by default the last one that has ended.

    Raises:
        ModelError: no component has a champion.
    """
    started = time.monotonic()
    with snapshot(settings) as con:
        day = on or moment(settings, con, None).date() - timedelta(days=1)
    seen = tuple(_look(settings, predictor, day) for predictor in champions(settings).values())
    return WatchReport(day, seen, round(time.monotonic() - started, 3))


def _look(settings: Settings, predictor: "Predictor", day: date) -> Watched:
    blank = Watched(predictor.component, predictor.version, predictor.until, (), None, "")
    try:
        with snapshot(settings) as con:
            drift = measured(settings, con, predictor, day)
    except (UsageError, ModelError) as error:
        return replace(blank, why=f"Nothing to measure: {error}.")
    with writing(), open_warehouse(settings) as warehouse:
        warehouse.put_drift(drift.as_table())
        warehouse.publish()
    if not drift.alarms:
        return replace(blank, why="Every measure is within its threshold.")
    return _answer(settings, replace(blank, alarms=drift.alarms), day)


def _answer(settings: Settings, seen: Watched, day: date) -> Watched:
    """An alarm's answer: a challenger, unless one is young enough."""
    from models import registry, spec

    rest = spec.load(seen.component).drift.cooldown_days
    young = [
        one
        for one in registry.versions(settings.model_store, seen.component)
        if one.until and date.fromisoformat(one.until) > day - timedelta(days=rest)
    ]
    if young:
        why = f"Version {young[0].version} knows everything until {young[0].until}: none is trained within {rest} days."
        return replace(seen, why=why)
    try:
        made = train(settings, seen.component, day, trigger=seen.alarms[0])
    except ModelError as error:
        return replace(seen, why=f"A challenger is due and could not be trained, the next watch tries again: {error}.")
    passed = all(gate.passed for gate in made.gates)
    gates = "passes its gates: promote it if you agree" if passed else "misses a gate"
    return replace(seen, trained=made.version, why=f"Version {made.version} was trained and {gates}.")
