"""Commands about judgement: train, score, evaluate, compare, drift, watch, promote, rollback."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipelines import summary
from pipelines.commands.common import COMMON, Common, Day
from pipelines.output import Output


def train(component: str, *, until: Day | None = None, tune: int = 0, common: Common = COMMON) -> Output:
    """Fit a model on what was known by a date; it becomes the challenger.

    Args:
        component: What to train for, such as `disk`.
        until: The last day whose labels may be known; by default the last day that has ended, or has a reading.
        tune: Try so many sets of parameters first, on days before those it is judged on; 0 takes the spec's own.
        common: See every command.
    """
    from pipelines.steps.train import train as step
    from pipelines.watched import run

    return Output(asdict(run("train", step, common.settings(), component, until, tune)))


def score(
    component: str,
    *,
    on: Annotated[tuple[Day, ...], Parameter(negative="")] = (),
    out: Path | None = None,
    model: str = "champion",
    common: Common = COMMON,
) -> Output:
    """Risks of all live entities as of the end of a date.

    Args:
        component: Whose entities.
        on: Day to ask about, at its end; repeat it for several days.
        out: Parquet file to write the risks to as well.
        model: `champion`, `challenger` or a version.
        common: See every command.
    """
    from pipelines.steps.score import score as step
    from pipelines.watched import run

    return Output(asdict(run("score", step, common.settings(), component, on, out=out, which=model)))


def evaluate(
    component: str,
    *,
    from_: Annotated[Day, Parameter(name="--from")],
    to: Day,
    picture: Path | None = None,
    common: Common = COMMON,
) -> Output:
    """Champion, challenger and baselines side by side, forward in time.

    Args:
        component: Whose models.
        from_: First day asked about.
        to: Last day asked about.
        picture: PNG file for the precision-recall picture.
        common: See every command.
    """
    from pipelines.steps.evaluate import evaluate as step

    report = step(common.settings(), component, from_, to, picture=picture)
    return Output(report, text=summary.evaluated(report))


def compare(
    one: str,
    other: str,
    *,
    component: str = "disk",
    from_: Annotated[Day | None, Parameter(name="--from")] = None,
    to: Day | None = None,
    common: Common = COMMON,
) -> Output:
    """Two models side by side on the same later days, with what differs and how surely.

    Args:
        one: The first: `champion`, `challenger`, a version or a run id.
        other: The second.
        component: Whose models.
        from_: First day asked about; by default the one after all labels that either has seen.
        to: Last day asked about; by default three months later.
        common: See every command.
    """
    from pipelines.steps.compare import compare as step

    report = step(common.settings(), component, one, other, from_, to)
    return Output(report, text=summary.compared(report))


def drift(component: str, *, on: Day | None = None, model: str = "champion", common: Common = COMMON) -> Output:
    """Whether a model still knows the fleet: what has shifted since it learned, and what came true.

    Args:
        component: Whose model.
        on: Day to look at, at its end; by default the last one held.
        model: `champion`, `challenger`, a version or a run id.
        common: See every command.
    """
    from pipelines.steps.drift import drift as step

    report = step(common.settings(), component, on, model)
    return Output(report, text=summary.drifted(report))


def watch(*, on: Day | None = None, common: Common = COMMON) -> Output:
    """Measure the drift of every champion, keep it, and train a challenger where an alarm asks for one.

    Args:
        on: Day to look at, at its end; by default the last one that has ended.
        common: See every command.
    """
    from pipelines.steps.watch import watch as step
    from pipelines.watched import run

    report = run("watch", step, common.settings(), on)
    return Output(asdict(report), text=summary.watched(asdict(report)))


def promote(component: str, version: str, *, common: Common = COMMON) -> Output:
    """Make a version the champion if the gates pass.

    Args:
        component: Whose model.
        version: The version's number, or `challenger`.
        common: See every command.
    """
    from data.errors import Refused
    from models import registry
    from pipelines.steps import promote as step

    settings = common.settings()
    try:
        done = step.promote(settings, component, version)
    except Refused as refused:
        gates = step.gates(settings, component, version)
        held = registry.versions(settings.model_store, component)
        standing = next((one.version for one in held if "champion" in one.aliases), None)
        data = {"component": component, "champion": standing, "gates": gates, "error": str(refused), "exit_code": 3}
        return Output(data, text=f"Refused: {refused}", exit_code=Refused.exit_code)
    return Output(asdict(done))


def rollback(component: str, *, common: Common = COMMON) -> Output:
    """Give the champion's place back to the one before.

    Args:
        component: Whose model.
        common: See every command.
    """
    from models import registry

    return Output(asdict(registry.rollback(common.settings().model_store, component)))
