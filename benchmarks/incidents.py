"""Planted causes found, and quiet fleets left alone: how often, over many simulated fleets, with 95 % intervals.

    python -m benchmarks.incidents SEEDS [FIRST_SEED] [EXTRA_FAILURES ...]

Every seed is a fleet of 600 hosts without flawed parts. For each sort of cause one value is drawn and hastens the
failures of what shares it from day 90 on, five times, or as many times as makes EXTRA_FAILURES (12) more of them
expected by day 110, when the question is asked. In place of a model's risks stands a guess that sees half of the parts
whose failure announces itself, and is wrong about as often as it is right. A cause is found when it stands among the
first three factors of the first incident; a quiet fleet has a false incident when any is named. All simulated.

With EXTRA_FAILURES 0 the quiet fleets alone are asked about. The method was worked out on seeds 1, 2 and 3,000 to
3,039; report on others, from FIRST_SEED (8,000) on.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.contracts import FAILURES
from data.simulator.fleet import Fleet, FleetSpec, plan
from data.simulator.parts import of_component, texts
from data.simulator.plants import Plant, members
from data.simulator.topology import stream
from data.simulator.truth import failures
from data.snapshots import arrow
from data.warehouse import RISK_COLUMNS, Warehouse
from decisions.incidents.find import find
from decisions.incidents.values import Incident, Shared
from decisions.policy import Policy, load
from models.calibrate import clopper_pearson
from pipelines.population import population

SPEC: Final = FleetSpec(hosts=600, vms=600, days=120, flaw_factor=1.0)
PLANTED_DAY, ASKED_DAY = 90.0, 110
CAUSES: Final = ("rack", "power_feed", "switch", "firmware", "kernel", "batch", "firmware x model", "kernel x model")
QUIET: Final = "quiet"
EXTRA_FAILURES: Final = 12.0
LEAST_FACTOR: Final = 5.0
FEWEST_PARTS: Final = 30
SEEN_SHARE: Final = 0.5
STANDING_IN: Final = {"disk": "guess", "memory": "guess", "gpu": "guess"}
TOP: Final = 3


def main(seeds: int, first: int, extra: list[float]) -> None:
    """Print one row a cause and strength."""
    for strength in extra:
        told: Counter[tuple[str, str]] = Counter()
        for seed in range(first, first + seeds):
            told.update(found := list(outcomes(seed, strength)))
            sys.stderr.write(f"{seed} {strength:g} {sorted(found)}\n")
        print("\n".join(table(told, strength, seeds, first)), flush=True)


def outcomes(seed: int, extra: float) -> Iterator[tuple[str, str]]:
    """Yield, for every cause planted in this fleet and for none, what came of it."""
    fleet = plan(replace(SPEC, seed=seed))
    policy = load()
    with tempfile.TemporaryDirectory(prefix="foreshock-") as home, Warehouse.open(Path(home)) as warehouse:
        warehouse.put_inventory(fleet.hosts, fleet.vms.slice(0, 0), fleet.entities, at=SPEC.start_at)
        known = arrow(warehouse.con, "select entity_key, component, entity_id from entity order by entity_key")
        for nth, cause in enumerate((QUIET, *CAUSES) if extra else (QUIET,)):
            drawn = draw(fleet, cause, extra, stream(seed, 900, nth)) if cause != QUIET else None
            planted, shared = drawn or (None, ())
            if planted is None and cause != QUIET:
                continue
            incidents = asked(warehouse, known, fleet, planted, policy, stream(seed, 901, nth))
            yield cause, "asked"
            yield from ((cause, what) for what in judged(incidents, shared))


def draw(fleet: Fleet, cause: str, extra: float, rng: np.random.Generator) -> tuple[Plant, Shared] | None:
    """A cause of that sort with what `find` should call it; null when no value has enough parts."""
    names = ("model", "lot") if cause == "batch" else tuple(cause.split(" x "))
    parts = of_component(fleet.entities, "disk") if "model" in names else fleet.entities
    one = parts.slice(int(rng.integers(parts.num_rows)), 1).to_pylist()[0]
    host = next(row for row in fleet.hosts.to_pylist() if row["host_id"] == one["host_id"])
    values = {"model": one["model"], "lot": one["entity_id"][:4]}
    named = tuple((name, str(values.get(name) or host[name])) for name in names)
    inside = fleet.entities.filter(pa.array(members(Plant(named, 1.0, 0.0), fleet.hosts, fleet.entities)))
    if inside.num_rows < FEWEST_PARTS:
        return None
    kinds = Counter(texts(inside, "component"))
    annual = sum(n * SPEC.acceleration * getattr(SPEC, f"{kind}_annual_failure_rate") for kind, n in kinds.items())
    usual = annual * (ASKED_DAY - PLANTED_DAY) / 365.25
    factor = min(1_000.0, max(LEAST_FACTOR, 1.0 + extra / usual))
    return Plant(named, factor, PLANTED_DAY), expected(cause, named, host["zone"])


def expected(cause: str, named: Shared, zone: str) -> Shared:
    """What the search calls the planted cause."""
    if cause == "batch":
        return (("batch", " ".join(value for _, value in named)),)
    return (("rack", f"{zone}/{named[0][1]}"),) if cause == "rack" else named


def asked(
    warehouse: Warehouse,
    known: pa.Table,
    fleet: Fleet,
    planted: Plant | None,
    policy: Policy,
    rng: np.random.Generator,
) -> tuple[Incident, ...]:
    """The incidents of the fleet on the day asked about, with that cause planted."""
    truth = failures(replace(fleet, spec=replace(fleet.spec, planted=(planted,) if planted else ())))
    asof_at = SPEC.start_at + timedelta(days=ASKED_DAY)
    warehouse.con.execute("delete from failure")
    warehouse.con.execute("delete from risk")
    happened = truth.filter(pc.less_equal(truth["failed_at"], pa.scalar(asof_at, truth["failed_at"].type)))
    rows = [row | {"ingested_at": row["failed_at"]} for row in happened.to_pylist()]
    warehouse.put_failures(pa.Table.from_pylist(rows, schema=FAILURES))
    _guess(warehouse, known, truth, asof_at, rng)
    return find(population(warehouse.con, asof_at, policy, STANDING_IN), policy.incidents)


def _guess(warehouse: Warehouse, known: pa.Table, truth: pa.Table, asof_at: datetime, rng: np.random.Generator) -> None:
    """Risks in a model's place: half of what announces itself, and as many parts that are well."""
    announced = [
        row["entity_id"]
        for row in truth.to_pylist()
        if row["precursor_from"] is not None and row["precursor_from"] <= asof_at < row["failed_at"]
    ]
    seen = [each for each in announced if rng.random() < SEEN_SHARE]
    wrong = known["entity_id"].take(rng.integers(len(known), size=len(seen))).to_pylist()
    told = known.filter(pc.is_in(known["entity_id"], pa.array({*seen, *wrong}, pa.string())))
    rows = [
        {"asof_at": asof_at, "entity_key": one["entity_key"], "component": one["component"], "model_version": "guess"}
        | {"status": "ok", "reason": None, "factors": None}
        | {name: 0.5 for name in RISK_COLUMNS if name.startswith("risk_")}
        for one in told.to_pylist()
    ]
    if rows:
        warehouse.put_risks(pa.Table.from_pylist(rows))


