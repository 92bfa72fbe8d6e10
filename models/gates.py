"""What a version must show on its later window before it may become champion."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from models.checked import LEAST_FAILING
from models.spec import Spec


@dataclass(frozen=True)
class Gate:
    """One gate: whether it passed, and the sentence for a person."""

    name: str
    passed: bool
    value: float | None
    sentence: str


def check(spec: Spec, metrics: Mapping[str, float]) -> tuple[Gate, ...]:
    """Return every gate of a version whose later window showed `metrics`; a figure that is missing fails its gate."""
    limits = spec.gates
    failing = metrics.get("window_failing_entities", 0.0)
    gates = [
        Gate(
            "failures_seen",
            failing >= limits.least_positives,
            failing,
            f"{failing:.0f} entities failed in the later window; at least {limits.least_positives} are needed",
        ),
        _calibrated(spec, metrics),
    ]
    if spec.rule:
        gates.append(_beats_rule(spec, metrics))
    if "average_precision_over_champion_high" in metrics:
        gates.append(_holds_against_champion(spec, metrics))
    return (*gates, _slices_hold(metrics), _slices_calibrated(spec, metrics), *_within(spec, metrics))


def _calibrated(spec: Spec, metrics: Mapping[str, float]) -> Gate:
    ratio = metrics.get("observed_over_predicted")
    low, high = spec.gates.least_observed_ratio, spec.gates.most_observed_ratio
    shown = "nothing was predicted" if ratio is None else f"observed over predicted failures is {ratio:.2f}"
    sentence = f"{shown} {_seen(metrics)}; {low:g} to {high:g} passes"
    return Gate("calibrated", ratio is not None and low <= ratio <= high, ratio, sentence)


def _seen(metrics: Mapping[str, float]) -> str:
    if metrics.get("checked_ahead"):
        return "on the later half of the window, by maps fitted to the earlier half and other entities"
    return (
        "on the whole window, by maps fitted to the same days and other entities, as a half of it holds fewer than "
        f"{LEAST_FAILING} failing entities"
    )


def _beats_rule(spec: Spec, metrics: Mapping[str, float]) -> Gate:
    model, rule = metrics.get("average_precision"), metrics.get("rule_average_precision")
    if model is None or rule is None or rule <= 0:
        return Gate("beats_rule", False, None, "average precision does not exist without a failure in the later window")
    lift, needed = model / rule, spec.gates.least_lift_over_rule
    sentence = f"average precision {model:.4f} is {lift:.2f} times the rule's {rule:.4f}; {needed:g} times is needed"
    return Gate("beats_rule", lift >= needed, lift, sentence)


def _holds_against_champion(spec: Spec, metrics: Mapping[str, float]) -> Gate:
    """Fails where average precision, or recall at a budget in use, is lower beyond the paired 95 % interval."""
    names = ["average_precision", *(f"recall_at_{budget:g}" for budget in spec.gates.budgets)]
    gaps = {name: metrics.get(f"{name}_over_champion", 0.0) for name in names}
    highest = {name: metrics.get(f"{name}_over_champion_high", 0.0) for name in names}
    worse = [name for name in names if highest[name] < 0]
    whom = "the champion's way of learning on the same days" if metrics.get("champion_relearned") else "the champion"
    shown = worse[0] if worse else "average_precision"
    sentence = (
        f"{shown.replace('_', ' ')} is {gaps[shown]:+.4f} against {whom}, at most {highest[shown]:+.4f} (95 %); "
        "below zero fails, there and at the budgets in use"
    )
    return Gate("holds_against_champion", not worse, gaps[shown], sentence)


def _slices_hold(metrics: Mapping[str, float]) -> Gate:
    found = _slices(metrics, "over_rival")
    worse = [(name, figures) for name, figures in found.items() if figures[2] < 0]
    if not worse:
        return Gate("slices_hold", True, None, f"{_none_of(found)} is ranked worse than by whom it is compared with")
    name, (gap, _, high) = min(worse, key=lambda pair: pair[1][0])
    count = f"{len(worse)} of {len(found)} parts"
    sentence = f"{name} is ranked worse: average precision {gap:+.4f}, at most {high:+.4f} ({count})"
    return Gate("slices_hold", False, gap, sentence)


def _slices_calibrated(spec: Spec, metrics: Mapping[str, float]) -> Gate:
    least, most = spec.gates.least_observed_ratio, spec.gates.most_observed_ratio
    found = _slices(metrics, "observed_over_predicted")
    wrong = {name: figures for name, figures in found.items() if figures[1] > most or figures[2] < least}
    if not wrong:
        sentence = f"{_none_of(found)} fails beyond {least:g} to {most:g} times what is predicted"
        return Gate("slices_calibrated", True, None, sentence)
    name, (ratio, low, high) = max(wrong.items(), key=lambda pair: abs(math.log(max(pair[1][0], 1e-9))))
    sentence = (
        f"{name} fails {ratio:.2f} times what is predicted ({low:.2f} to {high:.2f}); {least:g} to {most:g} passes"
    )
    return Gate("slices_calibrated", False, ratio, sentence)


def _slices(metrics: Mapping[str, float], figure: str) -> dict[str, tuple[float, float, float]]:
    """Value, low and high of a figure by part of the fleet."""
    end = f"/{figure}"
    return {
        name.removeprefix("slice/").removesuffix(end).replace("/", " "): (
            value,
            metrics.get(f"{name}_low", value),
            metrics.get(f"{name}_high", value),
        )
        for name, value in metrics.items()
        if name.startswith("slice/") and name.endswith(end)
    }


def _none_of(found: Mapping[str, object]) -> str:
    return f"none of {len(found)} models and age bands" if found else "no model or age band saw enough failures: none"


def _within(spec: Spec, metrics: Mapping[str, float]) -> tuple[Gate, ...]:
    """Gates on a figure that must not pass a limit."""
    limits = (
        (
            "features_steady",
            "shifted_gain",
            spec.gates.most_shifted_gain,
            "of its gain is in features that have shifted",
        ),
        ("small", "booster_megabytes", spec.gates.most_megabytes, "MB is the booster's text"),
        (
            "fast",
            "microseconds_a_row",
            spec.gates.most_microseconds_a_row,
            "microseconds of processor time score a row",
        ),
    )
    return tuple(
        Gate(
            name,
            (value := metrics.get(figure)) is not None and value <= most,
            value,
            f"{'unmeasured' if value is None else f'{value:.3g}'} {said}; at most {most:g} passes",
        )
        for name, figure, most, said in limits
    )
