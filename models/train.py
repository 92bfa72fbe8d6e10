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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from data.errors import ModelError
from features import build
from models import examples, holdout, mitigated
from models.averaging import average
from models.calibrate import Calibration, carried_over, earned
from models.checked import check
from models.drift import psi
from models.examples import Bools, Floats, Matrix
from models.holdout import Holdout, Rival
from models.mitigated import Uncertain
from models.predictor import Predictor, judgeable
from models.spec import Spec
from models.windows import Windows, end_of, first_day, plan

if TYPE_CHECKING:
    import duckdb

    from models.tune import Tuned

logger = logging.getLogger(__name__)

NEWEST: Final = 4
"""One part in so many of the rows learned from, the newest, stands for the fleet as the booster knew it."""


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


def fit(con: "duckdb.DuckDBPyConnection", spec: Spec, until: date, champion: Predictor | None = None) -> Trained:
    """Return a model that has seen only labels known by the end of `until`.

    Args:
        con: a connection on a warehouse, read only is enough.
        spec: what to train.
        until: last day whose labels may be known.
        champion: if given, is judged on the same later window, for the gate that compares the two.

    Raises:
        ModelError: too little history, or no failure to learn from.
    """
    windows = plan(spec, first_day(con, spec.component), until)
    logger.info("fit on %d snapshots, calibrate on %d", len(windows.fit_days), len(windows.calibration_days))
    learned = learning_rows(con, spec, windows.fit_days, windows.rank_horizon_days, until)
    booster_text = boost(learned, spec)
    draft = Predictor(
        spec.component, "unregistered", until.isoformat(), spec, learned.names, booster_text, Calibration(())
    )
    rival = _rival(con, champion, draft, windows, until)
    days = (*windows.calibration_days, *windows.newest_days)
    known = holdout.gather(con, draft, days, until, rival.predictor if rival else None)
    held = known.seen_for(spec.longest_days)
    calibration, seen = mitigated.calibrated(con, known, spec, days, end_of(until)), check(held, spec)
    span = (windows.calibration_days[-1] - windows.calibration_days[seen.first_day]).days + 1
    bought = earned(seen.outcomes.entity, seen.risk, seen.outcomes.failed, span_days=span)
    newest = learning_rows(con, spec, windows.refit_days, windows.rank_horizon_days, until)
    served = replace(draft, booster_text=boost(newest, spec), earned=bought)
    live = _live(con, served, until)
    predictor = replace(
        served,
        calibration=carried_over(calibration, draft.scores(live), served.scores(live)) if live.size else calibration,
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
            **_burden(predictor, newest, live),
            **newest.uncertain.figures(),
        },
        holdout=judged,
        sample=newest.sample,
        hashes={"spine_sha256": newest.spine_sha256, "sql_sha256": sha256(build.statements(spec.component))},
    )


def _rival(
    con: "duckdb.DuckDBPyConnection", champion: Predictor | None, draft: Predictor, windows: Windows, until: date
) -> Rival | None:
    """Whom to compare the draft with: the champion, or its way of learning where it has seen the later window.

    A champion that needs a feature that is no longer made cannot judge anyone: there is nothing to compare with.
    """
    if champion is None:
        return None
    gone = set(champion.feature_names) - set(draft.feature_names)
    if gone:
        logger.warning("the champion needs %s, which is no longer made: it is not compared with", min(gone))
        return None
    if date.fromisoformat(champion.until) < windows.calibration_days[0]:
        return Rival(champion, relearned=False)
    own = draft.spec
    same = replace(champion.spec, gates=own.gates, drift=own.drift, tune=own.tune) == own
    if same and champion.feature_names == draft.feature_names:
        return Rival(draft, relearned=True)
    learned = learning_rows(con, champion.spec, windows.fit_days, windows.rank_horizon_days, until)
    text = boost(learned.only(champion.feature_names), champion.spec)
    return Rival(replace(champion, booster_text=text, calibration=Calibration(())), relearned=True)


def _live(con: "duckdb.DuckDBPyConnection", predictor: Predictor, until: date) -> Matrix:
    """The features of all that can be judged at the end of the last day."""
    frame = build.frame(con, predictor.component, build.spine(con, predictor.component, [until]))
    values = examples.matrix(frame, predictor.feature_names)
    return values[judgeable(frame, values)]


