"""Commands of the night: demo, run, incidents, decide, dispatch, settle."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipelines import summary
from pipelines.commands.common import COMMON, Common, Day
from pipelines.output import Output, as_object

_Flag = Annotated[bool, Parameter(negative="")]


def demo(
    *,
    hosts: int = 520,
    vms: int = 5_300,
    days: int = 120,
    seed: int = 7,
    home: Path | None = None,
    common: Common = COMMON,
) -> Output:
    """The whole job on a simulated fleet, from empty: simulate, ingest, train, score, decide, dispatch, settle.

    Args:
        hosts: How many hosts.
        vms: How many VMs, aimed at.
        days: Days of telemetry.
        seed: The same seed gives the same fleet and the same failures.
        home: Folder for everything that the demo makes, in place of what an earlier demo left there; by default `demo`
            in the home.
        common: See every command.
    """
    from pipelines.ephemeral import begin_start, prepare, started

    began = time.monotonic()
    folder = home or common.settings().home / "demo"
    prepare(folder)
    from models import registry
    from pipelines import demonstration

    asked = demonstration.Demo(home=folder, hosts=hosts, vms=vms, days=days, seed=seed)
    demonstration.empty(folder)
    server_is_up = begin_start()
    made = demonstration.build(asked)
    registry.open_store(folder, demonstration.COMPONENT)  # while the server starts
    from pipelines.flows import demo as flow

    server_is_up()
    with started():
        report = flow(asked, made, began)
    return Output(asdict(report), text=demonstration.summary(report))


def run(*, on: Day | None = None, common: Common = COMMON) -> Output:
    """One cycle: ingest, settle, score, decide, dispatch, settle. Safe to repeat.

    Args:
        on: Day to ask about, at its end; by default the clock's moment.
        common: See every command.
    """
    from pipelines.ephemeral import prepare, started

    prepare(common.settings().home)
    from pipelines.flows import run as flow

    with started():
        report = flow(on=on, config=common.config)
    return Output(report, text=summary.cycle(report))


def incidents(
    *,
    on: Day | None = None,
    component: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    common: Common = COMMON,
) -> Output:
    """What failing hosts have in common: incidents with their ranked factors and evidence.

    Args:
        on: Day to ask about, at its end; by default the clock's moment.
        component: Look at this kind of part only; may be repeated. By default at all.
        common: See every command.
    """
    from data.contracts import COMPONENTS
    from pipelines.cycle import now_of
    from pipelines.steps.incidents import incidents as step

    settings = common.settings()
    report = as_object(step(settings, now_of(settings, on), component or COMPONENTS))
    return Output(report, text=summary.incidents(report))


def decide(*, on: Day | None = None, dry_run: _Flag = False, common: Common = COMMON) -> Output:
    """Proposals from risks, fleet and policy.

    Args:
        on: Day to ask about, at its end; it must have been scored.
        dry_run: Say what would be proposed and write nothing at all.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.steps.decide import decide_on as step
    from pipelines.watched import run as watched

    settings = common.settings()
    now = now_of(settings, on)
    report = as_object(step(settings, now, dry_run=True) if dry_run else watched("decide", step, settings, now))
    return Output(report, text=summary.decided(report))


def dispatch(*, on: Day | None = None, dry_run: _Flag = False, common: Common = COMMON) -> Output:
    """Drain the outbox to the executor.

    Args:
        on: Act as of the end of that day; by default at the clock's moment.
        dry_run: Say what would be sent, write nothing and send nothing.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.steps.dispatch import dispatch as step
    from pipelines.steps.notify import and_tell
    from pipelines.watched import call as watched

    settings = common.settings()
    now = now_of(settings, on)
    report = step(settings, now, dry_run=True) if dry_run else and_tell(step, settings, now, watched)
    return Output(asdict(report))


def settle(*, on: Day | None = None, common: Common = COMMON) -> Output:
    """Read outcomes and failures back; close episodes.

    Args:
        on: What came back by the end of that day; by default by the clock's moment.
        common: See every command.
    """
    from pipelines.cycle import now_of
    from pipelines.steps.notify import and_tell
    from pipelines.steps.settle import settle as step
    from pipelines.watched import call as watched

    settings = common.settings()
    report = and_tell(step, settings, now_of(settings, on), watched)
    return Output(asdict(report), exit_code=1 if report.bad else 0)
