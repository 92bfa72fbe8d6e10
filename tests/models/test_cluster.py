"""A real cluster of two workers gives what one machine gives, also when a worker is killed on the way."""

import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from daemons import free_port, until
from distributed import Client

from benchmarks.cluster import started
from data.errors import EngineError
from data.parts import Store
from data.snapshots import read
from models import learning, spec, train
from models.cluster import training
from models.cluster.connection import connected, reach
from models.cluster.facts import Cluster
from models.facts import Facts, Here
from models.spec import Spec
from models.train import Trained
from models.windows import end_of, plan
from pipelines.check import examine
from pipelines.engine import facts
from pipelines.settings import EngineSettings, Settings
from pipelines.steps.score import score_with
from tests.object_store import BUCKET, ObjectStore

pytestmark = pytest.mark.slow

DAY_ZERO = date(2016, 1, 1)
UNTIL = DAY_ZERO + timedelta(days=110)
WORKERS = 2


@pytest.fixture(scope="module")
def light() -> Spec:
    """The disk spec with few rounds, and a third of the healthy rows, so that sampling is at work."""
    disk = spec.load("disk")
    lighter = {**disk.lightgbm, "min_data_in_leaf": 20}
    return replace(disk, rounds=20, boosters=2, threads=1, negative_share=0.3, lightgbm=lighter)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, s3: ObjectStore) -> Iterator[EngineSettings]:
    """The settings of a cluster that runs, whose workers know the object store."""
    folder = tmp_path_factory.mktemp("cluster")
    with s3.entered(), started(folder, WORKERS) as address:
        with Client(address, timeout=120, set_as_default=False) as client:
            client.wait_for_workers(WORKERS, timeout=120)
        yield EngineSettings(kind="dask", scheduler=address, storage=f"file://{folder}/store", partitions=4)


