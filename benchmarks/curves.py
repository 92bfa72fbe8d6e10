"""How the work of a day grows with the history that is held, and with the fleet.

Both fleets are simulated and made of copies (`benchmarks.copies`). With history the fleet stays the same, and what is
measured is what a new day costs: its rows taken in, the change log kept, and the day's features; and the publishing,
which copies the whole file. With the fleet it is what a night does: ingest, score, decide.
"""

import math
import shutil
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks import copies
from benchmarks.bench import Finding, Picture, Places, scaled
from benchmarks.contest import Answer, Contest, Contestant, Job, Spread, contest, spread
from pipelines.clock import end_of
from pipelines.settings import Settings

YEARS: Final = (0.5, 1.0, 2.0, 3.5)
HISTORY_HOSTS: Final = 300
HISTORY_COPIES: Final = 10
FLEET_HOSTS: Final = 1_012
FLEET_COPIES: Final = (1, 10, 100)
FLEET_HISTORY: Final = 120
FLEET_DAYS: Final = 15
"""Days of gauges that a larger fleet holds: as far back as a live drive is looked for."""
DAILY: Final = {"upkeep": "taking in a day", "features": "features of a day", "publishing": "publishing"}
NIGHTLY: Final = {"ingest": "ingest a day", "score": "features and scores", "decide": "decide"}
TITLE: Final = "Growth with history and fleet"
COLUMNS: Final = ("fleet", "history", "work", "CPU seconds", "of the first")
TEXT: Final = """\
`foreshock bench curves` measures what a day costs {drives:,} drives with half a year to three and a half years of daily
readings behind them, and what a night costs fleets of three sizes, each ten times the one before. All of them are
simulated: a template goes through the product itself and is copied. With history a day's rows and its features cost
{growth:.2f} times as much after three and a half years as after half a year; publishing copies the whole file, and so
grows with it. With the fleet, the slopes of log CPU on log drives are {slopes} (1 is in proportion); what a process
needs to start is not counted.
"""
HISTORY_DAYS: Final = tuple(round(365 * years) for years in YEARS)


def run(places: Places) -> Finding:
    """The curves, with what they come to."""
    days, drives = _by_history(places)
    nights = _by_fleet(places)
    least, most = days[min(days)], days[max(days)]
    growth = spread(
        [
            (most_up + most_features) / (least_up + least_features)
            for most_up, most_features, least_up, least_features in zip(
                _cpu(most, "upkeep"),
                _cpu(most, "features"),
                _cpu(least, "upkeep"),
                _cpu(least, "features"),
                strict=True,
            )
        ]
    )
    slopes = {name: _slope({size: one.cpu_seconds(name).middle for size, one in nights.items()}) for name in NIGHTLY}
    told = ", ".join(f"{slope:.2f} for {NIGHTLY[name]}" for name, slope in slopes.items())
    return Finding(
        TITLE,
        TEXT.format(drives=drives, growth=growth.middle, slopes=told),
        COLUMNS,
        [*_day_rows(days, drives), *_night_rows(nights)],
        {
            "history_growth": growth,
            "fleet_growth_exponent": Spread(
                float(np.median(list(slopes.values()))), min(slopes.values()), max(slopes.values())
            ),
        },
        {f"{NIGHTLY[name]}, {size:,} drives": one.peak_bytes(name) for size, one in nights.items() for name in NIGHTLY},
        _picture(nights),
    )


def _by_history(places: Places) -> tuple[dict[int, Contest], int]:
    """The work of a day by days of history, and how many drives there are."""
    folder = places.scratch("curves")
    made = copies.template(folder, scaled(HISTORY_HOSTS, 10), max(HISTORY_DAYS), judged=False)
    count = scaled(HISTORY_COPIES, 2)
    found = {}
    for days in HISTORY_DAYS:
        until = made.spec.start + timedelta(days=days)
        home = folder / f"history-{made.spec.hosts}x{count}-{days}"
        file = folder / f"{home.name}-{until}.parquet"
        if not file.exists():
            copies.held(made, home, count, first=made.spec.start, until=until)
            copies.day(made, until, count, file)
        arguments = (str(home), str(file), str(until))
        found[days] = contest(
            [Contestant(name, f"benchmarks.curves:{name}", arguments) for name in DAILY], places.rounds
        )
    return found, count * made.spec.hosts * copies.DISKS_PER_HOST


