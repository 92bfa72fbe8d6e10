"""GPUs from file to judgement: the published stays are read, learned from, judged on later days and scored."""

from datetime import date
from pathlib import Path

import pytest

from data.sources import titan
from data.warehouse import Warehouse
from models import spec, train
from models.baselines import RATES, RULE_COUNT
from models.evaluate import evaluate
from models.score import score

pytestmark = [pytest.mark.slow, pytest.mark.real]


def test_titan_from_file_to_judgement(real: Path, tmp_path: Path) -> None:
    """Trained on what was known by the end of 2016, it beats age and the slot's history on the quarter after.

    At budgets of 1, 2 and 5 %, its recall lies above theirs outside the intervals, and every GPU that sits in a slot
    has a risk or a reason for none.
    """
    with Warehouse.open(tmp_path / "home") as warehouse:
        titan.load(warehouse, real / "gpu" / "titan_gpu_stints_to_2017.csv.gz")
        fitted = train.fit(warehouse.con, spec.load("gpu"), date(2016, 12, 31))
        report = evaluate(
            warehouse.con, "gpu", {"ours": fitted.predictor}, from_=date(2017, 1, 1), to=date(2017, 3, 15)
        )
        risks = score(warehouse.con, "gpu", fitted.predictor, date(2017, 12, 15))
    for budget in ("0.01", "0.02", "0.05"):
        ours = report.models["ours"].recall_at[budget]
        for peer in (RATES, RULE_COUNT):
            theirs = report.models[peer].recall_at[budget]
            assert ours.low is not None
            assert theirs.high is not None
            assert ours.low > theirs.high, (budget, peer)
    assert risks.num_rows > 17_000
    assert all((row["risk_30d"] is None) == (row["status"] == "unknown") for row in risks.to_pylist())
    assert 0.5 < fitted.metrics["observed_over_predicted"] < 2
