"""Walk forward over a component's history: train to each quarter's end, judge on the next, with its peers beside it.

    FORESHOCK_HOME=... python -m benchmarks.walk_forward disk 2015-03-31 2015-06-30 2015-09-30 2015-12-31

For each date given a model is fitted on labels known by then, and judged on the 1sts and 15ths of the three months
after it whose horizons have been seen. Nothing is registered. Prints, in one run, each model's average precision with
its interval, the ratios of ours to each peer's, recall and precision at each alert budget, and what was observed over
what was predicted in each tenth of predicted risk (Markdown).
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from data.snapshots import read
from models import spec, train
from models.baselines import PEERS
from models.evaluate import Report, evaluate
from models.measure import Measured, Tenth
from pipelines.settings import load

OURS = "ours"
MONTHS_AHEAD = timedelta(days=92)


def main(component: str, cuts: list[date]) -> None:
    """Print one table a cut."""
    for cut in cuts:
        with read(load().home) as con:
            fitted = train.fit(con, spec.load(component), cut)
            report = evaluate(con, component, {OURS: fitted.predictor}, cut + timedelta(days=1), cut + MONTHS_AHEAD)
        print("\n".join(table(report, cut)), flush=True)


def table(report: Report, cut: date) -> list[str]:
    """The report's figures as Markdown: ranking, then calibration."""
    judged = f"{report.days[0]} to {report.days[-1]}: {report.rows:,} rows, {report.failing_entities} entities failing"
    return [
        f"\n## Trained until {cut}, judged on {judged}",
        *_ranking(report, "recall", {name: report.models[name].recall_at for name in (OURS, *PEERS)}),
        *_ranking(report, "precision", {name: report.models[name].precision_at for name in (OURS, *PEERS)}),
        *_calibration(report.models[OURS].calibration or ()),
    ]


def _ranking(report: Report, figure: str, at: Mapping[str, Mapping[str, Measured]]) -> list[str]:
    """One figure of each model at each budget, beside its average precision."""
    budgets = list(at[OURS])
    lines = [
        "",
        "| | average precision | ours over it |" + "".join(f" {figure} {float(b):.2%} |" for b in budgets),
        "|---|---|---|" + "---|" * len(budgets),
    ]
    ours = report.models[OURS].average_precision.value or 0.0
    for name in (OURS, *PEERS):
        average = report.models[name].average_precision
        ratio = ours / average.value if average.value else float("nan")
        cells = "".join(f" {said(at[name][b])} |" for b in budgets)
        lines.append(f"| {name} | {said(average)} | {ratio:.2f} |{cells}")
    return lines


def _calibration(tenths: Sequence[Tenth]) -> list[str]:
    """How far what was observed lies from what was predicted, by tenth of predicted risk."""
    inside = sum((t.observed.low or 0) <= t.predicted <= (t.observed.high or 0) for t in tenths)
    ratios = [
        said(Measured(*((end or 0.0) / t.predicted for end in (t.observed.value, t.observed.low, t.observed.high))))
        for t in tenths
    ]
    return [
        "",
        f"Predicted within the interval of what was observed in {inside} of {len(tenths)} tenths.",
        "Observed over predicted, lowest tenth first: " + ", ".join(ratios) + ".",
    ]


def said(one: Measured) -> str:
    """A figure with its 95 % interval."""
    return "-" if one.value is None else f"{one.value:.3f} ({one.low:.3f}-{one.high:.3f})"


if __name__ == "__main__":
    main(sys.argv[1], [date.fromisoformat(day) for day in sys.argv[2:]])
