"""The executor that the settings name, open for as long as a step needs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from data.errors import ExecutorError, SettingsError
from pipelines.executors import Executor
from pipelines.executors.dry_run import DryRun
from pipelines.executors.faults import Faulty
from pipelines.settings import FaultSettings, Settings

WORLD = "world.db"


def world_path(settings: Settings) -> Path:
    """Where the simulated world of these settings lives, whether or not there is one."""
    return settings.home / WORLD


def kind_of(settings: Settings) -> Literal["simulated", "dry_run", "webhook"]:
    """Who carries orders out, with `auto` made good: a simulated fleet where the home has one, else nobody."""
    kind = settings.executor.kind
    if kind != "auto":
        return kind
    return "simulated" if world_path(settings).exists() else "dry_run"


@contextmanager
def opened(settings: Settings, now: datetime) -> Iterator[Executor]:
    """The executor to hand orders to at `now`.

    Raises:
        ExecutorError: the simulated executor is asked for and there is no simulated world.
        SettingsError: an executor elsewhere is asked for, without its URL or the secret to sign with.
    """
    kind = kind_of(settings)
    if kind == "dry_run":
        yield DryRun(now)
        return
    if kind == "webhook":
        with _webhook(settings, now) as executor:
            yield executor
        return
    if not world_path(settings).exists():
        msg = (
            f"There is no simulated world in {settings.home} to carry orders out in. Make one with "
            "'foreshock simulate', or set executor.kind = \"dry_run\" to send orders to nobody."
        )
        raise ExecutorError(msg)
    from data.simulator.world import World
    from pipelines.executors.simulated import Simulated

    with World.open(world_path(settings)) as world:
        yield drilled(Simulated(world, now), settings)


def drilled(executor: Executor, settings: Settings) -> Executor:
    """The executor of a simulated fleet, with the faults that the settings order."""
    faults = settings.executor.faults
    return executor if faults == FaultSettings() else Faulty(executor, faults)


@contextmanager
def _webhook(settings: Settings, now: datetime) -> Iterator[Executor]:
    import httpx

    from pipelines.contract import signing
    from pipelines.executors.webhook import Webhook

    if not settings.executor.url:
        msg = (
            'executor.kind = "webhook" needs executor.url, the address of the executor, such as http://127.0.0.1:8585.'
        )
        raise SettingsError(msg)
    key = signing.secret()
    with httpx.Client(timeout=settings.executor.timeout_seconds) as client:
        yield Webhook(settings.executor.url, key, now, client)
