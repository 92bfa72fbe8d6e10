"""GPU servers from file to judgement: the published faults are read, learned from and judged on later days."""

from datetime import date
from pathlib import Path

import pytest

from data.sources import infinitehbd
from data.warehouse import Warehouse
from models import spec, train
from models.baselines import RATES
from models.evaluate import evaluate
from models.measure import Settings, paired_difference
from models.score import score

pytestmark = [pytest.mark.slow, pytest.mark.real]


def test_infinitehbd_from_file_to_judgement(real: Path, tmp_path: Path) -> None:
    """Trained on seven months, it ranks the quarter after better than the rate by age, and no worse than the rule.

    The rule, failed in the last 30 days, is as good as the model here: 400 servers are too few to say more. Every
    server that is not down has a risk.
    """
    with Warehouse.open(tmp_path / "home") as warehouse:
        infinitehbd.load(warehouse, real / "gpu" / "infinitehbd_fault_trace.csv")
        fitted = train.fit(warehouse.con, spec.load("node"), date(2024, 7, 31))
        report = evaluate(
            warehouse.con, "node", {"ours": fitted.predictor}, from_=date(2024, 8, 1), to=date(2024, 11, 13)
        )
        risks = score(warehouse.con, fitted.predictor.component, fitted.predictor, date(2024, 11, 30))
    over_age = paired_difference(report.outcomes, report.scores["ours"], report.scores[RATES], Settings())
    over_rule = report.average_precision_over_rule["ours"]
    recall = report.models["ours"].recall_at["0.05"]
    assert over_age.low is not None
    assert over_age.low > 0
    assert over_rule.high is not None
    assert over_rule.high > 0
    assert recall.low is not None
    assert recall.low > 0.05
    assert report.failing_entities > 100
    assert 380 < risks.num_rows <= 400
    assert risks["status"].to_pylist() == ["ok"] * risks.num_rows
