"""On simulated fleets, where it is known what announced a failure, the reasons of true alerts say so."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data.simulator.fleet import FleetSpec
from data.snapshots import read
from models import spec, train
from models.precursors import ALL, named, names
from models.predictor import Factor
from pipelines.clock import end_of
from pipelines.settings import Settings
from pipelines.steps import simulate
from pipelines.steps.world import ingest_world

FLEETS = {
    "memory": FleetSpec(
        hosts=200, vms=200, days=140, acceleration=80, disks_per_host=1, gpus_per_host=0, disk_annual_failure_rate=0
    ),
    "disk": FleetSpec(hosts=200, vms=200, days=130, acceleration=20, dimms_per_host=0, gpus_per_host=0),
}
LEARNED_DAYS = 110


@pytest.mark.parametrize(
    ("factor", "signal", "named_by_it"),
    [
        (Factor("smart_197_rise_7d", 8.0, 1.0), "smart_197_raw", True),
        (Factor("smart_19", 8.0, 1.0), "smart_197_raw", False),
        (Factor("rule_nonzero", 2.0, 1.0), "smart_197_raw", False),
        (Factor("fault_mode", 2.0, 1.0), "row", True),
        (Factor("fault_mode", 3.0, 1.0), "row", False),
        (Factor("rows_30d", 3.0, 1.0), "row", False),
    ],
)
def test_a_reason_names_the_signal_that_it_is_about(factor: Factor, signal: str, named_by_it: bool) -> None:
    """An attribute by any of its features, a fault mode by that mode alone."""
    assert names(factor, signal) is named_by_it


@pytest.mark.slow
@pytest.mark.parametrize("component", FLEETS)
def test_the_top_three_reasons_name_the_planted_precursor(component: str, tmp_path: Path) -> None:
    """Of true alerts at the operating budget, on days later than training, at least nine in ten do."""
    settings = Settings().model_copy(update={"home": tmp_path})
    fleet = FLEETS[component]
    simulate.fleet(settings, fleet)
    until = fleet.start + timedelta(days=LEARNED_DAYS)
    ingest_world(settings, end_of(fleet.start + timedelta(days=fleet.days - 1)))
    truth = pq.read_table(simulate.folder(settings) / "truth.parquet")
    with read(settings.home) as con:
        fitted = train.fit(con, replace(spec.load(component), not_before=None), until)
        days = [until + timedelta(days=n) for n in range(1, fleet.days - LEARNED_DAYS)]
        found = named(con, fitted.predictor, days, truth, budget=0.002)
    assert found[ALL].alerts >= 20
    assert found[ALL].named >= 0.9
