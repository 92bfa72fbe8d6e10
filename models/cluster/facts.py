"""A fleet's facts on the workers of a cluster: features, training and scoring where the parts are read.

Each task reads one part of the store (`data.parts`) into a DuckDB of its own and asks the statements that are asked
everywhere. Features stay on the workers; to the client come counts, what became of rows, scores, and as many values as
tell how they are spread. A task is a function of the store, so one whose worker dies is done again elsewhere with the
same answer; training, which is not, is begun anew (`models.cluster.training`).

Whoever reaches the scheduler can have workers run code: docs/scaling.md says how to keep it to those who may.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from distributed import Client, Future, get_worker

from data.parts import Manifest, Store, opened
from features import build
from models import examples, facts, holdout, learning, score
from models.averaging import average
from models.checked import Held
from models.cluster.order import Order, ordered
from models.cluster.training import Sheaf, named, train
from models.examples import Bools, Floats, Ints, Matrix
from models.holdout import Later
from models.learning import Drawn, Outline, Question
from models.mitigated import Uncertain
from models.predictor import Predictor
from models.spec import Spec

T = TypeVar("T")

MEMORY_SHARE: Final = 0.5
"""Of a worker's memory, what the DuckDBs of its tasks may take together; the rest is for the rows that stay."""
UNLIMITED_BYTES: Final = 4 * 2**30
"""What a worker that was given no limit counts as having."""


@dataclass(frozen=True)
class Part:
    """One part of a store, as a task reads it."""

    store: Store
    files: dict[str, list[str]]


@dataclass(frozen=True)
class Cluster:
    """The facts of a store, asked of the workers of a cluster; a `models.facts.Facts`."""

    client: Client
    store: Store
    manifest: Manifest
    attempts: int
    """How often training may be begun."""

    def learn(self, spec: Spec, days: Sequence[date], rank_horizon_days: int, until: date) -> "Spread":
        """See `models.facts.Facts`."""
        question = Question(spec, tuple(days), rank_horizon_days, until)
        drawn = self._each(learning.draw, question, counts=self._counts(spec.component, days))
        parts: list[Outline] = self.client.gather(self.of(drawn, _outline))
        every = learning.outlined(parts)
        order = ordered([len(one.moment) for one in parts], every.moment, every.entity)
        whole = every.take(order.at)
        counted = learning.weigh(whole, question)
        apart = (order.apart(counted.failed, counted.row), order.apart(counted.weight, counted.row))
        return Spread(
            cluster=self,
            names=build.feature_names(spec.component),
            sheaves=tuple(self.of(drawn, _sheaf, order.split(counted.row), *apart)),
            order=order.chosen(counted.row),
            sample=self.client.gather(self.of(drawn[:1], _sample))[0],
            spine_sha256=whole.sha256(),
            rows=counted.rows,
            positives=counted.positives,
            uncertain=counted.uncertain,
        )

    def hold(self, later: Later) -> Held:
        """See `models.facts.Facts`."""
        rival = _on_one_thread(later.rival) if later.rival else None
        asked = replace(later, draft=_on_one_thread(later.draft), rival=rival)
        counts = self._counts(later.draft.component, later.days)
        return holdout.whole(self.client.gather(self._each(holdout.held, asked, counts=counts)), later)

    def live(self, predictor: Predictor, day: date) -> "LiveThere":
        """See `models.facts.Facts`."""
        counts = self._lately(predictor.component, day)
        there = self._each(facts.live, _on_one_thread(predictor), day, counts=counts)
        keys: list[Ints] = self.client.gather(self.of(there, _keys))
        return LiveThere(self, tuple(there), ordered([len(one) for one in keys], np.concatenate(keys)))

    def score(self, predictor: Predictor, day: date, top_reasons: int) -> pa.Table:
        """See `models.facts.Facts`; the risks come back as Parquet files of the store."""
        judge = _on_one_thread(predictor)
        judged = self._each(score.judge, judge, day, counts=self._lately(predictor.component, day))
        parts: list[pa.Table] = self.client.gather(self.of(judged, _brief))
        every = pa.concat_tables(parts)
        order = ordered([one.num_rows for one in parts], examples.keys(every))
        riskiest = score.riskiest(every.take(order.at), top_reasons)
        folder = f"score/{predictor.component}-{predictor.version}-{day}/{uuid4().hex}"  # another may ask the same now
        places = [(self.store, f"{folder}/{number:05d}.parquet") for number in range(order.parts)]
        written = self.of(judged, _write, order.split(riskiest), places, shared=judge)
        risks = pa.concat_tables([self.store.table(name) for name in self.client.gather(written)])
        return risks.sort_by("entity_key").cast(score.SCHEMA)

    def of(
        self, there: Sequence[Future[Any]], task: Callable[..., T], *each: Sequence[Any], shared: Any = None
    ) -> list[Future[T]]:
        """Return what the task makes of each answer, where that answer is.

        Args:
            there: an answer of each part.
            task: takes the answer, its own of each of `each`, and `shared` where it is given.
            each: something for each part.
            shared: the same for all of them.
        """
        more = () if shared is None else (self._shared(shared),)
        given = zip(there, *each, strict=True)
        return [self.client.submit(task, *one, *more, pure=False) for one in given]

    def _counts(self, component: str, days: Sequence[date]) -> pa.Table:
        """What rows of those days need to know of the whole fleet."""
        return build.added(self.client.gather(self._each(build.fleet, component, list(days))))

    def _lately(self, component: str, day: date) -> pa.Table:
        """The same of a day that may have come in part."""
        return build.fleet_lately(lambda days: self._counts(component, days), day)

    def _each(self, task: Callable[..., T], *args: Any, **kwargs: Any) -> list[Future[T]]:
        """What the task makes of each part, on the worker that learns from it."""
        workers = named(self.client)
        asked = self._shared((args, kwargs))
        return [
            self.client.submit(
                _ask,
                Part(self.store, self.manifest.of(number)),
                task,
                asked,
                workers=[workers[number % len(workers)]],
                allow_other_workers=True,
                pure=False,
            )
            for number in range(self.manifest.parts)
        ]

    def _shared(self, value: T) -> Future[T]:
        """A value that all tasks take, sent once; made again where its worker is lost, unlike one that is scattered."""
        return self.client.submit(_same, value, pure=False)


