"""How a challenger's risks held up in the shadow: told every night beside the champion's, never acted upon.

Unlike an evaluation, which asks the past anew, this reads the risks as they were told: with the telemetry that had
arrived that night, by the model as it was registered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from data.snapshots import arrow
from features import build
from models import examples
from models.gates import Gate
from models.measure import Measured, Outcomes, Settings, paired_differences
from models.spec import Spec

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Shadow:
    """What became of the nights that both models told of and whose horizon is over."""

    days: tuple[date, ...]
    rows: int
    failing_entities: int
    over_champion: Mapping[str, Measured]
    """Each ranking figure of the challenger minus the champion's; empty where nothing failed or no night is over."""


def shadow(con: "duckdb.DuckDBPyConnection", spec: Spec, versions: tuple[str, str], known_until: datetime) -> Shadow:
    """Return how the first version's stored risks did against the second's, on nights later than both models' labels.

    Args:
        con: a connection on a warehouse, read only is enough.
        spec: of the component; its longest horizon is what must be over.
        versions: challenger and champion.
        known_until: facts that arrived later do not count.
    """
    last = known_until - timedelta(days=spec.longest_days)
    told = arrow(
        con,
        """
        select asof_at, entity_key, first.risk_30d as one, second.risk_30d as other
        from risk first join risk second using (asof_at, entity_key, component)
        where component = $component and first.model_version = $one and second.model_version = $other
          and asof_at <= $last
        order by asof_at, entity_key""",
        {"component": spec.component, "one": versions[0], "other": versions[1], "last": last},
    )
    days = tuple(sorted({moment.date() - timedelta(days=1) for moment in told["asof_at"].to_pylist() if moment}))
    if not days:
        return Shadow((), 0, 0, {})
    rows = build.spine(con, spec.component, days)
    both = rows.join(told, ["asof_at", "entity_key"], join_type="inner").sort_by(
        [("asof_at", "ascending"), ("entity_key", "ascending")]
    )
    kept = pa.table([both[name] for name in rows.column_names], names=rows.column_names)
    fate = examples.fates(kept, build.labels(con, spec.component, kept, known_until))
    failed, counted = fate.within(spec.longest_days, spec.minimum_lead_days)
    everything = Outcomes(examples.keys(kept), examples.asof_microseconds(kept), failed, fate.failed_in_days)
    outcomes = everything.part(counted)
    one, other = (examples.doubles(both, name)[counted] for name in ("one", "other"))
    failing = int(np.unique(outcomes.entity[outcomes.failed]).size)
    gaps = paired_differences(outcomes, one, other, Settings()) if failing else {}
    return Shadow(days, int(counted.sum()), failing, gaps)


def gate(seen: Shadow, spec: Spec) -> Gate:
    """Return whether a challenger held up in the shadow; where too little is known yet, nothing is held against it."""
    name = "holds_in_shadow"
    if seen.failing_entities < max(1, spec.gates.least_positives):
        failures = f"{seen.failing_entities} entities failed of those told of on {len(seen.days)} nights that are over"
        return Gate(name, True, None, f"{failures}: too few to say anything; at least {spec.gates.least_positives}")
    names = ["average_precision", *(f"recall_at_{budget:g}" for budget in spec.gates.budgets)]
    worse = [one for one in names if (seen.over_champion[one].high or 0.0) < 0]
    shown = worse[0] if worse else names[0]
    gap = seen.over_champion[shown]
    sentence = (
        f"on {len(seen.days)} nights told beside the champion, {shown.replace('_', ' ')} is {gap.value or 0.0:+.4f} "
        f"against it, at most {gap.high or 0.0:+.4f} (95 %); below zero fails"
    )
    return Gate(name, not worse, gap.value, sentence)
