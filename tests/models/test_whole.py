"""From a published warehouse to a model, its risks and its report."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from data.errors import ModelError, UsageError
from data.snapshots import memory_bytes, read
from features import build
from models import evaluate, score, spec, train
from models.baselines import PEERS
from models.facts import Here
from models.holdout import Later
from models.measure import Settings
from models.predictor import Predictor
from models.train import Trained
from models.windows import end_of

DAY_ZERO = date(2016, 1, 1)
UNTIL = DAY_ZERO + timedelta(days=79)


@pytest.fixture(scope="module")
def con(warehouse_home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection on the published fleet."""
    with read(warehouse_home) as connection:
        yield connection


@pytest.fixture(scope="module")
def fitted(con: duckdb.DuckDBPyConnection) -> Trained:
    """A disk model of the first eighty days, with the spec that ships but fewer rounds and trees."""
    disk = spec.load("disk")
    lighter = {**disk.lightgbm, "min_data_in_leaf": 20}
    raw = replace(disk.raw, trees=10)
    return train.fit(con, replace(disk, rounds=20, boosters=1, threads=1, lightgbm=lighter, raw=raw), UNTIL)


def test_training_again_gives_the_same_model(con: duckdb.DuckDBPyConnection, fitted: Trained) -> None:
    """The same data, spec and day make the same text and calibration."""
    again = train.fit(con, fitted.predictor.spec, UNTIL)
    assert again.predictor == fitted.predictor
    assert again.hashes == fitted.hashes


def test_later_facts_change_nothing(warehouse_home: Path, fitted: Trained) -> None:
    """Failures that happen after `until` leave the model as it was."""
    with read(warehouse_home) as held:
        past = duckdb.connect()
        past.execute("set time zone 'UTC'")
        for name in (
            "entity",
            "entity_host",
            "entity_version",
            "mitigation",
            "disk_day",
            "disk_current",
            "disk_superseded",
            "failure",
        ):
            past.register("copied", held.sql(f"from {name}").to_arrow_table())
            past.execute(f"create table {name} as from copied")
            past.unregister("copied")
    past.execute("delete from failure where failed_at > ?", [end_of(UNTIL)])
    again = train.fit(past, fitted.predictor.spec, UNTIL)
    assert again.predictor.booster_text == fitted.predictor.booster_text
    assert again.predictor.calibration == fitted.predictor.calibration


def test_growing_pending_sectors_are_learned(fitted: Trained) -> None:
    """Such a plain precursor is found: the model ranks nearly all failures first, and its gates' figures exist."""
    assert fitted.metrics["roc_auc"] > 0.7
    assert fitted.metrics["average_precision"] > 0.5
    assert fitted.metrics["window_failing_entities"] > 3


def _with_unused(predictor: Predictor, name: str) -> Predictor:
    """The same predictor, had it been given one feature more that no tree splits on."""
    text = re.sub(r"max_feature_idx=(\d+)", lambda at: f"max_feature_idx={int(at[1]) + 1}", predictor.booster_text)
    text = re.sub(r"^feature_names=.*$", rf"\g<0> {name}", text, flags=re.MULTILINE)
    text = re.sub(r"^feature_infos=.*$", r"\g<0> none", text, flags=re.MULTILINE)
    return replace(predictor, feature_names=(*predictor.feature_names, name), booster_text=text)


@pytest.mark.parametrize("relearned", [False, True])
def test_a_champion_needs_only_the_features_that_it_asks_for(
    con: duckdb.DuckDBPyConnection, fitted: Trained, *, relearned: bool
) -> None:
    """One that is no longer made and that it never looked at leaves its scores as they were, relearned or not."""
    facts, days = Here(con), fitted.windows.calibration_days
    seen, lesser = UNTIL if relearned else days[0] - timedelta(days=1), replace(fitted.predictor.spec, rounds=2)
    champion = replace(fitted.predictor, spec=lesser, until=seen.isoformat())
    scores = []
    for one in (champion, _with_unused(champion, "gone")):
        rival = train._rival(facts, one, fitted.predictor, fitted.windows, UNTIL)
        assert rival is not None
        assert rival.relearned is relearned
        scores.append(facts.hold(Later(fitted.predictor, days, UNTIL, rival.predictor)).champion)
    assert np.unique(scores[0]).size > 1
    np.testing.assert_array_equal(*scores)


