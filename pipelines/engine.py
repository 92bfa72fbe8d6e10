"""Where a component's rows are gathered, learned from and judged, by the settings."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from data.catalog import has_readings
from data.errors import SettingsError
from data.snapshots import SNAPSHOTS
from pipelines.settings import EngineSettings

if TYPE_CHECKING:
    import duckdb

    from models.cluster.connection import Reached
    from models.facts import Facts

logger = logging.getLogger(__name__)


@contextmanager
def facts(engine: EngineSettings, con: "duckdb.DuckDBPyConnection", component: str) -> Iterator["Facts"]:
    """The facts of a snapshot, here or on the cluster, where they are brought up to date first.

    A component whose evidence lies in the entities around each stays here, and the log says so.

    Raises:
        EngineError: the cluster cannot be reached, or would give other answers; nothing is computed here instead.
        SettingsError: what the cluster needs is not installed here.
    """
    from models.facts import Here

    if divided(engine, component):
        with _cluster(engine, con, component) as there:
            yield there
        return
    if engine.kind != "local":
        logger.info("%s looks at the entities around each, so it is computed on this machine", component)
    yield Here(con)


def divided(engine: EngineSettings, component: str) -> bool:
    """Whether a component's rows are on the cluster, in parts."""
    return engine.kind != "local" and has_readings(component)


def reach(engine: EngineSettings) -> "Reached":
    """Who answers at the scheduler, for a look that changes nothing.

    Raises:
        EngineError: nobody does, or a scheduler without workers; or this machine cannot read the store.
        SettingsError: what the cluster needs is not installed here.
    """
    with _installed():
        from data.parts import Store
        from models.cluster.connection import reach as look
    return look(engine.scheduler, engine.timeout_seconds, Store(engine.storage))


@contextmanager
def _cluster(engine: EngineSettings, con: "duckdb.DuckDBPyConnection", component: str) -> Iterator["Facts"]:
    with _installed():
        from data.parts import Store, export
        from models.cluster.connection import connected
        from models.cluster.facts import Cluster
    store = Store(engine.storage)
    with connected(engine.scheduler, engine.timeout_seconds) as client:
        manifest = export(con, store, component, engine.partitions, _snapshot(con), datetime.now(UTC))
        yield Cluster(client, store, manifest, engine.training_attempts)


def _snapshot(con: "duckdb.DuckDBPyConnection") -> str:
    """What no other snapshot is called: the file that a connection reads.

    A snapshot that was copied here from another machine lies under the name of the one before, so it gets a name once.
    """
    ((path,),) = con.execute("select path from duckdb_databases() where database_name = current_database()").fetchall()
    made_here = Path(path).parent.name == SNAPSHOTS
    return str(path) if made_here else f"{path} {uuid4().hex}"


@contextmanager
def _installed() -> Iterator[Any]:
    try:
        yield
    except ImportError as error:
        msg = f'engine.kind = "dask" needs {error.name}, which is not installed: pip install "foreshock[scale]"'
        raise SettingsError(msg) from error
