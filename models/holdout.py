"""The later window: gathered a few days at a time, and measured. Nothing in it is sampled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from data.errors import ModelError
from models import baselines, examples
from models.asking import Batch, batches
from models.calibrate import Calibration
from models.checked import Checked, Held
from models.examples import Floats
from models.measure import (
    Figures,
    Measured,
    Outcomes,
    Settings,
    first_alerts,
    measure,
    observed_over_predicted,
    paired_difference,
    tenths,
)
from models.metrics import desk
from models.predictor import Predictor, judgeable
from models.spec import Spec
from models.windows import end_of

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Holdout:
    """The calibration window, scored: rows in order of (day, entity)."""

    outcomes: Outcomes
    risk: Floats
    rule: Floats
    figures: Mapping[str, Figures]
    """On the whole window, but for the model's `calibration`: that is of `checked`."""
    checked: Checked
    against_champion: Measured | None
    """Average precision of the new model minus the champion's on the same rows."""

    def lead_days(self) -> Floats:
        """Return the days between first alert and failure of each failure that the operating budget alerts."""
        budget = Settings().operating_budget
        return first_alerts(self.outcomes, desk(self.outcomes.day, self.risk, budget), budget)[1]


def gather(
    con: "duckdb.DuckDBPyConnection", draft: Predictor, days: Sequence[date], until: date, champion: Predictor | None
) -> Held:
    """Return the window's rows, scored batch by batch so that memory holds a few days' features only."""
    parts = [_held(batch, draft, champion) for batch in batches(con, draft.component, days, end_of(until))]
    if not any(part.score.size for part in parts):
        msg = f"cannot calibrate {draft.component}: nothing can be judged from {days[0]} to {days[-1]}; ingest them"
        raise ModelError(msg)
    fate = examples.joined([part.fate for part in parts])
    entity, day = (np.concatenate([getattr(p, name) for p in parts]) for name in ("entity", "day"))
    score, rule, rival = (np.concatenate([getattr(p, name) for p in parts]) for name in ("score", "rule", "champion"))
    whole = examples.on_whole_days(day, fate, draft.spec.longest_days)
    if not whole.any():
        msg = (
            f"cannot calibrate {draft.component}: no day from {days[0]} to {days[-1]} has been seen for "
            f"{draft.spec.longest_days} days afterwards; ingest later facts or choose an earlier --until"
        )
        raise ModelError(msg)
    return Held(entity[whole], day[whole], score[whole], rule[whole], rival[whole], fate.take(whole))


def _held(batch: Batch, draft: Predictor, champion: Predictor | None) -> Held:
    values = examples.matrix(batch.frame, draft.feature_names)
    rows = np.flatnonzero(judgeable(batch.frame, values))
    return Held(
        entity=examples.keys(batch.frame)[rows],
        day=batch.day[rows],
        score=draft.scores(values[rows]) if rows.size else np.empty(0),
        rule=baselines.rule(batch.frame, draft.spec)[rows],
        champion=champion.predict(batch.frame)[rows, -1] if champion else np.empty(rows.size),
        fate=batch.fate.take(rows),
    )


def judge(held: Held, calibration: Calibration, checked: Checked, spec: Spec, *, compared: bool) -> Holdout:
    """Return the window measured: the model by its longest risk, the rule, and the champion if it was `compared`.

    The booster has seen nothing of the window, so ranking is measured on all of it; calibration only on `checked`.
    """
    failed, counted = held.fate.within(spec.longest_days, spec.minimum_lead_days)
    outcomes, settings = held.outcomes(failed, counted), Settings()
    risk = calibration.risks(held.score[counted])[:, -1]
    gap = paired_difference(outcomes, held.score[counted], held.champion[counted], settings) if compared else None
    model = measure(outcomes, risk, settings, probability=False)
    figures = {
        "model": replace(model, calibration=tenths(checked.outcomes, checked.risk, settings)),
        "rule": measure(outcomes, held.rule[counted], settings, probability=False),
    }
    return Holdout(outcomes, risk, held.rule[counted], figures, checked, gap)


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
    if holdout.against_champion:
        named["average_precision_over_champion"] = holdout.against_champion
    found: dict[str, float] = {}
    for name, one in named.items():
        if one.value is not None and one.low is not None and one.high is not None:
            found |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    for part, outcomes in (("window", holdout.outcomes), ("checked", checked.outcomes)):
        found[f"{part}_rows"] = float(outcomes.failed.size)
        found[f"{part}_failing_entities"] = float(np.unique(outcomes.entity[outcomes.failed]).size)
    found["checked_ahead"] = float(checked.ahead)
    return found
