"""Which model is in production, which one wants to be: MLflow, on the store that `models.store` describes.

Versions of the registered model `foreshock-COMPONENT` carry the aliases `champion` and `challenger`. A version is made
only after its run has ended and all its files are written, so a run that was killed leaves nothing that `load` could
pick up, and training again makes the next version. Each champion remembers the one it replaced: that is what
`rollback` returns to.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.errors import ModelError, Refused
from models import gates as gate_rules
from models import plots, predictor, store
from models.card import card
from models.gates import Gate
from models.predictor import Predictor
from models.spec import as_mapping
from models.store import Where
from models.train import Trained

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from models.tune import Tuned

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
COMPLETE: Final = "foreshock.complete"
REPLACED: Final = "foreshock.replaced"
TRIGGER: Final = "foreshock.trigger"
PROCESS: Final = "foreshock.process"
BOOSTER_FILE: Final = "booster.txt"
PREDICTOR_FILE: Final = "predictor.json"


@dataclass(frozen=True)
class Logged:
    """A version as it was registered."""

    component: str
    version: str
    run_id: str
    gates: tuple[Gate, ...]
    champion: str | None
    """The champion's version afterwards; null while none has passed the gates."""


@dataclass(frozen=True)
class Promotion:
    """The outcome of moving the champion alias."""

    component: str
    champion: str
    replaced: str | None
    gates: tuple[Gate, ...]


@dataclass(frozen=True)
class Entry:
    """One registered version."""

    version: str
    run_id: str
    aliases: tuple[str, ...]
    until: str
    created_ms: int
    trigger: str
    """The alarm that had it trained; empty where a person or the calendar did."""


@store.asking
def log(where: Where, trained: Trained, *, simulated: bool = False, trigger: str = "") -> Logged:
    """Return the new version, registered as challenger; also as champion if there is none and its gates pass.

    Args:
        where: the home folder, whose store is made if need be, or a store elsewhere.
        trained: what `train.fit` returned.
        simulated: the data is, and the model card says so.
        trigger: the alarm that had it trained, if one did.
    """
    client = store.client(where)
    component = trained.predictor.component
    passed = gate_rules.check(trained.predictor.spec, trained.metrics)
    run_id, model_id, source = _log_run(client, where, trained, card(trained, passed, simulated=simulated))
    name = _name(component)
    _ensure_registered(client, name)
    made = client.create_model_version(
        name,
        source,
        run_id,
        tags={
            COMPLETE: "true",
            "until": trained.until.isoformat(),
            "simulated": str(simulated).lower(),
            **({TRIGGER: trigger} if trigger else {}),
        },
        model_id=model_id,
        description=f"labels until {trained.until}",
    )
    client.set_registered_model_alias(name, CHALLENGER, made.version)
    if all(gate.passed for gate in passed) and _aliased(client, name, CHAMPION) is None:
        client.set_registered_model_alias(name, CHAMPION, made.version)
    champion = _aliased(client, name, CHAMPION)
    return Logged(component, str(made.version), run_id, passed, str(champion.version) if champion else None)


@store.asking
def load(where: Where, component: str, which: str = CHAMPION) -> Predictor:
    """Return a registered predictor by alias (`champion`, `challenger`), version number or run id.

    Raises:
        ModelError: there is no such version, or its files are gone.
    """
    if not store.at(where).is_begun:
        home = store.at(where).home
        msg = f"{home} holds no model yet: train one (foreshock train {component}), or set FORESHOCK_HOME"
        raise ModelError(msg)
    client = store.client(where)
    found = _version(client, component, which)
    try:
        with store.files(client, where, found) as folder:
            booster_text = (folder / BOOSTER_FILE).read_text(encoding="utf-8")
            about = (folder / PREDICTOR_FILE).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        msg = f"{component} version {found.version}: {error.filename} is gone; restore it, roll back, or train again"
        raise ModelError(msg) from error
    return predictor.from_json(about, booster_text, str(found.version))


@store.asking
def promote(where: Where, component: str, version: str, seen: tuple[Gate, ...] = ()) -> Promotion:
    """Return the new champion, after its gates passed.

    Args:
        where: the home folder that holds the store, or a store elsewhere.
        component: whose champion.
        version: number, alias or run id.
        seen: further gates, of what has been seen since it was registered.

    Raises:
        ModelError: no such version.
        Refused: a gate failed; the message lists each. Ask `gates_of` for them as data.
    """
    client = store.client(where)
    found = _version(client, component, version)
    passed = (*gates_of(where, component, version), *seen)
    failed = [gate.sentence for gate in passed if not gate.passed]
    if failed:
        msg = f"{component} version {found.version} stays out of production: {'; '.join(failed)}. Train a better one."
        raise Refused(msg)
    name = _name(component)
    before = _aliased(client, name, CHAMPION)
    replaced = str(before.version) if before and before.version != found.version else None
    if replaced:
        client.set_model_version_tag(name, found.version, REPLACED, replaced)
    client.set_registered_model_alias(name, CHAMPION, found.version)
    return Promotion(component, str(found.version), replaced, passed)


