"""What training makes of rows whose host was emptied before their fate was seen.

Such a row is uncertain. Counted as healthy it teaches that the surest signs of failure are harmless; dropped, it takes
those signs out of what is learned from, with failures and false alarms alike. So it counts as both: as failing with the
chance p that was told for it in the moment before its host was emptied, and as healthy with 1 - p. What was told then
rests on the newest evidence that made somebody act; given that, nothing else foretells the failure that was prevented,
so p is its expectation (imputation under sequential ignorability: Robins and Rotnitzky 1992).

A part at rest may still fail, and is then seen to. How often is read off the rows themselves: their failures seen, over
those told, is the share of failures that rest does not prevent. By Bayes' rule it leaves p (1 - share) / (1 - p share)
for a part that was seen to live on. Where a part was taken out, nothing was seen and p stands.

The booster learns from such rows so, and the maps that are served are fitted to them so. Whatever judges a model
(figures, earned precision, gates) counts facts alone: there such rows are left out (`Fate.within`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from data.contracts import HORIZON_DAYS
from features import build
from models import checked, examples
from models.calibrate import Calibration, fit_map
from models.checked import Held
from models.examples import Bools, Fate, Floats, Ints
from models.spec import Spec
from models.windows import LEVEL_DAYS, end_of

if TYPE_CHECKING:
    import duckdb

_KNOTS: Final = np.array([0, *HORIZON_DAYS], dtype=np.float64)
MOST_CHANCE: Final = 1 - 1e-6


@dataclass(frozen=True)
class Uncertain:
    """How the rows counted whose host was emptied within the horizon."""

    rows: int = 0
    """Those that counted, each as two weighted copies or, seen to fail, as what it is."""
    dropped: int = 0
    """Those of which nothing had been told before."""
    weight: float = 0.0
    """Of the rows that counted: how many they stand for."""
    failing_weight: float = 0.0
    """The part of it that counts as failing."""
    seen_failing: int = 0
    """Rows whose part failed although its host had been emptied."""

    def figures(self) -> dict[str, float]:
        """Return its figures under the names a tracker shows."""
        return {
            "mitigated_rows": float(self.rows),
            "mitigated_dropped": float(self.dropped),
            "mitigated_weight": self.weight,
            "mitigated_failing_weight": self.failing_weight,
            "mitigated_seen_failing": float(self.seen_failing),
        }


@dataclass(frozen=True)
class Counted:
    """Rows to learn from, in their old order; a row whose fate is uncertain may stand there twice."""

    row: Ints
    failed: Bools
    weight: Floats
    uncertain: Uncertain


def count(fate: Fate, weight: Floats, chance: Floats, horizon_days: float, lead_days: float = 0.0) -> Counted:
    """Return what each row counts as; without a mitigation, exactly what `Fate.within` counts.

    Args:
        fate: what became of each row.
        weight: how many rows each stands for.
        chance: of failing in (lead, horizon], told before the host was emptied; NaN where nothing was told.
        horizon_days: how long.
        lead_days: a failure sooner than this is not counted.
    """
    failed, counted = fate.within(horizon_days, lead_days)
    certain = np.flatnonzero(counted)
    unsure = _unsure(fate, horizon_days, lead_days)
    known = np.flatnonzero(unsure & ~np.isnan(chance))
    if not known.size:
        return Counted(certain, failed[certain], weight[certain], Uncertain(dropped=int(unsure.sum())))
    seen = fate.failed_in_days[known] <= horizon_days
    share = np.where(seen, 1.0, _left(fate.take(known), weight[known], chance[known], seen, horizon_days))
    row = np.concatenate([certain, known, known])
    both = np.concatenate([weight[certain], weight[known] * share, weight[known] * (1 - share)])
    fails = np.concatenate([failed[certain], np.ones(known.size, bool), np.zeros(known.size, bool)])
    order = np.argsort(row, kind="stable")
    order = order[both[order] > 0]
    return Counted(
        row=row[order],
        failed=fails[order],
        weight=both[order],
        uncertain=Uncertain(
            rows=int(known.size),
            dropped=int(unsure.sum()) - int(known.size),
            weight=float(weight[known].sum()),
            failing_weight=float((weight[known] * share).sum()),
            seen_failing=int(seen.sum()),
        ),
    )


def _unsure(fate: Fate, horizon_days: float, lead_days: float) -> Bools:
    """Asked while its host was at work, which was emptied within the horizon and before the entity failed."""
    emptied = (fate.mitigated_in_days >= 0) & (fate.mitigated_in_days <= horizon_days)
    first = (fate.failed_in_days <= fate.mitigated_in_days) | (fate.failed_in_days <= lead_days)
    return np.asarray(emptied & ~first)


def _left(fate: Fate, weight: Floats, chance: Floats, seen: Bools, horizon_days: float) -> Floats:
    """The chance that is left to those not seen to fail, by how many of those watched at rest were."""
    watched = seen | (fate.observed_days >= horizon_days) | (fate.failed_in_days > horizon_days)
    expected = float(weight[watched] @ chance[watched])
    shown = min(1.0, float(weight[seen].sum()) / expected) if expected > 0 else 0.0
    safe = np.clip(chance, 0.0, MOST_CHANCE)
    return np.where(watched, safe * (1 - shown) / (1 - safe * shown), safe)


@dataclass(frozen=True)
class Told:
    """What was told of each row before its host was emptied."""

    after_days: Floats
    """When it was told, days after asking; NaN where nothing was."""
    risks: Floats
    """Of failing within each of `HORIZON_DAYS` of being told; shape (n, horizons)."""

    def chance(self, horizon_days: float, lead_days: float = 0.0) -> Floats:
        """Return the chance of failing in (lead, horizon] days after asking; NaN where nothing was told.

        A risk is of the moment it was told, so only what was then left of the horizon counts.
        """
        left, spared = horizon_days - self.after_days, lead_days - self.after_days
        return within(self.risks, left) - within(self.risks, spared)


def told(con: "duckdb.DuckDBPyConnection", component: str, rows: pa.Table, known_until: datetime) -> Told:
    """Return what was told of the rows (`entity_key`, `asof_at`) whose host was emptied by `known_until`."""
    found = Told(np.full(rows.num_rows, np.nan), np.full((rows.num_rows, len(HORIZON_DAYS)), np.nan))
    if not rows.num_rows or con.execute("select count(*) from (from mitigation limit 1)").fetchall() == [(0,)]:
        return found
    held = build.told(con, component, rows, known_until)
    ids, known = build.numbered(rows), build.numbered(held)
    at = np.flatnonzero(np.isin(ids, known))
    of = np.searchsorted(known, ids[at])
    found.after_days[at] = examples.doubles(held, "told_in_days")[of]
    found.risks[at] = np.column_stack([examples.doubles(held, f"risk_{days}d") for days in HORIZON_DAYS])[of]
    return found


def calibrated(
    con: "duckdb.DuckDBPyConnection", held: Held, spec: Spec, days: Sequence[date], known_until: datetime
) -> Calibration:
    """Return the maps to serve: fitted to facts and, for rows whose host was emptied, to the chances told.

    Without those rows what is left of the window are parts whose evidence never grew, which fail less often at the same
    score: maps of them alone foretell too few failures. Where no host was emptied, the maps are those of
    `models.checked.calibrated`.
    """
    moments = np.array([round(end_of(day).timestamp() * 1_000_000) for day in days], dtype=np.int64)[held.day]
    stamp = pa.array(moments).cast(pa.timestamp("us", tz="UTC"))
    known = told(con, spec.component, pa.table({"entity_key": pa.array(held.entity), "asof_at": stamp}), known_until)
    if np.isnan(known.after_days).all():
        return checked.calibrated(held, spec)
    whole = np.flatnonzero(examples.on_whole_days(held.day, held.fate, spec.longest_days))
    maps = []
    for ahead in spec.horizon_days:
        row, failed, weight = _counted(held, known, whole, ahead)
        maps.append(fit_map(held.score[row], failed, weight, ahead))
    row, failed, weight = _counted(held, known, _weeks(held), LEVEL_DAYS)
    return checked.at_level(Calibration(tuple(maps)), held.take(row), failed, weight)


def _weeks(held: Held) -> Ints:
    """The rows whose labels within `LEVEL_DAYS` are known."""
    return np.flatnonzero(examples.on_whole_days(held.day, held.fate, LEVEL_DAYS))


def _counted(held: Held, known: Told, rows: Ints, horizon_days: int) -> tuple[Ints, Bools, Floats]:
    """Of the rows chosen, each that counts (twice where its fate is a chance), whether it failed, and its weight."""
    chance = known.chance(horizon_days)[rows]
    counted = count(held.fate.take(rows), np.ones(rows.size), chance, horizon_days)
    return rows[counted.row], counted.failed, counted.weight


def within(risks: Floats, days: Floats) -> Floats:
    """Return each row's risk within its own number of days, 0 at none and never more than the longest; shape (n,).

    Args:
        risks: within each of `HORIZON_DAYS`, never decreasing along a row; shape (n, horizons).
        days: shape (n,).
    """
    curve = np.column_stack([np.zeros(len(risks)), risks])
    asked = np.clip(days, 0, _KNOTS[-1])
    left = np.clip(np.searchsorted(_KNOTS, asked, side="right") - 1, 0, _KNOTS.size - 2)
    part = (asked - _KNOTS[left]) / (_KNOTS[left + 1] - _KNOTS[left])
    row = np.arange(len(risks))
    return np.asarray(curve[row, left] * (1 - part) + curve[row, left + 1] * part)
