"""What a person looks into by hand: a model, and whole days of questions later than any label that it has seen."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from data.catalog import has_readings
from data.errors import ModelError
from models import baselines, examples, train
from models.asking import batches
from models.evaluate import asked_days
from models.examples import Bools, Floats
from models.measure import Outcomes
from models.predictor import Predictor
from models.slices import Members, hardware_models
from models.spec import Spec
from models.windows import end_of

if TYPE_CHECKING:
    import duckdb

logger = logging.getLogger(__name__)

LEAST_DAYS: Final = 14
"""Fewer later days than these, their horizon over, say nothing of a model."""
STAND_IN_DAYS: Final = 31
"""So many later days a stand-in leaves to be judged on."""
MOST_DAYS: Final = 92


@dataclass(frozen=True)
class Later:
    """A model and the days on which it may be judged."""

    predictor: Predictor
    first: date
    last: date
    """The last day whose whole horizon has been seen."""
    stand_in: bool
    """It is no registered model, but its recipe learned again on less, so that days are left to judge it on."""


def last_day(con: "duckdb.DuckDBPyConnection", component: str) -> date:
    """Return the last day of which anything is told of the component: a reading, an event, a failure or a move.

    Raises:
        ModelError: nothing is.
    """
    if has_readings(component):
        query = f"select max(day) from {component}_day"  # noqa: S608 - one of the components that the catalog knows
        found = con.execute(query).fetchall()
    else:
        found = con.execute(
            """
            select max(told_at)::date from (
                select entity_key, observed_at as told_at from event
                union all
                select entity_key, failed_at from failure
                union all
                select entity_key, unnest([valid_from, valid_until]) from entity_host
            ) join entity using (entity_key)
            where component = ?""",
            [component],
        ).fetchall()
    day: date | None = found[0][0]
    if day is None:
        msg = f"nothing is told of any {component}: ingest telemetry or events first"
        raise ModelError(msg)
    return day


def later(con: "duckdb.DuckDBPyConnection", predictor: Predictor, last_day: date, most_days: int = MOST_DAYS) -> Later:
    """Return the model with the days after its `until`, or a stand-in where too few of their horizons are over.

    A stand-in has the same recipe and has learned until two months before the last day; it is not registered.

    Args:
        con: a connection on a warehouse, read only is enough.
        predictor: the model.
        last_day: the last day held.
        most_days: judge it on so many days at most, the first after its `until`.

    Raises:
        ModelError: there is too little history for a stand-in.
    """
    over = last_day - timedelta(days=predictor.spec.longest_days)
    first = date.fromisoformat(predictor.until) + timedelta(days=1)
    if (over - first).days >= LEAST_DAYS:
        return Later(predictor, first, min(over, first + timedelta(days=most_days)), stand_in=False)
    until = over - timedelta(days=STAND_IN_DAYS)
    logger.warning("version %s has seen too much to be judged: a stand-in until %s is", predictor.version, until)
    return Later(learned(con, predictor.spec, until), until + timedelta(days=1), over, stand_in=True)


def learned(con: "duckdb.DuckDBPyConnection", spec: Spec, until: date) -> Predictor:
    """Return a model by the recipe that has learned until a day, registered nowhere; `version` says so.

    Raises:
        ModelError: too little history, or no failure to learn from.
    """
    return replace(train.fit(con, spec, until).predictor, version=f"stand-in until {until}")


@dataclass(frozen=True)
class Asked:
    """The rows of some days whose fate is known, with all features, in order of (day, entity)."""

    frame: pa.Table
    outcomes: Outcomes
    risk: Floats
    """Within the longest horizon; NaN where it is unknown; shape (rows,)."""
    rule: Floats
    members: Members

    def part(self, rows: Bools) -> "Asked":
        """Return the rows chosen, with entities and days numbered anew."""
        frame = self.frame.filter(pa.array(rows))
        return Asked(frame, self.outcomes.part(rows), self.risk[rows], self.rule[rows], self.members.take(rows))


def ask(con: "duckdb.DuckDBPyConnection", predictor: Predictor, days: Sequence[date]) -> Asked:
    """Return what the model says of the days, asked at their ends, and what came of it; censored rows are left out.

    All features of all rows are held at once: 70,000 drives on six days take about 0.5 GB.

    Raises:
        ModelError: no row has been seen for its whole horizon.
    """
    spec = predictor.spec
    parts = list(batches(con, predictor.component, days, end_of(days[-1] + timedelta(days=spec.longest_days))))
    if not parts:
        raise _unseen(spec, days)
    frame, day = pa.concat_tables([part.frame for part in parts]), np.concatenate([part.day for part in parts])
    fate = examples.joined([part.fate for part in parts])
    failed, counted = fate.within(spec.longest_days, spec.minimum_lead_days)
    counted &= examples.on_whole_days(day, fate, spec.longest_days)
    if not counted.any():
        raise _unseen(spec, days)
    entity = examples.keys(frame)
    outcomes = Outcomes(entity, day, failed, fate.failed_in_days)
    members = Members(hardware_models(con, entity), examples.doubles(frame, spec.age))
    risk = predictor.predict(frame)[:, -1]
    return Asked(frame, outcomes, risk, baselines.rule(frame, spec), members).part(counted)


def _unseen(spec: Spec, days: Sequence[date]) -> ModelError:
    return ModelError(
        f"cannot judge {spec.component} from {days[0]} to {days[-1]}: nothing has been seen for {spec.longest_days} "
        "days afterwards; ingest later telemetry or ask about earlier days"
    )


def asked(con: "duckdb.DuckDBPyConnection", one: Later) -> Asked:
    """Return the answers on the 1sts and 15ths of the days on which the model may be judged, weekly in short spans."""
    return ask(con, one.predictor, asked_days(one.first, one.last))