@store.asking
def rollback(where: Where, component: str) -> Promotion:
    """Return the champion that the present one had replaced, back in its place; gates are not asked.

    Raises:
        ModelError: there is no champion.
        Refused: the champion replaced none.
    """
    client = store.client(where)
    present = _version(client, component, CHAMPION)
    before = present.tags.get(REPLACED)
    if not before:
        msg = (
            f"{component} version {present.version} is the first champion: there is none to go back to; promote another"
        )
        raise Refused(msg)
    found = _version(client, component, before)
    client.set_registered_model_alias(_name(component), CHAMPION, found.version)
    return Promotion(component, str(found.version), str(present.version), ())


@store.asking
def gates_of(where: Where, component: str, which: str) -> tuple[Gate, ...]:
    """Return every gate of a registered version.

    Raises:
        ModelError: no such version.
    """
    found = load(where, component, which)
    return gate_rules.check(found.spec, metrics(where, component, found.version))


@store.asking
def metrics(where: Where, component: str, which: str) -> dict[str, float]:
    """Return the figures that a registered version showed when it was made.

    Raises:
        ModelError: no such version.
    """
    client = store.client(where)
    run_id = str(_version(client, component, which).run_id)
    return {name: float(value) for name, value in client.get_run(run_id).data.metrics.items()}


@store.asking
def versions(where: Where, component: str) -> tuple[Entry, ...]:
    """Return all complete versions of a component, newest first."""
    found = store.client(where).search_model_versions(f"name = '{_name(component)}'")
    named = _aliases(store.client(where), _name(component))
    entries = [
        Entry(
            str(one.version),
            str(one.run_id),
            tuple(sorted(alias for alias, version in named.items() if version == str(one.version))),
            one.tags.get("until", ""),
            int(one.creation_timestamp),
            one.tags.get(TRIGGER, ""),
        )
        for one in found
        if one.tags.get(COMPLETE) == "true"
    ]
    return tuple(sorted(entries, key=lambda one: -int(one.version)))


def store_uri(where: Where) -> str:
    """Return the URI of the MLflow store, for `mlflow ui --backend-store-uri`."""
    return store.at(where).uri


@store.asking
def open_store(where: Where, component: str) -> None:
    """Make the MLflow store, and the component's experiment in it, if they are not there: seconds the first time."""
    store.experiment(store.client(where), where, _name(component))


def _name(component: str) -> str:
    return f"foreshock-{component}"


def _ensure_registered(client: "MlflowClient", name: str) -> None:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)


def _log_run(client: "MlflowClient", where: Where, trained: Trained, text: str) -> tuple[str, str, str]:
    """Log everything about a fresh model under one run; return run id, model id, model URI once the run has ended."""
    import mlflow
    from mlflow.data.pandas_dataset import from_pandas

    experiment = store.experiment(client, where, _name(trained.predictor.component))
    _close_killed_runs(client, experiment)
    tags = {PROCESS: f"{socket.gethostname()}:{os.getpid()}", **trained.hashes, **_commit()}
    with mlflow.start_run(experiment_id=experiment, run_name=f"until {trained.until}", tags=tags) as run:
        mlflow.log_params(_params(trained))
        mlflow.log_metrics({**trained.metrics, **(trained.tuned.figures() if trained.tuned else {})})
        sample = trained.sample.to_pandas()
        digest = trained.hashes["spine_sha256"][:32]
        mlflow.log_input(from_pandas(sample, name=f"{trained.predictor.component}-spine", digest=digest), "training")
        mlflow.log_text(text, "model_card.md")
        if trained.tuned:
            mlflow.log_text(_trials(trained.tuned), "trials.csv")
        with tempfile.TemporaryDirectory() as folder:
            _draw(trained, Path(folder))
            mlflow.log_artifacts(folder, "plots")
        info = _log_model(trained)
    return str(run.info.run_id), str(info.model_id), str(info.model_uri)


