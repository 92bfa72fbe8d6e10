"""Where to compute is a setting: here without more ado, on a cluster only as said, and never something in between."""

import logging
import subprocess
import sys
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from daemons import free_port
from drives import START, Reading, put
from pydantic import ValidationError

from data.errors import SettingsError, UsageError
from data.migrations import migrate
from data.snapshots import empty
from models.cluster.facts import Cluster
from models.facts import Here
from pipelines.check import examine
from pipelines.engine import facts
from pipelines.settings import EngineSettings, Settings
from pipelines.steps.train import train


def cluster() -> EngineSettings:
    """Settings of a cluster that nobody runs."""
    address = f"tcp://127.0.0.1:{free_port()}"
    return EngineSettings(kind="dask", scheduler=address, storage="file:///nowhere", timeout_seconds=1)


def test_here_is_the_default_and_takes_no_cluster_along() -> None:
    """With default settings neither Dask nor fsspec is imported by what computes."""
    code = (
        "import sys, models.train, models.facts, pipelines.engine, pipelines.steps.train, pipelines.steps.score\n"
        "print(sorted({'dask', 'distributed', 'fsspec'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_gpus_are_computed_here_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """What looks at its neighbours cannot be divided; the log says where it went."""
    caplog.set_level(logging.INFO)
    with empty() as con, facts(cluster(), con, "gpu") as source:
        assert isinstance(source, Here)
    assert "gpu looks at the entities around each" in caplog.text


def test_a_search_is_refused_on_a_cluster(home: Path) -> None:
    """It holds all its rows at once; nothing is searched for here instead."""
    with pytest.raises(UsageError, match="cannot tune on a cluster"):
        train(Settings(home=home, engine=cluster()), "disk", tune=5)


@pytest.mark.parametrize(
    "missing",
    [
        {"kind": "dask", "scheduler": "tcp://127.0.0.1:8786"},
        {"kind": "dask", "storage": "file:///srv/parts"},
        {"kind": "dask", "scheduler": "http://127.0.0.1", "storage": "file:///srv/parts"},
        {"kind": "dask", "scheduler": "tcp://127.0.0.1:8786", "storage": "s3://key:secret@bucket"},
    ],
)
def test_a_cluster_is_named_whole_and_without_secrets(missing: dict[str, str]) -> None:
    """A scheduler and a place, neither with a password in it."""
    with pytest.raises(ValidationError):
        EngineSettings.model_validate(missing)


def test_a_snapshot_copied_under_the_name_of_the_one_before_is_seen_to_be_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who trains on another machine, which gets each night's snapshot, learns from the newest one."""
    monkeypatch.setattr("models.cluster.connection.connected", lambda *_: nullcontext())
    where = cluster().model_copy(update={"storage": f"file://{tmp_path}/parts", "partitions": 2})
    snapshot = tmp_path / "published.duckdb"
    for days in (3, 5):
        snapshot.unlink(missing_ok=True)
        with duckdb.connect(str(snapshot)) as con:
            migrate(con)
            put(con, [Reading("D1", START + timedelta(days=day), 0, None) for day in range(days)])
        with duckdb.connect(str(snapshot), read_only=True) as con, facts(where, con, "disk") as there:
            assert isinstance(there, Cluster)
            assert sum(one.rows for one in there.manifest.pieces if one.table == "disk_day") == days


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to install it."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    for name in [name for name in sys.modules if name.startswith("models.cluster")]:
        monkeypatch.delitem(sys.modules, name)
    refused = pytest.raises(SettingsError, match=r"foreshock\[scale\]")
    with empty() as con, refused, facts(cluster(), con, "disk"):
        pass


def test_the_doctor_says_that_nobody_answers(home: Path) -> None:
    """With the address, and what to do."""
    settings = Settings(home=home, engine=cluster())
    (found,) = (one for one in examine(settings) if one.what == "engine")
    assert found.state == "wrong"
    assert settings.engine.scheduler in found.says
