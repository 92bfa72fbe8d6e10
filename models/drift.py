"""Whether the fleet is still the one that a model learned from, and whether its risks still come true.

The live entities of the last day before the model's `until` are the reference; those of a later day are held against
it, feature by feature, by drive model, and by the model's own risk. The measure is the population stability index,
PSI = sum over bins of (share now - share then) * ln(share now / share then), with tenths of the reference as bins and
one for missing values (Siddiqi, Credit Risk Scorecards, 2006, with his thresholds). Where a month has passed since the
model was made, what it predicted is held against what happened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data.contracts import DRIFT
from data.errors import ModelError, UsageError
from features import build
from models import examples
from models.asking import batches
from models.examples import Floats
from models.measure import Measured, Outcomes, Settings, measure, observed_over_predicted, plain
from models.predictor import Predictor
from models.score import fleet
from models.slices import hardware_models
from models.spec import DriftLimits
from models.windows import end_of

if TYPE_CHECKING:
    import duckdb

BINS: Final = 10
FLOOR: Final = 1e-4
"""A bin that nobody is in counts as this share, so that the index stays finite."""
MATURED_DAYS: Final = 60
"""So many days of questions, the newest whose horizon is over, are held against what happened."""


@dataclass(frozen=True)
class Measurement:
    """One measure of a model at a moment, as the warehouse keeps it."""

    measure: str
    part: str
    """The feature that it is about, or empty."""
    value: float | None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    """Beyond it is an alarm; null where none is ever raised."""
    alarm: str | None = None
    """The sentence for a person; null: within its threshold."""


@dataclass(frozen=True)
class Matured:
    """What became of the risks of days whose horizon is over."""

    days: tuple[date, ...]
    rows: int
    failing_entities: int
    precision: Measured
    """At the operating budget."""
    recall: Measured
    observed_over_predicted: Measured


@dataclass(frozen=True)
class Drift:
    """What has changed between the day a model knew last and a later one."""

    component: str
    version: str
    reference: date
    day: date
    features: Mapping[str, float]
    """PSI of each feature, the largest first."""
    model_mix: float
    """PSI of the shares of hardware models."""
    risk: float
    """PSI of the model's own risk within the longest horizon."""
    matured: Matured | None
    """Null while no day after the model's `until` has a horizon that is over."""
    measurements: tuple[Measurement, ...]
    """The same, one by one, each with its threshold."""

    @property
    def alarms(self) -> tuple[str, ...]:
        """Return a sentence for each measure beyond its threshold; any of them is a reason to train again."""
        return tuple(one.alarm for one in self.measurements if one.alarm)

    def as_mapping(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        matured = plain(self.matured)
        if self.matured:
            matured["days"] = [day.isoformat() for day in self.matured.days]
        told = {name: value for name, value in vars(self).items() if name != "measurements"}
        days = {"reference": self.reference.isoformat(), "day": self.day.isoformat()}
        more = {"features": dict(self.features), "matured": matured, "alarms": list(self.alarms)}
        return {**plain(told), **days, **more}

    def as_table(self) -> pa.Table:
        """Return the measurements as rows of the warehouse's `drift` table."""
        named = {"component": self.component, "model_version": self.version, "asof_at": end_of(self.day)}
        return pa.Table.from_pylist([{**named, **vars(one)} for one in self.measurements], DRIFT)


def psi(reference: Floats, now: Floats, bins: int = BINS) -> float:
    """Return the population stability index of numbers, NaN being a bin of its own; 0 where both are empty.

    Args:
        reference: shape (n,); its quantiles are the edges.
        now: shape (m,).
        bins: how many parts the reference is cut into.
    """
    known = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if known.size else np.empty(0)
    shares = [_shares(np.where(np.isnan(one), edges.size + 1, np.searchsorted(edges, one)), edges.size + 2)
              for one in (reference, now)]  # fmt: skip
    return _index(*shares)


def psi_of_kinds(reference: Sequence[str | None], now: Sequence[str | None]) -> float:
    """Return the population stability index of names; one that only one side knows is a bin too."""
    kinds = {kind: number for number, kind in enumerate(sorted({str(one) for one in (*reference, *now)}))}
    numbers = [np.array([kinds[str(one)] for one in side], dtype=np.int64) for side in (reference, now)]
    return _index(*(_shares(side, len(kinds)) for side in numbers))


def _shares(bins: npt.NDArray[Any], count: int) -> Floats:
    held = np.bincount(bins.astype(np.int64), minlength=count).astype(np.float64)
    return np.asarray(np.maximum(held / max(held.sum(), 1.0), FLOOR), dtype=np.float64)


def _index(reference: Floats, now: Floats) -> float:
    return float(((now - reference) * np.log(now / reference)).sum())


def drift(
    con: "duckdb.DuckDBPyConnection",
    predictor: Predictor,
    day: date,
    limits: DriftLimits | None = None,
    shown_precision: float | None = None,
) -> Drift:
    """Return what has changed since the model's `until`, as it was known at the end of `day`.

    Args:
        con: a connection on a warehouse, read only is enough.
        predictor: the model.
        day: the day to look at, at its end.
        limits: from where on a measure is an alarm; by default those of the model's own recipe.
        shown_precision: what the model's calls showed when it was made, at the operating budget; null: not known.

    Raises:
        UsageError: `day` is not after the model's `until`.
        ModelError: nobody was live on one of the two days.
    """
    reference = date.fromisoformat(predictor.until)
    if day <= reference:
        msg = f"cannot look for drift on {day}: version {predictor.version} knew everything until {reference}"
        raise UsageError(msg)
    then, now = (_live(con, predictor, each) for each in (reference, day))
    risk = psi(predictor.predict(then)[:, -1], predictor.predict(now)[:, -1])
    made = [name for name in predictor.feature_names if name in now.column_names]
    columns = {name: psi(examples.doubles(then, name), examples.doubles(now, name)) for name in made}
    shifts = dict(sorted(columns.items(), key=lambda pair: -pair[1]))
    mix = psi_of_kinds(*(hardware_models(con, examples.keys(each)).tolist() for each in (then, now)))
    matured = _matured(con, predictor, day)
    return Drift(
        component=predictor.component,
        version=predictor.version,
        reference=reference,
        day=day,
        features=shifts,
        model_mix=mix,
        risk=risk,
        matured=matured,
        measurements=(
            *_shifts(shifts, mix, risk, limits or predictor.spec.drift),
            *_came_true(matured, shown_precision, limits or predictor.spec.drift),
        ),
    )


def _live(con: "duckdb.DuckDBPyConnection", predictor: Predictor, day: date) -> pa.Table:
    spine = build.spine(con, predictor.component, [day])
    if not spine.num_rows:
        msg = f"cannot look for drift: no {predictor.component} was live on {day}; ingest that day"
        raise ModelError(msg)
    return build.frame(con, predictor.component, spine, fleet(con, predictor, day))


def _matured(con: "duckdb.DuckDBPyConnection", predictor: Predictor, day: date) -> Matured | None:
    """The newest questions after the model's `until` whose longest horizon is over by the end of `day`."""
    last = day - timedelta(days=predictor.spec.longest_days)
    first = max(date.fromisoformat(predictor.until) + timedelta(days=1), last - timedelta(days=MATURED_DAYS))
    days = tuple(last - timedelta(days=back) for back in reversed(range(0, (last - first).days + 1, 7)))
    parts = list(batches(con, predictor.component, days, end_of(day))) if days else []
    if not parts:
        return None
    risk = np.concatenate([predictor.predict(part.frame)[:, -1] for part in parts])
    fate = examples.joined([part.fate for part in parts])
    failed, counted = fate.within(predictor.spec.longest_days, predictor.spec.minimum_lead_days)
    asked = np.concatenate([part.day for part in parts])
    rows = counted & ~np.isnan(risk) & examples.on_whole_days(asked, fate, predictor.spec.longest_days)
    if not failed[rows].any():
        return None
    _, entity = np.unique(np.concatenate([examples.keys(part.frame) for part in parts])[rows], return_inverse=True)
    seen, number = np.unique(asked[rows], return_inverse=True)
    outcomes, settings = Outcomes(entity, number, failed[rows], fate.failed_in_days[rows]), Settings()
    figures = measure(outcomes, risk[rows], settings, probability=False)
    budget = f"{settings.operating_budget:g}"
    return Matured(
        days=tuple(days[each] for each in seen),
        rows=int(rows.sum()),
        failing_entities=int(np.unique(entity[outcomes.failed]).size),
        precision=figures.precision_at[budget],
        recall=figures.recall_at[budget],
        observed_over_predicted=observed_over_predicted(outcomes, risk[rows], settings),
    )


def _shifts(features: Mapping[str, float], mix: float, risk: float, limits: DriftLimits) -> list[Measurement]:
    """What the fleet has become, against what it was."""
    shifted = [name for name, value in features.items() if value > limits.psi]
    share = len(shifted) / len(features) if features else 0.0
    most = f", most of all {shifted[0]} (PSI {features[shifted[0]]:.2f})" if shifted else ""
    sentences = {
        "shifted_features": f"{len(shifted)} of {len(features)} features have shifted{most}",
        "model_mix_psi": f"the fleet is made of other hardware models than the model knew (PSI {mix:.2f})",
        "risk_psi": f"the risks are spread otherwise than when the model was made (PSI {risk:.2f})",
    }
    measured = (
        ("shifted_features", share, limits.shifted_features),
        ("model_mix_psi", mix, limits.psi),
        ("risk_psi", risk, limits.psi),
    )
    return [
        *(
            Measurement(name, "", value, threshold=most, alarm=sentences[name] if value > most else None)
            for name, value, most in measured
        ),
        *(Measurement("feature_psi", name, value) for name, value in features.items()),
    ]


def _came_true(matured: Matured | None, shown: float | None, limits: DriftLimits) -> list[Measurement]:
    """What became of the risks that are due, against what was predicted and what the model once showed."""
    if matured is None:
        return []
    ratio, precision = matured.observed_over_predicted, matured.precision
    above = ratio.low is not None and ratio.low > limits.most_observed_ratio
    below = ratio.high is not None and ratio.high < limits.least_observed_ratio
    off = f"{ratio.value:.2f} failures came for each predicted ({_span(ratio, '.2f')})" if above or below else None
    least = None if shown is None else shown * limits.least_precision_share
    worse = least is not None and precision.high is not None and precision.high < least
    fell = f"{precision.value:.0%} of calls came true ({_span(precision, '.0%')}), and {shown:.0%} did" if worse else ""
    return [
        _measurement("observed_over_predicted", ratio, limits.most_observed_ratio, off),
        _measurement("precision", precision, least, f"{fell} when the model was made" if worse else None),
        _measurement("recall", matured.recall, None, None),
    ]


def _span(one: Measured, shown: str) -> str:
    return f"{one.low:{shown}} to {one.high:{shown}}"


def _measurement(name: str, one: Measured, threshold: float | None, alarm: str | None) -> Measurement:
    return Measurement(name, "", one.value, one.low, one.high, threshold, alarm)
