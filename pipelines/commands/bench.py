"""The benchmarks from the command line."""

from pathlib import Path

from pipelines.commands.common import COMMON, Common
from pipelines.output import Output


def bench(
    *jobs: str,
    rounds: int = 3,
    telemetry: Path = Path("../shared/data"),
    work: Path | None = None,
    write: bool = False,
    common: Common = COMMON,
) -> Output:
    """Speed and memory beside peers, as ratios from one run. Run it in a checkout, on an idle machine.

    Args:
        jobs: Which, by name; all of them without one.
        rounds: How often each contestant runs.
        telemetry: Folder of real drive history; jobs that need it are refused without it.
        work: Folder to work in, some gigabytes; by default `bench` in `FORESHOCK_HOME`.
        write: Put the tables and pictures into docs/performance.md.
        common: See every command.
    """
    from importlib import import_module

    from data.errors import UsageError

    try:
        runner = import_module("benchmarks.bench")  # beside the house, not in it: known here by its name alone
    except ModuleNotFoundError as error:
        msg = f"The benchmarks need a checkout with its development packages: {error}. Run make setup there."
        raise UsageError(msg) from None
    places = runner.Places(telemetry, work or common.settings().home / "bench", rounds)
    try:
        found = runner.bench(places, jobs, write=write)
    except runner.BenchmarkError as error:
        raise UsageError(str(error)) from None
    return Output(found, runner.as_text(found))
