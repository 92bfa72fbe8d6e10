"""What a version must show on its later window before it may become champion."""

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
        gates.append(_holds_against_champion(metrics))
    return tuple(gates)


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


def _holds_against_champion(metrics: Mapping[str, float]) -> Gate:
    gap, high = metrics["average_precision_over_champion"], metrics["average_precision_over_champion_high"]
    sentence = f"average precision minus the champion's is {gap:+.4f}, at most {high:+.4f} (95 %); below zero fails"
    return Gate("holds_against_champion", high >= 0, gap, sentence)