def _by_fleet(places: Places) -> dict[int, Contest]:
    """The work of a night by drives, once: each night changes its home."""
    folder = places.scratch("curves")
    made = copies.template(folder, scaled(FLEET_HOSTS, 40), FLEET_HISTORY)
    found = {}
    for count in FLEET_COPIES if scaled(100) == 100 else FLEET_COPIES[:2]:
        home = folder / f"fleet-{made.spec.hosts}x{count}"
        shutil.rmtree(home, ignore_errors=True)
        copies.copied(made, home, count, days=FLEET_DAYS)
        jobs = [Contestant(name, f"benchmarks.curves:{name}", (str(home), str(made.night))) for name in NIGHTLY]
        nights = contest(jobs, 1)
        found[int(nights.answer("score")["entities"])] = nights
        shutil.rmtree(home)
    return found


def _cpu(one: Contest, name: str) -> Sequence[float]:
    return [spent.cpu_seconds for spent in one.runs[name]]


def _slope(points: Mapping[int, float]) -> float:
    """The exponent with which the values grow."""
    across, up = ([math.log(value) for value in values] for values in (points.keys(), points.values()))
    return float(np.polyfit(across, up, 1)[0])


def _day_rows(days: Mapping[int, Contest], drives: int) -> list[Sequence[str]]:
    first = days[min(days)]
    return [
        (f"{drives:,}", f"{held / 365:.1f} years", DAILY[name], str(one.cpu_seconds(name)), _times(one, first, name))
        for name in DAILY
        for held, one in days.items()
    ]


def _night_rows(nights: Mapping[int, Contest]) -> list[Sequence[str]]:
    first = nights[min(nights)]
    return [
        (f"{size:,}", f"{FLEET_HISTORY} days", NIGHTLY[name], str(one.cpu_seconds(name)), _times(one, first, name))
        for name in NIGHTLY
        for size, one in nights.items()
    ]


def _times(one: Contest, first: Contest, name: str) -> str:
    return f"{one.cpu_seconds(name).middle / max(first.cpu_seconds(name).middle, 1e-9):.2f}"


def _picture(nights: Mapping[int, Contest]) -> Picture:
    curves = {
        said: [(float(size), one.cpu_seconds(name).middle) for size, one in nights.items()]
        for name, said in NIGHTLY.items()
    }
    return Picture("What a night costs", "drives (simulated)", "CPU seconds", curves)


def upkeep(home: str, file: str, until: str) -> Job:
    """Take in one day after the history, in a copy of the warehouse."""
    from pipelines.settings import SourceSettings
    from pipelines.steps.ingest import load, open_warehouse

    settings = _aside(Path(home))
    source = SourceSettings(kind="backblaze", paths=(file,))
    now = end_of(date.fromisoformat(until))

    def job() -> Answer:
        with open_warehouse(settings) as warehouse:
            return {"rows": sum(part.rows_loaded for part in load(warehouse, source, now))}

    return job


def publishing(home: str, _file: str, _until: str) -> Job:
    """Publish what is held."""
    from pipelines.steps.ingest import open_warehouse

    settings = _aside(Path(home))

    def job() -> Answer:
        with open_warehouse(settings) as warehouse:
            warehouse.publish()
        return {}

    return job


def _aside(home: Path) -> Settings:
    """Settings of a copy of the home's warehouse, which may be changed."""
    aside = home.with_name(f"{home.name}-aside")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    shutil.copyfile(home / "warehouse.duckdb", aside / "warehouse.duckdb")
    return copies.settings_of(aside)


def features(home: str, _file: str, until: str) -> Job:
    """The features of the last day held."""
    from data.snapshots import read
    from features import build

    asked = date.fromisoformat(until) - timedelta(days=1)

    def job() -> Answer:
        with read(Path(home)) as con:
            return {"rows": build.frame(con, "disk", build.spine(con, "disk", [asked])).num_rows}

    return job


def ingest(home: str, on: str) -> Job:
    """Take in a day and the inventory, and publish."""
    from pipelines.cycle import ingest as step

    settings = copies.settings_of(Path(home))
    return lambda: {"rows": step(settings, end_of(date.fromisoformat(on))).rows_loaded}


def score(home: str, on: str) -> Job:
    """The risks of that day written down and published."""
    from pipelines.steps.score import score_with

    settings = copies.settings_of(Path(home))
    (model,) = copies.believed(settings).values()
    return lambda: {"entities": score_with(settings, model, [end_of(date.fromisoformat(on))]).entities}


def decide(home: str, on: str) -> Job:
    """The decision on that day, which writes nothing."""
    from pipelines.steps.decide import decide as step

    settings = copies.settings_of(Path(home))
    believed = copies.believed(settings)
    asof_at = end_of(date.fromisoformat(on))
    return lambda: {"proposals": len(step(settings, asof_at, believed, dry_run=True).listed)}
