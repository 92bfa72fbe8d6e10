"""Evaluate: champion, challenger and baselines over the same later rows; nothing is written but the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow.parquet as pq

from data.errors import ModelError
from pipelines.settings import Settings
from pipelines.snapshot import snapshot
from pipelines.steps.simulate import folder

if TYPE_CHECKING:
    import duckdb

    from models.predictor import Predictor

ALIASES: Final = ("champion", "challenger")
TRUTH: Final = "truth.parquet"
"""What really announces each failure of a simulated fleet; only the simulator and this report look at it."""


def evaluate(
    settings: Settings, component: str, from_: date, to: date, *, picture: Path | None = None
) -> Mapping[str, Any]:
    """The report's figures, JSON-ready.

    Args:
        settings: where the facts and the registry are.
        component: whose models.
        from_: first day asked about, after the labels that the models have seen.
        to: last day asked about.
        picture: where to draw precision against recall, if anywhere.

    Raises:
        ModelError: there is no model, or it has seen these labels.
    """
    from models.evaluate import draw
    from models.evaluate import evaluate as compare

    with snapshot(settings) as con:
        judged = predictors(settings, component)
        report = compare(con, component, judged, from_, to)
        named = _named(settings, con, {name: judged[name] for name in report.versions}, report.days)
    if picture is not None:
        draw(report, picture)
    return {**report.as_mapping(), "simulated": (folder(settings) / TRUTH).exists(), "precursors": named}


def _named(
    settings: Settings, con: "duckdb.DuckDBPyConnection", predictors: Mapping[str, "Predictor"], days: Sequence[date]
) -> dict[str, Any]:
    """How often each model's reasons name the planted precursor; empty where no simulated fleet knows it."""
    from models.precursors import named

    file = folder(settings) / TRUTH
    if not file.exists():
        return {}
    truth = pq.read_table(file)
    return {
        model: {precursor: asdict(share) for precursor, share in named(con, predictor, days, truth).items()}
        for model, predictor in predictors.items()
    }


def predictors(settings: Settings, component: str) -> dict[str, "Predictor"]:
    """Champion and challenger by name; once, as the champion, where they are the same version.

    Raises:
        ModelError: there is neither.
    """
    from models import registry

    found: dict[str, Predictor] = {}
    for alias in ALIASES:
        try:
            predictor = registry.load(settings.model_store, component, alias)
        except ModelError:
            continue
        if predictor.version not in {known.version for known in found.values()}:
            found[alias] = predictor
    if not found:
        msg = f"There is no {component} model to evaluate in {settings.home}. Train one: foreshock train {component}."
        raise ModelError(msg)
    return found
