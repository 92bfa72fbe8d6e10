"""What retraining loses once hosts are emptied before their parts fail, by how those parts are counted. Simulated.

    python -m benchmarks.mitigated_labels            # three fleets at two budgets, then three generations

A first model, which knew the whole truth, empties hosts for four months. Then one learns anew from these months alone,
as if all that came before were forgotten: from what really became of every part (`truth`, which nobody has in
practice), or from the record, on which mitigated parts count as healthy (`naive`), not at all (`dropped`), or as
`models.mitigated` has it (`ours`). All are judged on the same later days of the untouched fleet. Prints Markdown; 95 %
intervals by a bootstrap over parts, the same replicates for all arms.
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
import numpy as np

from benchmarks.mitigated_world import COMPONENT, START, Mitigation, days_of, operate, recorded, untouched
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

ARMS: Final = ("truth", "naive", "dropped", "ours")
FORGOTTEN: Final[Mapping[str, str]] = {"naive": "delete from mitigation", "dropped": "delete from risk"}
"""What each arm does not know of the record."""
BUDGET: Final = 0.005
"""The operating budget: parts on alert each day, as a share."""
SETTINGS: Final = Settings(budgets=(BUDGET,), operating_budget=BUDGET, replicates=500)
GENERATIONS: Final = 3
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


def learn(
    truth: Path, mitigations: Sequence[Mitigation], plan: Plan, arms: Sequence[str] = ARMS
) -> dict[str, Predictor]:
    """Return what each arm makes of the months in which hosts were emptied."""
    made = {}
    for arm in arms:
        with tempfile.TemporaryDirectory() as folder:
            home = truth
            if arm != "truth":
                home = recorded(truth, Path(folder) / arm, mitigations)
                with duckdb.connect(str(home / "warehouse.duckdb")) as con:
                    con.execute(FORGOTTEN.get(arm, "select 1"))
            made[arm] = fit(home, plan.learns_on, since=plan.acts_on).predictor
    return made


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


def experiment(truth: Path, plan: Plan, hosts_a_day: float, arms: Sequence[str] = ARMS) -> Mapping[str, Floats]:
    """Return the draws of each arm after one period of acting at a budget."""
    first = fit(truth, plan.acts_on).predictor
    with opened(truth) as con:
        mitigations = operate(con, first, days_of(plan.acts_on + 1, plan.learns_on + 1), hosts_a_day)
    return judge(truth, learn(truth, mitigations, plan, arms), plan, plan.learns_on).draws()


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


def generations(truth: Path, plan: Plan, arm: str, hosts_a_day: float, extra: float) -> list[str]:
    """Rows of Markdown: models that each learn from what the ones before them left, told `extra` log-odds at first."""
    acting = _shifted(fit(truth, plan.acts_on).predictor, extra)
    done: list[Mitigation] = []
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        home = truth
        for generation in range(1, GENERATIONS + 1):
            until = plan.learned(generation)
            with opened(home) as con:
                done += operate(con, acting, days_of(plan.learned(generation - 1) + 1, until + 1), hosts_a_day)
            shutil.rmtree(home) if home != truth else None
            home = recorded(truth, Path(folder) / str(generation), done)
            if arm == "naive":
                with duckdb.connect(str(home / "warehouse.duckdb")) as con:
                    con.execute(FORGOTTEN[arm])
            acting = fit(home, until, since=plan.learned(generation - 1)).predictor
            known = fit(truth, until, since=plan.learned(generation - 1)).predictor
            draws = judge(truth, {"truth": known, arm: acting}, plan, until).draws()
            loss, _ = share_of_loss([{**draws, "naive": draws[arm]}], arm)
            ratios = [said(measured(float(each[0, 3]), each[1:, 3], SETTINGS)) for each in draws.values()]
            lines.append(f"| {arm} | {extra:+.1f} | {generation} | {said(loss)} | {' | '.join(ratios)} |")
            print(lines[-1], flush=True)
    return lines


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
    for budget in given.hosts_a_day:
        draws = []
        for seed in given.seeds:
            with tempfile.TemporaryDirectory() as folder:
                truth = untouched(Path(folder), plan.hosts, plan.days(), seed, plan.acceleration)
                draws.append(experiment(truth, plan, budget))
        print(f"\n## {budget:g} hosts emptied a day, {len(draws)} fleets\n\n" + "\n".join(table(draws)), flush=True)
    if given.generations:
        names = (
            "first model's risks, log-odds",
            "generation",
            "average precision lost",
            "observed over predicted: truth",
        )
        print(f"\n## Generations\n\n| learned from | {' | '.join(names)} | the arm |\n" + "| --- " * 6 + "|")
        with tempfile.TemporaryDirectory() as folder:
            truth = untouched(Path(folder), plan.hosts, plan.days(GENERATIONS), given.seeds[0], plan.acceleration)
            for arm, extra in (("naive", 0.0), ("ours", 0.0), ("ours", OVERCONFIDENT), ("ours", -OVERCONFIDENT)):
                generations(truth, plan, arm, given.hosts_a_day[0], extra)


if __name__ == "__main__":
    main()
