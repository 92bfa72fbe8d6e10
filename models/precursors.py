"""Whether the reasons of true alerts name what really announced the failure: known on simulated fleets alone.

A simulated fleet's truth (`data.simulator.truth.TRUTH`) says of every failure which precursor was planted, from when,
and which signals it moves. A signal is named by a reason about that attribute (disk), by a `fault_mode` of that name
(memory), or by a feature whose name holds the signal's (other components).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from features.build import FAULT_MODES
from features.wording import evidence
from models.asking import batches
from models.measure import Settings
from models.predictor import Factor, Predictor

if TYPE_CHECKING:
    import duckdb

HORIZON_DAYS: Final = 30
ALL: Final = "all"
REPLICATES: Final = 1_000


@dataclass(frozen=True)
class Named:
    """Of the true alerts whose failure a precursor announced, those with the precursor among their reasons."""

    alerts: int
    """Entity-days on alert, the failure within 30 days, its precursor begun."""
    entities: int
    named: float
    """Share of the alerts with one of the precursor's signals among the reasons."""
    low: float
    """95 % interval by bootstrap over entities."""
    high: float
    first_named: float
    """Share with the strongest of its signals among them."""


@dataclass(frozen=True)
class _Alert:
    precursor: str
    entity_id: str
    named: bool
    first_named: bool


def named(
    con: "duckdb.DuckDBPyConnection",
    predictor: Predictor,
    days: Sequence[date],
    truth: pa.Table,
    budget: float = Settings().operating_budget,
    top: int = 3,
) -> dict[str, Named]:
    """Return how often the reasons name the planted precursor, by precursor and for `all`; empty without a true alert.

    Args:
        con: a connection on a warehouse of a simulated fleet.
        predictor: whose reasons.
        days: asked at their end, ascending, later than what the predictor has seen.
        truth: by `data.simulator.truth.TRUTH`.
        budget: share of the judged entities that is on alert each day, the riskiest first.
        top: how many reasons are looked at.
    """
    planted = {row["entity_id"]: row for row in truth.to_pylist() if row["component"] == predictor.component}
    alerts: list[_Alert] = []
    for batch in batches(con, predictor.component, days, datetime.max.replace(tzinfo=UTC, year=9000)):
        risk = predictor.predict(batch.frame)[:, -1]
        for each in np.unique(batch.day):
            rows = np.flatnonzero((batch.day == each) & ~np.isnan(risk))
            picked = rows[np.argsort(-risk[rows], kind="stable")[: max(1, round(budget * rows.size))]]
            failing = batch.fate.take(picked).failed_in_days <= HORIZON_DAYS
            alerts += _judged(predictor, batch.frame.take(picked[failing]), planted, top)
    groups = {name: [one for one in alerts if name in {ALL, one.precursor}] for name in _in_order(alerts)}
    return {name: _share(group) for name, group in groups.items()}


def names(factor: Factor, signal: str) -> bool:
    """Whether a reason names a signal of the truth table."""
    if signal in FAULT_MODES:
        return factor.feature == "fault_mode" and factor.value == FAULT_MODES[signal]
    if signal.startswith("smart_"):
        return evidence(factor.feature) == signal.removesuffix("_raw")
    return signal in factor.feature


def _judged(predictor: Predictor, frame: pa.Table, planted: Mapping[str, Any], top: int) -> list[_Alert]:
    found = []
    ids = [str(name) for name in frame["entity_id"].to_pylist()]
    rows = zip(ids, frame["asof_at"].to_pylist(), predictor.reasons(frame, top), strict=True)
    for entity_id, asof_at, reasons in rows:
        true = planted.get(entity_id)
        if true is None or true["precursor"] is None or true["precursor_from"] > asof_at:
            continue
        told = [any(names(factor, signal) for factor in reasons) for signal in true["signals"]]
        found.append(_Alert(true["precursor"], entity_id, any(told), told[0]))
    return found


def _in_order(alerts: Sequence[_Alert]) -> list[str]:
    return [ALL, *sorted({one.precursor for one in alerts})] if alerts else []


def _share(alerts: Sequence[_Alert]) -> Named:
    entities = sorted({one.entity_id for one in alerts})
    number = {name: n for n, name in enumerate(entities)}
    at = np.array([number[one.entity_id] for one in alerts])
    held = np.bincount(at, minlength=len(entities))
    hits = np.bincount(at, [one.named for one in alerts], len(entities))
    drawn = np.random.default_rng(0).integers(len(entities), size=(REPLICATES, len(entities)))
    low, high = np.quantile(hits[drawn].sum(axis=1) / held[drawn].sum(axis=1), [0.025, 0.975])
    first = float(np.mean([one.first_named for one in alerts]))
    return Named(len(alerts), len(entities), float(hits.sum() / held.sum()), float(low), float(high), first)
