"""Commands about facts: ingest, sql, doctor."""

from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from pipelines.commands.common import COMMON, Common, Day
from pipelines.output import Output

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.steps.ingest import IngestReport


def ingest(
    source: str | None = None,
    paths: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    /,
    *,
    arrival: Literal["published", "now"] = "published",
    on: Day | None = None,
    common: Common = COMMON,
) -> Output:
    """Load telemetry and inventory; the same file twice loads once.

    Args:
        source: `backblaze`, `smartctl`, `smartmem`, `rasdaemon`, `edac`, `lanl`, `titan`, `infinitehbd`, `inventory`,
            `events`, `failures`, `prometheus` or `redfish`; without one, the `[[sources]]` of the settings.
        paths: Files or folders; for `prometheus` and `redfish` addresses.
        arrival: When daily readings and logs count as known: `published` at their day's end, or `now`.
        on: Without a source: as of the end of that day, which a simulated world is moved to.
        common: See every command.
    """
    from pipelines.progress import bar
    from pipelines.watched import run

    settings = common.settings()
    if source is None:
        return Output(asdict(_ingest_configured(settings, on)))
    from pipelines.steps.ingest import ingest as load

    with bar(quiet=common.json) as progress:
        return Output(asdict(run("ingest", load, settings, source, paths, arrival=arrival, progress=progress)))


def _ingest_configured(settings: "Settings", on: date | None) -> "IngestReport":
    """What became of the rows of the settings' sources and of the simulated world."""
    from data.errors import UsageError
    from pipelines.cycle import ingest, now_of
    from pipelines.executors.opened import world_path
    from pipelines.watched import run

    if not settings.sources and not world_path(settings).exists():
        msg = (
            "There is nothing to ingest: the settings name no [[sources]], and the home has no simulated fleet. "
            "Name a source and its files: foreshock ingest backblaze FOLDER."
        )
        raise UsageError(msg)
    return run("ingest", ingest, settings, now_of(settings, on))


def sql(component: str, *, common: Common = COMMON) -> Output:
    """Show the SQL that makes a component's features.

    Args:
        component: Which component, such as `disk`.
        common: See every command.
    """
    from features.build import statements

    del common
    text = statements(component)
    return Output({"component": component, "sql": text}, text=text)


def doctor(*, common: Common = COMMON) -> Output:
    """Check the set-up and say what is wrong. Nothing is written.

    Args:
        common: See every command.
    """
    from pipelines.check import examine

    findings = examine(common.settings())
    wrong = [finding for finding in findings if finding.state == "wrong"]
    return Output({"ok": not wrong, "findings": [asdict(one) for one in findings]}, exit_code=1 if wrong else 0)
