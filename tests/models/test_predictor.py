"""The predictor: unknown is never low, JSON loses nothing, reasons are reasons."""

import json
import re
from dataclasses import replace

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from data.errors import ModelError
from models import predictor, score
from models.examples import Fate
from models.train import Trained

World = tuple[pa.Table, Fate]


def _replaced(table: pa.Table, name: str, values: object) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def test_risks_never_fall_with_the_horizon(trained: Trained, world: World) -> None:
    """Each row's five risks are in order and are probabilities, whatever nulls and infinities it holds."""
    risks = trained.predictor.predict(world[0])
    assert risks.shape == (4000, 5)
    assert np.all(np.diff(risks, axis=1) >= 0)
    assert np.all((risks > 0) & (risks < 1))


def test_growing_sectors_are_a_higher_risk(trained: Trained, world: World) -> None:
    """Drives with more than five pending sectors fail at fifty times the rate, and the risk says so."""
    risks = trained.predictor.predict(world[0])[:, -1]
    pending = world[0]["smart_197"].to_numpy()
    assert risks[pending > 5].mean() > 10 * risks[pending == 0].mean()


def test_unknown_is_not_a_low_risk(trained: Trained, world: World) -> None:
    """A row that the spine calls unknown has null risks and keeps its reason; the others keep theirs."""
    table = world[0].slice(0, 3)
    table = _replaced(table, "status", pa.array(["ok", "unknown", "unknown"]))
    table = _replaced(table, "reason", pa.array([None, "stale_telemetry", "too_little_history"]))
    made = score.risks(table, trained.predictor, pa.nulls(3, pa.string()))
    assert made["status"].to_pylist() == ["ok", "unknown", "unknown"]
    assert made["reason"].to_pylist() == [None, "stale_telemetry", "too_little_history"]
    assert made["risk_30d"].is_null().to_pylist() == [False, True, True]
    assert made["factors"].is_null().to_pylist() == [False, True, True]


def test_a_row_without_any_reading_is_unknown(trained: Trained, world: World) -> None:
    """All values null or infinite: nothing to judge by."""
    table = world[0].slice(0, 2)
    for name in trained.predictor.feature_names:
        table = _replaced(table, name, pa.array([None, np.inf], pa.float64()))
    made = score.risks(table, trained.predictor, pa.nulls(2, pa.string()))
    assert made["reason"].to_pylist() == ["no_readings", "no_readings"]
    assert made["risk_1d"].null_count == 2


def test_a_row_of_which_nothing_is_told_but_that_it_is_watched_is_judged(trained: Trained, world: World) -> None:
    """The first feature is told of every part: without any other it has a risk, whatever the model splits on."""
    table, one = world[0].slice(0, 2), trained.predictor
    for name in one.feature_names[1:]:
        table = _replaced(table, name, pa.nulls(2, pa.float64()))
    made = score.risks(table, one, pa.nulls(2, pa.string()))
    assert made["status"].to_pylist() == ["ok", "ok"]
    rows = lightgbm.Dataset(np.random.default_rng(0).random((90, len(one.feature_names))), np.arange(90) % 2)
    text = lightgbm.train({"objective": "binary", "min_data_in_leaf": 90, "verbose": -1}, rows, 1).model_to_string()
    without_splits = replace(one, booster_text=text)
    assert without_splits.asked == one.feature_names[:1]
    assert score.risks(table, without_splits, pa.nulls(2, pa.string()))["status"].to_pylist() == ["ok", "ok"]


def test_only_the_riskiest_rows_get_reasons(trained: Trained, world: World) -> None:
    """Ten asked for, ten given, and they are the ten highest risks."""
    made = score.risks(world[0], trained.predictor, pa.nulls(4000, pa.string()), top_reasons=10)
    told = np.flatnonzero(~np.array(made["factors"].is_null().to_pylist()))
    risk = made["risk_30d"].to_numpy()
    assert told.size == 10
    assert risk[told].min() >= np.delete(risk, told).max()


def test_the_first_reason_is_what_foretells_failure(trained: Trained, world: World) -> None:
    """On the riskiest drive the pending sectors come first, with their value."""
    table = world[0]
    riskiest = int(np.argmax(trained.predictor.predict(table)[:, -1]))
    (reasons,) = trained.predictor.reasons(table.slice(riskiest, 1), top=3)
    assert reasons[0].feature == "smart_197"
    assert reasons[0].value == table["smart_197"][riskiest].as_py()
    assert [one.contribution for one in reasons] == sorted((one.contribution for one in reasons), reverse=True)


def test_json_and_text_bring_the_predictor_back(trained: Trained, world: World) -> None:
    """Equal in every field, and in every bit of its risks."""
    made = trained.predictor
    again = predictor.from_json(made.to_json(), made.booster_text, made.version)
    assert again == made
    np.testing.assert_array_equal(again.predict(world[0]), made.predict(world[0]))


def test_a_version_that_foretold_no_calls_is_read(trained: Trained) -> None:
    """Versions older than the prediction interval keep their precision, and say nothing of the next calls."""
    raw = json.loads(trained.predictor.to_json())
    for one in raw["earned"]:
        for name in ("next_calls", "next_low", "next_high"):
            del one[name]
    again = predictor.from_json(json.dumps(raw), trained.predictor.booster_text, "1")
    assert [one.precision for one in again.earned] == [one.precision for one in trained.predictor.earned]
    assert {one.next_calls for one in again.earned} == {None}


def test_a_table_without_a_feature_is_refused(trained: Trained, world: World) -> None:
    """A model from other features says which one is missing instead of guessing."""
    with pytest.raises(ModelError, match="smart_197"):
        trained.predictor.predict(world[0].drop_columns(["smart_197"]))


def test_features_that_no_tree_splits_on_need_not_be_known(trained: Trained, world: World) -> None:
    """Risks and reasons are the same, to the bit, of what the predictor asks for alone."""
    one, table = trained.predictor, world[0]
    unasked = [name for name in one.feature_names if name not in one.asked]
    assert unasked
    fewer, nobody = table.drop_columns(unasked), pa.nulls(table.num_rows, pa.string())
    assert score.risks(fewer, one, nobody, top_reasons=50).equals(score.risks(table, one, nobody, top_reasons=50))


def test_a_feature_that_is_no_longer_made_is_not_missed_where_no_tree_splits_on_it(
    trained: Trained, world: World
) -> None:
    """The model judges as before without it; one that splits on it says that it is missing."""
    one, table = trained.predictor, world[0]
    text = re.sub(
        r"^max_feature_idx=(\d+)$", lambda at: f"max_feature_idx={int(at[1]) + 1}", one.booster_text, flags=re.M
    )
    text = re.sub(r"^feature_names=(.*)$", r"feature_names=\1 gone", text, flags=re.M)
    text = re.sub(r"^feature_infos=(.*)$", r"feature_infos=\1 none", text, flags=re.M)
    wider = replace(one, feature_names=(*one.feature_names, "gone"), booster_text=text)
    assert wider.asked == one.asked
    np.testing.assert_array_equal(wider.predict(table), one.predict(table))
    renamed = replace(
        one, feature_names=tuple(f"{name}_gone" if name == "smart_197" else name for name in one.feature_names)
    )
    with pytest.raises(ModelError, match="smart_197_gone"):
        renamed.predict(table)


def test_an_empty_fleet_has_an_empty_answer(trained: Trained, world: World) -> None:
    """No rows in, no rows out, with all columns."""
    made = score.risks(world[0].slice(0, 0), trained.predictor, pa.nulls(0, pa.string()))
    assert made.num_rows == 0
    assert made.schema == score.SCHEMA
