"""Forward-in-time evaluation: champion, challenger and baselines side by side on the same later rows.

Every asked day is later than anything a model may have seen (its `until`), and a day counts only when its whole horizon
has been seen. Rows that a model cannot judge stay in, ranked last: a failure among the unknown is a failure missed.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.errors import ModelError, UsageError
from models import baselines, examples, learning
from models.asking import Batch, batches
from models.baselines import PEERS, RULE
from models.examples import Bools, Fate, Floats, Ints
from models.kept import Kept, kept
from models.measure import Figures, Measured, Outcomes, Settings, measure, paired_difference, plain
from models.predictor import Predictor
from models.windows import end_of, first_day, plan

if TYPE_CHECKING:
    import duckdb

    from models.baselines import Peers

logger = logging.getLogger(__name__)

SHORT_SPAN_DAYS = 45


@dataclass(frozen=True)
class Report:
    """The figures of every model over the same rows."""

    component: str
    days: tuple[date, ...]
    horizon_days: int
    settings: Settings
    rows: int
    failing_rows: int
    failing_entities: int
    censored_rows: int
    """Left out: they left unfailed, or were emptied, within the horizon."""
    unknown_rows: int
    """Kept, ranked last: the first model could not judge them."""
    models: Mapping[str, Figures]
    versions: Mapping[str, str]
    left_out: Mapping[str, str]
    """Models that may have seen these labels, and why each is not judged here."""
    average_precision_over_rule: Mapping[str, Measured]
    """Of each other model, minus the rule's, under the same bootstrap replicates."""
    earned: Mapping[str, tuple[Kept, ...]]
    """What came of each predictor's calls, by band of risk, against what it had earned in training."""
    outcomes: Outcomes
    scores: Mapping[str, Floats]

    def as_mapping(self) -> dict[str, Any]:
        """Return all but the rows as JSON-ready values."""
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in {"outcomes", "scores"}}
        return {**plain(kept), "days": [day.isoformat() for day in self.days]}


def asked_days(from_: date, to: date) -> tuple[date, ...]:
    """Return the 1st and 15th of each month in [from_, to], or every seventh day from `from_` in a span under 45 days.

    Raises:
        UsageError: `to` is before `from_`.
    """
    if to < from_:
        msg = f"cannot evaluate from {from_} to {to}: the end is before the start; swap them"
        raise UsageError(msg)
    span = (to - from_).days
    if span < SHORT_SPAN_DAYS:
        return tuple(from_ + timedelta(days=back) for back in range(0, span + 1, 7))
    every = (from_ + timedelta(days=back) for back in range(span + 1))
    return tuple(day for day in every if day.day in {1, 15})


def evaluate(
    con: "duckdb.DuckDBPyConnection",
    component: str,
    predictors: Mapping[str, Predictor],
    from_: date,
    to: date,
    settings: Settings | None = None,
) -> Report:
    """Return the figures of the predictors (by the name they go under) and of the baselines.

    Args:
        con: a connection on a warehouse, read only is enough.
        component: whose predictors these are.
        predictors: at least one; the first one's spec says what the baselines look at and until when they learn.
        from_: first day asked about (at its end).
        to: last day asked about.
        settings: budgets, operating point, replicates.

    Raises:
        UsageError: no predictor, or the dates are the wrong way round.
        ModelError: every model may have seen these labels, or no asked day has been seen for a whole horizon.
    """
    chosen = settings or Settings()
    if not predictors:
        msg = f"cannot evaluate {component}: no predictor was given; train one first"
        raise UsageError(msg)
    predictors, left_out = _unspoilt(predictors, from_)
    rows = _gather(con, component, predictors, asked_days(from_, to))
    outcomes, scores = rows.outcomes, rows.scores
    figures = {name: measure(outcomes, score, chosen, probability=name not in PEERS) for name, score in scores.items()}
    gaps = {
        name: paired_difference(outcomes, score, scores[RULE], chosen) for name, score in scores.items() if name != RULE
    }
    return Report(
        component=component,
        days=rows.days,
        horizon_days=rows.horizon_days,
        settings=chosen,
        rows=int(outcomes.failed.size),
        failing_rows=int(outcomes.failed.sum()),
        failing_entities=int(np.unique(outcomes.entity[outcomes.failed]).size),
        censored_rows=rows.censored,
        unknown_rows=int(np.isnan(scores[next(iter(predictors))]).sum()),
        models=figures,
        versions={name: one.version for name, one in predictors.items()},
        left_out=left_out,
        average_precision_over_rule=gaps,
        earned={name: kept(one.earned, outcomes, scores[name]) for name, one in predictors.items()},
        outcomes=outcomes,
        scores=scores,
    )


