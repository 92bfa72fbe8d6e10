"""Compare: two registered models on the same later rows; nothing is written."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from pipelines.settings import Settings
from pipelines.snapshot import snapshot

DAYS: Final = 92
"""Asked about from the first day on, where no last day is given."""


def compare(
    settings: Settings, component: str, one: str, other: str, from_: date | None = None, to: date | None = None
) -> Mapping[str, Any]:
    """The comparison's figures, JSON-ready.

    Args:
        settings: where the facts and the registry are.
        component: whose models.
        one: alias, version or run id of the first.
        other: of the second.
        from_: first day asked about; by default the one after all labels that either has seen.
        to: last day asked about; by default three months later.

    Raises:
        ModelError: there is no such model, or one of them has seen these labels.
        UsageError: it is the same version twice.
    """
    from models import registry
    from models.compare import compare as side_by_side

    first, second = (registry.load(settings.model_store, component, which) for which in (one, other))
    start = from_ or max(date.fromisoformat(model.until) for model in (first, second)) + timedelta(days=1)
    with snapshot(settings) as con:
        return side_by_side(con, first, second, start, to or start + timedelta(days=DAYS)).as_mapping()