@dataclass(frozen=True)
class Spread:
    """Weighted rows that lie on workers; a `models.facts.Rows`."""

    cluster: Cluster
    names: tuple[str, ...]
    sheaves: tuple[Future[Sheaf], ...]
    """A `Sheaf` of each part."""
    order: Order
    sample: pa.Table
    spine_sha256: str
    rows: int
    positives: int
    uncertain: Uncertain

    def only(self, names: Sequence[str]) -> "Spread":
        """See `models.facts.Rows`."""
        columns = [self.names.index(name) for name in names]
        sheaves = self.cluster.of(self.sheaves, _only, shared=columns)
        return replace(self, names=tuple(names), sheaves=tuple(sheaves))

    def boost(self, spec: Spec) -> str:
        """See `models.facts.Rows`; `spec.threads` is what the workers have."""
        sizes = np.bincount(self.order.part, minlength=self.order.parts).tolist()
        sheaves = list(zip(self.sheaves, sizes, strict=True))
        texts = []
        for number in range(spec.boosters):
            told = {**learning.parameters(spec, number), "n_estimators": spec.rounds}
            texts.append(train(self.cluster.client, sheaves, self.names, told, self.cluster.attempts))
        return average(texts)

    def newest(self) -> Matrix:
        """See `models.facts.Rows`."""
        rows = learning.newest(self.order.part.size)
        values = self.cluster.client.gather(self.cluster.of(self.sheaves, _values, self.order.split(rows)))
        return self.order.chosen(rows).merged(values)


@dataclass(frozen=True)
class LiveThere:
    """All that can be judged at the end of a day, on workers; a `models.facts.Live`."""

    cluster: Cluster
    there: tuple[Future[facts.Judgeable], ...]
    order: Order

    @property
    def rows(self) -> int:
        """See `models.facts.Live`."""
        return int(self.order.part.size)

    def scores(self, predictor: Predictor) -> Floats:
        """See `models.facts.Live`."""
        scores = self.cluster.of(self.there, _scores, shared=_on_one_thread(predictor))
        return self.order.merged(self.cluster.client.gather(scores))

    def some(self) -> Matrix:
        """See `models.facts.Live`."""
        rows = learning.some(self.rows)
        values = self.cluster.client.gather(self.cluster.of(self.there, _live_values, self.order.split(rows)))
        return self.order.chosen(rows).merged(values)


def _ask(part: Part, task: Callable[..., T], asked: tuple[tuple[Any, ...], dict[str, Any]]) -> T:
    """What the task makes of a part; on a worker."""
    worker = get_worker()
    limit = (worker.memory_manager.memory_limit or UNLIMITED_BYTES) * MEMORY_SHARE / worker.state.nthreads
    spill = Path(worker.local_directory) / "duckdb"
    args, kwargs = asked
    with opened(part.store, part.files, memory_limit=f"{int(limit) // 2**20}MiB", spill=spill) as con:
        return task(con, *args, **kwargs)


def _on_one_thread(predictor: Predictor) -> Predictor:
    """The predictor for a task, which has one thread."""
    return replace(predictor, spec=replace(predictor.spec, threads=1))


def _same(value: T) -> T:
    return value


def _outline(drawn: Drawn) -> Outline:
    return drawn.outline


def _sample(drawn: Drawn) -> pa.Table:
    return drawn.sample


def _sheaf(drawn: Drawn, rows: Ints, failed: Bools, weight: Floats) -> Sheaf:
    return Sheaf(drawn.values[rows], failed.astype(np.float32), weight)


def _only(sheaf: Sheaf, columns: list[int]) -> Sheaf:
    return replace(sheaf, values=sheaf.values[:, columns])


def _values(sheaf: Sheaf, rows: Ints) -> Matrix:
    return sheaf.values[rows]


def _keys(live: facts.Judgeable) -> Ints:
    return live.entity


def _scores(live: facts.Judgeable, predictor: Predictor) -> Floats:
    return predictor.scores(live.values) if len(live.values) else np.empty(0)


def _live_values(live: facts.Judgeable, rows: Ints) -> Matrix:
    return live.values[rows]


def _brief(judged: tuple[pa.Table, pa.Table]) -> pa.Table:
    return judged[1].select(["entity_key", score.LONGEST])


def _write(judged: tuple[pa.Table, pa.Table], rows: Ints, place: tuple[Store, str], predictor: Predictor) -> str:
    """Put the risks of a part into the store, with the reasons of some rows; the file's name."""
    frame, told = judged
    store, name = place
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "risks.parquet"
        pq.write_table(score.with_factors(told, score.factors(frame, predictor, rows)), file)
        store.put(file, name)
    return name
