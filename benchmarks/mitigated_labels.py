"""What retraining loses once hosts are emptied before their parts fail, by how those parts are counted. Simulated.

    python -m benchmarks.mitigated_labels            # ten fleets, then three generations of models on two

A first model, which knew the whole truth, empties hosts for four months. Then one learns anew from these months alone,
as if all that came before were forgotten: from what really became of every part (`truth`, which nobody has in
practice), or from the record, on which mitigated parts count as healthy (`naive`), not at all (`dropped`), or as
`models.mitigated` has it (`ours`). All are judged on the same later days of the untouched fleet.

Prints Markdown. Figures are means over fleets, with 95 % intervals by a bootstrap in two steps, the same replicates for
all arms: fleets are drawn anew, and parts within each. So they hold what another fleet, and not only other parts of
the same ones, would have shown.
"""

import argparse
import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
import numpy as np

from benchmarks.mitigated_world import COMPONENT, START, Mitigation, ask, days_of, operate, recorded, untouched
from models import examples, metrics, train
from models import spec as specs
from models.asking import batches
from models.calibrate import Calibration
from models.examples import Bools, Floats
from models.measure import Measured, Outcomes, Settings, entity_weights, measured
from models.predictor import OK, Predictor
from models.spec import Spec
from models.windows import end_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Draws = Mapping[str, Floats]
"""Figures by arm; shape (1 + replicates, figures), the first row of the rows as they are."""

ARMS: Final = ("naive", "dropped", "ours")
FORGOTTEN: Final[Mapping[str, str]] = {"naive": "delete from mitigation", "dropped": "delete from risk"}
"""What an arm does not know of the record."""
BUDGET: Final = 0.005
"""The operating budget: parts on alert each day, as a share."""
SETTINGS: Final = Settings(budgets=(BUDGET,), operating_budget=BUDGET, replicates=200)
GENERATIONS: Final = 3
GENERATIONS_HOSTS_A_DAY: Final = 2.0
DEVELOPMENT_SEED: Final = 1
"""The fleet that was looked at while the method was made: not among those reported."""
SEEDS: Final = tuple(range(DEVELOPMENT_SEED + 1, DEVELOPMENT_SEED + 11))


@dataclass(frozen=True)
class Chain:
    """Models that each learn from what the ones before them left on record, and then act."""

    arm: str
    too_sure: float = 0.0
    """Log-odds by which the first model's risks are too high; whom it empties is the same."""
    keeps: bool = False
    """Learns from the first day on, and not only from those on which the one before it acted."""

    def __str__(self) -> str:
        """What the table calls it."""
        sure = f", the first too sure by {self.too_sure:g}" if self.too_sure else ""
        return f"{self.arm}{sure}{', all days kept' if self.keeps else ''}"


CHAINS: Final = (Chain("naive"), Chain("ours"), Chain("ours", too_sure=1.5), Chain("ours", keeps=True))
"""1.5 log-odds too sure: at 50 % it says 82 %."""


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

    def draws(self, seed: int) -> Draws:
        """Figures by arm: average precision, precision and recall at the budget, observed over predicted twice.

        Once of all rows, once of those on alert at the budget.
        """
        weights = entity_weights(int(self.outcomes.entity.max()) + 1, replace(SETTINGS, seed=seed))
        rows = [np.ones(self.outcomes.entity.size), *(row[self.outcomes.entity].astype(np.float64) for row in weights)]
        return {arm: np.array([self._figures(risk, rows_) for rows_ in rows]) for arm, risk in self._ranked().items()}

    def _ranked(self) -> Mapping[str, tuple[metrics.Ranking, metrics.Desk, Floats, Bools]]:
        done = self.outcomes
        return {
            arm: (metrics.rank(done.failed, risk), metrics.desk(done.day, risk, BUDGET), risk, self._alerted(risk))
            for arm, risk in self.risk.items()
        }

    def _alerted(self, risk: Floats) -> Bools:
        day = self.outcomes.day
        first = np.searchsorted(day, np.arange(self.outcomes.days))
        place = np.empty(day.size)
        place[np.lexsort((-risk, day))] = np.arange(day.size)
        return np.asarray(place - first[day] < BUDGET * np.bincount(day)[day])

    def _figures(self, ranked: tuple[metrics.Ranking, metrics.Desk, Floats, Bools], weight: Floats) -> list[float]:
        ranking, desk, risk, alerted = ranked
        done = self.outcomes
        held = np.asarray(np.bincount(done.day, weights=weight, minlength=done.days), dtype=np.float64)
        totals = (held, float(weight[ranking.hit_rows].sum()))
        cells = metrics.confusion(desk, metrics.reach(desk, done.failed, weight), totals, BUDGET)
        ratios = [float(each @ done.failed) / float(each @ risk) for each in (weight, weight * alerted)]
        return [metrics.average_precision(metrics.weigh(ranking, weight)), cells.precision, cells.recall, *ratios]


