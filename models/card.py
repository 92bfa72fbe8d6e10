"""The model card: what a version is, what it was made from, and how far it can be trusted (Markdown)."""

from models.checked import LEAST_FAILING
from models.gates import Gate
from models.measure import Measured
from models.train import Trained


def card(trained: Trained, gates: tuple[Gate, ...], *, simulated: bool) -> str:
    """Return the card of a fresh model; `simulated` says that any of its data is."""
    use = (
        "Ranks entities for maintenance decisions and prices them. A row that it cannot judge is *unknown*, never a "
        "low risk. Not for claims about a maker's quality: makes differ in age, work and what they report."
    )
    figures = (
        "Unit: the entity-day; 95 % intervals by a bootstrap clustered by entity. Ranking is measured on the whole "
        f"window, which the booster has not seen. {_checked(trained)} The maps served are fitted again to the whole "
        "window, for its newest days and twice the failures: what was measured is the way of fitting."
    )
    bought = (
        "Of the entities called at a 30-day risk from this one to where the next band begins, the share that failed "
        "within 30 days of the first such call (exact binomial 95 % interval), on the rows that calibration is "
        "measured on. Bands of few calls are merged. The last column foretells the next 30 days: of so many calls, how "
        "many come true in 95 of 100 cases, if they come true as often (beta-binomial, Jeffreys' prior)."
    )
    parts = (
        "Hardware models and age bands in which enough entities failed; intervals are wider, so that they hold for all "
        "parts of a kind together. The rival is the champion, or the rule where there is none."
    )
    passed = [f"- {'passed' if one.passed else '**failed**'} {one.name}: {one.sentence}" for one in gates]
    sections = [
        f"# Risk of {trained.predictor.component} failure within 1, 3, 7, 14 and 30 days",
        "The data is **simulated**: no figure here says anything about real hardware." if simulated else "",
        f"## Use\n{use}",
        f"## Data\n{_data(trained)}",
        f"## Figures on the later window\n{figures}\n\n{_figures(trained)}",
        f"## Parts of the fleet\n{parts}\n\n{_slices(trained)}",
        f"## Earned precision\n{bought}\n\n{_earned(trained)}",
        "\n".join(["## Gates", *passed]),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _data(trained: Trained) -> str:
    windows, spec = trained.windows, trained.predictor.spec
    fit, later, served = windows.fit_days, windows.calibration_days, windows.refit_days
    lines = [
        f"labels known by the end of {trained.until}",
        f"the booster served learned from {served[0]} to {served[-1]}: {trained.rows:,} rows",
        f"of these {trained.positives:,} failed within {windows.rank_horizon_days} days",
        f"healthy rows are sampled at {spec.negative_share:g} and weighted up",
        f"the booster measured learned from {fit[0]} to {fit[-1]}",
        f"ranking measured and maps fitted on {later[0]} to {later[-1]}, unsampled, after a gap of the label's horizon",
        f"level of all risks: that of the newest weeks, asked until {(*later, *windows.newest_days)[-1]}",
    ]
    if trained.tuned:
        found = trained.tuned.as_mapping()
        lines.append(
            f"its parameters are the best of {found['trials']} tried on days before the later window: average "
            f"precision {found['value']:.4f} there, {found['untuned']:.4f} before the search"
        )
    lines += _mitigated(trained)
    lines += [f"{name} `{value}`" for name, value in trained.hashes.items()]
    return "\n".join(f"- {line}" for line in lines)


def _mitigated(trained: Trained) -> list[str]:
    """How rows counted whose host was emptied, where there are any."""
    named = ("rows", "dropped", "failing_weight", "weight")
    rows, dropped, failing, weight = (trained.metrics.get(f"mitigated_{name}", 0.0) for name in named)
    if not rows + dropped:
        return []
    line = (
        f"in {rows + dropped:,.0f} rows the host was emptied before the part's fate was seen: {rows:,.0f} of these "
        f"count as failing with the chance told before that, and as healthy with the rest (together {failing:,.1f} "
        f"failures in {weight:,.1f}); nothing had been told of {dropped:,.0f}, which are left out. The maps served "
        "count such rows in the same way; figures, earned precision and gates leave all of them out"
    )
    return [line]


def _checked(trained: Trained) -> str:
    checked, later = trained.holdout.checked, trained.windows.calibration_days
    if checked.ahead:
        return (
            f"Calibration (`observed_over_predicted`, the plot) is measured from {later[checked.first_day]} on, by "
            "maps fitted to the days before and to other entities."
        )
    return (
        f"A half of the window holds fewer than {LEAST_FAILING} failing entities, so calibration "
        "(`observed_over_predicted`, the plot) is **not measured ahead in time**, but on the whole window, by maps "
        "fitted to the same days and other entities."
    )


def _figures(trained: Trained) -> str:
    rows = ["| figure | value | low | high |", "| --- | --- | --- | --- |"]
    for name, value in trained.metrics.items():
        if name.endswith(("_low", "_high")) or name.startswith("slice/"):
            continue
        low, high = trained.metrics.get(f"{name}_low"), trained.metrics.get(f"{name}_high")
        bounds = f"{low:.4g} | {high:.4g}" if low is not None and high is not None else " | "
        rows.append(f"| {name} | {value:.4g} | {bounds} |")
    return "\n".join(rows)


def _slices(trained: Trained) -> str:
    rows = [
        "| part | entities failing | average precision | minus the rival's | observed over predicted |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in trained.holdout.slices:
        figures = (one.average_precision, one.over_rival, one.observed_over_predicted)
        rows.append(
            f"| {one.kind} {one.name} | {one.failing_entities} | {' | '.join(_said(each) for each in figures)} |"
        )
    return "\n".join(rows) if trained.holdout.slices else "In no part did enough fail."


def _said(one: Measured) -> str:
    return "-" if one.value is None else f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g})"


def _earned(trained: Trained) -> str:
    rows = [
        "| risk from | precision | low | high | entities called | next month |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in trained.predictor.earned:
        interval = f"{one.precision_low:.3f} | {one.precision_high:.3f}"
        ahead = f"{one.next_low} to {one.next_high} of {one.next_calls}"
        rows.append(f"| {one.risk_from:g} | {one.precision:.3f} | {interval} | {one.alerts} | {ahead} |")
    return "\n".join(rows)
