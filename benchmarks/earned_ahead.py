"""Do bands of risk keep on later days what they earned? Train to each date, judge the calls of the three months after.

    FORESHOCK_HOME=... python -m benchmarks.earned_ahead disk 2014-12-31 2015-03-31 2015-06-30 2015-09-30

Nothing is registered. Prints each band with its 95 % prediction interval, and in how many bands it held (Markdown).
"""

import sys
from datetime import date, timedelta

from data.snapshots import read
from models import spec
from models.calibrate import clopper_pearson
from models.evaluate import asked_days
from models.kept import Kept, kept
from models.later import ask, learned
from pipelines.settings import load

AHEAD = timedelta(days=92)
ENOUGH_CALLS = 5
"""Bands with fewer later calls hold nearly anything: they are shown and not counted."""


def main(component: str, cuts: list[date]) -> None:
    """Print one table a cut, and the share of bands that held in all."""
    counted: list[Kept] = []
    with read(load().home) as con:
        for cut in cuts:
            predictor = learned(con, spec.load(component), cut)
            seen = ask(con, predictor, asked_days(cut + timedelta(days=1), cut + AHEAD))
            bands = kept(predictor.earned, seen.outcomes, seen.risk)
            counted += [one for one in bands if one.calls >= ENOUGH_CALLS]
            print("\n".join(table(bands, cut)), flush=True)
    held = sum(one.held for one in counted)
    low, high = clopper_pearson(held, len(counted))
    print(f"\nHeld in {held} of {len(counted)} bands: {held / max(1, len(counted)):.0%} ({low:.0%} to {high:.0%})")


def table(bands: tuple[Kept, ...], cut: date) -> list[str]:
    """The bands of a cut as Markdown."""
    head = ["| risk from | earned | later calls | came true | foretold | |", "|---|---|---|---|---|---|"]
    rows = [
        f"| {one.risk_from:.0%} | {one.earned:.1%} of {one.alerts} | {one.calls} | {one.hits} "
        f"| {one.foretold_low} to {one.foretold_high} | {'held' if one.held else 'outside'} |"
        for one in bands
    ]
    return [f"\n## Trained until {cut}", "", *head, *rows]


if __name__ == "__main__":
    main(sys.argv[1], [date.fromisoformat(day) for day in sys.argv[2:]])