def _burden(predictor: Predictor, learned: "Learned", live: Matrix) -> dict[str, float]:
    """How far today's values are from the newest learned from, and what the model costs to keep and to ask.

    A fleet ages, so features drift away from years ago as a matter of course; what counts is a sudden change.
    """
    if not live.size:
        return {"booster_megabytes": len(predictor.booster_text) / 1e6}
    started = time.process_time()
    predictor.scores(live)
    spent = time.process_time() - started
    gain = np.asarray(predictor.booster.feature_importance("gain"), dtype=np.float64)
    newest = learned.values[-max(1, len(learned.values) // NEWEST) :]
    moved = [
        psi(newest[:, at].astype(np.float64), live[:, at].astype(np.float64)) > predictor.spec.drift.psi
        for at in range(live.shape[1])
    ]
    return {
        "shifted_gain": float(gain[moved].sum() / gain.sum()) if gain.sum() else 0.0,
        "booster_megabytes": len(predictor.booster_text) / 1e6,
        "microseconds_a_row": spent * 1e6 / max(1, live.shape[0]),
    }


@dataclass(frozen=True)
class Learned:
    """Rows for the booster; censored and unknown ones, and days not seen for a whole horizon, are already left out.

    A row whose host was emptied may stand there twice, failing and healthy (`models.mitigated`).
    """

    names: tuple[str, ...]
    values: Matrix
    failed: Bools
    weight: Floats
    sample: pa.Table
    spine_sha256: str
    rows: int
    """Distinct ones."""
    positives: int
    """Of these, how many were seen to fail."""
    uncertain: Uncertain = field(default_factory=Uncertain)

    def only(self, names: Sequence[str]) -> "Learned":
        """Return the same rows with these features alone, in this order."""
        columns = [self.names.index(name) for name in names]
        return replace(self, names=tuple(names), values=self.values[:, columns])


def learning_rows(
    con: "duckdb.DuckDBPyConnection", spec: Spec, days: Sequence[date], rank_horizon_days: int, until: date
) -> Learned:
    """Return the sampled, weighted rows of some days, labelled by what became of them within the rank horizon.

    Raises:
        ModelError: no failing row among them.
    """
    known = min(end_of(until), end_of(days[-1] + timedelta(days=rank_horizon_days)))
    asked = build.spine(
        con,
        spec.component,
        days,
        negative_share=spec.negative_share,
        positive_days=rank_horizon_days,
        known_until=known,
        seed=spec.seed,
    )
    frame = build.frame(con, spec.component, asked)
    fate = examples.fates(frame, build.labels(con, spec.component, asked, known))
    names = build.feature_names(spec.component)
    values = examples.matrix(frame, names)
    told = mitigated.told(con, spec.component, asked, known)
    chance = told.chance(rank_horizon_days, spec.minimum_lead_days)
    usable = judgeable(frame, values)
    usable &= examples.on_whole_days(examples.asof_microseconds(frame), fate, rank_horizon_days)
    kept = np.flatnonzero(usable)
    weight = examples.doubles(frame, "weight")[kept]
    counted = mitigated.count(fate.take(kept), weight, chance[kept], rank_horizon_days, spec.minimum_lead_days)
    row = kept[counted.row]
    rows, positives = np.unique(row).size, np.count_nonzero(fate.failed_in_days[np.unique(row)] <= rank_horizon_days)
    if not positives:
        msg = (
            f"cannot train {spec.component}: none of {rows} rows from {days[0]} to "
            f"{days[-1]} was seen to fail within {rank_horizon_days} days; ingest more failures or more days"
        )
        raise ModelError(msg)
    return Learned(
        names=names,
        values=values[row],
        failed=counted.failed,
        weight=counted.weight,
        sample=frame.slice(0, 200).select(list(names)),
        spine_sha256=spine_hash(frame),
        rows=rows,
        positives=int(positives),
        uncertain=counted.uncertain,
    )


def boost(learned: Learned, spec: Spec) -> str:
    """Return the text of `spec.boosters` boosters, averaged; same rows, spec and thread count, same text."""
    import lightgbm

    texts = []
    for number in range(spec.boosters):
        parameters: dict[str, Any] = {
            **spec.lightgbm,
            "objective": "binary",
            "seed": spec.seed + number,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": spec.threads,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(
            learned.values, learned.failed.astype(np.float32), weight=learned.weight, feature_name=list(learned.names)
        )
        texts.append(str(lightgbm.train(parameters, data, num_boost_round=spec.rounds).model_to_string()))
    return average(texts)


def sha256(text: str) -> str:
    """Return the hex sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def spine_hash(spine: pa.Table) -> str:
    """Return the hex sha256 of who was asked about and when, in order."""
    digest = hashlib.sha256(examples.asof_microseconds(spine).tobytes())
    digest.update(examples.keys(spine).tobytes())
    return digest.hexdigest()
