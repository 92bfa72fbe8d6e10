"""Evaluate: champion, challenger and baselines over the same later rows; nothing is written but the picture."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from data.errors import ModelError
from data.warehouse import read
from pipelines.settings import Settings

if TYPE_CHECKING:
    from models.predictor import Predictor

ALIASES: Final = ("champion", "challenger")


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

    with read(settings.home) as con:
        report = compare(con, component, _predictors(settings, component), from_, to)
    if picture is not None:
        draw(report, picture)
    return report.as_mapping()


def _predictors(settings: Settings, component: str) -> dict[str, "Predictor"]:
    """Champion and challenger by name; once, as the champion, where they are the same version."""
    from models import registry

    found: dict[str, Predictor] = {}
    for alias in ALIASES:
        try:
            predictor = registry.load(settings.home, component, alias)
        except ModelError:
            continue
        if predictor.version not in {known.version for known in found.values()}:
            found[alias] = predictor
    if not found:
        msg = f"There is no {component} model to evaluate in {settings.home}. Train one: foreshock train {component}."
        raise ModelError(msg)
    return found