def test_a_champion_that_asks_for_what_is_no_longer_made_is_not_compared_with(
    con: duckdb.DuckDBPyConnection, fitted: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no rival then, and the feature is named."""
    asked = fitted.predictor.asked[-1]
    names = tuple("gone" if name == asked else name for name in fitted.predictor.feature_names)
    champion = replace(fitted.predictor, feature_names=names)
    assert train._rival(Here(con), champion, fitted.predictor, fitted.windows, UNTIL) is None
    assert "the champion asks for gone" in caplog.text


def test_too_early_a_day_is_refused(con: duckdb.DuckDBPyConnection, fitted: Trained) -> None:
    """The error says how many days are needed."""
    with pytest.raises(ModelError, match="at least 51 are needed"):
        train.fit(con, fitted.predictor.spec, DAY_ZERO + timedelta(days=40))


def test_scores_are_rows_of_the_risk_table(con: duckdb.DuckDBPyConnection, fitted: Trained) -> None:
    """One row per live drive at the end of the day; drives that grow sectors are the riskiest, and say why."""
    made = score.score(con, "disk", fitted.predictor, DAY_ZERO + timedelta(days=100))
    assert made.schema == score.SCHEMA
    assert set(made["asof_at"].to_pylist()) == {datetime(2016, 4, 11, tzinfo=UTC)}
    riskiest = int(np.argmax(made["risk_30d"].to_numpy()))
    factors = json.loads(made["factors"][riskiest].as_py())
    assert any(one["feature"].startswith(("smart_197", "rule", "days_since_rule")) for one in factors)
    columns = {name for (name,) in con.execute("select column_name from (describe risk)").fetchall()}
    assert columns <= set(made.column_names)


def test_a_midnight_means_the_day_before(con: duckdb.DuckDBPyConnection, fitted: Trained) -> None:
    """A moment is asked as the end of its day; one within a day is refused."""
    day = DAY_ZERO + timedelta(days=60)
    midnight = datetime(2016, 3, 2, tzinfo=UTC)
    assert score.score(con, "disk", fitted.predictor, midnight).equals(score.score(con, "disk", fitted.predictor, day))
    with pytest.raises(UsageError, match="only the end of a day"):
        score.score(con, "disk", fitted.predictor, midnight + timedelta(hours=2))


def test_a_fleet_scored_a_few_at_a_time_has_the_same_risks_and_reasons(
    con: duckdb.DuckDBPyConnection, fitted: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many rows are held in memory at once changes nothing, neither whose reasons are told."""
    day = DAY_ZERO + timedelta(days=100)
    whole = score.score(con, "disk", fitted.predictor, day, top_reasons=20)
    monkeypatch.setattr(score, "AT_ONCE", 37)
    assert score.score(con, "disk", fitted.predictor, day, top_reasons=20).equals(whole)


def test_features_made_in_parts_are_the_same(con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where little memory is allowed, few rows are made at a time, even fewer than one moment has."""
    rows = build.spine(con, "disk", [DAY_ZERO + timedelta(days=day) for day in (50, 57, 64)])
    whole = build.frame(con, "disk", rows)
    for most in (150, 500):
        monkeypatch.setattr(build, "ROW_BYTES", memory_bytes(con) // most)
        assert build.frame(con, "disk", rows).equals(whole)


def test_scoring_asks_for_no_more_than_the_model_needs(con: duckdb.DuckDBPyConnection, fitted: Trained) -> None:
    """What comes of it is what comes of all features: the same risks and the same reasons."""
    day = DAY_ZERO + timedelta(days=100)
    frame, told = score.judge(con, fitted.predictor, day)
    whole = build.frame(con, "disk", build.spine(con, "disk", [day]))
    assert 0 < len(fitted.predictor.asked) < len(fitted.predictor.feature_names)
    assert whole.num_columns - frame.num_columns == len(fitted.predictor.feature_names) - len(fitted.predictor.asked)
    hosts = score.hosts(con, whole)
    assert score.risks(whole, fitted.predictor, hosts, 0).equals(told)
    asked = score.score(con, "disk", fitted.predictor, day, top_reasons=20)
    assert asked.equals(score.risks(whole, fitted.predictor, hosts, 20))


def test_a_young_drive_is_unknown(con: duckdb.DuckDBPyConnection, fitted: Trained) -> None:
    """On the fleet's third day nothing has enough history: all unknown, none of them low."""
    made = score.score(con, "disk", fitted.predictor, DAY_ZERO + timedelta(days=2))
    assert set(made["reason"].to_pylist()) == {"too_little_history"}
    assert made["risk_30d"].null_count == made.num_rows == 400


def test_all_models_stand_side_by_side(con: duckdb.DuckDBPyConnection, fitted: Trained, tmp_path: Path) -> None:
    """Champion and baselines over the same rows, as JSON, with a picture; the last day's horizon is over."""
    settings = Settings(replicates=20)
    models = {"champion": fitted.predictor, "challenger": fitted.predictor}
    report = evaluate.evaluate(con, "disk", models, UNTIL + timedelta(days=1), DAY_ZERO + timedelta(days=115), settings)
    assert set(report.models) == {"champion", "challenger", *PEERS}
    assert report.models["champion"] == report.models["challenger"]
    champion = report.models["champion"].average_precision
    assert champion.value is not None
    assert champion.value > 0.5
    assert len(json.dumps(report.as_mapping(), allow_nan=False)) > 1000
    assert max(report.days) <= DAY_ZERO + timedelta(days=139 - 30)
    assert evaluate.draw(report, tmp_path / "pr.png").stat().st_size > 1000


def test_days_that_a_model_has_seen_are_refused(con: duckdb.DuckDBPyConnection, fitted: Trained) -> None:
    """An evaluation from a day whose labels went into training would flatter."""
    with pytest.raises(ModelError, match="has seen labels until 2016-03-20"):
        evaluate.evaluate(con, "disk", {"champion": fitted.predictor}, UNTIL, UNTIL + timedelta(days=5))


def test_a_challenger_that_has_seen_the_days_is_left_out(con: duckdb.DuckDBPyConnection, fitted: Trained) -> None:
    """The champion is judged all the same, and the report says who is missing and why."""
    newer = replace(fitted.predictor, version="9", until=(UNTIL + timedelta(days=9)).isoformat())
    models = {"champion": fitted.predictor, "challenger": newer}
    start, few = UNTIL + timedelta(days=1), Settings(replicates=5)
    report = evaluate.evaluate(con, "disk", models, start, start, few)
    assert "challenger" not in report.models
    assert "version 9 has seen labels" in report.left_out["challenger"]


def test_days_asked_are_the_first_and_fifteenth_or_weekly() -> None:
    """Long spans twice a month, short ones weekly from the first day."""
    asked = evaluate.asked_days(date(2016, 1, 1), date(2016, 3, 1))
    assert [day.isoformat() for day in asked] == ["2016-01-01", "2016-01-15", "2016-02-01", "2016-02-15", "2016-03-01"]
    assert evaluate.asked_days(date(2016, 1, 3), date(2016, 1, 18)) == tuple(date(2016, 1, d) for d in (3, 10, 17))


def test_the_spine_shipped_has_what_training_needs(con: duckdb.DuckDBPyConnection) -> None:
    """The spec's peers name features that exist."""
    disk = spec.load("disk")
    assert {*disk.rule, *disk.rates, *disk.raw.values} <= set(build.feature_names("disk"))
