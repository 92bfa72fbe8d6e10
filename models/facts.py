"""Where rows are gathered, learned from and judged: here, from one connection, or on the workers of a cluster.

Both ask the same statements and count in the same way; `models.cluster` is the other one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from features import build
from models import examples, holdout, learning, score
from models.checked import Held
from models.examples import Floats, Ints, Matrix
from models.holdout import Later
from models.mitigated import Uncertain
from models.predictor import Predictor, judgeable
from models.spec import Spec

if TYPE_CHECKING:
    import duckdb


class Rows(Protocol):
    """Weighted rows to learn from, wherever they are (`models.learning.Learned` are those at hand)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Return their features."""

    @property
    def sample(self) -> pa.Table:
        """Return a few of them."""

    @property
    def spine_sha256(self) -> str:
        """Return the hash of who was asked about and when."""

    @property
    def rows(self) -> int:
        """Return how many distinct ones there are."""

    @property
    def positives(self) -> int:
        """Return how many of these were seen to fail."""

    @property
    def uncertain(self) -> Uncertain:
        """Return how those counted whose host was emptied."""

    def only(self, names: Sequence[str]) -> "Rows":
        """Return the same rows with these features alone, in this order."""

    def boost(self, spec: Spec) -> str:
        """Return the text of the spec's booster, trained on them."""

    def newest(self) -> Matrix:
        """Return the newest of them, as many as tell how values are spread."""


class Live(Protocol):
    """All that can be judged at the end of a day, in order of their keys."""

    @property
    def rows(self) -> int:
        """Return how many."""

    def scores(self, predictor: Predictor) -> Floats:
        """Return the predictor's own scores; shape (rows,)."""

    def some(self) -> Matrix:
        """Return the features of as many as tell how values are spread."""


class Facts(Protocol):
    """The facts of a fleet, and what can be asked of them."""

    def learn(self, spec: Spec, days: Sequence[date], rank_horizon_days: int, until: date) -> Rows:
        """Return the sampled, weighted rows of some days, labelled by what became of them within the rank horizon.

        Raises:
            ModelError: no failing row among them.
        """

    def hold(self, later: Later) -> Held:
        """Return the rows of a later window, judged, in order of (day, entity).

        Raises:
            ModelError: none can be judged, or no day has been seen for the longest horizon.
        """

    def live(self, predictor: Predictor, day: date) -> Live:
        """Return all that the predictor can judge at the end of a day."""

    def score(self, predictor: Predictor, day: date, top_reasons: int) -> pa.Table:
        """Return the risks of all live entities at the end of a day, as `models.score.score` does."""


@dataclass(frozen=True)
class Here:
    """The facts that one connection holds."""

    con: "duckdb.DuckDBPyConnection"

    def learn(self, spec: Spec, days: Sequence[date], rank_horizon_days: int, until: date) -> Rows:
        """See `Facts`."""
        return learning.learning_rows(self.con, spec, days, rank_horizon_days, until)

    def hold(self, later: Later) -> Held:
        """See `Facts`."""
        return holdout.whole([holdout.held(self.con, later)], later)

    def live(self, predictor: Predictor, day: date) -> Live:
        """See `Facts`."""
        return LiveHere(live(self.con, predictor, day))

    def score(self, predictor: Predictor, day: date, top_reasons: int) -> pa.Table:
        """See `Facts`."""
        return score.score(self.con, predictor.component, predictor, day, top_reasons)


@dataclass(frozen=True)
class Judgeable:
    """Features of all that can be judged, with their keys, in order of these."""

    entity: Ints
    values: Matrix


@dataclass(frozen=True)
class LiveHere:
    """All that can be judged, at hand."""

    live: Judgeable

    @property
    def rows(self) -> int:
        """See `Live`."""
        return len(self.live.values)

    def scores(self, predictor: Predictor) -> Floats:
        """See `Live`."""
        return predictor.scores(self.live.values)

    def some(self) -> Matrix:
        """See `Live`."""
        return self.live.values[learning.some(self.rows)]


def live(
    con: "duckdb.DuckDBPyConnection", predictor: Predictor, day: date, counts: pa.Table | None = None
) -> Judgeable:
    """Return the features of all that a connection holds and the predictor can judge at the end of a day."""
    with build.sparing(con):
        counts = score.fleet(con, predictor, day) if counts is None else counts
        frame = build.frame(con, predictor.component, build.spine(con, predictor.component, [day]), counts)
    values = examples.matrix(frame, predictor.feature_names)
    rows = judgeable(frame, values)
    return Judgeable(examples.keys(frame)[rows], values[rows])