@pytest.fixture(scope="module")
def con(warehouse_home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published fleet."""
    with read(warehouse_home) as held:
        yield held


@pytest.fixture(scope="module")
def there(engine: EngineSettings, con: duckdb.DuckDBPyConnection) -> Iterator[Facts]:
    """The fleet on the cluster."""
    with facts(engine, con, "disk") as source:
        yield source


@pytest.fixture(scope="module")
def on_s3(engine: EngineSettings) -> EngineSettings:
    """The settings of the same cluster with the telemetry in an object store."""
    return engine.model_copy(update={"storage": f"s3://{BUCKET}/parts"})


@pytest.fixture(scope="module")
def trained(con: duckdb.DuckDBPyConnection, light: Spec) -> Trained:
    """What one machine learns."""
    return train.fit(con, light, UNTIL)


def asked(there: Facts) -> Cluster:
    assert isinstance(there, Cluster)
    return there


@contextmanager
def killed(client: Client, at: str) -> Iterator[None]:
    """One worker, and not its nanny, dies by SIGKILL once it is at such a task; two are there again in the end."""
    name = training.named(client)[0]
    victim = client.run(os.getpid)[name]

    def kill() -> None:
        until(lambda: any(str(key).startswith(at) for key in client.processing()[name]), f"{at} begins", pause=0.02)
        os.kill(victim, signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    yield
    killing.join()
    until(lambda: victim not in client.run(os.getpid).values(), "the worker is gone")
    client.wait_for_workers(WORKERS, timeout=120)


def test_the_rows_are_those_of_one_machine_to_the_bit(
    con: duckdb.DuckDBPyConnection, there: Facts, light: Spec
) -> None:
    """Four parts, sampled, weighed and put together, hold each row, feature, label and weight that one part holds."""
    windows = plan(light, DAY_ZERO, UNTIL)
    asked_for = (light, windows.fit_days, windows.rank_horizon_days, UNTIL)
    here, far = Here(con).learn(*asked_for), there.learn(*asked_for)
    assert isinstance(here, learning.Learned)
    sheaves = asked(there).client.gather(far.sheaves)
    for name in ("values", "failed", "weight"):
        held = far.order.merged([getattr(sheaf, name) for sheaf in sheaves])
        np.testing.assert_array_equal(held, getattr(here, name))
    assert (far.rows, far.positives, far.spine_sha256) == (here.rows, here.positives, here.spine_sha256)
    np.testing.assert_array_equal(far.newest(), here.newest())


def test_scores_come_back_as_those_of_one_machine(
    con: duckdb.DuckDBPyConnection, there: Facts, trained: Trained
) -> None:
    """The same model tells the same risks and the same reasons, whichever worker lies dead."""
    expected = Here(con).score(trained.predictor, UNTIL, 50)
    assert expected["factors"].null_count == expected.num_rows - 50
    assert there.score(trained.predictor, UNTIL, 50).equals(expected)
    with killed(asked(there).client, "_ask"):
        assert there.score(trained.predictor, UNTIL, 50).equals(expected)


def test_two_who_score_the_same_day_at_once_each_get_their_own(
    con: duckdb.DuckDBPyConnection, there: Facts, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night's risks keep their reasons where another asks the same without them before they are read back."""
    expected = Here(con).score(trained.predictor, UNTIL, 50)
    table, others = Store.table, [0]

    def meanwhile(self: Store, name: str) -> pa.Table:
        if others:
            there.score(trained.predictor, UNTIL, others.pop())
        return table(self, name)

    monkeypatch.setattr(Store, "table", meanwhile)
    assert there.score(trained.predictor, UNTIL, 50).equals(expected)


def test_a_scheduled_run_puts_the_same_risks_into_the_warehouse(
    engine: EngineSettings, on_s3: EngineSettings, warehouse_home: Path, trained: Trained, tmp_path: Path
) -> None:
    """The step that flows and commands call differs by settings alone: here, there, and with the parts on S3."""
    told = []
    for number, where in enumerate((EngineSettings(), engine, on_s3)):
        home = shutil.copytree(warehouse_home, tmp_path / str(number), symlinks=True)
        settings = Settings(home=home, engine=where)
        report = score_with(settings, trained.predictor, [end_of(UNTIL)], reasons=20)
        with read(home) as held:
            told.append((report.entities, report.unknown, held.execute("from risk order by entity_key").fetchall()))
    assert told[0] == told[1] == told[2]
    assert told[0][0] == len(told[0][2]) > 300


def test_the_doctor_knows_the_cluster(engine: EngineSettings, home: Path) -> None:
    """It says how many workers there are, and that they are the same as here."""
    (found,) = (one for one in examine(Settings(home=home, engine=engine)) if one.what == "engine")
    assert found.state == "ok"
    assert "2 workers with 2 threads" in found.says


def test_the_doctor_says_which_worker_cannot_read_the_object_store(
    on_s3: EngineSettings, home: Path, there: Facts, s3: ObjectStore
) -> None:
    """One that has another key than this machine is named."""
    client = asked(there).client
    one, right = training.named(client)[0], s3.environment["AWS_SECRET_ACCESS_KEY"]
    has_key = "import os, s3fs; os.environ['AWS_SECRET_ACCESS_KEY'] = {!r}; s3fs.S3FileSystem.clear_instance_cache()"
    client.run(exec, has_key.format("another"), workers=[one])
    said = [found for found in examine(Settings(home=home, engine=on_s3)) if found.what == "engine"]
    client.run(exec, has_key.format(right), workers=[one])
    assert [found.state for found in said] == ["wrong"]
    assert re.match(rf"worker {one}: \S+ cannot read {on_s3.storage}: Forbidden", said[0].says)


def test_a_model_of_the_cluster_is_as_good_as_one_of_one_machine(
    con: duckdb.DuckDBPyConnection, there: Facts, light: Spec, trained: Trained
) -> None:
    """Its average precision lies within the interval of the other's, learned from the same rows and judged on them."""
    far = train.fit(con, light, UNTIL, None, there)
    assert far.hashes == trained.hashes
    assert (far.rows, far.positives) == (trained.rows, trained.positives)
    low, high = (trained.metrics[f"average_precision_{end}"] for end in ("low", "high"))
    assert low <= far.metrics["average_precision"] <= high
    live = Here(con).live(trained.predictor, UNTIL)
    risks = [each.predictor.calibration.risks(live.scores(each.predictor)) for each in (far, trained)]
    assert np.median(np.abs(risks[0] - risks[1])) < 0.01


def test_training_that_loses_a_worker_is_begun_anew_and_ends_the_same(
    there: Facts, light: Spec, caplog: pytest.LogCaptureFixture
) -> None:
    """LightGBM's workers wait for a lost peer for ever; they are restarted, and the text is that of a calm night."""
    windows = plan(light, DAY_ZERO, UNTIL)
    rows = there.learn(light, windows.fit_days, windows.rank_horizon_days, UNTIL)
    longer = replace(light, boosters=1, rounds=300)
    calm = rows.boost(longer)
    with killed(asked(there).client, "_train_part"):
        assert rows.boost(longer) == calm
    assert "attempt 1 of 3: worker tcp://" in caplog.text


def test_nobody_at_the_scheduler_is_an_error_and_nothing_is_computed_here(con: duckdb.DuckDBPyConnection) -> None:
    """The message says where nobody answers and what to do."""
    nobody = EngineSettings(
        kind="dask", scheduler=f"tcp://127.0.0.1:{free_port()}", storage="file:///nowhere", timeout_seconds=1
    )
    with pytest.raises(EngineError, match="cannot reach the scheduler at tcp://"), facts(nobody, con, "disk"):
        pass


def test_workers_of_another_version_are_refused(engine: EngineSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has another source than this machine would give other answers."""
    assert reach(engine.scheduler, 60, Store(engine.storage)).differing == ()
    monkeypatch.setattr("models.cluster.versions._FOLDERS", ("data",))  # here, not in their processes
    refused = pytest.raises(EngineError, match=r"would give other answers.*another Foreshock")
    with refused, connected(engine.scheduler, 60):
        pass