def judged(incidents: tuple[Incident, ...], shared: Shared) -> Iterator[str]:
    """Yield what is true of the answer: something is named, the cause leads, the cause is among the first three."""
    if not incidents:
        return
    yield "named"
    if len(incidents) > 1:
        yield "more than one"
    if incidents[0].leading.shared == shared:
        yield "leads"
    if shared in [factor.shared for factor in incidents[0].factors[:TOP]]:
        yield "top"


def table(told: Counter[tuple[str, str]], extra: float, seeds: int, first: int) -> list[str]:
    """The counts as Markdown."""
    lines = [f"\nSimulated, seeds {first} to {first + seeds - 1}, {extra:g} extra failures planted", ""]
    rows = {cause: (cause,) for cause in CAUSES if told[cause, "asked"]}
    if rows:
        lines += ["| cause | fleets | in the top three (95 %) | leads (95 %) | a second incident besides |"]
        lines += ["|---|---|---|---|---|"]
    pairs = tuple(cause for cause in rows if " x " in cause)
    together = {"single": tuple(cause for cause in rows if cause not in pairs), "pairs": pairs, "all": tuple(rows)}
    for name, causes in (rows | together if rows else {}).items():
        asked_, top, leads, more = (
            sum(told[cause, what] for cause in causes) for what in ("asked", "top", "leads", "more than one")
        )
        lines.append(f"| {name} | {asked_} | {said(top, asked_)} | {said(leads, asked_)} | {more} |")
    quiet = said(told[QUIET, "named"], told[QUIET, "asked"])
    return [*lines, "", f"Quiet fleets with a false incident: {quiet} of {told[QUIET, 'asked']}."]


def said(hits: int, count: int) -> str:
    """A share with its exact 95 % interval."""
    low, high = clopper_pearson(hits, count)
    return f"{hits / max(count, 1):.1%} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    arguments = [float(each) for each in sys.argv[1:]]
    start = int(arguments[1]) if len(arguments) > 1 else 8_000
    main(int(arguments[0]), start, arguments[2:] or [EXTRA_FAILURES])
