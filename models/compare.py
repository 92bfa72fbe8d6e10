"""Two models side by side on the same later rows: what differs between their figures, and in how they were made."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from data.errors import ModelError, UsageError
from models.evaluate import evaluate
from models.measure import Figures, Measured, Settings, paired_differences, plain
from models.predictor import Predictor
from models.spec import as_mapping

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Comparison:
    """The figures of two models over the same rows, the first against the second."""

    component: str
    days: tuple[date, ...]
    rows: int
    failing_entities: int
    versions: tuple[str, str]
    models: Mapping[str, Figures]
    """By version."""
    differences: Mapping[str, Measured]
    """Of each figure, the first minus the second under the same bootstrap replicates."""
    ratios: Mapping[str, float | None]
    """Of each figure, the first over the second; null where that is zero or does not exist."""
    parameters: Mapping[str, tuple[Any, Any]]
    """Those in which the two specs differ."""

    def as_mapping(self) -> dict[str, Any]:
        """Return everything as JSON-ready values."""
        return {**plain(vars(self)), "days": [day.isoformat() for day in self.days]}


def compare(
    con: "duckdb.DuckDBPyConnection",
    one: Predictor,
    other: Predictor,
    from_: date,
    to: date,
    settings: Settings | None = None,
) -> Comparison:
    """Return the two models' figures and what differs, on days that neither may have seen.

    Args:
        con: a connection on a warehouse, read only is enough.
        one: the first model.
        other: the second, of the same component.
        from_: first day asked about (at its end).
        to: last day asked about.
        settings: budgets, operating point, replicates.

    Raises:
        UsageError: the models are of two components, or are the same version.
        ModelError: one of them may have seen these labels, or no day has been seen for a whole horizon.
    """
    if one.component != other.component:
        msg = f"cannot compare a model of {one.component} with one of {other.component}"
        raise UsageError(msg)
    if one.version == other.version:
        msg = f"version {one.version} of {one.component} was given twice; give two versions"
        raise UsageError(msg)
    chosen = settings or Settings()
    report = evaluate(con, one.component, {one.version: one, other.version: other}, from_, to, chosen)
    if report.left_out:
        msg = f"cannot compare from {from_}: {'; '.join(report.left_out.values())}"
        raise ModelError(msg)
    names = (one.version, other.version)
    figures = {name: report.models[name] for name in names}
    first, second = (_values(figures[name]) for name in names)
    return Comparison(
        component=one.component,
        days=report.days,
        rows=report.rows,
        failing_entities=report.failing_entities,
        versions=names,
        models=figures,
        differences=paired_differences(report.outcomes, report.scores[names[0]], report.scores[names[1]], chosen),
        ratios={name: _ratio(value, second[name]) for name, value in first.items()},
        parameters=_differing(as_mapping(one.spec), as_mapping(other.spec)),
    )


def _values(figures: Figures) -> dict[str, float | None]:
    found = {"average_precision": figures.average_precision.value, "roc_auc": figures.roc_auc.value}
    found |= {f"precision_at_{budget}": one.value for budget, one in figures.precision_at.items()}
    return found | {f"recall_at_{budget}": one.value for budget, one in figures.recall_at.items()}


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _differing(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {}
    for name in sorted({*one, *other}):
        first, second = one.get(name), other.get(name)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            found |= _differing(first, second, f"{prefix}{name}.")
        elif first != second:
            found[f"{prefix}{name}"] = (first, second)
    return found
