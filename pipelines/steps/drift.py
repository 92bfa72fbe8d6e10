"""Drift: whether a model still knows the fleet; nothing is written."""

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from pipelines.clock import last_day
from pipelines.settings import Settings
from pipelines.snapshot import snapshot

if TYPE_CHECKING:
    import duckdb

    from models.drift import Drift
    from models.predictor import Predictor


def drift(settings: Settings, component: str, on: date | None = None, which: str = "champion") -> Mapping[str, Any]:
    """What has changed since the model learned, JSON-ready.

    Args:
        settings: where the facts and the registry are.
        component: whose model.
        on: the day to look at; by default the last one held.
        which: alias, version or run id.

    Raises:
        ModelError: there is no such model, or nobody was live.
        UsageError: the model knew that day.
    """
    from models import registry

    predictor = registry.load(settings.model_store, component, which)
    with snapshot(settings) as con:
        day = on or last_day(con) or date.today()  # noqa: DTZ011 - an empty warehouse: the error names the day
        return measured(settings, con, predictor, day).as_mapping()


def measured(settings: Settings, con: "duckdb.DuckDBPyConnection", predictor: "Predictor", day: date) -> "Drift":
    """What has changed, held against today's limits and what the model showed when it was made."""
    from models import registry, spec
    from models.drift import drift as measure
    from models.measure import Settings as Asked

    shown = registry.metrics(settings.model_store, predictor.component, predictor.version)
    precision = shown.get(f"precision_at_{Asked().operating_budget:g}")
    return measure(con, predictor, day, spec.load(predictor.component).drift, precision)