def _unspoilt(predictors: Mapping[str, Predictor], from_: date) -> tuple[Mapping[str, Predictor], Mapping[str, str]]:
    """The predictors that have seen no label from `from_` on, and why each of the others is left out."""
    left_out = {
        name: f"version {one.version} has seen labels until {one.until}; start later, or train with an earlier --until"
        for name, one in predictors.items()
        if date.fromisoformat(one.until) >= from_
    }
    kept = {name: one for name, one in predictors.items() if name not in left_out}
    if not kept:
        reasons = "; ".join(f"{name} {why}" for name, why in left_out.items())
        msg = f"cannot evaluate from {from_}: {reasons}"
        raise ModelError(msg)
    for name, why in left_out.items():
        logger.warning("%s is left out: %s", name, why)
    return kept, left_out


@dataclass(frozen=True)
class _Rows:
    days: tuple[date, ...]
    horizon_days: int
    outcomes: Outcomes
    scores: Mapping[str, Floats]
    censored: int


@dataclass(frozen=True)
class _Part:
    entity: Ints
    day: Ints
    fate: Fate
    scores: Mapping[str, Floats]


def _gather(
    con: "duckdb.DuckDBPyConnection", component: str, predictors: Mapping[str, Predictor], days: Sequence[date]
) -> _Rows:
    """Every counted row of every asked day that was seen for a whole horizon, with all scores."""
    spec = next(iter(predictors.values())).spec
    peers = _peers(con, next(iter(predictors.values())))
    known = end_of(days[-1] + timedelta(days=2 * spec.longest_days))
    parts = [_part(batch, predictors, peers) for batch in batches(con, component, days, known)]
    day, fate = np.concatenate([part.day for part in parts]), examples.joined([part.fate for part in parts])
    whole = np.zeros(len(days), dtype=bool)
    whole[day[examples.on_whole_days(day, fate, spec.longest_days)]] = True
    if not whole.any():
        msg = (
            f"cannot evaluate {component}: no day from {days[0]} to {days[-1]} has been seen for {spec.longest_days} "
            "days afterwards; ingest later telemetry or evaluate earlier days"
        )
        raise ModelError(msg)
    if not whole.all():
        logger.warning("%d of %d days are left out: not seen for a whole horizon", int((~whole).sum()), whole.size)
    return _joined(parts, days, whole, predictors)


def _joined(parts: Sequence[_Part], days: Sequence[date], whole: Bools, predictors: Mapping[str, Predictor]) -> _Rows:
    spec = next(iter(predictors.values())).spec
    day = np.concatenate([part.day for part in parts])
    fate = examples.joined([part.fate for part in parts])
    failed, counted = fate.within(spec.longest_days, spec.minimum_lead_days)
    rows = counted & whole[day]
    _, entity = np.unique(np.concatenate([part.entity for part in parts])[rows], return_inverse=True)
    _, number = np.unique(day[rows], return_inverse=True)
    scores = {name: np.concatenate([part.scores[name] for part in parts])[rows] for name in parts[0].scores}
    outcomes = Outcomes(entity, number, failed[rows], fate.failed_in_days[rows])
    kept = tuple(one for one, held in zip(days, whole, strict=True) if held)
    return _Rows(kept, spec.longest_days, outcomes, scores, int((whole[day] & ~counted).sum()))


def _part(batch: Batch, predictors: Mapping[str, Predictor], peers: "Peers") -> _Part:
    scores = {name: one.predict(batch.frame)[:, -1] for name, one in predictors.items()}
    scores |= peers.scores(batch.frame, batch.day)
    return _Part(examples.keys(batch.frame), batch.day, batch.fate, scores)


def _peers(con: "duckdb.DuckDBPyConnection", predictor: Predictor) -> "Peers":
    """The peers of the predictor's own `until`, from the same rows and labels as its booster."""
    spec, until = predictor.spec, date.fromisoformat(predictor.until)
    windows = plan(spec, first_day(con, spec.component), until)
    learned = learning.learning_rows(con, spec, windows.refit_days, windows.rank_horizon_days, until)
    return baselines.learn(learned.names, learned.values, learned.failed, learned.weight, spec)


def draw(report: Report, path: Path) -> Path:
    """Return `path` after writing the precision-recall picture of all models to it (PNG)."""
    from models import plots

    plots.precision_recall({name: (report.outcomes.failed, score) for name, score in report.scores.items()}, path)
    return path
