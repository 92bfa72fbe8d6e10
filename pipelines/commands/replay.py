"""Commands that judge policies by the past: one replayed, one from what was left to chance."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pipelines import summary
from pipelines.commands.common import COMMON, Common, Day
from pipelines.output import Output
from pipelines.progress import bar


def replay(
    *,
    from_: Annotated[Day, Parameter(name="--from")],
    to: Day,
    policy: Path | None = None,
    against: Path | None = None,
    component: str = "disk",
    model: str = "champion",
    retrain: Literal["monthly", "quarterly"] | None = None,
    every: int = 1,
    cache: Path | None = None,
    common: Common = COMMON,
) -> Output:
    """A past period once more, through a policy and a model, beside what else could have been done. Writes nothing.

    Args:
        from_: First day in which things happen; the first decision is made at its first midnight.
        to: Last day.
        policy: Policy to judge; by default the one in force.
        against: Policy whose decisions are laid beside; by default the one in force, or the one that ships.
        component: Whose failures are foretold.
        model: `champion`, `challenger` or a version; it must not have seen the period.
        retrain: In place of `model`, judge each month (or quarter) by a model trained on what was known before it.
        every: Decide each so many nights; 1 is what the figures are for, 7 is a quick look.
        cache: Folder outside the home for models and risks; with it, a replay that was killed goes on where it was.
        common: See every command.
    """
    from pipelines.replay.period import Period
    from pipelines.steps import replay as step

    settings = common.settings()
    want = step.asked(settings, Period(from_, to, every), policy, against, component, retrain or model)
    with bar(quiet=common.json) as tell:
        report = step.replay(settings, want, cache, tell)
    return Output(report, text=summary.replayed(report))


def value(*, from_: Annotated[Day, Parameter(name="--from")], to: Day, common: Common = COMMON) -> Output:
    """What the choices that an experiment left to chance came to, and what other ways to choose would have.

    Policy opens an experiment by `experiment.share`. Writes nothing.

    Args:
        from_: First day whose decisions count.
        to: Last day.
        common: See every command.
    """
    from pipelines.steps import value as step

    report = step.told(step.value(common.settings(), from_, to))
    return Output(report, text=summary.valued(report))
