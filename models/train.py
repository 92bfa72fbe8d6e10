"""Training: one booster, its calibration on a later window, and what calls have earned there.

Only a split forward in time counts: the booster learns from snapshots whose labels were known before the calibration
window begins, so there is a gap of the label's horizon between the two. Within the window nothing is sampled; how its
calibration is measured on rows that the maps have not seen stands in `models.checked`.

That booster is a quarter old on the day it is trained, and drives change. So once it has been measured, a second one
learns in the same way from all whose labels are known, and is served with the maps of the first, shifted so that both
foretell as many failures of today's fleet. Every figure of the
training run is of the first; `models.evaluate` judges the second on days that come later still.
"""

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from features import build
from models import holdout, mitigated
from models.calibrate import Calibration, carried_over, earned
from models.checked import check
from models.drift import psi
from models.examples import Matrix
from models.facts import Facts, Here, Rows
from models.holdout import Holdout, Later, Rival
from models.predictor import Predictor
from models.spec import Spec
from models.windows import Windows, end_of, first_day, plan

if TYPE_CHECKING:
    import duckdb

    from models.tune import Tuned

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A fresh model and all that the registry records about it."""

    predictor: Predictor
    windows: Windows
    until: date
    rows: int
    positives: int
    """Rows seen to fail among `rows`, those that the served booster learned from."""
    metrics: Mapping[str, float]
    """Figures on the calibration window; names are ready for a tracker."""
    holdout: Holdout
    sample: pa.Table
    """A few feature rows, for the signature."""
    hashes: Mapping[str, str]
    """sha256 of the spine learned from and of the SQL."""
    tuned: "Tuned | None" = None
    """How its recipe was found, where it was searched for."""


def fit(
    con: "duckdb.DuckDBPyConnection",
    spec: Spec,
    until: date,
    champion: Predictor | None = None,
    facts: Facts | None = None,
) -> Trained:
    """Return a model that has seen only labels known by the end of `until`.

    Args:
        con: a connection on a warehouse, read only is enough.
        spec: what to train.
        until: last day whose labels may be known.
        champion: if given, is judged on the same later window, for the gate that compares the two.
        facts: where the rows are gathered and learned from, by default here from `con`.

    Raises:
        ModelError: too little history, or no failure to learn from.
    """
    facts = facts or Here(con)
    windows = plan(spec, first_day(con, spec.component), until)
    logger.info("fit on %d snapshots, calibrate on %d", len(windows.fit_days), len(windows.calibration_days))
    learned = facts.learn(spec, windows.fit_days, windows.rank_horizon_days, until)
    booster_text = learned.boost(spec)
    draft = Predictor(
        spec.component, "unregistered", until.isoformat(), spec, learned.names, booster_text, Calibration(())
    )
    rival = _rival(facts, champion, draft, windows, until)
    days = (*windows.calibration_days, *windows.newest_days)
    known = facts.hold(Later(draft, days, until, rival.predictor if rival else None))
    held = known.seen_for(spec.longest_days)
    calibration, seen = mitigated.calibrated(con, known, spec, days, end_of(until)), check(held, spec)
    span = (windows.calibration_days[-1] - windows.calibration_days[seen.first_day]).days + 1
    bought = earned(seen.outcomes.entity, seen.risk, seen.outcomes.failed, span_days=span)
    newest = facts.learn(spec, windows.refit_days, windows.rank_horizon_days, until)
    served = replace(draft, booster_text=newest.boost(spec), earned=bought)
    live = facts.live(served, until)
    predictor = replace(
        served,
        calibration=carried_over(calibration, live.scores(draft), live.scores(served)) if live.rows else calibration,
    )
    judged = holdout.judge(held, calibration, seen, spec, compared=rival is not None)
    return Trained(
        predictor=predictor,
        windows=windows,
        until=until,
        rows=newest.rows,
        positives=newest.positives,
        metrics={
            **holdout.figures(judged),
            **({"champion_relearned": float(rival.relearned)} if rival else {}),
            **_burden(predictor, newest, live.some()),
            **newest.uncertain.figures(),
        },
        holdout=judged,
        sample=newest.sample,
        hashes={"spine_sha256": newest.spine_sha256, "sql_sha256": sha256(build.recipe(spec.component))},
    )


def _rival(facts: Facts, champion: Predictor | None, draft: Predictor, windows: Windows, until: date) -> Rival | None:
    """Whom to compare the draft with: the champion, or its way of learning where it has seen the later window.

    A champion that asks for a feature that is no longer made cannot judge anyone: there is nothing to compare with.
    Its way of learning goes by those of its features that are still made.
    """
    if champion is None:
        return None
    gone = set(champion.asked) - set(draft.feature_names)
    if gone:
        logger.warning("the champion asks for %s, which is no longer made: it is not compared with", min(gone))
        return None
    if date.fromisoformat(champion.until) < windows.calibration_days[0]:
        return Rival(champion, relearned=False)
    own = draft.spec
    same = replace(champion.spec, gates=own.gates, drift=own.drift, tune=own.tune) == own
    made = tuple(name for name in champion.feature_names if name in draft.feature_names)
    if same and made == draft.feature_names:
        return Rival(draft, relearned=True)
    learned = facts.learn(champion.spec, windows.fit_days, windows.rank_horizon_days, until)
    text = learned.only(made).boost(champion.spec)
    relearned = replace(champion, feature_names=made, booster_text=text, calibration=Calibration(()))
    return Rival(relearned, relearned=True)


def _burden(predictor: Predictor, learned: Rows, live: Matrix) -> dict[str, float]:
    """How far today's values are from the newest learned from, and what the model costs to keep and to ask.

    A fleet ages, so features drift away from years ago as a matter of course; what counts is a sudden change.
    """
    if not live.size:
        return {"booster_megabytes": len(predictor.booster_text) / 1e6}
    started = time.process_time()
    predictor.scores(live)
    spent = time.process_time() - started
    gain = np.asarray(predictor.booster.feature_importance("gain"), dtype=np.float64)
    newest = learned.newest()
    moved = [
        psi(newest[:, at].astype(np.float64), live[:, at].astype(np.float64)) > predictor.spec.drift.psi
        for at in range(live.shape[1])
    ]
    return {
        "shifted_gain": float(gain[moved].sum() / gain.sum()) if gain.sum() else 0.0,
        "booster_megabytes": len(predictor.booster_text) / 1e6,
        "microseconds_a_row": spent * 1e6 / max(1, live.shape[0]),
    }


def sha256(text: str) -> str:
    """Return the hex sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
