"""What retraining loses once hosts are emptied before their parts fail, by how those parts are counted. Simulated.

    python -m benchmarks.mitigated_labels            # three fleets at two budgets, then three generations

A first model, which knew the whole truth, empties hosts for four months. Then one learns anew from these months alone,
as if all that came before were forgotten: from what really became of every part (`truth`, which nobody has in
practice), or from the record, on which mitigated parts count as healthy (`naive`), not at all (`dropped`), or as
`models.mitigated` has it (`ours`). All are judged on the same later days of the untouched fleet. Prints Markdown; 95 %
intervals by a bootstrap over parts, the same replicates for all arms.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
import numpy as np

from benchmarks.mitigated_world import COMPONENT, START, Mitigation, ask, days_of, operate, recorded, untouched
from models import examples, metrics, train
from models import spec as specs
from models.asking import batches
from models.calibrate import Calibration
from models.examples import Floats
from models.measure import Measured, Outcomes, Settings, entity_weights, measured
from models.predictor import OK, Predictor
from models.spec import Spec
from models.windows import end_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ARMS: Final = ("naive", "dropped", "ours")
FORGOTTEN: Final[Mapping[str, str]] = {"naive": "delete from mitigation", "dropped": "delete from risk"}
"""What an arm does not know of the record."""
BUDGET: Final = 0.005
"""The operating budget: parts on alert each day, as a share."""
SETTINGS: Final = Settings(budgets=(BUDGET,), operating_budget=BUDGET, replicates=200)
GENERATIONS: Final = 3
GENERATIONS_HOSTS_A_DAY: Final = 1.0
OVERCONFIDENT: Final = 1.5
"""Log-odds that a spoilt first model adds to every risk: at 50 % it says 82 %."""


@dataclass(frozen=True)
class Plan:
    """A fleet, when the first model begins to act, and when the next ones learn."""

    hosts: int = 400
    acceleration: float = 100.0
    acts_on: int = 120
    learns_on: int = 240
    judged_days: int = 60
    every_days: int = 5

    def days(self, generations: int = 1) -> int:
        """How many days of telemetry it takes."""
        return self.learned(generations) + self.judged_days + 30

    def learned(self, generation: int) -> int:
        """The day until which a generation learns; the first model is generation 0."""
        return self.acts_on + generation * (self.learns_on - self.acts_on)


@dataclass(frozen=True)
class Judged:
    """All arms on the same rows."""

    outcomes: Outcomes
    risk: Mapping[str, Floats]

    def draws(self) -> Mapping[str, Floats]:
        """Figures by arm: average precision, precision and recall at the budget, observed over predicted.

        Shape (1 + replicates, 4); the first row is of the rows as they are.
        """
        weights = entity_weights(int(self.outcomes.entity.max()) + 1, SETTINGS)
        rows = [np.ones(self.outcomes.entity.size), *(row[self.outcomes.entity].astype(np.float64) for row in weights)]
        return {arm: np.array([self._figures(risk, rows_) for rows_ in rows]) for arm, risk in self._ranked().items()}

    def _ranked(self) -> Mapping[str, tuple[metrics.Ranking, metrics.Desk, Floats]]:
        done = self.outcomes
        return {
            arm: (metrics.rank(done.failed, risk), metrics.desk(done.day, risk, BUDGET), risk)
            for arm, risk in self.risk.items()
        }

    def _figures(self, ranked: tuple[metrics.Ranking, metrics.Desk, Floats], weight: Floats) -> list[float]:
        ranking, desk, risk = ranked
        done = self.outcomes
        held = np.asarray(np.bincount(done.day, weights=weight, minlength=done.days), dtype=np.float64)
        totals = (held, float(weight[ranking.hit_rows].sum()))
        cells = metrics.confusion(desk, metrics.reach(desk, done.failed, weight), totals, BUDGET)
        ratio = float(weight @ done.failed) / float(weight @ risk)
        return [metrics.average_precision(ranking, weight), cells.precision, cells.recall, ratio]


@contextmanager
def opened(home: Path) -> Iterator["DuckDBPyConnection"]:
    """A read-only connection on a home's warehouse."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as con:
        con.execute("set time zone 'UTC'")
        yield con


