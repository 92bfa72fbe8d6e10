"""The search for a booster's parameters, on folds that lie wholly before the later window.

What is found is therefore judged by `models.train.fit` like any other recipe: on days that the search has not seen.
Each fold learns from days whose labels were known before its own days begin, and is asked about whole days, nothing
sampled. The search is seeded and runs one trial after another, so the same facts give the same trials. Trials that fall
behind the median of those before them after a fold are given up.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.errors import ModelError, UsageError
from models import examples, learning, metrics
from models.asking import batches
from models.calibrate import Calibration
from models.examples import Bools, Floats, Ints, Matrix
from models.measure import Measured, Outcomes, Settings, paired_difference
from models.predictor import Predictor, judgeable
from models.spec import Spec
from models.windows import Windows, end_of, first_day, plan

if TYPE_CHECKING:
    import duckdb
    from optuna.trial import FrozenTrial, Trial

    from models.learning import Learned

logger = logging.getLogger(__name__)

FOLDS: Final = 3
WARM_UP_TRIALS: Final = 5
"""So many trials end before the first may be given up."""
LEAST_FIT_DAYS: Final = 14
APART: Final = 10**9
"""Folds are this far apart in numbers, so that none shares an entity or a day with another."""
MOST_TRIALS: Final = 1_000
ROUNDS: Final = "rounds"
"""The one name in a search space that is not LightGBM's own."""

Parameters = Mapping[str, float | int]


@dataclass(frozen=True)
class Fold:
    """Days to learn from, and later days to be asked about; labels of the first are known before the second begin."""

    fit_days: tuple[date, ...]
    asked_days: tuple[date, ...]


@dataclass(frozen=True)
class Tried:
    """One trial: what was tried, average precision by fold (fewer where it was given up), and how long it took."""

    number: int
    parameters: Parameters
    values: tuple[float, ...]
    pruned: bool
    seconds: float

    @property
    def value(self) -> float:
        """Mean average precision of the folds that were reached."""
        return float(np.mean(self.values)) if self.values else 0.0


@dataclass(frozen=True)
class Tuned:
    """The best recipe of a search, and how it was found. The first trial is the recipe as it stood."""

    spec: Spec
    trials: tuple[Tried, ...]
    best: int
    """Its trial's number."""
    over_untuned: Measured
    """Average precision over all folds together, minus that of the recipe as it stood, under the same replicates."""

    def figures(self) -> dict[str, float]:
        """Return its figures under the names a tracker shows."""
        found = {"tune_average_precision": self.trials[self.best].value, "tune_untuned": self.trials[0].value}
        gain = {"": self.over_untuned.value, "_low": self.over_untuned.low, "_high": self.over_untuned.high}
        return found | {f"tune_over_untuned{end}": value for end, value in gain.items() if value is not None}

    def as_mapping(self) -> dict[str, Any]:
        """Return what a report says of the search, JSON-ready."""
        return {
            "trials": len(self.trials),
            "pruned": sum(one.pruned for one in self.trials),
            "best": self.best,
            "value": self.trials[self.best].value,
            "untuned": self.trials[0].value,
            "over_untuned": vars(self.over_untuned),
            "parameters": dict(self.trials[self.best].parameters),
        }


