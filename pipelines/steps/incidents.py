"""Incidents: what failing hosts and parts have in common, as of a moment and with what was known then."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from data.contracts import COMPONENTS
from data.errors import ModelError, UsageError
from decisions.incidents.values import Incident
from decisions.policy import Policy
from decisions.policy import load as load_policy
from pipelines import ledgers
from pipelines.clock import asked
from pipelines.settings import Settings
from pipelines.snapshot import snapshot

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class IncidentsReport:
    """The incidents with their evidence, and how many parts were looked at and affected."""

    asof_at: datetime
    window_days: float
    parts: int
    affected: int
    """Parts that failed in the window or are at risk."""
    models: Mapping[str, str]
    """The version that said which parts are at risk, by component; where there is none, only failures counted."""
    incidents: tuple[Incident, ...]
    simulated: bool
    seconds: float


def incidents(settings: Settings, now: datetime, components: Sequence[str] = COMPONENTS) -> IncidentsReport:
    """The incidents as of the last midnight up to `now`; nothing is written.

    Raises:
        UsageError: no part was watched in the window, or there is no such component.
    """
    from decisions.incidents.find import find
    from pipelines.population import population

    started = time.monotonic()
    unknown = [name for name in components if name not in COMPONENTS]
    if unknown:
        msg = f"There is no component {unknown[0]}. Known: {', '.join(COMPONENTS)}."
        raise UsageError(msg)
    asof_at, policy, versions = asked(now), load_policy(settings.policy.path), _versions(settings)
    with snapshot(settings) as con:
        seen = population(con, asof_at, policy, versions, components)
    if not len(seen):
        msg = (
            f"No {' or '.join(components)} was watched in the {policy.incidents.window_days:g} days before "
            f"{asof_at:%Y-%m-%d}. Ingest telemetry and an inventory of that time, or give --on DATE."
        )
        raise UsageError(msg)
    with ledgers.copied(settings) as ledger:
        earlier = ledger.earlier_incidents(asof_at, policy.incidents.window_days)
    return IncidentsReport(
        asof_at=asof_at,
        window_days=policy.incidents.window_days,
        parts=len(set(zip(seen.component.tolist(), seen.part.tolist(), strict=True))),
        affected=int((~np.isnat(seen.event_at)).sum()),
        models=versions,
        incidents=find(seen, policy.incidents, earlier),
        simulated=seen.simulated,
        seconds=round(time.monotonic() - started, 3),
    )


def found(
    con: "duckdb.DuckDBPyConnection",
    asof_at: datetime,
    policy: Policy,
    versions: Mapping[str, str],
    earlier: Iterable[Incident],
) -> tuple[Incident, ...]:
    """The incidents that a decision as of that moment may look at."""
    from decisions.incidents.find import find
    from pipelines.population import population

    return find(population(con, asof_at, policy, versions), policy.incidents, earlier)


def _versions(settings: Settings) -> dict[str, str]:
    """The champions' versions; none where nothing is in production."""
    from pipelines.steps.score import champions

    try:
        return {component: predictor.version for component, predictor in champions(settings).items()}
    except ModelError:
        return {}
