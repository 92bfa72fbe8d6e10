"""Pictures of a model (PNG): precision and recall, calibration, lead time. Drawn without a display."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.examples import Bools, Floats
from models.measure import Tenth

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _canvas() -> "tuple[Figure, Axes]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def precision_recall(models: Mapping[str, tuple[Bools, Floats]], path: Path) -> None:
    """Write the precision-recall curves of models, each given as (failed, score), to `path`."""
    figure, axes = _canvas()
    for name, (failed, score) in models.items():
        recall, precision = curve(failed, score)
        axes.plot(recall, precision, label=name, marker="o" if recall.size <= 8 else "", markersize=4)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, None), title="Precision and recall")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def curve(failed: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Return (recall, precision) at each distinct score, highest first; at most 2,000 points."""
    filled = np.where(np.isnan(score), -np.inf, score)
    order = np.argsort(-filled, kind="stable")
    last = np.flatnonzero(np.r_[filled[order][1:] != filled[order][:-1], True])
    hits = np.cumsum(failed[order])[last]
    if last.size > 2000:
        picked = np.unique(np.geomspace(1, last.size, 2000).astype(np.int64) - 1)
        last, hits = last[picked], hits[picked]
    return hits / max(int(failed.sum()), 1), hits / (last + 1)


def calibration(tenths: tuple[Tenth, ...], path: Path) -> None:
    """Write predicted against observed risk, by tenth of predicted risk with 95 % intervals, to `path`."""
    figure, axes = _canvas()
    shown = [one for one in tenths if one.observed.value is not None and one.predicted > 0]
    floor = min((one.predicted for one in shown), default=1e-5) / 2
    for one in shown:
        seen = one.observed
        low, value, high = (max(part or 0.0, floor) for part in (seen.low, seen.value, seen.high))
        axes.plot([one.predicted, one.predicted], [low, high], color="tab:blue", alpha=0.5)
        axes.plot(one.predicted, value, "o", color="tab:blue")
    edge = max((one.predicted for one in shown), default=1.0)
    axes.plot([floor, edge], [floor, edge], "--", color="grey", label="perfect")
    axes.set(xlabel="predicted", ylabel="observed", xscale="log", yscale="log", title="Risk within 30 days, by tenth")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def lead_time(days: Floats, path: Path) -> None:
    """Write the distribution of days between first alert and failure to `path`."""
    figure, axes = _canvas()
    axes.hist(days, bins=list(range(max(31, int(days.max(initial=0)) + 2))), color="tab:blue")
    axes.set(xlabel="days from first alert to failure", ylabel="entities", title="Lead time of alerted failures")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
