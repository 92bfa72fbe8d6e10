"""Walk forward over a component's history: train to each quarter's end, judge on the next, with its peers beside it.

    FORESHOCK_HOME=... python -m benchmarks.walk_forward disk 2015-03-31 2015-06-30 2015-09-30 2015-12-31

For each date given a model is fitted on labels known by then, and judged on the 1sts and 15ths of the three months
after it whose horizons have been seen. Nothing is registered. Prints, in one run, each model's average precision with
its interval, the ratios of ours to each peer's, and recall at each alert budget (Markdown).
"""

import sys
from datetime import date, timedelta

from data.warehouse import read
from models import spec, train
from models.baselines import PEERS
from models.evaluate import Report, evaluate
from models.measure import Measured
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
    """The report's figures as Markdown."""
    budgets = list(report.models[OURS].recall_at)
    judged = f"{report.days[0]} to {report.days[-1]}: {report.rows:,} rows, {report.failing_entities} entities failing"
    lines = [
        f"\n## Trained until {cut}, judged on {judged}",
        "",
        "| | average precision | ours over it |" + "".join(f" recall {float(b):.2%} |" for b in budgets),
        "|---|---|---|" + "---|" * len(budgets),
    ]
    ours = report.models[OURS].average_precision.value or 0.0
    for name in (OURS, *PEERS):
        figures = report.models[name]
        ratio = ours / figures.average_precision.value if figures.average_precision.value else float("nan")
        recalls = "".join(f" {said(figures.recall_at[b])} |" for b in budgets)
        lines.append(f"| {name} | {said(figures.average_precision)} | {ratio:.2f} |{recalls}")
    calibration = report.models[OURS].calibration or ()
    inside = sum((t.observed.low or 0) <= t.predicted <= (t.observed.high or 0) for t in calibration)
    return [*lines, "", f"Predicted within the interval of what was observed in {inside} of {len(calibration)} tenths."]


def said(one: Measured) -> str:
    """A figure with its 95 % interval."""
    return "-" if one.value is None else f"{one.value:.3f} ({one.low:.3f}-{one.high:.3f})"


if __name__ == "__main__":
    main(sys.argv[1], [date.fromisoformat(day) for day in sys.argv[2:]])