@contextmanager
def opened(home: Path) -> Iterator["DuckDBPyConnection"]:
    """A read-only connection on a home's warehouse."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as con:
        con.execute("set time zone 'UTC'; set enable_progress_bar = false")
        yield con


def recipe() -> Spec:
    """The recipe that ships, on one thread: fleets run beside each other."""
    return replace(specs.load(COMPONENT), threads=1)


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
    truth: Path, plan: Plan, budgets: Sequence[float], seed: int, arms: Sequence[str] = ARMS
) -> Mapping[float, Draws]:
    """Return the draws of the truth and of each arm after one period of acting, by budget in hosts a day."""
    first = fit(truth, plan.acts_on).predictor
    known = fit(truth, plan.learns_on, since=plan.acts_on).predictor
    with opened(truth) as con:
        asked = ask(con, first, days_of(plan.acts_on + 1, plan.learns_on + 1))
    made = {(budget, arm): learn(truth, operate(asked, budget), plan, arm) for budget in budgets for arm in arms}
    named = {"truth": known, **{f"{budget} {arm}": one for (budget, arm), one in made.items()}}
    draws = judge(truth, named, plan, plan.learns_on).draws(seed)
    return {budget: {"truth": draws["truth"], **{arm: draws[f"{budget} {arm}"] for arm in arms}} for budget in budgets}


def fleet(seed: int, plan: Plan, budgets: Sequence[float], arms: Sequence[str] = ARMS) -> Mapping[float, Draws]:
    """Return what `experiment` finds on the fleet of a seed."""
    with tempfile.TemporaryDirectory() as folder:
        truth = untouched(Path(folder), plan.hosts, plan.days(), seed, plan.acceleration)
        return experiment(truth, plan, budgets, seed, arms)


@contextmanager
def workers(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read as they begin; threads of several would wait for each other
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield pool


def pooled(fleets: Sequence[Draws]) -> Draws:
    """Return the mean over fleets: each replicate draws them anew, the same ones for all arms."""
    drawn = np.random.default_rng(SETTINGS.seed).integers(len(fleets), size=(SETTINGS.replicates, len(fleets)))
    replicate = np.arange(1, SETTINGS.replicates + 1)
    together = {arm: np.stack([each[arm] for each in fleets]) for arm in fleets[0]}
    return {
        arm: np.concatenate([held[:, 0].mean(axis=0)[None], held[drawn, replicate[:, None]].mean(axis=1)])
        for arm, held in together.items()
    }


def of(draws: Floats) -> Measured:
    """Return a figure with its interval from its draws; shape (1 + replicates,)."""
    return measured(float(draws[0]), draws[1:], SETTINGS)


def lost(draws: Draws, arm: str) -> Measured:
    """Return what an arm lacks of the truth's average precision."""
    return of(draws["truth"][:, 0] - draws[arm][:, 0])


def share_of_loss(draws: Draws, arm: str) -> Measured:
    """Return what an arm loses over what naive loses; null in replicates in which naive loses nothing."""
    loss, naive = (draws["truth"][:, 0] - draws[each][:, 0] for each in (arm, "naive"))
    return of(np.divide(loss, naive, out=np.full_like(loss, np.nan), where=naive > 0))


def above_a_third(draws: Draws, arm: str) -> Measured:
    """Return what an arm loses less a third of what naive loses: below zero, the claim holds."""
    loss, naive = (draws["truth"][:, 0] - draws[each][:, 0] for each in (arm, "naive"))
    return of(loss - naive / 3)


