"""The risk of a host, from the risks of what is in it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from math import exp, prod
from typing import Final

from data.contracts import HORIZON_DAYS
from decisions.domain import EntityRisk, HostRisk
from features.wording import evidence, shared

KNOWN: Final = "ok"
WHOLE: Final = "node"
"""The component whose failure is the host's."""
NEW: Final = "too_little_history"
"""Why the risk of an entity is unknown that has not been watched for long enough yet."""


def host_risks(risks: Iterable[EntityRisk]) -> Mapping[str, HostRisk]:
    """Risk of each host that the risks name, by host.

    The host fails when any of its entities does: 1 - prod(1 - p) over causes that are independent of each other. Parts
    that are at risk for the same piece of evidence about what they share (a cable, the air) are one cause, as likely as
    the riskiest of them. The risk of the node as a whole already counts what its parts do to it, so of the two the
    larger stands, not both: P(A or B) lies between the larger and the sum, and is the larger where one implies the
    other.
    `asof_at` is that of the oldest known risk, so a host's prediction is as stale as its stalest part.
    """
    by_host: dict[str, list[EntityRisk]] = defaultdict(list)
    for risk in risks:
        if risk.host_id:
            by_host[risk.host_id].append(risk)
    return {host_id: _combine(host_id, parts) for host_id, parts in by_host.items()}


def _combine(host_id: str, parts: list[EntityRisk]) -> HostRisk:
    known = sorted((r for r in parts if r.status == KNOWN), key=lambda r: (-r.curve[HORIZON_DAYS[-1]], r.entity_id))
    unknown = sorted((r for r in parts if r.status != KNOWN), key=lambda r: (r.component, r.entity_id))
    curve = _failing(known) if known else {}
    return HostRisk(host_id, _oldest(known or unknown), curve, tuple(known), tuple(unknown))


def _failing(known: list[EntityRisk]) -> dict[int, float]:
    """The chance that the host fails within each horizon, from its parts' and from its own as a whole."""
    causes: dict[str, list[EntityRisk]] = defaultdict(list)
    for risk in known:
        if risk.component != WHOLE:
            causes[_cause(risk)].append(risk)
    whole = [risk for risk in known if risk.component == WHOLE]
    curve = {}
    for days in HORIZON_DAYS:
        by_parts = 1.0 - prod(1.0 - max(risk.curve[days] for risk in shared) for shared in causes.values())
        curve[days] = max([by_parts, *(risk.curve[days] for risk in whole)])
    return curve


def _cause(risk: EntityRisk) -> str:
    """What puts a part at risk: the evidence it shares with others of its host, or itself."""
    piece = evidence(risk.factors[0].feature) if risk.factors else ""
    return piece if piece and shared(piece) else f"{risk.component}/{risk.entity_id}"


def _oldest(risks: Iterable[EntityRisk]) -> datetime:
    return min(risk.asof_at for risk in risks)


class Exposure:
    """How many VMs of a host its failure is expected to meet, by when they leave it.

    VMs leave by themselves at the share `departures_per_day`; the failure's time has a density that is flat between the
    risk's horizons. `until(t)` is the chance, for a VM that is there now, that the hardware fails within t days while
    it still is: the sum over the flat pieces of density x (exp(-d a) - exp(-d b)) / d.
    """

    def __init__(self, risk: HostRisk, departures_per_day: float, horizon_days: float) -> None:
        self._risk = risk
        self._leave = departures_per_day
        self.horizon_days = horizon_days
        self.failing = risk.within(horizon_days)
        known = [(0.0, 0.0), *((float(d), risk.curve[d]) for d in HORIZON_DAYS)]
        self._pieces: list[tuple[float, float, float, float]] = []
        met = 0.0
        for (d0, p0), (d1, p1) in pairwise(known):
            density = (p1 - p0) / (d1 - d0)
            self._pieces.append((d0, d1, density, met))
            met += self._met(density, d0, d1)
        self.staying = self.until(horizon_days)
        """For a VM that is never moved: the chance that the failure meets it within the horizon."""

    def until(self, days: float) -> float:
        """The chance that the failure meets a VM which is taken away after `days`; at most the horizon counts."""
        days = min(days, self.horizon_days)
        for d0, d1, density, met in self._pieces:
            if days <= d1:
                return met + self._met(density, d0, days)
        return self.staying

    def hastened(self, departures_per_day: float) -> "Exposure":
        """The exposure of VMs that leave at so much a day besides: those whose owners have been told."""
        return Exposure(self._risk, self._leave + departures_per_day, self.horizon_days)

    def arriving(self, arrivals_per_day: float) -> float:
        """VMs that come at that rate and are met by the failure: (a / d) x (chance of failing - `staying`)."""
        return arrivals_per_day / self._leave * max(0.0, self.failing - self.staying)

    def _met(self, density: float, start: float, end: float) -> float:
        return density * (exp(-self._leave * start) - exp(-self._leave * end)) / self._leave