def folds(spec: Spec, windows: Windows) -> tuple[Fold, ...]:
    """Return the folds, in order of time; the last one's longest label is known before the later window begins.

    Raises:
        ModelError: the days before the later window are too few.
    """
    first, last = windows.fit_days[0], windows.calibration_days[0] - timedelta(days=spec.longest_days + 1)
    span = max(1, min(spec.calibration_days // FOLDS, (last - first).days // (2 * FOLDS)))
    found = []
    for back in reversed(range(FOLDS)):
        begins, ends = last - timedelta(days=span * (back + 1) - 1), last - timedelta(days=span * back)
        known = begins - timedelta(days=windows.rank_horizon_days + 1)
        fit = tuple(day for day in windows.fit_days if day <= known)
        step = max(1, min(spec.snapshot_every_days, span))
        asked = tuple(ends - timedelta(days=gone) for gone in reversed(range(0, span, step)))
        if not fit or (fit[-1] - fit[0]).days < LEAST_FIT_DAYS:
            needed = LEAST_FIT_DAYS + windows.rank_horizon_days + FOLDS * span + spec.longest_days
            msg = (
                f"cannot tune {spec.component}: the fit window from {first} to {windows.fit_days[-1]} is too short for "
                f"{FOLDS} folds, which need about {needed} days before {windows.calibration_days[0]}; "
                "ingest more history, or train without --tune"
            )
            raise ModelError(msg)
        found.append(Fold(fit, asked))
    return tuple(found)


def tune(con: "duckdb.DuckDBPyConnection", spec: Spec, until: date, trials: int) -> Tuned:
    """Return the best of `trials` recipes within the spec's search space, its own among them.

    Args:
        con: a connection on a warehouse, read only is enough.
        spec: what to tune; its `tune` table is the search space.
        until: last day whose labels may be known to the training that follows.
        trials: how many recipes to try, the first being the spec as it stands.

    Raises:
        UsageError: no search space, or a number of trials out of bounds.
        ModelError: too little history for the folds, or a fold without a failure.
    """
    import optuna

    if not spec.tune:
        msg = f"cannot tune {spec.component}: its spec has no [tune] table; add one, disk.toml shows how"
        raise UsageError(msg)
    if not 1 <= trials <= MOST_TRIALS:
        msg = f"cannot tune with {trials} trials: give 1 to {MOST_TRIALS}"
        raise UsageError(msg)
    windows = plan(spec, first_day(con, spec.component), until)
    arena = [_gather(con, spec, fold, windows) for fold in folds(spec, windows)]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=spec.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=WARM_UP_TRIALS, n_warmup_steps=0),
    )
    study.enqueue_trial({name: min(max(_own(spec, name), s.low), s.high) for name, s in spec.tune.items()})
    study.optimize(lambda trial: _objective(trial, spec, arena), n_trials=trials)
    tried = tuple(_tried(one) for one in study.get_trials(deepcopy=False))
    whole = [one for one in tried if not one.pruned]
    best = max(whole, key=lambda one: (one.value, -one.number))
    chosen = with_parameters(spec, best.parameters) if best.number else spec
    return Tuned(chosen, tried, best.number, _over(spec, chosen, arena))


def with_parameters(spec: Spec, parameters: Parameters) -> Spec:
    """Return the spec with the parameters of a trial."""
    own = {name: value for name, value in parameters.items() if name != ROUNDS}
    return replace(spec, lightgbm={**spec.lightgbm, **own}, rounds=int(parameters.get(ROUNDS, spec.rounds)))


def _own(spec: Spec, name: str) -> float | int:
    value = spec.rounds if name == ROUNDS else spec.lightgbm[name]
    return value if isinstance(value, int | float) else float(value)


@dataclass(frozen=True)
class _Arena:
    """A fold's rows: those to learn from, and those asked about, whose fate counts."""

    learned: "Learned"
    values: Matrix
    outcomes: Outcomes


def _gather(con: "duckdb.DuckDBPyConnection", spec: Spec, fold: Fold, windows: Windows) -> _Arena:
    known = fold.asked_days[0] - timedelta(days=1)
    learned = learning.learning_rows(con, spec, fold.fit_days, windows.rank_horizon_days, known)
    before = end_of(windows.calibration_days[0] - timedelta(days=1))
    values: list[Matrix] = []
    parts: list[tuple[Ints, Ints, Bools, Floats]] = []
    for batch in batches(con, spec.component, fold.asked_days, before):
        matrix = examples.matrix(batch.frame, learned.names)
        failed, counted = batch.fate.within(spec.longest_days, spec.minimum_lead_days)
        rows = counted & judgeable(batch.frame, matrix)
        values.append(matrix[rows])
        kept = (examples.keys(batch.frame)[rows], batch.day[rows], failed[rows], batch.fate.failed_in_days[rows])
        parts.append(kept)
    if not parts or not any(failed.any() for _, _, failed, _ in parts):
        msg = (
            f"cannot tune {spec.component}: nothing failed within {spec.longest_days} days of {fold.asked_days[0]} to "
            f"{fold.asked_days[-1]}; ingest more failures, or train without --tune"
        )
        raise ModelError(msg)
    return _Arena(learned, np.concatenate(values), _joined([Outcomes(*part) for part in parts]))


