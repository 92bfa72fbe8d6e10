"""Rows to learn from: some days' sampled entities, what each counts as, and the booster that learns from them.

They are drawn where the facts are (`draw`), which may be in parts; what they count as is known only once those of the
whole fleet are seen together (`weigh`), which takes what became of them but none of their features.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from data.errors import ModelError
from features import build
from models import examples, mitigated
from models.averaging import average
from models.examples import Bools, Fate, Floats, Ints, Matrix
from models.mitigated import Uncertain
from models.predictor import judgeable
from models.spec import Spec
from models.windows import end_of

if TYPE_CHECKING:
    import duckdb

NEWEST: Final = 4
"""One part in so many of the rows learned from, the newest, stands for the fleet as the booster knew it."""
SOME: Final = 200_000
"""So many rows tell how the values of more are spread."""


@dataclass(frozen=True)
class Question:
    """Which rows to draw; the same wherever the facts are."""

    spec: Spec
    days: tuple[date, ...]
    rank_horizon_days: int
    until: date

    @property
    def known_until(self) -> datetime:
        """Return the moment up to which labels count: no later than a horizon after the last day."""
        return min(end_of(self.until), end_of(self.days[-1] + timedelta(days=self.rank_horizon_days)))


@dataclass(frozen=True)
class Outline:
    """Rows without their features: who was asked about and when, and all that tells what they count as."""

    moment: Ints
    entity: Ints
    usable: Bools
    """Whether their features say anything."""
    fate: Fate
    weight: Floats
    chance: Floats
    """Of failing within the rank horizon, told before the host was emptied; NaN where nothing was."""

    def take(self, rows: Ints) -> "Outline":
        """Return the rows chosen."""
        return Outline(
            self.moment[rows],
            self.entity[rows],
            self.usable[rows],
            self.fate.take(rows),
            self.weight[rows],
            self.chance[rows],
        )

    def sha256(self) -> str:
        """Return the hex sha256 of who was asked about and when, in order."""
        digest = hashlib.sha256(self.moment.tobytes())
        digest.update(self.entity.tobytes())
        return digest.hexdigest()


def outlined(parts: Sequence[Outline]) -> Outline:
    """Return the rows of several parts, one after the other."""
    return Outline(
        np.concatenate([part.moment for part in parts]),
        np.concatenate([part.entity for part in parts]),
        np.concatenate([part.usable for part in parts]),
        examples.joined([part.fate for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.chance for part in parts]),
    )


@dataclass(frozen=True)
class Drawn:
    """Rows of one part of the fleet, or of all of it, in order of (moment, entity)."""

    names: tuple[str, ...]
    values: Matrix
    outline: Outline
    sample: pa.Table


def draw(con: "duckdb.DuckDBPyConnection", question: Question, counts: pa.Table | None = None) -> Drawn:
    """Return the sampled rows that a connection holds, with what became of them.

    Args:
        con: a connection on a warehouse or its snapshot, or on a part of one.
        question: which rows.
        counts: what `features.build.fleet` says of the whole fleet on those days; by default it is asked of `con`.
    """
    spec, known = question.spec, question.known_until
    asked = build.spine(
        con,
        spec.component,
        question.days,
        negative_share=spec.negative_share,
        positive_days=question.rank_horizon_days,
        known_until=known,
        seed=spec.seed,
    )
    frame = build.frame(con, spec.component, asked, counts)
    names = build.feature_names(spec.component)
    values = examples.matrix(frame, names)
    outline = Outline(
        moment=examples.asof_microseconds(frame),
        entity=examples.keys(frame),
        usable=judgeable(frame, values),
        fate=examples.fates(frame, build.labels(con, spec.component, asked, known)),
        weight=examples.doubles(frame, "weight"),
        chance=mitigated.told(con, spec.component, asked, known).chance(
            question.rank_horizon_days, spec.minimum_lead_days
        ),
    )
    return Drawn(names, values, outline, frame.slice(0, 200).select(list(names)))


@dataclass(frozen=True)
class Weighed:
    """What the rows of a whole fleet count as; censored, unknown ones and days not seen for a whole horizon do not.

    A row whose host was emptied may stand there twice, failing and healthy (`models.mitigated`).
    """

    row: Ints
    """Numbers into the rows drawn, in their order."""
    failed: Bools
    weight: Floats
    rows: int
    """Distinct ones."""
    positives: int
    """Of these, how many were seen to fail."""
    uncertain: Uncertain = field(default_factory=Uncertain)


def weigh(outline: Outline, question: Question) -> Weighed:
    """Return what the rows of the whole fleet, in order of (moment, entity), count as.

    Raises:
        ModelError: no failing row among them.
    """
    spec, horizon = question.spec, question.rank_horizon_days
    whole = examples.on_whole_days(outline.moment, outline.fate, horizon)
    kept = np.flatnonzero(outline.usable & whole)
    weight, chance = outline.weight[kept], outline.chance[kept]
    counted = mitigated.count(outline.fate.take(kept), weight, chance, horizon, spec.minimum_lead_days)
    row = kept[counted.row]
    distinct = np.unique(row)
    positives = np.count_nonzero(outline.fate.failed_in_days[distinct] <= horizon)
    if not positives:
        msg = (
            f"cannot train {spec.component}: none of {distinct.size} rows from {question.days[0]} to "
            f"{question.days[-1]} was seen to fail within {horizon} days; ingest more failures or more days"
        )
        raise ModelError(msg)
    return Weighed(row, counted.failed, counted.weight, distinct.size, int(positives), counted.uncertain)


@dataclass(frozen=True)
class Learned:
    """Rows for the booster, at hand."""

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

    def boost(self, spec: Spec) -> str:
        """Return the text of `spec.boosters` boosters, averaged."""
        return boost(self, spec)

    def newest(self) -> Matrix:
        """Return the newest of the rows, at most `SOME` of them."""
        return self.values[newest(len(self.values))]


def newest(rows: int) -> Ints:
    """Return which of so many rows, in order of time, stand for the fleet as the booster knew it."""
    return rows - max(1, rows // NEWEST) + some(max(1, rows // NEWEST))


def some(rows: int) -> Ints:
    """Return which of so many rows tell how their values are spread: evenly spaced ones, `SOME` at most."""
    return np.arange(0, rows, -(-rows // SOME) or 1)


def learning_rows(
    con: "duckdb.DuckDBPyConnection", spec: Spec, days: Sequence[date], rank_horizon_days: int, until: date
) -> Learned:
    """Return the sampled, weighted rows of some days, labelled by what became of them within the rank horizon.

    Raises:
        ModelError: no failing row among them.
    """
    question = Question(spec, tuple(days), rank_horizon_days, until)
    drawn = draw(con, question)
    counted = weigh(drawn.outline, question)
    return Learned(
        names=drawn.names,
        values=drawn.values[counted.row],
        failed=counted.failed,
        weight=counted.weight,
        sample=drawn.sample,
        spine_sha256=drawn.outline.sha256(),
        rows=counted.rows,
        positives=counted.positives,
        uncertain=counted.uncertain,
    )


def boost(learned: Learned, spec: Spec) -> str:
    """Return the text of `spec.boosters` boosters, averaged; same rows, spec and thread count, same text."""
    import lightgbm

    texts = []
    for number in range(spec.boosters):
        data = lightgbm.Dataset(
            learned.values, learned.failed.astype(np.float32), weight=learned.weight, feature_name=list(learned.names)
        )
        told = {**parameters(spec, number), "num_threads": spec.threads}
        texts.append(str(lightgbm.train(told, data, num_boost_round=spec.rounds).model_to_string()))
    return average(texts)


def parameters(spec: Spec, number: int) -> dict[str, Any]:
    """Return what one of the spec's boosters is trained with, but for how many rounds and threads."""
    return {
        **spec.lightgbm,
        "objective": "binary",
        "seed": spec.seed + number,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
