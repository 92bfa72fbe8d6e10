"""The later window: gathered a few days at a time, and measured. Nothing in it is sampled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from data.errors import ModelError
from models import baselines, examples
from models.asking import Batch, batches
from models.calibrate import Calibration
from models.checked import Checked, Held, joined
from models.examples import Floats, Ints
from models.measure import (
    Figures,
    Measured,
    Outcomes,
    Settings,
    average_precision,
    first_alerts,
    measure,
    observed_over_predicted,
    paired_differences,
    tenths,
)
from models.metrics import desk
from models.predictor import Predictor, judgeable
from models.slices import Members, Scored, Slice, cut, hardware_models
from models.spec import Spec
from models.windows import LEVEL_DAYS, end_of

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Horizon:
    """How well one horizon's failures are ranked and foreseen."""

    average_precision: Measured
    observed_over_predicted: Measured
    """Where calibration is checked."""


@dataclass(frozen=True)
class Rival:
    """Whom a new model is compared with on the later window."""

    predictor: Predictor
    relearned: bool
    """The champion has seen the window, so this is its way of learning on the new model's own days."""


@dataclass(frozen=True)
class Holdout:
    """The calibration window, scored: rows in order of (day, entity)."""

    outcomes: Outcomes
    risk: Floats
    rule: Floats
    figures: Mapping[str, Figures]
    """On the whole window, but for the model's `calibration`: that is of `checked`."""
    checked: Checked
    against_champion: Mapping[str, Measured]
    """Ranking figures of the new model minus the champion's on the same rows; empty without a champion."""
    slices: tuple[Slice, ...]
    """Parts of the fleet in which enough failed to say something."""
    horizons: Mapping[int, Horizon]
    """By horizon, in days."""

    def lead_days(self) -> Floats:
        """Return the days between first alert and failure of each failure that the operating budget alerts."""
        budget = Settings().operating_budget
        return first_alerts(self.outcomes, desk(self.outcomes.day, self.risk, budget), budget)[1]


@dataclass(frozen=True)
class Later:
    """Which rows to judge, and by whom; the same wherever the facts are."""

    draft: Predictor
    days: tuple[date, ...]
    until: date
    rival: Predictor | None


def gather(
    con: "duckdb.DuckDBPyConnection", draft: Predictor, days: Sequence[date], until: date, rival: Predictor | None
) -> Held:
    """Return the rows of evenly spaced days, in order of (day, entity).

    Raises:
        ModelError: none can be judged, or no day has been seen for the longest horizon.
    """
    later = Later(draft, tuple(days), until, rival)
    return whole([held(con, later)], later)


def held(con: "duckdb.DuckDBPyConnection", later: Later, counts: pa.Table | None = None) -> Held | None:
    """Return the rows that a connection holds, null without any; memory holds the features of a few days at a time.

    Args:
        con: a connection on a warehouse or its snapshot, or on a part of one.
        later: which rows.
        counts: what `features.build.fleet` says of the whole fleet on those days; by default it is asked of `con`.
    """
    asked = batches(con, later.draft.component, later.days, end_of(later.until), counts=counts)
    parts = [_held(con, batch, later.draft, later.rival) for batch in asked]
    return joined(parts) if parts else None


def whole(parts: Sequence[Held | None], later: Later) -> Held:
    """Return the rows of all parts of the fleet, in order of (day, entity).

    Raises:
        ModelError: none can be judged, or no day has been seen for the longest horizon.
    """
    days, draft = later.days, later.draft
    seen = [part for part in parts if part is not None and part.score.size]
    if not seen:
        msg = (
            f"cannot calibrate {draft.component}: nothing can be judged from {days[0]} to {days[-1]}; ingest them, "
            "or choose an earlier --until"
        )
        raise ModelError(msg)
    every = replace(joined(seen), every_days=(days[1] - days[0]).days if len(days) > 1 else LEVEL_DAYS)
    if len(seen) > 1:
        every = every.take(np.lexsort((every.entity, every.day)))
    if not every.seen_for(draft.spec.longest_days).score.size:
        msg = (
            f"cannot calibrate {draft.component}: no day from {days[0]} to {days[-1]} has been seen for "
            f"{draft.spec.longest_days} days afterwards; ingest later facts or choose an earlier --until"
        )
        raise ModelError(msg)
    return every


