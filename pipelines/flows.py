"""Prefect flows: the steps as tasks, so that runs are scheduled, retried, kept to one writer, and reported.

Only what another try can mend is retried (a busy warehouse; an executor, a ledger or a cluster out of reach), and
nothing with effects is ever taken from a cache.
"""

import logging
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from prefect import Flow, Task, flow
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from data.errors import EngineUnreachable, ExecutorError, LedgerUnreachable, WarehouseBusy
from pipelines import cycle
from pipelines.demonstration import Demo, DemoReport
from pipelines.demonstration import run as demonstrate
from pipelines.output import as_object, markdown, plain
from pipelines.settings import load
from pipelines.steps.dispatch import dispatch as dispatch_step
from pipelines.steps.notify import and_tell
from pipelines.steps.notify import notify as notify_step
from pipelines.steps.settle import settle as settle_step
from pipelines.steps.simulate import SimulateReport
from pipelines.steps.train import train as train_step
from pipelines.steps.watch import watch as watch_step
from pipelines.turn import writing

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

TURNLESS: Final[frozenset[Callable[..., Any]]] = frozenset({train_step, dispatch_step, notify_step, watch_step})
"""Steps that only read the snapshot, and the watch, which takes the turn for what it keeps and trains without it.

Neither an approved order nor a night must wait until a training ends.
"""
RETRY_SECONDS: Final = [2.0, 10.0, 60.0]
TRANSIENT: Final = (WarehouseBusy, ExecutorError, LedgerUnreachable, EngineUnreachable, ConnectionError, TimeoutError)


def as_task(step: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """What the step returns, run as a task of the flow at hand; its report becomes an artifact."""
    name = step.__name__
    task: Task[P, R] = Task(
        fn=_limited(step),
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(RETRY_SECONDS),
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=_tried_again,
    )
    report = task(*args, **kwargs)
    create_markdown_artifact(key=re.sub(r"[^a-z0-9]+", "-", name), markdown=markdown(plain(report)), description=name)
    return report


def single(name: str, step: Callable[P, R]) -> Flow[P, R]:
    """A flow of that one step, for a command to call."""

    def whole(*args: P.args, **kwargs: P.kwargs) -> R:
        return as_task(step, *args, **kwargs)

    return Flow(whole, name=name, validate_parameters=False, persist_result=False)


@flow(name="ingest", persist_result=False)
def ingest(on: date | None = None, config: Path | None = None) -> dict[str, Any]:
    """Load the configured sources, and what a simulated world has told."""
    settings = load(config)
    return as_object(as_task(cycle.ingest, settings, cycle.now_of(settings, on)))


@flow(name="train", persist_result=False)
def train(
    component: str = "disk", until: date | None = None, tune: int = 0, config: Path | None = None
) -> dict[str, Any]:
    """Train a challenger, its parameters searched for in `tune` trials if any."""
    return as_object(as_task(train_step, load(config), component, until, tune))


@flow(name="watch", persist_result=False)
def watch(on: date | None = None, config: Path | None = None) -> dict[str, Any]:
    """Measure the drift of every champion; an alarm trains a challenger."""
    return as_object(as_task(watch_step, load(config), on))


@flow(name="decide", persist_result=False)
def decide(on: date | None = None, config: Path | None = None) -> dict[str, Any]:
    """Score and decide, without handing anything over."""
    settings = load(config)
    return as_object(as_task(cycle.score_and_decide, settings, cycle.now_of(settings, on)))


@flow(name="dispatch", persist_result=False)
def dispatch(on: date | None = None, config: Path | None = None) -> dict[str, Any]:
    """Drain the outbox."""
    settings = load(config)
    return as_object(and_tell(dispatch_step, settings, cycle.now_of(settings, on), as_task))


@flow(name="settle", persist_result=False)
def settle(on: date | None = None, config: Path | None = None) -> dict[str, Any]:
    """Read outcomes and failures back."""
    settings = load(config)
    return as_object(and_tell(settle_step, settings, cycle.now_of(settings, on), as_task))


@flow(name="run", persist_result=False)
def run(on: date | None = None, config: Path | None = None) -> dict[str, Any]:
    """One cycle: ingest, settle, score, decide, dispatch, settle."""
    return as_object(cycle.run(load(config), on, call=as_task))


@flow(name="demo", persist_result=False, validate_parameters=False)
def demo(asked: Demo, made: SimulateReport, started: float) -> DemoReport:
    """The whole job on a simulated fleet, which has been made."""
    return demonstrate(asked, made, started, call=as_task)


def _limited(step: Callable[P, R]) -> Callable[P, R]:
    """The step, in its turn where it writes the warehouse."""
    if step in TURNLESS:
        return step

    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with writing():
            return step(*args, **kwargs)

    return limited


def _tried_again(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a step that ended so is tried again; that it is, and why, is said before the wait."""
    again = is_transient(task, run, state)
    if again:
        logger.warning("%s is tried again: %s", task.name, state.result(raise_on_failure=False))
    return again


def is_transient(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a step that ended so is tried again."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, TRANSIENT)