def recipe() -> Spec:
    """The recipe that ships."""
    return specs.load(COMPONENT)


def fit(home: Path, until: int, since: int = 0) -> train.Trained:
    """Return a model that learned from the days numbered `since` to `until`."""
    spec = replace(recipe(), not_before=START + timedelta(days=since))
    with opened(home) as con:
        return train.fit(con, spec, START + timedelta(days=until))


def learn(truth: Path, mitigations: Sequence[Mitigation], plan: Plan, arm: str) -> Predictor:
    """Return what an arm makes of the record of the months in which hosts were emptied."""
    with tempfile.TemporaryDirectory() as folder:
        home = recorded(truth, Path(folder), mitigations)
        _forget(home, arm)
        return fit(home, plan.learns_on, since=plan.acts_on).predictor


def _forget(home: Path, arm: str) -> None:
    with duckdb.connect(str(home / "warehouse.duckdb")) as con:
        con.execute(FORGOTTEN.get(arm, "select 1"))


def judge(truth: Path, predictors: Mapping[str, Predictor], plan: Plan, after: int) -> Judged:
    """Return the arms on the untouched fleet, on days later than `after`, each seen for thirty days."""
    days = days_of(after + 1, after + plan.judged_days, plan.every_days)
    entity, day, fates = [], [], []
    risk: dict[str, list[Floats]] = {arm: [] for arm in predictors}
    with opened(truth) as con:
        for batch in batches(con, COMPONENT, days, end_of(days[-1] + timedelta(days=30))):
            rows = np.array(batch.frame["status"].to_pylist(), object) == OK
            entity.append(examples.keys(batch.frame)[rows])
            day.append(batch.day[rows])
            fates.append(batch.fate.take(rows))
            for arm, predictor in predictors.items():
                risk[arm].append(predictor.predict(batch.frame)[rows, -1])
    fate = examples.joined(fates)
    failed, counted = fate.within(30)
    outcomes = Outcomes(np.concatenate(entity), np.concatenate(day), failed, fate.failed_in_days).part(counted)
    return Judged(outcomes, {arm: np.concatenate(each)[counted] for arm, each in risk.items()})


def experiment(
    truth: Path, plan: Plan, budgets: Sequence[float], arms: Sequence[str] = ARMS
) -> Mapping[float, Mapping[str, Floats]]:
    """Return the draws of the truth and of each arm after one period of acting, by budget in hosts a day."""
    first = fit(truth, plan.acts_on).predictor
    known = fit(truth, plan.learns_on, since=plan.acts_on).predictor
    with opened(truth) as con:
        asked = ask(con, first, days_of(plan.acts_on + 1, plan.learns_on + 1))
    made = {(budget, arm): learn(truth, operate(asked, budget), plan, arm) for budget in budgets for arm in arms}
    named = {"truth": known, **{f"{budget} {arm}": one for (budget, arm), one in made.items()}}
    draws = judge(truth, named, plan, plan.learns_on).draws()
    return {budget: {"truth": draws["truth"], **{arm: draws[f"{budget} {arm}"] for arm in arms}} for budget in budgets}


def share_of_loss(draws: Sequence[Mapping[str, Floats]], arm: str, figure: int = 0) -> tuple[Measured, Measured]:
    """Return (loss, share): what an arm loses of the truth's figure, mean over fleets, and over what naive loses."""
    loss = np.mean([each["truth"][:, figure] - each[arm][:, figure] for each in draws], axis=0)
    naive = np.mean([each["truth"][:, figure] - each["naive"][:, figure] for each in draws], axis=0)
    share = np.divide(loss, naive, out=np.full_like(loss, np.nan), where=naive > 0)
    return measured(float(loss[0]), loss[1:], SETTINGS), measured(float(share[0]), share[1:], SETTINGS)


