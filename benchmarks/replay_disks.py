"""Replay the real drives under simulated hosts: what a policy would have saved, beside its rivals; all simulated.

    FORESHOCK_HOME=... python -m benchmarks.replay_disks CACHE [--from 2015-07-01] [--to 2016-02-29] [--quick]
        [--fast] [--part arms|studies]

The home holds the drive history (`foreshock ingest backblaze`); CACHE, a folder outside it, keeps models and risks, so
a run that was killed goes on where it was. Every month is judged by a model trained on what was known before it. Prints
Markdown: the arms with their intervals, regret and distance to the oracle, and how the saving moves with the share of
live moves that fail, with the hosts that may be emptied a night, and with decisions that come late. `--fast` places VMs
by the fast way alone, in every arm, which halves the time. `--part` runs only the arms that are judged, with the fixed
policies of hindsight, or only the studies beside the policy: two processes can share a cache. `--quick` decides once a
week, by models that are trained each quarter on a sixth of the rows, and implies `--fast`: a look, not the figure.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from data.simulator.motion import WorldSpec
from decisions.policy import Policy
from models import spec as specs
from models.spec import Spec
from pipelines.replay import arms
from pipelines.replay.arms import Arm
from pipelines.replay.period import Period
from pipelines.settings import load
from pipelines.steps import replay as step

RATES = (0.001, 0.005, 0.02, 0.05)
BUDGETS = (1, 2, 5, 10)
DELAYS = (1, 3, 7)
WEEK = 7


def main(asked: argparse.Namespace) -> None:
    """Print the tables."""
    settings = load()
    period = Period(asked.first, asked.last, WEEK if asked.quick else 1)
    retrain = "quarterly" if asked.quick else "monthly"
    want = step.asked(settings, period, asked.policy, None, "disk", retrain)
    if asked.quick or asked.fast:
        placement = replace(want.policy.placement, exact_pairs_most=0)
        want = replace(want, policy=replace(want.policy, placement=placement))
    more = () if asked.part == "arms" else tuple(studies(want.policy, period.every))
    want = replace(want, more=more, hindsight=asked.part != "studies", spec=light() if asked.quick else None)
    report = step.replay(settings, want, asked.cache, lambda night: print(f"<!-- {night} -->", flush=True))
    print("\n".join(lines(report)), flush=True)


def light() -> Spec:
    """The shipped way of learning from fewer rows."""
    return replace(
        specs.load("disk"), snapshot_every_days=28, boosters=1, negative_share=0.05, calibration_days=60, threads=1
    )


def studies(policy: Policy, every: int) -> Iterator[Arm]:
    """The policy in worlds where more moves fail, with a budget, and with decisions that come late."""
    for rate in RATES:
        moves = replace(policy.moves, live_failure_share=rate)
        told = replace(policy, version=f"{policy.version}+{rate}", moves=moves)
        yield Arm(f"{rate:.1%} of live moves fail", told, arms.as_scored, spec=WorldSpec(live_failure_rate=rate))
    for most in BUDGETS:
        yield Arm(f"at most {most} hosts a decision", policy, arms.as_scored, most_moves=most)
    for days in DELAYS if every == 1 else (1, 2):
        yield Arm(f"decided {days * every} days late", policy, arms.as_scored, delay_days=days)


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report as Markdown."""
    yield (
        f"\nSimulated hosts and VMs over real drives, {report['from']} to {report['to']}: {report['hosts']:,} hosts, "
        f"{report['vm_days']:,.0f} VM-days, {report['failures']:,} failures, {report['nights']} decisions.\n"
    )
    yield "| arm (simulated) | AIR | saving | policy ahead by | interruptions | VMs moved | hosts emptied |"
    yield "|---|---|---|---|---|---|---|"
    for name, air in report["air"].items():
        ahead = said(report["ahead"][name], 100) if name in report["ahead"] else "-"
        counts = (report["interruptions"][name]["value"], report["migrations"][name], report["hosts_emptied"][name])
        told = " | ".join(f"{count:,.0f}" for count in counts)
        yield f"| {name} | {said(air)} | {said(report['saving'][name], 100)} | {ahead} | {told} |"
    yield f"\nRegret: {said(report['regret'], 100)} points, against {report['hindsight']['chosen']!r}."
    yield f"To the oracle: {said(report['to_oracle'], 100)} points.\n"
    yield "| fixed policy (simulated) | interruptions |"
    yield "|---|---|"
    for name, count in sorted(report["hindsight"]["tried"].items(), key=lambda item: (item[1], item[0])):
        yield f"| {name} | {count:,} |"


def said(one: Mapping[str, float | None], times: float = 1.0) -> str:
    """A figure with its 95 % interval."""
    if one["value"] is None or one["low"] is None or one["high"] is None:
        return "-"
    return f"{one['value'] * times:.2f} ({one['low'] * times:.2f} to {one['high'] * times:.2f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2015, 7, 1))
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=date(2016, 2, 29))
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--part", choices=("arms", "studies"))
    main(parser.parse_args())
