"""Does `foreshock value` say what a policy would have cost? Simulated fleets with an experiment, and without one.

    python -m benchmarks.experiment FOLDER 8

Each seed's fleet is run twice through the same nights: once with half the hosts' actions drawn, once as policy alone
decides (a draw so rare that none comes; what chance could have changed is marked all the same). The first tells by
`decisions.value` what always taking the cheapest costs, the second what it cost. Prints a table (Markdown).
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from decisions.value import AS_DECIDED, CHEAPEST, SETTINGS, Tried, values
from models.measure import Measured
from pipelines import demonstration
from pipelines.demonstration import Demo
from pipelines.steps.value import drawn

HOSTS, VMS, DAYS = 260, 2_600, 200
RARE: Final = 1e-9
SHARES: Final = {"half are drawn": 0.5, "none is drawn": RARE}
EXPERIMENT: Final = "[experiment]\nshare = {share}\nmost_extra_interruptions = 0.5\n"


def main(folder: Path, seeds: int) -> None:
    """Print what each way to choose costs by the experiment, and what the cheapest cost without one."""
    tried = {name: _all(folder, share, seeds) for name, share in SHARES.items()}
    print("| simulated fleets | way to choose | doubly robust | by weights | foretold | decisions' worth of |")
    print("|---|---|---|---|---|---|")
    for name, decisions in tried.items():
        for way, one in values(decisions, SETTINGS).items():
            if name == "half are drawn" or way in {AS_DECIDED, CHEAPEST}:
                told = (_said(one.dr), _said(one.snips), f"{one.direct.value:.3f}", f"{one.effective:,.0f}")
                print(f"| {name} | {way.replace('_', ' ')} | {' | '.join(told)} of {len(decisions):,} |")


def _all(folder: Path, share: float, seeds: int) -> list[Tried]:
    found: list[Tried] = []
    for seed in range(1, seeds + 1):
        demo = Demo(folder / f"{share}-{seed}", hosts=HOSTS, vms=VMS, days=DAYS, seed=seed)
        settings = demonstration.settings_for(demo)
        if not (demo.home / "done").exists():
            shutil.rmtree(demo.home, ignore_errors=True)
            demonstration.empty(demo.home)
            policy = demo.home / "policy.toml"
            policy.write_text(policy.read_text() + EXPERIMENT.format(share=share))
            demonstration.run(demo, demonstration.build(demo), 0.0)
            (demo.home / "done").touch()
        decided = drawn(settings, demo.nights[0], demo.nights[-1]).tried
        found += [replace(one, host_id=f"{seed}/{one.host_id}") for one in decided]
    return found


def _said(one: Measured) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})" if one.value is not None else "-"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