def said(one: Measured) -> str:
    """A figure with its 95 % interval."""
    return "-" if one.value is None else f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def table(draws: Sequence[Mapping[str, Floats]]) -> list[str]:
    """The arms' figures, mean over fleets, as Markdown."""
    names = ("average precision", "lost of truth's", "share of naive's loss", "precision", "recall")
    lines = [f"| learned from | {' | '.join(names)} | observed over predicted |", "| --- " * 7 + "|"]
    for arm in draws[0]:
        mean = np.mean([each[arm] for each in draws], axis=0)
        figures = [said(measured(float(mean[0, at]), mean[1:, at], SETTINGS)) for at in range(4)]
        loss, share = share_of_loss(draws, arm)
        told = ["-", "-"] if arm == "truth" else [said(loss), said(share)]
        lines.append(f"| {arm} | {' | '.join([figures[0], *told, *figures[1:]])} |")
    return lines


def generations(truth: Path, plan: Plan, chains: Sequence[tuple[str, float]]) -> Iterator[str]:
    """Yield rows of Markdown: models that each learn from what the ones before them left on record.

    Args:
        truth: the untouched fleet's home.
        plan: when each generation learns.
        chains: an arm, and by how many log-odds the first model's risks are too high.
    """
    first = fit(truth, plan.acts_on).predictor
    known = {at: fit(truth, plan.learned(at), since=plan.learned(at - 1)).predictor for at in range(1, GENERATIONS + 1)}
    for arm, extra in chains:
        acting, done, home = _shifted(first, extra), list[Mitigation](), truth
        with tempfile.TemporaryDirectory() as folder:
            for at in range(1, GENERATIONS + 1):
                begins, ends = plan.learned(at - 1), plan.learned(at)
                with opened(home) as con:
                    done += operate(ask(con, acting, days_of(begins + 1, ends + 1)), GENERATIONS_HOSTS_A_DAY)
                home = recorded(truth, Path(folder) / str(at), done)
                _forget(home, arm)
                acting = fit(home, ends, since=begins).predictor
                draws = judge(truth, {"truth": known[at], arm: acting}, plan, ends).draws()
                figures = [said(measured(float(each[0, of]), each[1:, of], SETTINGS))
                           for of in (0, 3) for each in draws.values()]  # fmt: skip
                yield f"| {arm} | {extra:+.1f} | {at} | {' | '.join(figures)} |"


def _shifted(predictor: Predictor, extra: float) -> Predictor:
    maps = tuple(replace(one, c=one.c + extra) for one in predictor.calibration.maps)
    return replace(predictor, calibration=Calibration(maps))


def main() -> None:
    """Print the tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    asked.add_argument("--hosts-a-day", type=float, nargs="+", default=[0.5, 2.0])
    asked.add_argument("--generations", action=argparse.BooleanOptionalAction, default=True)
    given, plan = asked.parse_args(), Plan()
    found = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            truth = untouched(Path(folder), plan.hosts, plan.days(), seed, plan.acceleration)
            found.append(experiment(truth, plan, given.hosts_a_day))
        for budget in given.hosts_a_day:
            print(f"\n## Fleet {seed}, {budget:g} hosts emptied a day\n")
            print("\n".join(table([found[-1][budget]])), flush=True)
    for budget in given.hosts_a_day:
        print(f"\n## {budget:g} hosts emptied a day, mean of {len(found)} fleets\n")
        print("\n".join(table([each[budget] for each in found])), flush=True)
    if given.generations:
        columns = ("average precision: truth", "the arm", "observed over predicted: truth", "the arm")
        print("\n## Generations\n\n| learned from | first model too high by (log-odds) | generation |", end="")
        print(f" {' | '.join(columns)} |\n" + "| --- " * 7 + "|")
        with tempfile.TemporaryDirectory() as folder:
            truth = untouched(Path(folder), plan.hosts, plan.days(GENERATIONS), given.seeds[0], plan.acceleration)
            for line in generations(truth, plan, (("naive", 0.0), ("ours", 0.0), ("ours", OVERCONFIDENT))):
                print(line, flush=True)


if __name__ == "__main__":
    main()