def said(one: Measured) -> str:
    """A figure with its 95 % interval."""
    return "-" if one.value is None else f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def table(draws: Draws) -> Iterator[str]:
    """Yield the arms' figures as Markdown."""
    losses_of = ("lost of truth's", "share of naive's loss", "loss less a third of naive's")
    names = ("average precision", *losses_of, "precision", "recall", "observed over predicted")
    yield f"| learned from | {' | '.join(names)} |"
    yield "| --- " * 8 + "|"
    for arm, held in draws.items():
        losses = (
            ["-"] * 3 if arm == "truth" else [said(each(draws, arm)) for each in (lost, share_of_loss, above_a_third)]
        )
        figures = [said(of(held[:, at])) for at in range(4)]
        yield f"| {arm} | {' | '.join([figures[0], *losses, *figures[1:]])} |"


def generations(seed: int, plan: Plan, chains: Sequence[Chain] = CHAINS) -> Mapping[int, Draws]:
    """Return the draws of the truth of its months, and of each chain's model, by generation."""
    with tempfile.TemporaryDirectory() as folder:
        truth = untouched(Path(folder) / "truth", plan.hosts, plan.days(GENERATIONS), seed, plan.acceleration)
        first = fit(truth, plan.acts_on).predictor
        made = {str(chain): list(_models(truth, Path(folder), plan, first, chain)) for chain in chains}
        found = {}
        for at in range(1, GENERATIONS + 1):
            known = fit(truth, plan.learned(at), since=plan.learned(at - 1)).predictor
            named = {"truth": known, **{name: models[at - 1] for name, models in made.items()}}
            found[at] = judge(truth, named, plan, plan.learned(at)).draws(seed)
    return found


def _models(truth: Path, folder: Path, plan: Plan, first: Predictor, chain: Chain) -> Iterator[Predictor]:
    """Yield the model of each generation, which acts for the next."""
    acting, done, home = _shifted(first, chain.too_sure), list[Mitigation](), truth
    for at in range(1, GENERATIONS + 1):
        begins, ends = plan.learned(at - 1), plan.learned(at)
        with opened(home) as con:
            done += operate(ask(con, acting, days_of(begins + 1, ends + 1)), GENERATIONS_HOSTS_A_DAY)
        home = recorded(truth, Path(tempfile.mkdtemp(dir=folder)), done)
        _forget(home, chain.arm)
        acting = fit(home, ends, since=0 if chain.keeps else begins).predictor
        yield acting


def _shifted(predictor: Predictor, extra: float) -> Predictor:
    maps = tuple(replace(one, c=one.c + extra) for one in predictor.calibration.maps)
    return replace(predictor, calibration=Calibration(maps))


def _report(seeds: Sequence[int], found: Iterable[Mapping[float, Draws]], budgets: Sequence[float]) -> None:
    fleets = []
    for seed, each in zip(seeds, found, strict=True):
        fleets.append(each)
        told = (f"{budget:g} a day: " + ", ".join(f"{arm} {held[0, 0]:.3f}" for arm, held in each[budget].items())
                for budget in budgets)  # fmt: skip
        print(f"fleet {seed}, average precision; {'; '.join(told)}", flush=True)
    for budget in budgets:
        print(f"\n## {budget:g} hosts emptied a day, mean of {len(fleets)} fleets\n")
        print("\n".join(table(pooled([each[budget] for each in fleets]))), flush=True)


def _report_generations(found: Sequence[Mapping[int, Draws]]) -> None:
    print(f"\n## Generations, {GENERATIONS_HOSTS_A_DAY:g} hosts emptied a day, mean of {len(found)} fleets\n")
    names = (
        "learned from",
        "average precision",
        "observed over predicted",
        "of those on alert",
    )
    print(f"| generation | {' | '.join(names)} |\n" + "| --- " * 5 + "|")
    for at in found[0]:
        for arm, held in pooled([each[at] for each in found]).items():
            print(f"| {at} | {arm} | {' | '.join(said(of(held[:, each])) for each in (0, 3, 4))} |", flush=True)


def main() -> None:
    """Print the tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    asked.add_argument("--hosts-a-day", type=float, nargs="+", default=[0.5, 2.0])
    asked.add_argument("--generation-seeds", type=int, nargs="*", default=SEEDS[:2])
    asked.add_argument("--processes", type=int, default=2)
    given, plan = asked.parse_args(), Plan()
    with workers(given.processes) as pool:
        runs = pool.map(partial(fleet, plan=plan, budgets=given.hosts_a_day), given.seeds)
        chains = pool.map(partial(generations, plan=plan), given.generation_seeds)
        if given.seeds:
            _report(given.seeds, runs, given.hosts_a_day)
        if given.generation_seeds:
            _report_generations(list(chains))


if __name__ == "__main__":
    main()