def _held(con: "duckdb.DuckDBPyConnection", batch: Batch, draft: Predictor, rival: Predictor | None) -> Held:
    values = examples.matrix(batch.frame, draft.feature_names)
    rows = np.flatnonzero(judgeable(batch.frame, values))
    entity = examples.keys(batch.frame)[rows]
    return Held(
        entity=entity,
        day=batch.day[rows],
        score=_scores(draft, batch, rows),
        rule=baselines.rule(batch.frame, draft.spec)[rows],
        champion=_scores(rival, batch, rows) if rival else np.zeros(rows.size),
        fate=batch.fate.take(rows),
        members=Members(hardware_models(con, entity), examples.doubles(batch.frame, draft.spec.age)[rows]),
    )


def _scores(predictor: Predictor, batch: Batch, rows: Ints) -> Floats:
    values = examples.matrix(batch.frame, predictor.feature_names, predictor.asked)[rows]
    return predictor.scores(values) if rows.size else np.empty(0)


def judge(held: Held, calibration: Calibration, checked: Checked, spec: Spec, *, compared: bool) -> Holdout:
    """Return the window measured: the model by its longest risk, the rule, and the champion if it was `compared`.

    The booster has seen nothing of the window, so ranking is measured on all of it; calibration only on `checked`.
    """
    failed, counted = held.fate.within(spec.longest_days, spec.minimum_lead_days)
    outcomes, settings = held.outcomes(failed, counted), Settings()
    score, rule, champion = held.score[counted], held.rule[counted], held.champion[counted]
    risk = calibration.risks(score)[:, -1]
    model = measure(outcomes, risk, settings, probability=False)
    figures = {
        "model": replace(model, calibration=tenths(checked.outcomes, checked.risk, settings)),
        "rule": measure(outcomes, rule, settings, probability=False),
    }
    members = held.members.take(counted)
    scored = Scored(outcomes, members, score, champion if compared else rule, checked.every_risk[counted, -1])
    return Holdout(
        outcomes=outcomes,
        risk=risk,
        rule=rule,
        figures=figures,
        checked=checked,
        against_champion=paired_differences(outcomes, score, champion, settings) if compared else {},
        slices=cut(scored, spec.gates.least_positives, settings),
        horizons={days: _horizon(held, checked, spec, at) for at, days in enumerate(spec.horizon_days)},
    )


def _horizon(held: Held, checked: Checked, spec: Spec, at: int) -> Horizon:
    failed, counted = held.fate.within(spec.horizon_days[at], min(spec.minimum_lead_days, spec.horizon_days[at]))
    seen = counted & ~np.isnan(checked.every_risk[:, at])
    settings, nothing = Settings(), Measured(None, None, None)
    return Horizon(
        average_precision(held.outcomes(failed, counted), held.score[counted], settings) if counted.any() else nothing,
        observed_over_predicted(held.outcomes(failed, seen), checked.every_risk[seen, at], settings)
        if seen.any()
        else nothing,
    )


def figures(holdout: Holdout) -> dict[str, float]:
    """Figures of the later window under the names a tracker shows; those that do not exist are left out."""
    model, rule = holdout.figures["model"], holdout.figures["rule"]
    checked = holdout.checked
    named = {
        "average_precision": model.average_precision,
        "roc_auc": model.roc_auc,
        "rule_average_precision": rule.average_precision,
        "fdr": model.fdr,
        "fpr": model.fpr,
        "virr": model.virr,
        "lead_days_median": model.lead_days["median"],
        "lead_days_share_over_drain": model.lead_days["share_over_drain"],
        "observed_over_predicted": observed_over_predicted(checked.outcomes, checked.risk, Settings()),
        **{f"precision_at_{budget}": one for budget, one in model.precision_at.items()},
        **{f"recall_at_{budget}": one for budget, one in model.recall_at.items()},
    }
    named |= {f"{name}_over_champion": one for name, one in holdout.against_champion.items()}
    for days, one in holdout.horizons.items():
        named[f"horizon/{days}d/average_precision"] = one.average_precision
        named[f"horizon/{days}d/observed_over_predicted"] = one.observed_over_predicted
    for part in holdout.slices:
        named[f"{part.key}/average_precision"] = part.average_precision
        named[f"{part.key}/over_rival"] = part.over_rival
        named[f"{part.key}/observed_over_predicted"] = part.observed_over_predicted
    found: dict[str, float] = {}
    for name, figure in named.items():
        if figure.value is not None and figure.low is not None and figure.high is not None:
            found |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    for where, outcomes in (("window", holdout.outcomes), ("checked", checked.outcomes)):
        found[f"{where}_rows"] = float(outcomes.failed.size)
        found[f"{where}_failing_entities"] = float(np.unique(outcomes.entity[outcomes.failed]).size)
    found["checked_ahead"] = float(checked.ahead)
    return found