def _log_model(trained: Trained) -> Any:
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        booster, about = Path(folder) / BOOSTER_FILE, Path(folder) / PREDICTOR_FILE
        booster.write_text(trained.predictor.booster_text, encoding="utf-8")
        about.write_text(trained.predictor.to_json(), encoding="utf-8")
        warnings.filterwarnings("ignore", message=".*input example was not provided", category=UserWarning)
        return mlflow.pyfunc.log_model(
            name="predictor",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"booster": str(booster), "predictor": str(about)},
            signature=_signature(trained.predictor),
            pip_requirements=[f"{name}=={installed(name)}" for name in ("mlflow", "lightgbm", "numpy", "pandas")],
        )


def _signature(one: Predictor) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(
        inputs=Schema([ColSpec("double", name, required=False) for name in one.feature_names]),
        outputs=Schema([ColSpec("double", f"risk_{days}d") for days in one.spec.horizon_days]),
    )


def _params(trained: Trained) -> dict[str, Any]:
    spec = as_mapping(trained.predictor.spec)
    nested = {f"lightgbm.{key}": value for key, value in spec.pop("lightgbm").items()}
    flat = {key: value for key, value in spec.items() if not isinstance(value, dict)}
    windows = trained.windows
    return {
        **flat,
        **nested,
        "until": trained.until.isoformat(),
        "features": len(trained.predictor.feature_names),
        "rows": trained.rows,
        "positives": trained.positives,
        "rank_horizon_days": windows.rank_horizon_days,
        "fit_from": windows.fit_days[0].isoformat(),
        "fit_to": windows.fit_days[-1].isoformat(),
        "calibration_from": windows.calibration_days[0].isoformat(),
        "calibration_to": windows.calibration_days[-1].isoformat(),
        "tune_trials": len(trained.tuned.trials) if trained.tuned else 0,
    }


def _trials(tuned: "Tuned") -> str:
    """Every trial of a search as CSV: its number, value by fold, whether it was given up, seconds, parameters."""
    names = sorted({name for one in tuned.trials for name in one.parameters})
    lines = [",".join(["number", "value", "folds", "pruned", "seconds", *names])]
    for one in tuned.trials:
        by_fold = " ".join(f"{value:.5f}" for value in one.values)
        own = [f"{one.parameters[name]:g}" if name in one.parameters else "" for name in names]
        lines.append(",".join([str(one.number), f"{one.value:.5f}", by_fold, str(one.pruned), str(one.seconds), *own]))
    return "\n".join(lines) + "\n"


def _draw(trained: Trained, folder: Path) -> None:
    held = trained.holdout
    failed = held.outcomes.failed
    plots.precision_recall({"model": (failed, held.risk), "rule": (failed, held.rule)}, folder / "precision_recall.png")
    plots.calibration(held.figures["model"].calibration or (), folder / "calibration.png")
    plots.lead_time(held.lead_days(), folder / "lead_time.png")
    np.savetxt(folder / "lead_days.csv", held.lead_days(), fmt="%.3f", header="lead_days", comments="")


def _commit() -> dict[str, str]:
    git = shutil.which("git")
    if git is None:
        return {}
    asked = subprocess.run(
        [git, "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {"mlflow.source.git.commit": asked.stdout.strip()} if asked.returncode == 0 else {}


def _close_killed_runs(client: "MlflowClient", experiment: str) -> None:
    """Mark runs as killed that a process of this machine left behind when it died."""
    for run in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
        machine, _, process = run.data.tags.get(PROCESS, "").partition(":")
        if machine == socket.gethostname() and not Path(f"/proc/{process}").exists():
            client.set_terminated(run.info.run_id, "KILLED")


def _aliases(client: "MlflowClient", name: str) -> dict[str, str]:
    found = client.search_registered_models(f"name = '{name}'")
    return {alias: str(version) for alias, version in found[0].aliases.items()} if found else {}


def _aliased(client: "MlflowClient", name: str, alias: str) -> "ModelVersion | None":
    number = _aliases(client, name).get(alias)
    return client.get_model_version(name, number) if number else None


def _version(client: "MlflowClient", component: str, which: str) -> "ModelVersion":
    name = _name(component)
    held = {str(one.version): one for one in client.search_model_versions(f"name = '{name}'")}
    by_run = {str(one.run_id): version for version, one in held.items()}
    number = which if which.isdigit() else _aliases(client, name).get(which) or by_run.get(which)
    found = held.get(number) if number else None
    if found is None or found.tags.get(COMPLETE) != "true":
        known = ", ".join(sorted(held, key=int)) or "none"
        msg = f"no {component} model {which!r} (versions: {known}); train or promote one"
        raise ModelError(msg)
    return found
