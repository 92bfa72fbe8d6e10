"""Score: the risks of all live entities as of the end of a day.

The risks of a day are replaced as a whole, in one transaction, so a repeat after a kill ends the same.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.catalog import has_readings
from data.errors import ModelError, UsageError
from pipelines.clock import asked, moment
from pipelines.engine import facts
from pipelines.settings import Settings
from pipelines.situation import silence
from pipelines.snapshot import snapshot
from pipelines.steps.ingest import open_warehouse
from pipelines.steps.train import champion

if TYPE_CHECKING:
    import duckdb

    from models.predictor import Predictor

logger = logging.getLogger(__name__)

FILE_COLUMNS: Final = (
    "asof_at", "entity_id", "host_id", "model_version",
    "risk_1d", "risk_3d", "risk_7d", "risk_14d", "risk_30d", "status", "factors",
)  # fmt: skip

REASONS: Final = 1_000
"""Entities a day whose reasons are worked out, the riskiest first."""


@dataclass(frozen=True)
class ScoreReport:
    """How many entities were scored on all days together, and for how many of them the risk is unknown."""

    component: str
    model_version: str
    asof_at: tuple[datetime, ...]
    entities: int
    unknown: int
    seconds: float
    shadow: bool = False
    """A challenger's risks, told beside the champion's and never acted upon."""


def score(
    settings: Settings, component: str, on: Sequence[date] = (), *, out: Path | None = None, which: str = "champion"
) -> ScoreReport:
    """How many entities got a risk; the risks are in the warehouse, published, and in `out` where given.

    Args:
        settings: where the warehouse and the registry are.
        component: whose entities.
        on: the days, each asked at its end; without one the clock's moment.
        out: a Parquet file with the columns `FILE_COLUMNS`, written whole or not at all.
        which: `champion`, `challenger` or a version.

    Raises:
        UsageError: there is no such component.
        ModelError: there is no such model.
    """
    from features.build import components
    from models import registry

    if component not in components():
        msg = f"There is no component {component!r} to score. Known: {', '.join(components())}."
        raise UsageError(msg)
    predictor = registry.load(settings.model_store, component, which)
    with snapshot(settings) as con:
        moments = tuple(dict.fromkeys(asked(moment(settings, con, day)) for day in on or (None,)))
    return score_with(settings, predictor, moments, out=out)


def score_with(
    settings: Settings,
    predictor: "Predictor",
    moments: Sequence[datetime],
    *,
    out: Path | None = None,
    reasons: int = REASONS,
    shadow: bool = False,
) -> ScoreReport:
    """The same for a predictor and moments that are known; the riskiest `reasons` entities get reasons."""
    from models.score import asked_day

    started = time.monotonic()
    with snapshot(settings) as con, facts(settings.engine, con, predictor.component) as source:
        tables = [source.score(predictor, asked_day(asof_at), reasons) for asof_at in moments]
        for asof_at, told in zip(moments, tables, strict=True):
            if not told.num_rows:
                logger.warning("%s", _nobody(con, predictor.component, asof_at))
    risks = pa.concat_tables(tables)
    with open_warehouse(settings) as warehouse:
        warehouse.put_risks(risks)
        warehouse.publish()
    if out is not None:
        _write(risks, out)
    unknown = risks.filter(pc.equal(risks["status"], pa.scalar("unknown"))).num_rows
    return ScoreReport(
        component=predictor.component,
        model_version=predictor.version,
        asof_at=tuple(moments),
        entities=risks.num_rows,
        unknown=unknown,
        seconds=round(time.monotonic() - started, 3),
        shadow=shadow,
    )


def _nobody(con: "duckdb.DuckDBPyConnection", component: str, asof_at: datetime) -> str:
    """Why nothing was scored."""
    why = silence(con, asof_at) if has_readings(component) else ""
    return why or f"No {component} is live as of {asof_at:%Y-%m-%d %H:%M} UTC: nothing was scored."


def challengers(settings: Settings, believed: Mapping[str, "Predictor"]) -> tuple["Predictor", ...]:
    """The challengers newer than the models believed, one a component at most; none if shadow scoring is off."""
    from models import registry

    if not settings.models.shadow:
        return ()
    found = []
    for component, trusted in believed.items():
        try:
            one = registry.load(settings.model_store, component, registry.CHALLENGER)
        except ModelError as error:
            logger.warning("no challenger of %s is scored in the shadow: %s", component, error)
            continue
        if one.version.isdigit() and trusted.version.isdigit() and int(one.version) > int(trusted.version):
            found.append(one)
    return tuple(found)


def champions(settings: Settings) -> dict[str, "Predictor"]:
    """The champion of every component that has one.

    Raises:
        ModelError: no component has one.
    """
    from features.build import components

    found = {name: predictor for name in components() if (predictor := champion(settings, name)) is not None}
    if not found:
        msg = f"No model is in production in {settings.home}. Train one (foreshock train disk) or promote one."
        raise ModelError(msg)
    return found


def _write(risks: pa.Table, out: Path) -> None:
    draft = out.with_name(f"{out.name}.part")
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(risks.select(list(FILE_COLUMNS)), draft)
    draft.replace(out)
