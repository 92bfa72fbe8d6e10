"""Where models are kept: MLflow's own store in a home folder, or an MLflow server that several machines share.

Whoever has only a home folder passes that; its store is a SQLite file and a folder beside it. A server is asked over
HTTP and keeps the files, too: what is loaded from it comes over the wire each time. Who may ask it is for MLflow's own
variables to say (`MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`).
"""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import unquote, urlparse

from data.errors import RegistryError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

P = ParamSpec("P")
R = TypeVar("R")

PATIENCE: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""How a server is asked, unless the environment says otherwise: MLflow would try for minutes."""


@dataclass(frozen=True)
class Store:
    """A store: the home folder's own, or the one of a server."""

    home: Path
    server: str = ""
    """Address of an MLflow server; empty: the home's own store."""

    @property
    def uri(self) -> str:
        """What MLflow calls the tracking URI."""
        return self.server or f"sqlite:///{self.home.resolve() / 'mlflow.db'}"

    @property
    def is_begun(self) -> bool:
        """Whether there may be models: a home's store is made by the first training."""
        return bool(self.server) or (self.home / "mlflow.db").exists()


Where = Path | Store
"""A home folder, whose own store is meant, or a store."""


def at(where: Where) -> Store:
    """The store."""
    return where if isinstance(where, Store) else Store(where)


def asking(ask: Callable[Concatenate[Where, P], R]) -> Callable[Concatenate[Where, P], R]:
    """The same question to a store, whose failure to answer is a `RegistryError`."""

    @wraps(ask)
    def asked(where: Where, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return ask(where, *args, **kwargs)
        except _failures() as error:
            cause = " ".join(str(error).split())
            msg = f"The model store {at(where).uri} cannot be used: {cause}. `foreshock doctor` looks at it."
            raise RegistryError(msg) from error

    return asked


def client(where: Where) -> "MlflowClient":
    """A client of the store, which MLflow's own functions use from now on, too."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about a field name of its own, at every import
        import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    store = at(where)
    store.home.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(store.uri)
    mlflow.set_registry_uri(store.uri)
    return mlflow.MlflowClient(store.uri, store.uri)


def experiment(client: "MlflowClient", where: Where, name: str) -> str:
    """The id of the experiment, which is made if need be; a server puts its files where it puts all files."""
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    store = at(where)
    if store.server:
        return str(client.create_experiment(name))
    folder = store.home.resolve() / "mlartifacts"
    folder.mkdir(parents=True, exist_ok=True)
    return str(client.create_experiment(name, artifact_location=folder.as_uri()))


@contextmanager
def files(client: "MlflowClient", where: Where, found: "ModelVersion") -> Iterator[Path]:
    """The folder with a version's files; a home folder that was moved as a whole is still found."""
    store, model_id = at(where), str(found.source).removeprefix("models:/")
    location = str(client.get_logged_model(model_id).artifact_location)
    if not store.server:
        here = Path(unquote(urlparse(location).path)) / "artifacts"
        yield here if here.is_dir() else store.home / "mlartifacts" / "models" / model_id / "artifacts" / "artifacts"
        return
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory(prefix="foreshock-") as folder:
        yield Path(download_artifacts(artifact_uri=f"{location}/artifacts", dst_path=folder, tracking_uri=store.uri))


def _failures() -> tuple[type[Exception], ...]:
    """What MLflow raises by itself, and what it asks servers with; one that was never loaded has raised nothing."""
    named = (("mlflow.exceptions", "MlflowException"), ("requests.exceptions", "RequestException"))
    return tuple(getattr(sys.modules[module], name) for module, name in named if module in sys.modules)