def _score(spec: Spec, arena: _Arena) -> Floats:
    text = learning.boost(arena.learned, spec)
    return Predictor(spec.component, "trial", "", spec, arena.learned.names, text, Calibration(())).scores(arena.values)


def _precision(outcomes: Outcomes, score: Floats) -> float:
    ranking = metrics.rank(outcomes.failed, score)
    return metrics.average_precision(metrics.weigh(ranking, np.ones(outcomes.failed.size)))


def _objective(trial: "Trial", spec: Spec, arena: Sequence[_Arena]) -> float:
    import optuna

    asked: dict[str, float | int] = {}
    for name, space in spec.tune.items():
        if space.whole:
            asked[name] = trial.suggest_int(name, int(space.low), int(space.high), log=space.log)
        else:
            asked[name] = trial.suggest_float(name, space.low, space.high, log=space.log)
    one = replace(with_parameters(spec, asked), boosters=1)
    started = time.monotonic()
    values: list[float] = []
    for step, fold in enumerate(arena):
        values.append(_precision(fold.outcomes, _score(one, fold)))
        trial.set_user_attr("values", list(values))
        trial.set_user_attr("seconds", round(time.monotonic() - started, 3))
        trial.report(float(np.mean(values)), step)
        if step < len(arena) - 1 and trial.should_prune():
            raise optuna.TrialPruned
    logger.info("trial %d: average precision %.4f with %s", trial.number, np.mean(values), asked)
    return float(np.mean(values))


def _tried(one: "FrozenTrial") -> Tried:
    values = tuple(float(value) for value in one.user_attrs.get("values", ()))
    return Tried(one.number, dict(one.params), values, one.state.name == "PRUNED", float(one.user_attrs["seconds"]))


def _over(spec: Spec, chosen: Spec, arena: Sequence[_Arena]) -> Measured:
    """What the chosen recipe gains on the folds' rows together; ranks are taken within a fold, as scores differ."""
    if chosen == spec:
        return Measured(0.0, 0.0, 0.0)
    ones, others = [], []
    for fold in arena:
        first, second = (_score(replace(each, boosters=1), fold) for each in (chosen, spec))
        ones.append(_shares(first))
        others.append(_shares(second))
    apart = [
        replace(fold.outcomes, entity=fold.outcomes.entity + at * APART, day=fold.outcomes.day + at * APART)
        for at, fold in enumerate(arena)
    ]
    return paired_difference(_joined(apart), np.concatenate(ones), np.concatenate(others), Settings())


def _joined(parts: Sequence[Outcomes]) -> Outcomes:
    """The rows of several tables, one after the other, with entities and days numbered anew."""
    everything = Outcomes(
        np.concatenate([part.entity for part in parts]),
        np.concatenate([part.day for part in parts]),
        np.concatenate([part.failed for part in parts]),
        np.concatenate([part.failed_in_days for part in parts]),
    )
    return everything.part(np.ones(everything.failed.size, dtype=bool))


def _shares(score: Floats) -> Floats:
    """Scores as the share of the fold's rows below them, ties alike."""
    _, at, counts = np.unique(score, return_inverse=True, return_counts=True)
    below = np.cumsum(counts) - counts
    return np.asarray(below[at] / score.size, dtype=np.float64)
