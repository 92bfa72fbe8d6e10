"""Train: a challenger from what was known by a date.

A run that is killed leaves no version behind (the registry makes one only when its run has ended), so a repeat starts
over and ends as an undisturbed run would have.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from data.catalog import has_readings
from data.errors import ModelError, UsageError
from pipelines.clock import is_simulated, last_day, moment
from pipelines.engine import divided, facts
from pipelines.settings import Settings
from pipelines.snapshot import snapshot

if TYPE_CHECKING:
    import duckdb

    from models.predictor import Predictor


@dataclass(frozen=True)
class GateReport:
    """Whether one gate passed, and the sentence that says why."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True)
class TrainReport:
    """The new version, what it learned from, its figures on a later window, and its gates."""

    component: str
    run_id: str
    version: str
    champion: str | None
    until: date
    rows: int
    positives: int
    metrics: Mapping[str, float]
    gates: tuple[GateReport, ...]
    seconds: float
    tune: Mapping[str, Any] | None = None
    """How the parameters were searched for; null where the spec's own were taken."""


def train(
    settings: Settings, component: str, until: date | None = None, tune: int = 0, trigger: str = ""
) -> TrainReport:
    """The challenger that was just trained and registered; it is champion too when there was none and its gates pass.

    Args:
        settings: where the facts and the registry are.
        component: what to train for.
        until: the last day whose labels may be known; by default the last day that has ended, or has a reading.
        tune: how many sets of parameters to try first; 0 takes the spec as it stands.
        trigger: the alarm that had it trained, kept with the version.

    Raises:
        UsageError: there is nothing to tune, or not by so many trials; or nothing is held yet of the day asked for.
        ModelError: too little history, or no failure to learn from.
        EngineError: the cluster that is set cannot be reached, or lost its workers.
    """
    from models import registry, spec
    from models.train import fit
    from models.tune import tune as search

    started = time.monotonic()
    if tune and divided(settings.engine, component):
        msg = (
            "cannot tune on a cluster: the search holds all its rows on one machine. Tune with "
            'engine.kind = "local", or train without --tune'
        )
        raise UsageError(msg)
    with snapshot(settings) as con, facts(settings.engine, con, component) as source:
        known_until = _known(con, component, until, moment(settings, con, None).date() - timedelta(days=1))
        recipe = spec.load(component)
        tuned = search(con, recipe, known_until, tune) if tune else None
        trained = fit(con, tuned.spec if tuned else recipe, known_until, champion(settings, component), source)
        simulated = is_simulated(con)
    logged = registry.log(settings.model_store, replace(trained, tuned=tuned), simulated=simulated, trigger=trigger)
    return TrainReport(
        component=component,
        run_id=logged.run_id,
        version=logged.version,
        champion=logged.champion,
        until=known_until,
        rows=trained.rows,
        positives=trained.positives,
        metrics=dict(trained.metrics),
        gates=tuple(GateReport(gate.name, gate.passed, gate.sentence) for gate in logged.gates),
        seconds=round(time.monotonic() - started, 3),
        tune=tuned.as_mapping() if tuned else None,
    )


def _known(con: "duckdb.DuckDBPyConnection", component: str, asked: date | None, ended: date) -> date:
    """The day asked for, or the last one whose labels can be known once `ended` has: after the last reading none is."""
    held = last_day(con) if has_readings(component) else None
    if asked is not None and held is not None and asked > held:
        msg = f"The last reading held is of {held}, so what became of {asked} is not known: give --until {held}."
        raise UsageError(msg)
    return asked or min(held or ended, ended)


def champion(settings: Settings, component: str) -> "Predictor | None":
    """The champion of a component, or null while there is none."""
    from models import registry

    try:
        return registry.load(settings.model_store, component)
    except ModelError:
        return None
